"""Distances of latents to descend: laws, and the measures of `engine.shift` where they meet."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.discrepancies import coral_loss, mmd_loss
from engine.shift import mmd

LOSSES = [mmd_loss, coral_loss]


def batch(rows: int, seed: int, shift: float = 0.0, features: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, features, dtype=torch.float64, generator=generator) * (1 + shift) + shift


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(rows=st.integers(1, 9), seed=st.integers(0, 99))
def test_identical_latents_have_no_loss_and_no_gradient(loss, dtype: torch.dtype, rows: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    latents = batch(rows, seed).to(dtype).requires_grad_()
    value = loss(latents, latents.detach())
    assert abs(value.item()) <= 1e-6
    (gradient,) = torch.autograd.grad(value, [latents])
    assert float(gradient.abs().max()) <= 1e-6


@pytest.mark.parametrize("loss", LOSSES)
@given(rows=st.integers(2, 8), others=st.integers(2, 8), seed=st.integers(0, 99))
def test_at_least_zero_symmetric_and_blind_to_the_order_of_rows(loss, rows: int, others: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    first, second = batch(rows, seed), batch(others, seed + 1, shift=0.5)
    value = float(loss(first, second))
    assert value >= -1e-12
    assert float(loss(second, first)) == pytest.approx(value)
    assert float(loss(first.flip(0), second)) == pytest.approx(value)


@pytest.mark.parametrize("loss", LOSSES)
def test_grows_with_the_shift_and_its_descent_shrinks_it(loss) -> None:  # type: ignore[no-untyped-def]
    target = batch(32, 0)
    values = [float(loss(batch(32, 1, shift), target)) for shift in (0.0, 1.0, 3.0)]
    assert values == sorted(values)
    moved = batch(32, 1, 1.0).requires_grad_()
    before = loss(moved, target)
    (gradient,) = torch.autograd.grad(before, [moved])
    assert loss(moved - gradient / gradient.abs().max() * 0.1, target).item() < before.item()


def test_the_biased_mmd_is_the_measure_with_the_diagonal() -> None:
    """V = U + (1 - within) / m for each sample, where within is the mean kernel of different rows.

    The two take the median of an even number of distances differently: hence the tolerance.
    """
    first, second = batch(12, 2), batch(12, 2) + 0.4
    kernels = [_mean_kernel(first, second, *pair) for pair in ((first, first), (second, second))]
    biased, unbiased = float(mmd_loss(first, second)), mmd(first.numpy(), second.numpy())
    expected = unbiased + sum((1 - within) / 12 for within in kernels)
    assert biased == pytest.approx(expected, abs=2e-3)


def _mean_kernel(first: Tensor, second: Tensor, rows: Tensor, others: Tensor) -> float:
    """Of different rows, with the bandwidths of both samples together."""
    both = torch.cat([first, second])
    apart = (both[:, None] - both[None]).square().sum(-1)
    median = apart[~torch.eye(len(both), dtype=torch.bool)].median()
    squares = (rows[:, None] - others[None]).square().sum(-1)[~torch.eye(len(rows), dtype=torch.bool)]
    return float(torch.stack([(-squares / (median * b)).exp() for b in (0.25, 0.5, 1, 2, 4)]).mean())


def test_gram_matrices_give_the_covariances_distance() -> None:
    first, second = batch(7, 4), batch(5, 5, 0.3)
    expected = (torch.cov(first.T) - torch.cov(second.T)).square().sum() / (4 * 6**2)
    assert float(coral_loss(first, second)) == pytest.approx(float(expected), rel=1e-12)
