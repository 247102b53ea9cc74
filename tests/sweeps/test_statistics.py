"""Intervals, the paired test, its correction, and what is set in bold: against hand counts, scipy and their laws."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sites.intervals import interval, interval_of_means
from sweeps.scores import (
    BASELINE,
    MEAN,
    METRICS,
    ZERO_FILLED,
    Entry,
    Layout,
    PatientScore,
    Study,
    StudyTable,
    layout_of,
    unit_values,
)
from sweeps.statistics import bold, holm, signed_rank_test, summarize
from tests.sweeps.tables.scores import synthetic

PROBABILITIES = st.dictionaries(st.integers(), st.floats(0, 1), max_size=12)
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)


def score(
    row: str, column: str, seed: int, patient: int, psnr: float, trained_at: str = "", study: Study = "within"
) -> PatientScore:
    return PatientScore(
        study=study,
        row=row,
        column=column,
        trained_at=trained_at,
        seed=seed,
        patient=patient,
        psnr=psnr,
        ssim=psnr / 100,
        nmse=1 / psnr if psnr else math.inf,
    )


def table_of(rows: dict[str, Sequence[float]], sites: Sequence[str] = ("a", "b"), patients: int = 4) -> StudyTable:
    """The same values at every site, `patients` a seed."""
    scores = [
        score(row, site, i // patients, i % patients, value)
        for row, values in rows.items()
        for site in sites
        for i, value in enumerate(values)
    ]
    return summarize(scores)[0]


def bold_cells(table: StudyTable) -> list[tuple[str, str, str]]:
    return [
        (metric, row, column)
        for metric, cells in table.cells.items()
        for row, entries in cells.items()
        for column, entry in entries.items()
        if entry.bold
    ]


# ---- intervals ------------------------------------------------------------------------------------------


def test_the_interval_of_five_values() -> None:
    # mean 3, s^2 = 10/4; t of 4 degrees at 97.5 % is 2.776445 (Student 1908; any table)
    mean, half_width = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)


def test_the_interval_of_two_sites_is_welchs() -> None:
    # a sum of two means has the variance and the degrees of freedom of their difference
    from scipy.stats import ttest_ind

    groups = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0, 8.0]
    welch = ttest_ind(*groups, equal_var=False).confidence_interval()
    mean, half_width = interval_of_means(groups)
    assert mean == 3.5
    assert half_width == pytest.approx((welch.high - welch.low) / 4, rel=1e-9)


def test_sites_weigh_alike_whatever_their_patients() -> None:
    few, many = [20.0, 20.0], [30.0] * 50
    assert interval_of_means([few, many]) == (25.0, 0.0)


@settings(deadline=None)
@given(VALUES, st.randoms(use_true_random=False))
def test_the_interval_forgets_the_order(values: list[float], chance: random.Random) -> None:
    shuffled = values.copy()
    chance.shuffle(shuffled)
    assert interval(shuffled) == interval(values)
    assert min(values) - 1e-6 <= interval(values)[0] <= max(values) + 1e-6


@settings(deadline=None)
@given(VALUES)
def test_identical_sites_narrow_the_interval(values: list[float]) -> None:
    mean, half_width = interval(values)
    mean_of_four, narrower = interval_of_means([values] * 4)
    assert mean_of_four == pytest.approx(mean)
    assert narrower <= half_width / 2 * (1 + 1e-9)  # by sqrt(4), and by more degrees of freedom


@pytest.mark.parametrize(
    "values", [[1.0], [math.inf, 30.0], [math.inf, math.inf], [math.nan, 1.0], [math.inf, -math.inf]]
)
def test_an_interval_that_is_not_known(values: list[float]) -> None:
    assert math.isnan(interval(values)[1])


# ---- Wilcoxon's test ------------------------------------------------------------------------------------


def counted_p(differences: list[float]) -> float:
    """Over all 2^n signs: how often the smaller rank sum is as small."""
    ranks = [1 + sum(abs(other) < abs(each) for other in differences) for each in differences]
    total = sum(ranks)

    def smaller(signs: Sequence[bool]) -> int:
        positive = sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        return min(positive, total - positive)

    seen = smaller([each > 0 for each in differences])
    every = [smaller(signs) <= seen for signs in itertools.product([False, True], repeat=len(ranks))]
    return sum(every) / len(every)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 2 / 2**5),  # one of 32 signs, and its mirror image
        ([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0], 2 / 2**6),
        ([-1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 4 / 2**6),  # W- = 1: none or the first negative
        ([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2 / 2**5),  # zeros say nothing
        ([0.0, 0.0], 1.0),
        ([], 1.0),
        ([0.3], 1.0),
        ([1.0, 2.0, 3.0, 4.0, math.inf], 2 / 2**5),
    ],
)
def test_small_samples_by_hand(differences: list[float], p: float) -> None:
    assert signed_rank_test(differences)[0] == pytest.approx(p)


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=9, unique=True), st.integers(0, 2**9 - 1))
def test_the_exact_distribution(sizes: list[int], signs: int) -> None:
    differences = [float(size if signs >> i & 1 else -size) for i, size in enumerate(sizes)]
    p, lean = signed_rank_test(differences)
    assert p == pytest.approx(counted_p(differences))
    mirrored, back = signed_rank_test([-each for each in differences])
    assert mirrored == pytest.approx(p)
    assert back == -lean


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([-math.inf, -2.0, -1.0, 0.0, 1.0, 2.0, math.inf]), max_size=60))
def test_ties_and_infinite_differences(differences: list[float]) -> None:
    p, lean = signed_rank_test(differences)
    assert 0 <= p <= 1
    assert math.isfinite(lean)


# ---- Holm's correction ----------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and never below the one before
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


@settings(deadline=None)
@given(PROBABILITIES)
def test_holm_only_raises_and_keeps_the_order(raw: dict[int, float]) -> None:
    adjusted = holm(raw)
    assert adjusted.keys() == raw.keys()
    assert all(raw[key] <= adjusted[key] <= 1 for key in raw)
    assert all(adjusted[a] <= adjusted[b] for a in raw for b in raw if raw[a] <= raw[b])
    assert all(adjusted[key] <= min(1.0, len(raw) * raw[key]) for key in raw)  # never more than Bonferroni's


@settings(deadline=None)
@given(PROBABILITIES, st.randoms(use_true_random=False))
def test_holm_forgets_the_order(raw: dict[int, float], chance: random.Random) -> None:
    keys = list(raw)
    chance.shuffle(keys)
    assert holm({key: raw[key] for key in keys}) == holm(raw)


# ---- bold -----------------------------------------------------------------------------------------------

BASE = [24.0, 25.0, 24.5, 25.5, 23.0, 26.0, 24.2, 25.1]
GAINS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
BETTER = [a + b for a, b in zip(BASE, GAINS, strict=True)]
WORSE = [a - b for a, b in zip(BASE, GAINS, strict=True)]


def test_a_table_by_hand() -> None:
    # 8 units a site, all in favour: p = 2/2^8 at a and b, 2/2^16 in the mean (here with ties: the normal
    # approximation); the row "equal" has p = 1 three times. Holm over 6: a and b by 5 and 4, kept at 5/128.
    table = table_of({BASELINE: BASE, "FL-MRCM": BETTER, "equal": BASE})
    entry = table.entry("psnr", "FL-MRCM", "a")
    assert entry is not None
    assert entry.p_adjusted == pytest.approx(5 * 2 / 2**8)
    assert (entry.n, entry.verdict, entry.bold) == (8, "better", True)
    assert entry.mean == pytest.approx(sum(BETTER) / 8)
    mean = table.entry("psnr", "FL-MRCM", MEAN)
    assert mean is not None
    assert mean.n == 16
    assert mean.p_adjusted is not None
    assert mean.p_adjusted < 0.01
    assert table.comparisons == 6
    assert table.entry("psnr", "equal", "a") == replace(
        table.cells["psnr"][BASELINE]["a"], p_adjusted=1.0, verdict="same"
    )
    assert (table.seeds, table.patients, table.uneven) == (2, (4, 4), ())
    assert {(row, column) for _, row, column in bold_cells(table)} == {("FL-MRCM", c) for c in ("a", "b", MEAN)}


def test_nmse_is_better_when_lower() -> None:
    table = table_of({BASELINE: BASE, "FL-MRCM": BETTER})
    better, baseline = table.entry("nmse", "FL-MRCM", "a"), table.entry("nmse", BASELINE, "a")
    assert better is not None
    assert baseline is not None
    assert better.mean < baseline.mean
    assert (better.verdict, better.bold) == ("better", True)


def test_the_baseline_is_bold_only_if_all_others_are_worse() -> None:
    clear = table_of({BASELINE: BASE, "x": WORSE, "y": [value - 1 for value in WORSE]})
    assert {row for _, row, _ in bold_cells(clear)} == {BASELINE}
    almost = [value - 1e-3 * (-1) ** i for i, value in enumerate(BASE)]
    assert not bold_cells(table_of({BASELINE: BASE, "x": WORSE, "y": [value - 1e-4 for value in almost]}))
    assert not bold_cells(table_of({BASELINE: BASE}))


def test_zero_filled_and_ties_are_never_bold() -> None:
    table = table_of({ZERO_FILLED: [50.0] * 8, BASELINE: BASE, "x": BETTER, "y": BETTER})
    assert not bold_cells(table)
    assert table.cells["psnr"][ZERO_FILLED]["a"].p_adjusted is None
    assert table.cells["psnr"]["x"]["a"].verdict == "better"


def test_without_a_baseline_nothing_is_tested() -> None:
    table = table_of({"Local": BASE, "x": BETTER})
    assert table.comparisons == 0
    assert not bold_cells(table)


def test_rows_without_the_same_units_are_not_ranked() -> None:
    table = table_of({BASELINE: BASE, "x": BETTER, "y": WORSE[:4]})
    assert table.uneven == ("a", "b", MEAN)
    assert not bold_cells(table)
    assert table.cells["psnr"]["x"]["a"].verdict == "better"  # in pairs, all the same


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([BASELINE, ZERO_FILLED, "x", "y", "z"]),
        st.tuples(
            st.sampled_from([-math.inf, 0.0, 1.0, 2.0, math.inf, math.nan]),
            st.sampled_from(["better", "worse", "same"]),
        ),
    ),
    st.sampled_from(METRICS),
)
def test_bold_is_the_best_or_nobody(column: dict[str, tuple[float, str]], metric: str) -> None:
    entries = {
        row: Entry(mean=mean, half_width=0.1, n=3, p_adjusted=0.5, verdict=verdict)  # type: ignore[arg-type]
        for row, (mean, verdict) in column.items()
    }
    winner = bold(entries, metric)  # type: ignore[arg-type]
    if winner is not None:
        sign = -1 if metric == "nmse" else 1
        others = [sign * entry.mean for row, entry in entries.items() if row not in (winner, ZERO_FILLED)]
        assert all(sign * entries[winner].mean > other for other in others)
        assert winner != ZERO_FILLED


# ---- whole tables ---------------------------------------------------------------------------------------


def test_cross_is_averaged_over_its_networks_first() -> None:
    scores = [score("Cross", "a", 0, 0, 20.0, "b"), score("Cross", "a", 0, 0, 22.0, "c")]
    assert unit_values(scores, "psnr") == {"Cross": {("a", 0, 0): 21.0}}
    assert summarize(scores)[0].cells["psnr"]["Cross"]["a"].n == 1


def test_a_patient_scored_twice_is_refused() -> None:
    scores = [score("Fused", "a", 0, 0, 20.0), score("Fused", "a", 0, 0, 20.0)]
    with pytest.raises(ValueError, match="twice"):
        summarize(scores)


def test_a_layout_shows_what_is_still_missing() -> None:
    layout: dict[Study, Layout] = {"within": Layout(rows=("Local", BASELINE), sites=("a", "b"))}
    table = summarize([score(BASELINE, "a", 0, 0, 20.0)], layout)[0]
    assert table.columns == ("a", "b", MEAN)
    assert table.rows == ("Local", BASELINE)
    assert table.entry("psnr", BASELINE, "a") is not None
    assert table.entry("psnr", BASELINE, MEAN) is None  # b is missing
    assert table.entry("psnr", "Local", "a") is None
    assert summarize([], layout)[0].seeds == 0
    with pytest.raises(ValueError, match="'c'"):
        summarize([score(BASELINE, "c", 0, 0, 20.0)], layout)


def test_a_mean_is_tested_once_the_baseline_has_all_sites() -> None:
    scores = [score(row, site, 0, i, value) for row, values in {BASELINE: BASE, "x": BETTER}.items()
              for site in ("a", "b") for i, value in enumerate(values) if (row, site) != (BASELINE, "b")]  # fmt: skip
    row = summarize(scores)[0].cells["psnr"]["x"]
    assert (row["a"].verdict, row["b"].verdict, row[MEAN].verdict) == ("better", None, None)
    assert row["a"].p_adjusted == 2 / 2**8


def test_known_rows_come_in_their_order() -> None:
    names = ["fed-prox", "FL-MRCM", BASELINE, "Cross", "a", ZERO_FILLED, "Local"]
    layout = layout_of([score(name, "s", 0, 0, 20.0) for name in names])
    assert layout["within"].rows == (ZERO_FILLED, "Local", "Cross", BASELINE, "FL-MRCM", "fed-prox", "a")


def test_studies_stay_apart() -> None:
    both = summarize(synthetic(2) + synthetic(2, study="leave-one-out"))
    assert [table.study for table in both] == ["within", "leave-one-out"]
    assert both[0] == summarize(synthetic(2))[0]
    assert "Local" not in both[1].rows


def test_one_site_has_no_mean() -> None:
    assert table_of({BASELINE: BASE}, sites=["a"]).columns == ("a",)


@pytest.mark.parametrize("seed", range(3))
def test_relabelling_and_reordering_change_nothing(seed: int) -> None:
    scores = synthetic(3, seeds=4, patients=2)
    chance = random.Random(seed)
    sites = {"fastmri": "z", "hpks": "fastmri", "ixi": "b"}
    rows = {"Fused": "FL-MRCM", "FL-MRCM": "q", "Local": "Fused"}
    renamed = [replace(s, row=rows.get(s.row, s.row), column=sites[s.column]) for s in scores]
    chance.shuffle(renamed)
    before, after = summarize(scores)[0], summarize(renamed)[0]
    for metric in METRICS:
        for row in before.rows:
            for column in before.columns:
                there = after.entry(metric, rows.get(row, row), sites.get(column, column))
                assert there == before.entry(metric, row, column)
    assert any(entry.bold for row in before.cells["psnr"].values() for entry in row.values())


def test_perfect_and_undefined_scores_crash_nothing() -> None:
    table = table_of({BASELINE: [*BASE[:7], math.inf], "x": [math.inf] * 8, "y": [*BETTER[:7], math.nan]})
    infinite = table.cells["psnr"]["x"]["a"]
    assert infinite.mean == math.inf
    assert math.isnan(infinite.half_width)
    assert infinite.verdict == "same"  # the means, both infinite, do not tell
    assert table.cells["psnr"]["y"]["a"].p_adjusted is None
    finite = table_of({BASELINE: BASE, "x": [math.inf] * 8})
    assert ("psnr", "x", "a") in bold_cells(finite)
