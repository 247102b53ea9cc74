"""Measures of shift: hand-sized cases from the papers' equations, Gaussians whose distance is known, and laws."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.pooled import BANDWIDTHS
from engine.shift import (
    BINS,
    EDGES,
    MEASURES,
    MOST,
    a_distance,
    coral,
    frechet,
    identifier_accuracy,
    mmd,
    shifts,
    spearman,
    wasserstein,
)
from engine.types import Array, Sample
from tests.engine.samples import in_order, site


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


# ---- what the answer is known of ------------------------------------------------------------------------


def exactly(mean: Array, covariance: Array, rows: int, seed: int) -> Array:
    """Rows [M, D] with exactly this mean and covariance."""
    x = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    moved: Array = mean + white @ np.linalg.cholesky(covariance).T
    return moved


@pytest.mark.parametrize(("mean", "scale"), [((0, 0, 0), 1.0), ((1, -2, 0.5), 1.0), ((0, 0, 0), 3.0), ((2, 0, 1), 0.5)])
def test_frechet_of_gaussians(mean: tuple[float, ...], scale: float) -> None:
    """N(0, I) and N(m, s^2 I): |m|^2 + D (1 - s)^2."""
    expected = np.square(mean).sum() + 3 * (1 - scale) ** 2
    first, second = exactly(np.zeros(3), np.eye(3), 40, 1), exactly(np.array(mean), scale**2 * np.eye(3), 30, 2)
    assert frechet(first, second) == pytest.approx(expected, abs=1e-9)
    random = np.random.default_rng(3)
    drawn = frechet(random.normal(size=(400, 3)), mean + scale * random.normal(size=(400, 3)))
    assert drawn == pytest.approx(expected, rel=0.1, abs=0.03)


@pytest.mark.parametrize(("m", "n", "features"), [(9, 7, 4), (4, 6, 5), (3, 3, 12)])
def test_frechet_equals_the_matrix_root(m: int, n: int, features: int) -> None:
    """Also where there are fewer rows than latents: covariances without full rank."""
    mixing = normal(features, 3, features=features)
    first, second = normal(m, 1, features=features), normal(n, 2, 0.3, features) @ mixing
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(one)
    common = np.trace(scipy.linalg.sqrtm(root @ two @ root).real)
    expected = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(one + two) - 2 * common
    assert frechet(first, second) == pytest.approx(expected, rel=1e-5)


def test_coral_of_known_covariances() -> None:
    one, two = np.diag([1.0, 4.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    first, second = exactly(np.zeros(2), one, 12, 1), exactly(np.array([5.0, -3.0]), two, 9, 2)
    assert coral(first, second) == pytest.approx((1 + 9 + 2 * 0.25) / 16, rel=1e-9)


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 12), st.integers(0, 10**6))
def test_coral_equals_the_covariances(m: int, n: int, features: int, seed: int) -> None:
    first, second = normal(m, seed, 1, features), 2 * normal(n, seed + 1, -1, features)
    one, two = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))
    assert coral(first, second) == pytest.approx(np.square(one - two).sum() / (4 * features**2), rel=1e-8, abs=1e-10)


def gaussian_histogram(mean: float, scale: float = 1.0) -> Array:
    parts = np.diff(scipy.stats.norm.cdf(EDGES, mean, scale))
    return np.asarray(parts[None] / parts.sum())


@pytest.mark.parametrize("distance", [0.0, 0.1, 0.5, 1.7])
def test_wasserstein_of_gaussians(distance: float) -> None:
    assert wasserstein(gaussian_histogram(0), gaussian_histogram(distance)) == pytest.approx(distance, abs=1e-3)


def test_wasserstein_of_spreads() -> None:
    """N(0, 1) and N(0, s^2): |s - 1| E|x|."""
    expected = 0.5 * math.sqrt(2 / math.pi)
    assert wasserstein(gaussian_histogram(0), gaussian_histogram(0, 1.5)) == pytest.approx(expected, abs=2e-3)


def test_wasserstein_means_a_sites_patients() -> None:
    """Two patients in bins 0 and 2 against one in bin 1: half of all moves by a bin, to either side."""
    bins = np.eye(BINS)
    assert wasserstein(bins[[0, 2]], bins[[1]]) == pytest.approx(12 / BINS, rel=1e-12)
    assert wasserstein(bins[[0, 0, 0, 2]], bins[[1]]) == pytest.approx(12 / BINS, rel=1e-12)
    assert wasserstein(bins[[0, 2]], bins[[0, 0]]) == pytest.approx(12 / BINS, rel=1e-12)


def patients(count: int, slices: int) -> Array:
    return np.repeat(np.arange(count), slices)


@pytest.mark.parametrize("distance", [1.0, 2.0, 6.0])
def test_classifiers_come_near_the_best_there_can_be(distance: float) -> None:
    """Of N(0, I) and N(d e, I) no classifier tells more than the part Phi(d / 2)."""
    first, second = normal(240, 1, features=3), normal(240, 2, features=3)
    second[:, 0] += distance
    owners = patients(40, 6)
    best = scipy.stats.norm.cdf(distance / 2)
    assert a_distance(first, second, owners, owners) == pytest.approx(2 * (1 - 2 * (1 - best)), abs=0.12)
    assert identifier_accuracy(first, second, owners, owners) == pytest.approx(best, abs=0.04)


@pytest.mark.parametrize(("one", "other"), [(4, 4), (2, 2), (2, 6), (5, 3)])
def test_classifiers_guess_where_there_is_nothing_to_tell(one: int, other: int) -> None:
    owners = patients(one, 5), patients(other, 5)
    samples = [(normal(5 * one, 2 * i), normal(5 * other, 2 * i + 1)) for i in range(40)]
    assert np.mean([identifier_accuracy(*both, *owners) for both in samples]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([a_distance(*both, *owners) for both in samples]) == pytest.approx(0, abs=0.16)


def test_the_identifier_tells_what_no_line_does() -> None:
    """Of N(0, I) and N(0, 4 I) in two dimensions the best rule is a circle's: it tells 0.736, a line 0.5."""
    first, second = normal(240, 1, features=2), 2 * normal(240, 2, features=2)
    owners = patients(40, 6)
    squared = 8 * math.log(4) / 3  # where the densities meet
    best = (1 - math.exp(-squared / 2) + math.exp(-squared / 8)) / 2
    assert best == pytest.approx(0.736, abs=1e-3)
    assert identifier_accuracy(first, second, owners, owners) == pytest.approx(best, abs=0.05)
    assert abs(a_distance(first, second, owners, owners)) < 0.3


