"""FedMRI: a shared encoder, each site's own decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from engine.algorithms.base import Algorithm
from engine.types import Array
from engine.validation import require

if TYPE_CHECKING:
    from torch import Tensor

    from engine.models.base import Model
    from engine.training import LocalTraining

EPSILON = 1e-14  # the published code's


@dataclass(frozen=True, kw_only=True)
class FedMri(Algorithm):
    """Feng et al., IEEE TMI 2023, arXiv 2112.05752, in the image domain; the published code is chunmeifeng/FedMRI.

    Only encoders are averaged. From a site's second round on, the weighted contrastive term pulls its encoder w
    towards the broadcast one and away from its own of the round before: weight * ||w - w_broadcast||_1 /
    ||w - w_before||_1. A site that never trained has no decoder of its own: it is scored with the mean of the others'.
    """

    personal: ClassVar[bool] = True

    contrast_weight: float = 1.0
    """Weight of the contrastive term; 0: the split alone."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        require(self, [("contrast_weight", 0 <= self.contrast_weight < math.inf, "at least 0")])

    def is_shared(self, model: Model, name: str) -> bool:
        """The encoder."""
        return model.in_encoder(name)

    def correct_gradients(self, local: LocalTraining) -> None:
        """The gradient of p / n, the two norms: sign(w - w_broadcast) / n - p sign(w - w_before) / n^2."""
        if not self.contrast_weight or "encoder" not in local.memory:
            return
        encoder = self._encoder(local)
        weights = local.weights.parameters[encoder]
        positive = weights - local.received("weights")[: len(encoder)]
        negative = weights - local.memory["encoder"]
        p, n = positive.abs().sum(), negative.abs().sum() + EPSILON
        local.log("contrast", p / n)
        gradient = positive.sign() / n - p * negative.sign() / n**2
        local.weights.gradient.index_add_(0, encoder, gradient, alpha=self.contrast_weight)

    def extra_upload(self, local: LocalTraining) -> Mapping[str, Array]:
        """Uploads nothing: the encoder is kept for the next round's comparison."""
        if self.contrast_weight:
            local.memory["encoder"] = local.weights.parameters[self._encoder(local)].clone()
        return {}

    def _encoder(self, local: LocalTraining) -> Tensor:
        """Where the encoder's trained weights lie among all: the leading part of what is shared."""
        shared = local.weights.shared
        assert shared is not None
        return shared[shared < len(local.weights.parameters)]
