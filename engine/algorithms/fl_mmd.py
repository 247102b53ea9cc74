"""FL-MMD: cross-site modeling with a kernel distance in place of the adversary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.algorithms.base import Algorithm
from engine.validation import require

if TYPE_CHECKING:
    from torch import Tensor

    from engine.training import Forward, LocalTraining
    from engine.types import Batch


@dataclass(frozen=True, kw_only=True)
class FlMmd(Algorithm):
    """Long et al., ICML 2015, arXiv 1502.02791, section 3, between a source's and the target's latents.

    The target's latents are those it sent before the round; if it trains, it does so without the term. Weight 0 is
    FL-MR.
    """

    latents: ClassVar[Literal["none", "target", "all"]] = "target"

    alignment_weight: float = 0.1
    """Weight of the squared MMD beside the reconstruction loss; 0: observe, do not align."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        require(self, [("alignment_weight", 0 <= self.alignment_weight < math.inf, "at least 0")])

    def loss(self, local: LocalTraining, batch: Batch, forward: Forward) -> Tensor:
        """Reconstruction plus the weighted squared MMD."""
        from engine.discrepancies import mmd_loss

        return local.matching_loss(batch, forward, "mmd", mmd_loss, self.alignment_weight)
