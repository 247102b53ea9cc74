"""Server optimisers: what the driver does with the mean of the sites' updates.

Reddi et al., ICLR 2021, arXiv 2003.00295, algorithm 2, without bias correction; momentum as Hsu et al., arXiv
1909.06335. A rule takes the mean delta (the pseudo-gradient is its negative) and gives the direction to step in,
which a learning rate multiplies, and its state after it; an empty state is the beginning. numpy, float64 [P].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.types import Array

State = Mapping[str, Array]
ServerOptimizerName = Literal["sgd", "momentum", "adam", "yogi", "adagrad"]


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """beta1: of the first moment, and the momentum's; beta2: of the second; tau: adaptivity, added to its root."""

    beta1: float
    beta2: float
    tau: float


Rule = Callable[[Array, State, Coefficients], tuple[Array, State]]


def sgd(delta: Array, state: State, c: Coefficients) -> tuple[Array, State]:  # noqa: ARG001
    """The mean delta itself: with learning rate 1, FedAvg."""
    return delta, {}


def momentum(delta: Array, state: State, c: Coefficients) -> tuple[Array, State]:
    """m = beta1 m + delta: torch's convention, neither damped nor Nesterov's."""
    m = c.beta1 * state.get("momentum", np.zeros_like(delta)) + delta
    return m, {"momentum": m}


def adam(delta: Array, state: State, c: Coefficients) -> tuple[Array, State]:
    """v = beta2 v + (1 - beta2) delta^2."""
    return _adaptive(delta, state, c, lambda v, square: c.beta2 * v + (1 - c.beta2) * square)


def yogi(delta: Array, state: State, c: Coefficients) -> tuple[Array, State]:
    """v = v - (1 - beta2) delta^2 sign(v - delta^2), Zaheer et al. 2018: v approaches delta^2 by parts of delta^2."""
    return _adaptive(delta, state, c, lambda v, square: v - (1 - c.beta2) * square * np.sign(v - square))


def adagrad(delta: Array, state: State, c: Coefficients) -> tuple[Array, State]:
    """v = v + delta^2: steps only shrink."""
    return _adaptive(delta, state, c, lambda v, square: v + square)


def _adaptive(
    delta: Array, state: State, c: Coefficients, second: Callable[[Array, Array], Array]
) -> tuple[Array, State]:
    """m = beta1 m + (1 - beta1) delta, from 0; v from tau^2; the direction is m / (sqrt(v) + tau)."""
    m = c.beta1 * state.get("momentum", np.zeros_like(delta)) + (1 - c.beta1) * delta
    v = second(state.get("square", np.full_like(delta, c.tau**2)), delta**2)
    return m / (np.sqrt(v) + c.tau), {"momentum": m, "square": v}


SERVER_OPTIMIZERS: dict[ServerOptimizerName, Rule] = {
    "sgd": sgd,
    "momentum": momentum,
    "adam": adam,
    "yogi": yogi,
    "adagrad": adagrad,
}
