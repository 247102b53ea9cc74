"""The maximum mean discrepancy: a hand-sized case from the paper's equation, and its laws."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.shift import BANDWIDTHS, mmd
from engine.types import Array


def normal(rows: int, seed: int, mean: float = 0.0, features: int = 8) -> Array:
    return np.random.default_rng(seed).normal(mean, 1, (rows, features))


def by_the_equation(first: Array, second: Array) -> float:
    """Gretton et al., JMLR 2012, eq. 3, term by term."""
    both = [*first, *second]
    apart = [float(((a - b) ** 2).sum()) for i, a in enumerate(both) for j, b in enumerate(both) if i != j]
    median = float(np.median(apart)) or 1.0

    def kernel(a: Array, b: Array) -> float:
        return float(np.mean([math.exp(-((a - b) ** 2).sum() / (median * w)) for w in BANDWIDTHS]))

    m, n = len(first), len(second)
    within_first = sum(kernel(first[i], first[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    within_second = sum(kernel(second[i], second[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within_first + within_second - 2 * sum(kernel(a, b) for a in first for b in second) / (m * n)


def test_closed_form_of_two_points_each() -> None:
    """{0, 0} against {1, 1}: four of six distances are 1, so is the median; MMD^2 = 2 - 2 mean exp(-1 / b)."""
    first, second = np.zeros((2, 1)), np.ones((2, 1))
    expected = 2 - 2 * sum(math.exp(-1 / b) for b in (0.25, 0.5, 1, 2, 4)) / 5
    assert mmd(first, second) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 10**6), st.floats(-2, 2))
def test_equals_the_equation(m: int, n: int, seed: int, mean: float) -> None:
    first, second = normal(m, seed, features=3), normal(n, seed + 1, mean, features=3)
    assert mmd(first, second) == pytest.approx(by_the_equation(first, second), abs=1e-9)


def test_alike_is_near_zero_and_unbiased() -> None:
    values = [mmd(normal(40, 2 * i), normal(40, 2 * i + 1)) for i in range(60)]
    assert max(map(abs, values)) < 0.05
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))  # around 0, on both sides
    assert min(values) < 0 < max(values)


def test_grows_with_the_shift_and_stays_bounded() -> None:
    values = [mmd(normal(60, 1), normal(60, 2, shift)) for shift in (0.0, 0.3, 0.6, 1.2, 3.0)]
    assert values == sorted(values)
    assert values[-1] > 0.5
    assert values[-1] < 2


def test_sees_a_shift_of_spread_alone() -> None:
    assert mmd(normal(60, 1), 3 * normal(60, 2)) > 0.1


@given(st.integers(0, 10**6), st.randoms())
def test_symmetric_and_blind_to_the_order_of_rows(seed: int, random: Random) -> None:
    first, second = normal(6, seed), normal(9, seed + 1, 0.5)
    order = list(range(9))
    random.shuffle(order)
    found = mmd(first, second)
    assert mmd(second, first) == pytest.approx(found, abs=1e-12)
    assert mmd(first[::-1], second[order]) == pytest.approx(found, abs=1e-12)


@given(st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_units_and_origin_do_not_matter(scale: float, offset: float) -> None:
    first, second = normal(7, 1), normal(5, 2, 0.5)
    assert mmd(scale * first + offset, scale * second + offset) == pytest.approx(mmd(first, second), abs=1e-5)


def test_float32_latents_are_measured_in_float64() -> None:
    first, second = normal(20, 1).astype(np.float32), normal(20, 2, 0.5).astype(np.float32)
    assert mmd(first, second) == mmd(first.astype(np.float64), second.astype(np.float64))


def test_all_latents_equal() -> None:
    assert mmd(np.ones((3, 4)), np.ones((2, 4))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("m", "n"), [(1, 5), (5, 1), (0, 3)])
def test_too_few_rows_are_refused(m: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"MMD of {m} and {n} latents"):
        mmd(np.zeros((m, 2)), np.zeros((n, 2)))
