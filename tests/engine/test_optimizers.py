"""The flat optimisers are torch's own, and their state is all there is to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import get_args

import pytest
import safetensors.torch
import torch
from torch import Tensor

from engine.config import OptimizerName
from engine.optimizers import OPTIMIZERS

LR = 0.01
TORCHS: dict[OptimizerName, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=LR, foreach=False),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=LR, foreach=False),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=LR, foreach=False),
}
NAMES = get_args(OptimizerName)


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(50, dtype=dtype, generator=torch.Generator().manual_seed(0))


def gradients(count: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Of very different sizes, some entries exactly zero."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(count, 50, dtype=dtype, generator=generator)
    return list(drawn * torch.logspace(-6, 3, 50, dtype=dtype) * (torch.arange(50) % 7 > 0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_equals_torchs(name: OptimizerName, dtype: torch.dtype, tolerance: float) -> None:
    ours, theirs = start(dtype), start(dtype).requires_grad_()
    rule, reference = OPTIMIZERS[name], TORCHS[name]([theirs])
    state = rule.init(ours)
    for gradient in gradients(7, dtype):
        rule.step(ours, gradient, state, LR)
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_equals_torchs_on_the_separate_tensors_of_a_network(name: OptimizerName) -> None:
    ours = start()
    pieces = [piece.clone().requires_grad_() for piece in start().split([20, 5, 25])]
    rule, reference = OPTIMIZERS[name], TORCHS[name](pieces)
    state = rule.init(ours)
    for gradient in gradients(4):
        rule.step(ours, gradient, state, LR)
        for piece, part in zip(pieces, gradient.split([20, 5, 25]), strict=True):
            piece.grad = part.clone()
        reference.step()
    torch.testing.assert_close(ours, torch.cat([p.detach() for p in pieces]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_state_goes_on_bit_for_bit(name: OptimizerName) -> None:
    rule = OPTIMIZERS[name]
    through, weights = start(), start()
    steps = gradients(6)
    state = rule.init(through)
    for gradient in steps:
        rule.step(through, gradient, state, LR)
    first = rule.init(weights)
    for gradient in steps[:3]:
        rule.step(weights, gradient, first, LR)
    stored = safetensors.torch.load(safetensors.torch.save(first)) if first else {}
    for gradient in steps[3:]:
        rule.step(weights, gradient, stored, LR)
    assert torch.equal(weights, through)
    assert {key: value.tolist() for key, value in stored.items()} == {k: v.tolist() for k, v in state.items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_stays_as_it_is_and_states_are_separate(name: OptimizerName) -> None:
    rule = OPTIMIZERS[name]
    weights, gradient = start(), gradients(1)[0]
    kept = gradient.clone()
    one, other = rule.init(weights), rule.init(weights)
    untouched = copy.deepcopy(other)
    rule.step(weights, gradient, one, LR)
    assert torch.equal(gradient, kept)
    assert all(torch.equal(other[key], untouched[key]) for key in untouched)


def test_sgd_by_hand() -> None:
    weights = torch.tensor([1.0, -2.0])
    OPTIMIZERS["sgd"].step(weights, torch.tensor([10.0, 0.0]), {}, 0.5)
    assert weights.tolist() == [-4.0, -2.0]


def test_adams_first_step_is_the_learning_rate() -> None:
    weights = torch.zeros(2, dtype=torch.float64)
    rule = OPTIMIZERS["adam"]
    rule.step(weights, torch.tensor([3.0, -1e4], dtype=torch.float64), rule.init(weights), LR)
    torch.testing.assert_close(weights, torch.tensor([-LR, LR], dtype=torch.float64), rtol=1e-8, atol=0)


def test_rmsprops_first_step_by_hand() -> None:
    weights = torch.zeros(1, dtype=torch.float64)
    rule = OPTIMIZERS["rmsprop"]
    rule.step(weights, torch.tensor([2.0], dtype=torch.float64), rule.init(weights), LR)
    assert float(weights) == pytest.approx(-LR * 2 / ((0.01 * 4) ** 0.5 + 1e-8), rel=1e-12)
