"""ADCOL: one identifier at the server for all sites."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.algorithms.base import Algorithm
from engine.types import Array, Broadcast, ServerState
from engine.validation import require

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from engine.training import Forward, LocalTraining
    from engine.types import Batch


@dataclass(frozen=True, kw_only=True)
class Adcol(Algorithm):
    """After Li, He & Song, ICML 2023 (adversarial collaborative learning): latents that no site is recognised by.

    Before each round every site, the target too, uploads its latents under the broadcast encoder (in the paper: under
    its own, after the round; so a target that does not train takes part); the server trains one identifier of K sites
    on them. Sites descend the reconstruction loss plus weight * KL(uniform || identifier). One identifier and K uploads
    a round, where identifiers by pair would be K (K - 1) / 2. Weight 0 is FL-MR.
    """

    latents: ClassVar[Literal["none", "target", "all"]] = "all"

    alignment_weight: float = 0.01
    """Weight of the confusion of the identifier beside the reconstruction loss; 0: observe, do not align."""
    identifier_lr: float = 1e-3
    """Learning rate of the identifier (Adam)."""
    identifier_epochs: int = 3
    """Passes of the identifier over the uploaded latents each round."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        require(
            self,
            [
                ("alignment_weight", 0 <= self.alignment_weight < math.inf, "at least 0"),
                ("identifier_lr", 0 < self.identifier_lr < math.inf, "above 0"),
                ("identifier_epochs", self.identifier_epochs >= 1, "at least 1"),
            ],
        )

    def broadcast(self, server: ServerState) -> Broadcast:
        """With the identifier, once there is one."""
        return Broadcast(round=server.round, weights=server.weights, extra=server.extra)

    def observe(self, server: ServerState, latents: Mapping[str, Array], rng: Generator) -> ServerState:
        """Train the identifier on all sites' latents, one class a site, in name order."""
        from engine.models.shared_identifier import initial_identifier, learn

        rows = list(latents.values())
        identifier = server.extra.get("identifier")
        if identifier is None:
            identifier = initial_identifier(rows[0].shape[1], len(rows), rng)
        trained = learn(identifier, rows, self.identifier_epochs, self.identifier_lr, batch_size=32, rng=rng)
        return replace(server, extra={"identifier": trained})

    def loss(self, local: LocalTraining, batch: Batch, forward: Forward) -> Tensor:
        """Reconstruction plus the weighted confusion loss."""
        from engine.models.shared_identifier import confusion_loss, site_logits

        reconstruction = local.reconstruction_loss(batch, forward)
        confusion = confusion_loss(site_logits(local.received("identifier"), forward.latents))
        local.log("adversarial_loss", confusion)
        return reconstruction + self.alignment_weight * confusion if self.alignment_weight else reconstruction
