"""Exchanging patients: which ways there are, what they make of a measure, and that p means what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import ceil, comb, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.permutations import PERMUTATIONS, exchanges, judged
from engine.shift import MEASURES, a_distance, coral, frechet, identifier_accuracy, mmd, shifts, wasserstein
from engine.types import Array, Sample, Shift
from tests.engine.samples import by_slice, site


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("first", "second", "ways"), [(2, 2, 3), (1, 1, 1), (1, 3, 4), (2, 3, 10), (3, 3, 10), (5, 5, 126), (4, 6, None)]
)
def test_all_ways_if_they_are_few(first: int, second: int, ways: int | None) -> None:
    found, complete = exchanges(np.full(first + second, 2), first, rng())
    assert complete == (ways is not None)
    assert len(found) == (ways or 1 + PERMUTATIONS)
    assert found[0].tolist() == [True] * first + [False] * second
    assert (found.sum(axis=1) == first).all()
    if ways:
        named = {frozenset([tuple(way), tuple(~way)] if first == second else [tuple(way)]) for way in found}
        assert len(named) == ways


def test_of_many_ways_each_patient_is_as_often_at_either_site() -> None:
    found = np.concatenate([exchanges(np.full(12, 2), 4, np.random.default_rng(seed))[0][1:] for seed in range(30)])
    assert found.mean(axis=0) == pytest.approx(np.full(12, 4 / 12), abs=0.03)


def test_a_way_that_leaves_a_site_one_slice_is_left_out() -> None:
    found, complete = exchanges(np.array([3, 1, 2, 1]), 1, rng())
    assert complete
    assert found.argmax(axis=1).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("values", "complete", "p", "low", "high"),
    [
        ([3.0, 1.0, 2.0, 3.0 + 1e-13], True, 2 / 4, 1.0, 3.0 + 1e-13),
        ([3.0, 1.0, 2.0, 3.0 - 1e-13], True, 2 / 4, 1.0, 3.0),
        ([3.0, 1.0, 2.0, 2.5], False, 1 / 4, 1.0, 2.5),
        ([0.0, 0.0, 0.0], False, 1.0, 0.0, 0.0),
        ([-1.0, -2.0, -0.5], False, 2 / 3, -2.0, -0.5),
        ([1.0], False, 1.0, 1.0, 1.0),
    ],
)
def test_hand_sized_nulls(values: list[float], complete: bool, p: float, low: float, high: float) -> None:
    found = judged(np.array(values), complete)
    assert found == Shift(value=values[0], low=low, high=high, p=found.p)
    assert found.p == pytest.approx(p)


# ---- against a loop -------------------------------------------------------------------------------------


def one_way(both: Sample, at_first: Array) -> Mapping[str, float]:
    """Every measure by its function, of the patients dealt in this way."""
    here = at_first[both.patients]
    latents, owners = (both.latents[here], both.latents[~here]), (both.patients[here], both.patients[~here])
    return {
        "mmd": mmd(*latents),
        "coral": coral(*latents),
        "a_distance": a_distance(*latents, *owners),
        "identifier_accuracy": identifier_accuracy(*latents, *owners),
        "frechet": frechet(*latents),
        "wasserstein": wasserstein(both.intensities[at_first], both.intensities[~at_first]),
    }


@settings(deadline=None, max_examples=12)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=1, max_size=8),
    st.integers(0, 10**6),
)
def test_equals_a_loop_over_the_ways(one: list[int], other: list[int], seed: int) -> None:
    one[0] += 1
    other[0] += 1
    first, second = site(one, seed, features=5, alike=1), site(other, seed + 1, 0.7, features=5, alike=1)
    both = Sample(
        latents=np.concatenate([first.latents, second.latents]),
        patients=np.concatenate([first.patients, second.patients + len(one)]),
        intensities=np.concatenate([first.intensities, second.intensities]),
    )
    ways, complete = exchanges(np.array(one + other), len(one), np.random.default_rng(seed))
    assert complete == (comb(len(one + other), len(one)) <= PERMUTATIONS)
    looped = [one_way(both, way) for way in ways]
    for name, shift in shifts(first, second, np.random.default_rng(seed)).items():
        null = [values[name] for values in looped]
        reached = sum(value >= null[0] - 1e-9 * np.abs(null).max() for value in null)
        null = null if complete else null[1:]
        assert shift.value == pytest.approx(looped[0][name], rel=1e-8, abs=1e-11), name
        assert shift.p == pytest.approx(reached / len(ways)), name
        ordered, last = sorted(null), len(null) - 1
        middle = ordered[floor(0.025 * last)], ordered[ceil(0.975 * last)]
        assert (shift.low, shift.high) == pytest.approx(middle, rel=1e-8, abs=1e-11), name


def test_two_and_two_patients_have_three_ways() -> None:
    """So p is no less than 1/3, however far they are apart, and the value no more than the interval's end."""
    found = shifts(site([3, 3], 1), site([3, 3], 2, 30.0), rng())
    coral = found.pop("coral")  # sees no mean
    assert {shift.p for shift in found.values()} == {1 / 3}
    assert all(shift.value == shift.high for shift in found.values())
    assert coral.p in (1 / 3, 2 / 3, 1)


def test_the_same_generator_gives_the_same() -> None:
    first, second = site([3] * 6, 1), site([2] * 6, 2)
    assert shifts(first, second, rng()) == shifts(first, second, rng())
    other = shifts(first, second, np.random.default_rng(2))
    assert other != shifts(first, second, rng())
    assert other["mmd"].value == shifts(first, second, rng())["mmd"].value


# ---- what p means ---------------------------------------------------------------------------------------


def test_far_apart_is_never_chance() -> None:
    found = shifts(site([4] * 6, 1, alike=0.3), site([4] * 7, 2, 4.0, 4.0, alike=0.3), rng())
    for name, shift in found.items():
        assert shift.p == 1 / (1 + PERMUTATIONS), name
        assert shift.value > shift.high, name


def test_patients_are_exchanged_because_their_slices_are_alike() -> None:
    """Where the sites do not differ, p < 0.05 is to happen 1 time in 20; were slices exchanged, it would most times."""
    by_patient, by_row = Counter[str](), Counter[str]()
    for seed in range(20):
        first, second = (site([4] * 6, 2 * seed + i, features=16, alike=2) for i in (0, 1))
        found = shifts(first, second, np.random.default_rng(seed))
        naive = shifts(by_slice(first), by_slice(second), np.random.default_rng(seed))
        by_patient.update(name for name in MEASURES if found[name].p < 0.05)
        by_row.update(name for name in MEASURES if naive[name].p < 0.05)
    for name in MEASURES:
        assert by_patient[name] <= 4, name
        assert by_row[name] > 3 * by_patient[name], name
        assert by_row[name] >= (6 if name == "wasserstein" else 18), name  # of one number a slice, not of 16


def test_p_is_uniform_where_sites_do_not_differ() -> None:
    below = Counter[str]()
    for seed in range(80):
        first, second = (site([3, 4, 5, 3, 4, 5], 2 * seed + i, features=8, alike=1) for i in (0, 1))
        for name, shift in shifts(first, second, np.random.default_rng(seed)).items():
            below.update({f"{name} {part}": shift.p <= part for part in (0.05, 0.25, 0.5)})
    for key, count in below.items():
        part = float(key.split()[1])
        assert count / 80 == pytest.approx(part, abs=4 * (part * (1 - part) / 80) ** 0.5), key
