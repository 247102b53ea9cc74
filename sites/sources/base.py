"""What a data source is: one class with these two methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

KSpace = npt.NDArray[np.complex64]


class Source(Protocol):
    """An institution's patients and their fully sampled k-space."""

    def patients(self) -> Sequence[str]:
        """Unique names, in an order that never changes: the first are trained on."""
        ...

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, H, W], fully sampled, zero frequency at (H // 2, W // 2); S may differ."""
        ...