# ---- laws of all of them --------------------------------------------------------------------------------


def values(first: Sample, second: Sample) -> dict[str, float]:
    return {name: shift.value for name, shift in shifts(first, second, np.random.default_rng(0)).items()}


def test_shifts_measure_what_the_functions_do() -> None:
    first, second = site([3, 2, 4], 1), site([2, 5], 2, 1.0)
    latents, owners = (first.latents, second.latents), (first.patients, second.patients)
    expected = {
        "mmd": mmd(*latents),
        "coral": coral(*latents),
        "a_distance": a_distance(*latents, *owners),
        "identifier_accuracy": identifier_accuracy(*latents, *owners),
        "frechet": frechet(*latents),
        "wasserstein": wasserstein(first.intensities, second.intensities),
    }
    assert values(first, second) == pytest.approx(expected, rel=1e-9)
    assert list(expected) == list(MEASURES)


slices = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@settings(deadline=None, max_examples=30)
@given(slices, slices, st.integers(0, 10**6), st.floats(0, 3), st.randoms())
def test_neither_the_sites_order_nor_their_patients_matters(
    one: list[int], other: list[int], seed: int, mean: float, random: Random
) -> None:
    first, second = site(one, seed), site(other, seed + 1, mean)
    expected = values(first, second)
    assert values(second, first) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    order = list(range(len(one)))
    random.shuffle(order)
    assert values(in_order(first, order), second) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(slices, slices, st.integers(0, 10**6), st.floats(1e-2, 1e2), st.floats(-10, 10))
def test_units_and_origin_of_latents(one: list[int], other: list[int], seed: int, scale: float, offset: float) -> None:
    first, second = site(one, seed), site(other, seed + 1, 1.0)
    latents, owners = (first.latents, second.latents), (first.patients, second.patients)
    moved = latents[0].astype(np.float64) * scale + offset, latents[1].astype(np.float64) * scale + offset
    assert coral(*moved) == pytest.approx(scale**4 * coral(*latents), rel=1e-6)
    assert frechet(*moved) == pytest.approx(scale**2 * frechet(*latents), rel=1e-6)
    assert a_distance(*moved, *owners) == pytest.approx(a_distance(*latents, *owners), abs=1e-9)
    assert identifier_accuracy(*moved, *owners) == pytest.approx(identifier_accuracy(*latents, *owners), abs=1e-9)


