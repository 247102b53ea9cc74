"""Means with intervals (`sites.intervals`), and the paired test of every method against the baseline.

Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945). Holm, A simple sequentially
rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).

Units are seeds x test patients (`sweeps.scores.Unit`). Those of one seed share a network: they are not independent
draws of a network, and what is said here holds for the networks at hand. In the column of means every site weighs
alike, in the mean and in its interval; the test there ranks the units of all sites together, so that a site with more
test patients has more to say in it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from sites.intervals import interval_of_means
from sweeps.notes import ALPHA
from sweeps.scores import (
    BASELINE,
    MEAN,
    METRICS,
    STUDIES,
    ZERO_FILLED,
    Entry,
    Layout,
    Metric,
    PatientScore,
    Study,
    StudyTable,
    Summary,
    Unit,
    Verdict,
    layout_of,
    unit_values,
)

Values = Mapping[str, Mapping[Unit, float]]  # by row
Cells = dict[str, dict[str, Entry]]  # by row and column
K = TypeVar("K", bound=Hashable)


# ---- one table ------------------------------------------------------------------------------------------


def summarize(scores: Iterable[PatientScore], layout: Mapping[Study, Layout] | None = None) -> Summary:
    """All studies. layout: rows and sites to show, also those without a score yet; None: those there are.

    Raises ValueError if a network scores a patient twice, or if a score has no place in `layout`.
    """
    scores = list(scores)
    found, layout = layout_of(scores), layout_of(scores) if layout is None else layout
    for study, there in found.items():
        known = layout.get(study, Layout(rows=(), sites=()))
        for name in [*(set(there.rows) - set(known.rows)), *(set(there.sites) - set(known.sites))]:
            raise ValueError(f"study {study!r} has scores of {name!r}, which its layout does not name")
    return tuple(
        _study_table(study, [score for score in scores if score.study == study], layout[study])
        for study in STUDIES
        if study in layout
    )


def _study_table(study: Study, scores: Sequence[PatientScore], layout: Layout) -> StudyTable:
    columns = (*layout.sites, MEAN) if len(layout.sites) > 1 else layout.sites
    by_metric = {metric: unit_values(scores, metric) for metric in METRICS}
    uneven = _uneven(by_metric["psnr"], columns)
    patients = [len({score.patient for score in scores if score.column == site}) for site in layout.sites]
    patients = [count for count in patients if count]
    return StudyTable(
        study=study,
        rows=layout.rows,
        columns=columns,
        cells={metric: _cells(values, columns, metric, uneven) for metric, values in by_metric.items()},
        seeds=len({score.seed for score in scores}),
        patients=(min(patients, default=0), max(patients, default=0)),
        uneven=uneven,
    )


def _cells(values: Values, columns: Sequence[str], metric: Metric, uneven: Sequence[str]) -> Cells:
    """Row -> column -> entry, of one study and metric, with what is bold."""
    cells = compare(values, columns, metric)
    for column in set(columns) - set(uneven):
        winner = bold({row: entries[column] for row, entries in cells.items() if column in entries}, metric)
        if winner is not None:
            cells[winner][column] = replace(cells[winner][column], bold=True)
    return cells


def compare(values: Values, columns: Sequence[str], metric: Metric, baseline: str = BASELINE) -> Cells:
    """Row -> column -> entry, where there is a unit; every row but ZERO_FILLED is tested against the baseline.

    columns: those of the units, and MEAN of them all if wanted. Holm's correction is over all tests made here.
    """
    sites = {column: [each for each in columns if each != MEAN and column in (each, MEAN)] for column in columns}
    cells = {row: _entries(units, sites) for row, units in values.items()}
    reference = cells.get(baseline, {})
    tests: dict[tuple[str, str], tuple[float, float]] = {}
    for row, entries in cells.items():
        for column in entries.keys() & reference.keys():
            pairs = _differences(values[row], values[baseline], sites[column])
            if row not in (baseline, ZERO_FILLED) and pairs and not any(map(math.isnan, pairs)):
                tests[row, column] = signed_rank_test(pairs)
    for (row, column), p in holm({key: p for key, (p, _) in tests.items()}).items():
        entry, lean = cells[row][column], tests[row, column][1]
        verdict = _verdict(p, lean, entry.mean - reference[column].mean, metric)
        cells[row][column] = replace(entry, p_adjusted=p, verdict=verdict)
    return cells


def _entries(units: Mapping[Unit, float], sites: Mapping[str, Sequence[str]]) -> dict[str, Entry]:
    """A row's means by column; sites: those that a column is about, each of which must have a unit."""
    entries = {}
    for column, names in sites.items():
        groups = [[value for unit, value in units.items() if unit.column == name] for name in names]
        if all(groups):
            mean, half_width = interval_of_means(groups)
            entries[column] = Entry(mean=mean, half_width=half_width, n=sum(map(len, groups)))
    return entries


