"""What a data source is: one class with these two methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

KSpace = npt.NDArray[np.complex64]

Rows = npt.NDArray[np.intp]


class Source(Protocol):
    """An institution's patients and their fully sampled k-space."""

    def patients(self) -> Sequence[str]:
        """Unique names, in an order that never changes: the first are trained on."""
        ...

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, H, W], fully sampled, zero frequency at (H // 2, W // 2); S may differ."""
        ...


@runtime_checkable
class SliceSource(Source, Protocol):
    """One whose patients need not stay in memory."""

    def rows(self, patient: str, rows: Rows) -> KSpace:
        """The slices at ascending indices of what `kspace` gave before, the same bits. Raises ValueError."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What every report must say of these patients, once all have been read."""
        ...
