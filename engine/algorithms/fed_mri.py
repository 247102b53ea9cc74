"""FedMRI: a shared encoder, each site's own decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from engine.algorithms.base import Algorithm
from engine.types import Broadcast, ServerState, SiteUpdate
from engine.validation import require

if TYPE_CHECKING:
    from torch import Tensor

    from engine.models.base import Model
    from engine.training import LocalTraining

EPSILON = 1e-14  # the published code's


@dataclass(frozen=True, kw_only=True)
class FedMri(Algorithm):
    """Feng et al., IEEE TMI 2023, arXiv 2112.05752, as the published code (chunmeifeng/FedMRI) trains on images.

    Only encoders are averaged. From the second round on, but for an epoch's first step, the weighted contrastive term
    pulls a site's encoder w towards the broadcast one and away from all sites' encoders w_k of the round before:
    weight * ||w - w_broadcast||_1 / sum over k of ||w - w_k||_1. So these w_k, too, are sent to every site. A site that
    never trained has no decoder of its own: it is scored with the mean of the others'.
    """

    personal: ClassVar[bool] = True

    contrast_weight: float = 1.0
    """Weight of the contrastive term (a stored setting of the published code has 100); 0: the split alone."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        require(self, [("contrast_weight", 0 <= self.contrast_weight < math.inf, "at least 0")])

    def is_shared(self, model: Model, name: str) -> bool:
        """The encoder."""
        return model.in_encoder(name)

    def broadcast(self, server: ServerState) -> Broadcast:
        """With all sites' encoders of the round before, once there are some."""
        return Broadcast(round=server.round, weights=server.weights, extra=server.extra)

    def aggregate(self, server: ServerState, updates: Sequence[SiteUpdate]) -> ServerState:
        """The mean encoder, and each as it came: [K, S]."""
        after = super().aggregate(server, updates)
        return replace(
            after, extra={"encoders": np.stack([u.weights for u in updates])} if self.contrast_weight else {}
        )

    def correct_gradients(self, local: LocalTraining) -> None:
        """The gradient of p / n: sign(w - w_broadcast) / n - p sum over k of sign(w - w_k) / n^2."""
        if local.step == 0 or "encoders" not in local.broadcast.extra:
            return
        encoder = self._encoder(local)
        weights = local.weights.parameters[encoder]
        positive = weights - local.received("weights")[: len(encoder)]
        negatives = weights - local.received("encoders")[:, : len(encoder)]
        p, n = positive.abs().sum(), negatives.abs().sum() + EPSILON
        local.log("contrast", p / n)
        gradient = positive.sign() / n - p * negatives.sign().sum(0) / n**2
        local.weights.gradient.index_add_(0, encoder, gradient, alpha=self.contrast_weight)

    def _encoder(self, local: LocalTraining) -> Tensor:
        """Where the encoder's trained weights lie among all: the leading part of what is shared."""
        shared = local.weights.shared
        assert shared is not None
        return shared[shared < len(local.weights.parameters)]
