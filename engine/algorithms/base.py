"""What an algorithm may change about a federated round. The defaults are federated averaging.

The hooks at the driver work on flat numpy buffers; the hooks at a site work on tensors and import torch when
called, since the command line reads these dataclasses and must not wait two seconds for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.types import Array, Broadcast, ServerState, SiteUpdate
from engine.weights import weighted_mean

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor, nn

    from engine.config import ModelConfig, TrainConfig
    from engine.models.base import Model
    from engine.training import Forward, LocalTraining
    from engine.types import Batch


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Abstract: a subclass overrides only what its paper changes."""

    weighting: Literal["slices", "uniform"] = "slices"
    """How sites count in the average: by their training slices (McMahan 2017), or all the same."""

    latents: ClassVar[Literal["none", "target", "all"]] = "none"
    """Whose latents are collected before each round: nobody's; the target's, which travel with the broadcast; all
    training sites' and the target's, for `observe`."""
    personal: ClassVar[bool] = False
    """Whether sites keep some weights for themselves (those that `is_shared` denies)."""
    exchange: ClassVar[str] = "latents"

    def check(self, model: ModelConfig, train: TrainConfig) -> None:
        """Raises ValueError, in one line, if the method means nothing with this network or this training."""

    # ---- at the driver ----------------------------------------------------------------------------------

    def init_server(self, weights: Array) -> ServerState:
        """The state before round 0 from the initial weights [P]."""
        return ServerState(round=0, weights=weights)

    def broadcast(self, server: ServerState) -> Broadcast:
        """What every site is sent at the start of a round."""
        return Broadcast(round=server.round, weights=server.weights)

    def observe(self, server: ServerState, latents: Mapping[str, Array], rng: Generator) -> ServerState:  # noqa: ARG002
        """With `latents = "all"`, before a round: the state having seen each site's pooled latents [N, D].

        rng: the round's own stream.
        """
        return server

    def aggregate(self, server: ServerState, updates: Sequence[SiteUpdate]) -> ServerState:
        """McMahan et al., AISTATS 2017, arXiv 1602.05629, algorithm 1: the mean of the sites' weights."""
        mean = weighted_mean([u.weights for u in updates], self.site_weights(updates))
        return replace(server, round=server.round + 1, weights=mean)

    def site_weights(self, updates: Sequence[SiteUpdate]) -> list[float]:
        """How much each update counts, not normalised."""
        return [1.0 if self.weighting == "uniform" else float(u.samples) for u in updates]

    # ---- at a site --------------------------------------------------------------------------------------

    def is_shared(self, model: Model, name: str) -> bool:  # noqa: ARG002
        """Whether a weight is averaged over the sites, rather than each site's own."""
        return True

    def companions(self, local: LocalTraining) -> Mapping[str, nn.Module]:  # noqa: ARG002
        """Networks a site keeps for itself, built once, with their optimiser's state (a domain identifier)."""
        return {}

    def before_step(self, local: LocalTraining, forward: Forward) -> None:
        """Between the network's forward and backward pass."""

    def loss(self, local: LocalTraining, batch: Batch, forward: Forward) -> Tensor:
        """The scalar to descend. The default is the mean absolute error, Guo 2021, eq. 2."""
        return local.reconstruction_loss(batch, forward)

    def correct_gradients(self, local: LocalTraining) -> None:
        """Between the backward pass and the optimiser's step; `local.weights.gradient` is [Q]."""

    def after_training(self, local: LocalTraining) -> None:
        """After the round's last step: what a site remembers (`local.memory`)."""

    def extra_upload(self, local: LocalTraining) -> Mapping[str, Array]:  # noqa: ARG002
        """Then: arrays that go to the driver besides the weights, by their ledger kind."""
        return {}
