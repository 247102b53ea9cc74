"""FedProx: local training held near the broadcast weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.algorithms.base import Algorithm
from engine.validation import require

if TYPE_CHECKING:
    from engine.training import LocalTraining


@dataclass(frozen=True, kw_only=True)
class FedProx(Algorithm):
    """Li et al., MLSys 2020, arXiv 1812.06127, eq. 2: plus mu / 2 ||w - w_broadcast||^2. mu = 0 is FedAvg."""

    mu: float = 0.01
    """Weight of the squared distance to the broadcast weights."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        require(self, [("mu", 0 <= self.mu < math.inf, "at least 0")])

    def correct_gradients(self, local: LocalTraining) -> None:
        """The proximal term's gradient, mu (w - w_broadcast)."""
        if self.mu:
            weights = local.weights.parameters
            local.weights.gradient.add_(weights - local.received("weights")[: len(weights)], alpha=self.mu)
