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


def test_the_biased_mmd_is_the_measure_plus_its_diagonal() -> None:
    """V-statistic = U-statistic with the diagonal of ones: (1/m) (1 - U_within) more for each sample."""
    first, second = batch(12, 2), batch(9, 3, 0.4)
    biased, unbiased = float(mmd_loss(first, second)), mmd(first.numpy(), second.numpy())
    assert 0 < biased - unbiased < 1 / 12 + 1 / 9


def test_gram_matrices_give_the_covariances_distance() -> None:
    first, second = batch(7, 4), batch(5, 5, 0.3)
    expected = (torch.cov(first.T) - torch.cov(second.T)).square().sum() / (4 * 6**2)
    assert float(coral_loss(first, second)) == pytest.approx(float(expected), rel=1e-12)
