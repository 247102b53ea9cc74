"""Curves against the strength of a shift: means with intervals, paired tests, and what goes with the loss.

Scores are paired by unit, a test patient of the target under one seed; sources of one federation share a network and
the target, so that a measure of shift counts once a seed, as its mean over the sources.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from engine.shift import MEASURES, spearman
from sites.intervals import average, interval
from sweeps.curves.scores import Point, PointScore, PointShift, column, values_of
from sweeps.scores import METRICS, ZERO_FILLED, Entry, Metric, Unit
from sweeps.statistics import Values, compare

FEWEST = 3  # federations, for a correlation: of two it is always 1 or −1
FLAT = 0.05  # of a measure's range over the strengths: what it may still grow by where it has ended to
Cost = Literal["loss", "gain"]


class Estimate(NamedTuple):
    """A mean and half its 95 % t-interval (NaN of a single value)."""

    mean: float
    half_width: float


@dataclass(frozen=True, kw_only=True)
class ShiftMean:
    """A measure at a strength: over seeds, of the mean over sources. high: chance's upper end, averaged likewise."""

    estimate: Estimate
    high: float


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One federation: what the target's patients lost and gained in the mean, and how far away the sources are.

    loss: dB of PSNR, since the lowest strength; NaN if that is not there; gain: dB over the zero-filled image
    shift: by measure, mean over the sources
    """

    method: str
    strength: float
    seed: int
    loss: float
    gain: float
    shift: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What is known so far. By method (in `cells` also ZERO_FILLED), then by strength as `column` writes it."""

    dial: str
    target: str
    methods: tuple[str, ...]
    """The first is the one that others are tested against."""
    strengths: tuple[float, ...]
    """Ascending."""
    cells: Mapping[Metric, Mapping[str, Mapping[str, Entry]]]
    changes: Mapping[str, Mapping[str, Estimate]]
    """PSNR minus that at the lowest strength, dB, paired by patient and seed."""
    gains: Mapping[str, Mapping[str, Estimate]]
    """PSNR minus that of the zero-filled image, dB, paired."""
    leads: Mapping[str, Mapping[str, Estimate]]
    """PSNR minus that of the first method, dB, paired; of the others."""
    shifts: Mapping[str, Mapping[str, Mapping[str, ShiftMean]]]
    """By measure first."""
    dots: tuple[Dot, ...]
    seeds: int
    patients: tuple[int, int]
    """Test patients of the target: the fewest, the most, of a federation."""
    sources: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The strengths as they are written."""
        return tuple(map(column, self.strengths))

    @property
    def comparisons(self) -> int:
        """With the first method, of a metric: what Holm's correction is over."""
        return sum(e.p_adjusted is not None for row in self.cells["psnr"].values() for e in row.values())

    def rho(self, measure: str, method: str, cost: Cost = "loss") -> float:
        """Spearman's correlation of a measure with what it cost, over strengths and seeds; NaN of few."""
        dots = [dot for dot in self.dots if dot.method == method and measure in dot.shift]
        pairs = [(dot.shift[measure], getattr(dot, cost)) for dot in dots]
        known = np.array([pair for pair in pairs if all(map(math.isfinite, pair))]).reshape(-1, 2)
        return spearman(known[:, 0], known[:, 1]) if len(known) >= FEWEST else math.nan

    def saturated_from(self, measure: str, method: str) -> float | None:
        """The strength from which a measure that can saturate grows no more, of those before the last; or None."""
        means = [self.shifts[measure][method].get(name) for name in self.columns]
        if not MEASURES[measure].saturates or None in means:
            return None
        values = [each.estimate.mean for each in means if each]
        top = max(values) - FLAT * (max(values) - min(values))
        flat = next((i for i in range(len(values)) if min(values[i:]) >= top), len(values))
        beyond_chance = all(each.estimate.mean > each.high for each in means[flat:] if each)
        return self.strengths[flat] if 0 < flat < len(values) - 1 and beyond_chance else None