def test_all_grow_as_sites_drift_apart_and_some_saturate() -> None:
    drifts = [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    first = site([6] * 4, 1, features=3)
    moved = [values(first, site([6] * 4, 2, drift, features=3)) for drift in drifts]
    spread = [values(first, site([6] * 4, 2, scale=1 + drift, features=3)) for drift in drifts]
    pixels = [wasserstein(gaussian_histogram(-4), gaussian_histogram(drift / 4 - 4)) for drift in drifts]
    for name, measure in MEASURES.items():
        grown = [value[name] for value in (spread if name == "coral" else moved)]  # which sees no mean
        grown = pixels if name == "wasserstein" else grown  # whose bins end
        assert all(after >= before - 0.02 * grown[-1] for before, after in pairwise(grown)), name
        assert grown[-1] > 1.5 * max(grown[0], 0), name
        assert (grown[-1] < 1.05 * grown[-2]) == measure.saturates, name
    assert moved[-1]["a_distance"] == pytest.approx(2)
    assert moved[-1]["identifier_accuracy"] == pytest.approx(1)
    assert moved[-1]["coral"] == pytest.approx(moved[0]["coral"], rel=1e-3)


# ---- what hardly is a sample ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(site([1, 1], 1), site([1, 3], 2), id="one slice a patient"),
        pytest.param(site([2], 1), site([8], 2), id="one patient a site"),
        pytest.param(site([4], 1), site([2, 1, 1, 3], 2), id="one patient here"),
        pytest.param(site([2, 3], 1, scale=0), site([3, 1], 2, scale=0), id="all latents the same"),
        pytest.param(site([2, 3], 1, scale=0), site([3, 1], 2, 1.0, scale=0), id="a constant at each site"),
        pytest.param(site([3, 3], 1, features=1), site([3, 2], 2, features=1), id="one latent"),
        pytest.param(site([4, 4], 1), site([4, 4], 1), id="the same site twice"),
        pytest.param(site([3, 3], 1, scale=1e-20), site([3, 2], 2, scale=1e-20), id="tiny"),
        pytest.param(site([3, 3], 1, 1e15, scale=1e15), site([3, 2], 2, scale=1e15), id="huge"),
    ],
)
def test_numbers_of_hardly_a_sample_are_finite(first: Sample, second: Sample) -> None:
    for name, shift in shifts(first, second, np.random.default_rng(1)).items():
        assert np.isfinite([shift.value, shift.low, shift.high]).all(), name
        assert 0 < shift.p <= 1, name


def test_nothing_to_tell() -> None:
    same = site([2, 3], 1, scale=0)
    found = shifts(same, same, np.random.default_rng(1))
    assert {name: shift.value for name, shift in found.items()} == dict.fromkeys(MEASURES, 0) | {
        "identifier_accuracy": 0.5
    }
    assert {shift.p for shift in found.values()} == {1}


def test_a_latent_that_is_not_finite_is_measured_as_nan() -> None:
    first, second = site([2, 2], 1), site([2, 2], 2)
    first.latents[1, 2] = np.inf
    with np.errstate(invalid="ignore"):
        assert all(math.isnan(shift.p) for shift in shifts(first, second, np.random.default_rng(1)).values())


@pytest.mark.parametrize(("m", "n"), [(1, 5), (5, 1), (0, 3)])
def test_every_measure_of_latents_needs_two_rows(m: int, n: int) -> None:
    first, second = np.zeros((m, 2)), np.zeros((n, 2))
    owners = np.arange(m), np.arange(n)
    for measure in (coral, frechet):
        with pytest.raises(ValueError, match=f"distance of {m} and {n} latents: needs at least two of each"):
            measure(first, second)
    for told in (a_distance, identifier_accuracy):
        with pytest.raises(ValueError, match=f"of {m} and {n} latents: needs at least two of each"):
            told(first, second, *owners)
    one, two = (
        Sample(latents=latents, patients=patients, intensities=np.zeros((len(patients), BINS)))
        for latents, patients in zip((first, second), owners, strict=True)
    )
    with pytest.raises(ValueError, match=f"shift of {m} and {n} latents"):
        shifts(one, two, np.random.default_rng(0))


def test_of_many_slices_some_of_every_patient_are_looked_at() -> None:
    many, few = site([MOST] * 4, 1), site([3, 3], 2)
    rows = np.linspace(0, 4 * MOST - 1, MOST).astype(int)
    thinned = Sample(latents=many.latents[rows], patients=many.patients[rows], intensities=many.intensities)
    assert values(many, few) == values(thinned, few)
    assert np.bincount(thinned.patients).tolist() == [MOST // 4] * 4


# ---- ranks ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1, 1)), min_size=2, max_size=12))
def test_spearman_equals_scipys(points: list[tuple[int, float]]) -> None:
    x, y = np.array(points, float).T
    found = spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_sees_ranks_alone() -> None:
    x = np.arange(6.0)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    assert math.isnan(spearman(np.empty(0), np.empty(0)))