def _differences(units: Mapping[Unit, float], baseline: Mapping[Unit, float], sites: Sequence[str]) -> list[float]:
    """Of the units that both have; two infinite scores are equal."""
    return [
        0.0 if value == baseline[unit] else value - baseline[unit]
        for unit, value in units.items()
        if unit in baseline and unit.column in sites
    ]


def _verdict(p: float, lean: float, gain: float, metric: Metric) -> Verdict:
    """Significant, and ranks (lean) and means (gain) agree on the direction."""
    if p < ALPHA and _sign(metric) * lean > 0 and _sign(metric) * gain > 0:
        return "better"
    return "worse" if p < ALPHA and _sign(metric) * lean < 0 and _sign(metric) * gain < 0 else "same"


def _sign(metric: Metric) -> int:
    """1 where higher is better."""
    return -1 if metric == "nmse" else 1


def _uneven(values: Values, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns in which the rows do not all have the same units; rows without any do not count."""
    uneven = []
    for column in columns:
        sets = {
            frozenset(unit for unit in units if column in (MEAN, unit.column))
            for row, units in values.items()
            if row != ZERO_FILLED
        }
        if len(sets - {frozenset()}) > 1:
            uneven.append(column)
    return tuple(uneven)


# ---- tests, corrections ------------------------------------------------------------------------------------


def signed_rank_test(differences: Sequence[float]) -> tuple[float, float]:
    """Wilcoxon's two-sided p, and the sum of the signed ranks: its sign is the direction.

    Zeros are left out, as Wilcoxon does; if nothing else is there, p = 1. Exact up to 50 differences, beyond that the
    normal approximation; ties, which unrounded scores hardly have, as scipy's `auto` treats them. differences:
    infinite ones rank last.
    """
    from scipy.stats import rankdata, wilcoxon

    there = np.array([difference for difference in differences if difference != 0], dtype=np.float64)
    if there.size == 0:
        return 1.0, 0.0
    return float(wilcoxon(there).pvalue), float(np.sum(np.sign(there) * rankdata(np.abs(there))))


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Adjusted p: of the i-th smallest of m, max over j <= i of min(1, (m - j + 1) p_j)."""
    adjusted: dict[K, float] = {}
    reached = 0.0
    for i, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        reached = max(reached, min(1.0, (len(p_values) - i) * p))
        adjusted[key] = reached
    return adjusted


def bold(column: Mapping[str, Entry], metric: Metric) -> str | None:
    """The row of a column whose lead over BASELINE is more than chance; None if there is none.

    The best mean must be so alone. A method is bold if it is significantly better than BASELINE; BASELINE itself, if
    every other row is significantly worse. ZERO_FILLED does not take part.
    """
    means = {row: _sign(metric) * entry.mean for row, entry in column.items() if row != ZERO_FILLED}
    if len(means) < 2 or any(map(math.isnan, means.values())):
        return None
    best = max(means, key=lambda row: means[row])
    if list(means.values()).count(means[best]) > 1:
        return None
    if best == BASELINE:
        clear = all(column[row].verdict == "worse" for row in means if row != BASELINE)
    else:
        clear = column[best].verdict == "better"
    return best if clear else None
