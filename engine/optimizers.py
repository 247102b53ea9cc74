"""Local optimisers on one flat tensor, with their state in the open.

torch's own update rules in their functional form: the state is a dictionary of tensors that a checkpoint can hold,
and a process that never builds a `torch.optim` object is spared 1.5 s of imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engine.config import OptimizerName

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]


class Optimizer(Protocol):
    """An update rule. `step` changes weights and state in place."""

    def init(self, weights: Tensor) -> State:
        """The state before the first step."""
        ...

    def step(self, weights: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        """One step down the gradient; weights and gradient: [Q]."""
        ...


@dataclass(frozen=True)
class SGD:
    """Plain stochastic gradient descent."""

    def init(self, weights: Tensor) -> State:  # noqa: ARG002
        """No state."""
        return {}

    def step(self, weights: Tensor, gradient: Tensor, state: State, lr: float) -> None:  # noqa: ARG002
        """weights -= lr * gradient."""
        weights.add_(gradient, alpha=-lr)


@dataclass(frozen=True)
class RMSprop:
    """Hinton 2012 as `torch.optim.RMSprop` has it: alpha 0.99, eps 1e-8, not centred, no momentum."""

    alpha: float = 0.99
    eps: float = 1e-8

    def init(self, weights: Tensor) -> State:
        """The running mean of squared gradients, [Q], and the number of steps."""
        return {"square": weights.new_zeros(weights.shape), "steps": _counter()}

    def step(self, weights: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        """weights -= lr * gradient / (sqrt(square) + eps)."""
        from torch.optim.rmsprop import rmsprop

        rmsprop(
            [weights], [gradient], [state["square"]], [], [], [state["steps"]],
            lr=lr, alpha=self.alpha, eps=self.eps, weight_decay=0, momentum=0, centered=False, foreach=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba, ICLR 2015, arXiv 1412.6980, algorithm 1, with torch's defaults."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, weights: Tensor) -> State:
        """Both moments, [Q] each, and the number of steps."""
        zeros = weights.new_zeros
        return {"mean": zeros(weights.shape), "square": zeros(weights.shape), "steps": _counter()}

    def step(self, weights: Tensor, gradient: Tensor, state: State, lr: float) -> None:
        """One bias-corrected step."""
        from torch.optim.adam import adam

        adam(
            [weights], [gradient], [state["mean"]], [state["square"]], [], [state["steps"]],
            amsgrad=False, beta1=self.beta1, beta2=self.beta2, lr=lr, weight_decay=0, eps=self.eps,
            maximize=False, foreach=False,
        )  # fmt: skip


OPTIMIZERS: dict[OptimizerName, Optimizer] = {"adam": Adam(), "rmsprop": RMSprop(), "sgd": SGD()}


def _counter() -> Tensor:
    import torch

    return torch.zeros(())
