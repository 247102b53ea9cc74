"""Server optimisers: plain SGD with learning rate 1 is the mean itself, momentum is torch's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.server_optimizers import SERVER_OPTIMIZERS, Coefficients, State, adagrad, adam, momentum, yogi
from engine.types import Array

C = Coefficients(beta1=0.9, beta2=0.99, tau=1e-3)


def deltas(count: int, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return list(random.normal(scale=random.uniform(1e-4, 1, size=5), size=(count, 5)))


def test_momentum_is_torchs() -> None:
    weights = torch.zeros(5, dtype=torch.float64)
    optimizer = torch.optim.SGD([weights], lr=0.3, momentum=0.9)
    ours, state = np.zeros(5), dict[str, Array]()
    moved: State = state
    for delta in deltas(6):
        weights.grad = torch.from_numpy(-delta)
        optimizer.step()
        direction, moved = momentum(delta, moved, C)
        ours = ours + 0.3 * direction
        np.testing.assert_allclose(ours, weights.numpy(), rtol=1e-12)


@given(seed=st.integers(0, 50))
def test_every_rule_goes_uphill_first_and_keeps_its_second_moment_positive(seed: int) -> None:
    for name, rule in SERVER_OPTIMIZERS.items():
        state: State = {}
        for number, delta in enumerate(deltas(5, seed)):
            direction, state = rule(delta, state, C)
            assert direction.shape == delta.shape
            assert all(array.dtype == np.float64 for array in state.values())
            if number == 0:
                assert np.array_equal(np.sign(direction), np.sign(delta)), name
            assert (state.get("square", np.ones(5)) > 0).all()


def test_yogi_forgets_a_large_delta_no_faster_than_small_ones_come() -> None:
    """After one large delta Adam's second moment decays by a factor, Yogi's by the small squares alone."""
    seconds: dict[str, Array] = {}
    for rule in (adam, yogi, adagrad):
        state: State = {}
        for delta in [np.ones(3), *[np.full(3, 1e-3)] * 20]:
            _, state = rule(delta, state, C)
        seconds[rule.__name__] = state["square"]
    assert (seconds["adam"] < seconds["yogi"]).all()
    assert (seconds["yogi"] < seconds["adagrad"]).all()
