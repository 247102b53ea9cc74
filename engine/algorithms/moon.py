"""MOON: latents kept near those of the broadcast network and away from those of one's own last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.algorithms.base import Algorithm
from engine.validation import require

if TYPE_CHECKING:
    from torch import Tensor

    from engine.training import Forward, LocalTraining
    from engine.types import Batch


@dataclass(frozen=True, kw_only=True)
class Moon(Algorithm):
    """Li, He & Song, CVPR 2021, arXiv 2103.16257, eq. 3 and 4, on pooled latents. mu = 0 is FedAvg.

    With cosine similarities s to the latents under the broadcast and under the site's own last weights:
    loss + mu * mean -log(exp(s_broadcast / T) / (exp(s_broadcast / T) + exp(s_last / T))), from its second round on
    (before, both are the same and the term is constant).
    """

    mu: float = 1.0
    """Weight of the contrastive loss."""
    temperature: float = 0.5
    """T: the smaller, the sharper."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        temperature = 0 < self.temperature < math.inf
        require(self, [("mu", 0 <= self.mu < math.inf, "at least 0"), ("temperature", temperature, "above 0")])

    def loss(self, local: LocalTraining, batch: Batch, forward: Forward) -> Tensor:
        """Reconstruction plus the weighted contrastive loss."""
        reconstruction = local.reconstruction_loss(batch, forward)
        if not self.mu or "network" not in local.memory:
            return reconstruction
        to_broadcast, to_last = (
            local.similarity(forward.latents, local.latents_under(name, weights, batch)) / self.temperature
            for name, weights in (("broadcast", local.received("weights")), ("last", local.memory["network"]))
        )
        contrast = (to_last - to_broadcast).exp().log1p().mean()
        local.log("contrast", contrast)
        return reconstruction + self.mu * contrast

    def after_training(self, local: LocalTraining) -> None:
        """The network is kept for the next round's comparison."""
        if self.mu:
            local.memory["network"] = local.weights.values.clone()
