"""FedOpt: the mean of the sites' updates as a pseudo-gradient for an optimiser at the server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.algorithms.base import Algorithm
from engine.server_optimizers import SERVER_OPTIMIZERS, Coefficients, ServerOptimizerName
from engine.types import ServerState, SiteUpdate
from engine.validation import require

if TYPE_CHECKING:
    from engine.config import ModelConfig, TrainConfig


@dataclass(frozen=True, kw_only=True)
class FedOpt(Algorithm):
    """Reddi et al., ICLR 2021, arXiv 2003.00295, algorithm 2. sgd with learning rate 1 is FedAvg."""

    server_optimizer: ServerOptimizerName = "adam"
    """FedAdam, FedYogi, FedAdagrad, momentum (Hsu et al. 2019), or plain sgd."""
    server_lr: float | Literal["auto"] = "auto"
    """Learning rate at the server; auto: 1 for sgd and momentum, 0.03 for the adaptive ones."""
    server_momentum: float = 0.9
    """beta1: decay of the first moment (momentum, adam, yogi, adagrad)."""
    server_decay: float = 0.99
    """beta2: decay of the second moment (adam, yogi)."""
    adaptivity: float = 1e-3
    """tau: added to the root of the second moment; the larger, the less adaptive."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        lr = self.server_lr
        require(
            self,
            [
                ("server_lr", lr == "auto" or 0 < lr < math.inf, "above 0, or auto"),
                ("server_momentum", 0 <= self.server_momentum < 1, "at least 0 and below 1"),
                ("server_decay", 0 <= self.server_decay < 1, "at least 0 and below 1"),
                ("adaptivity", 0 < self.adaptivity < math.inf, "above 0"),
            ],
        )

    def check(self, model: ModelConfig, train: TrainConfig) -> None:  # noqa: ARG002
        """Raises ValueError for batch statistics: an adaptive step would move them as if they were weights."""
        if model.norm == "batch":
            raise ValueError("norm is 'batch' and fed-opt would step batch statistics as weights; take --norm instance")

    def aggregate(self, server: ServerState, updates: Sequence[SiteUpdate]) -> ServerState:
        """One step of the server's optimiser along the mean delta."""
        before = server.weights.astype(np.float64)
        delta = super().aggregate(server, updates).weights - before
        coefficients = Coefficients(beta1=self.server_momentum, beta2=self.server_decay, tau=self.adaptivity)
        direction, state = SERVER_OPTIMIZERS[self.server_optimizer](delta, server.extra, coefficients)
        weights = (before + self._learning_rate() * direction).astype(server.weights.dtype)
        return replace(server, round=server.round + 1, weights=weights, extra=state)

    def _learning_rate(self) -> float:
        if self.server_lr != "auto":
            return self.server_lr
        return 1.0 if self.server_optimizer in ("sgd", "momentum") else 0.03
