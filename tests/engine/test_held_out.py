"""Held-out patients told by ridge regression: against fits made anew for every pair that is left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.held_out import RIDGE, accuracies
from engine.permutations import exchanges
from engine.types import Array
from tests.engine.samples import site

Scored = tuple[Array, float, Array]


def fit_anew(x: Array, labels: Array, held: Array, ridge: float) -> Scored:
    """Ridge regression on the features themselves [R, D]: scores of what was held out, the others' mean label."""
    learnt = ~held
    centre = x[learnt].mean(axis=0)
    features = x[learnt] - centre
    weights = np.linalg.solve(features.T @ features + ridge * np.eye(x.shape[1]), features.T @ labels[learnt])
    balance = float(labels[learnt].mean())
    return (x[held] - centre) @ weights + balance, balance, labels[held]


def plainly(x: Array, owners: Array, at_first: Array) -> float:
    """One pair after the other."""
    labels = np.where(at_first, 1.0, -1.0)[owners]
    ridge = RIDGE * float(np.square(x - x.mean(axis=0)).sum(axis=1).mean())
    pairs = list(product(np.flatnonzero(at_first), np.flatnonzero(~at_first)))
    fits = [fit_anew(x, labels, np.isin(owners, pair), ridge) for pair in pairs]
    gap = float(np.mean([scores[truth > 0].mean() - scores[truth < 0].mean() for scores, _, truth in fits]))
    told = []
    for scores, balance, truth in fits:
        right = (scores - balance * (1 - gap / 2)) * truth > 0
        told += [right[truth > 0].mean(), right[truth < 0].mean()]
    return float(np.mean(told))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.integers(1, 7),
    st.integers(0, 10**6),
)
def test_equals_fits_made_anew(one: Sequence[int], other: Sequence[int], features: int, seed: int) -> None:
    sample = site([*one, *other], seed, features=features, alike=1)
    x, owners = sample.latents.astype(np.float64), sample.patients
    ways, _ = exchanges(np.bincount(owners), len(one), np.random.default_rng(seed))
    found = accuracies(x @ x.T, owners, ways)
    assert found == pytest.approx([plainly(x, owners, way) for way in ways], abs=1e-9)


def test_the_origin_of_the_kernels_space_does_not_matter() -> None:
    sample = site([3] * 6, 1)
    x, owners = sample.latents.astype(np.float64), sample.patients
    ways, _ = exchanges(np.bincount(owners), 3, np.random.default_rng(1))
    moved = x + 5
    assert accuracies(moved @ moved.T, owners, ways) == pytest.approx(accuracies(x @ x.T, owners, ways), abs=1e-9)


def test_the_larger_site_is_not_favoured() -> None:
    """Two patients against twelve, more latents than rows: with its threshold at 0 it would tell nobody of the two."""
    first, second = site([5] * 2, 1, 4, features=100), site([5] * 12, 2, features=100)
    x = np.concatenate([first.latents, second.latents]).astype(np.float64)
    owners = np.concatenate([first.patients, second.patients + 2])
    assert accuracies(x @ x.T, owners, np.arange(14)[None] < 2)[0] > 0.8


@pytest.mark.parametrize("one", [1, 3])
def test_nobody_left_to_learn_from(one: int) -> None:
    sample = site([3] * 4, 1)
    x = sample.latents.astype(np.float64)
    ways, _ = exchanges(np.full(4, 3), one, np.random.default_rng(1))
    assert accuracies(x @ x.T, sample.patients, ways).tolist() == [0.5] * 4
