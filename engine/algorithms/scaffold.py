"""SCAFFOLD: local steps corrected by control variates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.algorithms.base import Algorithm
from engine.types import Array, Broadcast, ServerState, SiteUpdate
from engine.weights import weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from engine.config import ModelConfig, TrainConfig
    from engine.training import LocalTraining


@dataclass(frozen=True, kw_only=True)
class Scaffold(Algorithm):
    """Karimireddy et al., ICML 2020, arXiv 1910.06378, algorithm 1 with option II, all sites taking part.

    Each site keeps a control variate c_k, the server their mean c (weighted as the weights are, so that corrections
    cancel in the average). They start at 0: the first round is FedAvg.
    """

    def check(self, model: ModelConfig, train: TrainConfig) -> None:  # noqa: ARG002
        """Raises ValueError unless sites take plain gradient steps: option II reads the gradient off their length."""
        if train.optimizer != "sgd":
            raise ValueError(
                f"optimizer is {train.optimizer!r} and scaffold's control variates are of plain gradient steps; "
                "take --optimizer sgd --lr 0.1"
            )

    def broadcast(self, server: ServerState) -> Broadcast:
        """With c, once there is one."""
        return Broadcast(round=server.round, weights=server.weights, extra=server.extra)

    def aggregate(self, server: ServerState, updates: Sequence[SiteUpdate]) -> ServerState:
        """The mean of the weights, and c as the mean of the sites' control variates."""
        after = super().aggregate(server, updates)
        control = weighted_mean([u.extra["control"] for u in updates], self.site_weights(updates))
        return replace(after, extra={"control": control})

    def correct_gradients(self, local: LocalTraining) -> None:
        """Step along g - c_k + c."""
        if "control" in local.broadcast.extra:
            local.weights.gradient.add_(local.received("control") - self._own(local))

    def after_training(self, local: LocalTraining) -> None:
        """c_k+ = c_k - c + (x - y) / (steps * lr): how far the site would have gone, a step, without correction."""
        if local.steps:
            weights = local.weights.parameters
            steps = local.steps * local.config.learning_rate(local.broadcast.round)
            moved = (local.received("weights")[: len(weights)] - weights) / steps
            common = local.received("control") if "control" in local.broadcast.extra else 0
            local.memory["control"] = self._own(local) - common + moved

    def extra_upload(self, local: LocalTraining) -> Mapping[str, Array]:
        """c_k+."""
        return {"control": self._own(local).cpu().numpy()}

    def _own(self, local: LocalTraining) -> Tensor:
        """c_k, [Q]."""
        weights = local.weights.parameters
        return local.memory.get("control", weights.new_zeros(weights.shape))