def summarize_curves(
    points: Iterable[Point],
    dial: str,
    target: str,
    methods: Sequence[str] = (),
    strengths: Sequence[float] = (),
) -> Curves:
    """All there is to say of points. methods, strengths: to show, also if without a point yet; empty: those found."""
    points = [*points]
    scores = [score for point in points for score in point.scores]
    shifts = [shift for point in points for shift in point.shifts]
    methods = tuple(methods) or tuple(dict.fromkeys(score.method for score in scores))
    strengths = tuple(strengths) or tuple(sorted({score.strength for score in scores}))
    columns = tuple(map(column, strengths))
    values = {metric: values_of(scores, metric) for metric in METRICS}
    patients = [len({s.patient for s in point.scores}) for point in points]
    return Curves(
        dial=dial,
        target=target,
        methods=methods,
        strengths=strengths,
        cells={metric: compare(values[metric], columns, metric, baseline=methods[0]) for metric in METRICS},
        changes={method: _changes(units, columns) for method, units in values["psnr"].items()},
        gains={method: _differences(values["psnr"], method, ZERO_FILLED, columns) for method in methods},
        leads={method: _differences(values["psnr"], method, methods[0], columns) for method in methods[1:]},
        shifts={m: _shift_means([s for s in shifts if s.measure == m], methods) for m in _measures(shifts)},
        dots=tuple(_dots(points, columns[0] if columns else "")),
        seeds=len({score.seed for score in scores}),
        patients=(min(patients, default=0), max(patients, default=0)),
        sources=len({shift.source for shift in shifts}),
    )


def _measures(shifts: Sequence[PointShift]) -> list[str]:
    there = {shift.measure for shift in shifts}
    return [name for name in MEASURES if name in there]


def _changes(units: Mapping[Unit, float], columns: Sequence[str]) -> dict[str, Estimate]:
    """Since the first column, of the units that are there; none in that column itself."""
    changes = {name: _since(units, columns[0], name) for name in columns[1:]}
    return {name: Estimate(*interval(values)) for name, values in changes.items() if values}


def _since(units: Mapping[Unit, float], first: str, name: str) -> list[float]:
    there = [unit for unit in units if unit.column == name and unit._replace(column=first) in units]
    return [units[unit] - units[unit._replace(column=first)] for unit in there]


def _differences(values: Values, method: str, other: str, columns: Sequence[str]) -> dict[str, Estimate]:
    """Method minus other, by column, of the units that both have."""
    after, before = values.get(method, {}), values.get(other, {})
    found = {
        name: [after[unit] - before[unit] for unit in after if unit.column == name and unit in before]
        for name in columns
    }
    return {name: Estimate(*interval(each)) for name, each in found.items() if each}


def _shift_means(shifts: Sequence[PointShift], methods: Sequence[str]) -> dict[str, dict[str, ShiftMean]]:
    """Of one measure, by method and column."""
    groups: dict[tuple[str, str], list[PointShift]] = {}
    for shift in shifts:
        groups.setdefault((shift.method, column(shift.strength)), []).append(shift)
    means: dict[str, dict[str, ShiftMean]] = {method: {} for method in methods}
    for (method, name), group in groups.items():
        seeds = {shift.seed for shift in group}
        by_seed = [average([shift.value for shift in group if shift.seed == seed]) for seed in sorted(seeds)]
        high = average([shift.high for shift in group])
        means[method][name] = ShiftMean(estimate=Estimate(*interval(by_seed)), high=high)
    return means


def _dots(points: Sequence[Point], first: str) -> Iterable[Dot]:
    psnr = {(s.method, column(s.strength), s.seed, s.patient): s.psnr for point in points for s in point.scores}

    def loss(score: PointScore) -> float:
        return psnr.get((score.method, first, score.seed, score.patient), math.nan) - score.psnr

    for point in points:
        if point.scores:
            one = point.scores[0]
            sources: dict[str, list[float]] = {}
            for shift in point.shifts:
                sources.setdefault(shift.measure, []).append(shift.value)
            yield Dot(
                method=one.method,
                strength=one.strength,
                seed=one.seed,
                loss=average([loss(score) for score in point.scores]),
                gain=average([score.psnr - score.zero_filled_psnr for score in point.scores]),
                shift={measure: average(values) for measure, values in sources.items()},
            )
