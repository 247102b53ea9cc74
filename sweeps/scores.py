"""What a table is made of: the score of each test patient, and what statistics make of many.

A unit is a test patient under one seed: what scores are paired by and counted in. Slices never are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from sites.intervals import average

Study = Literal["within", "leave-one-out"]
Metric = Literal["psnr", "ssim", "nmse"]
Verdict = Literal["better", "worse", "same"]

STUDIES: tuple[Study, ...] = get_args(Study)
METRICS: tuple[Metric, ...] = get_args(Metric)

BASELINE = "FL-MR"  # the row that others are tested against
ZERO_FILLED = "Zero-filled"  # the row that is shown, never tested, never bold
ROWS = (ZERO_FILLED, "Local", "Cross", "Fused", BASELINE, "FL-MRCM")  # the order of those that are known
MEAN = "(mean)"  # the column of the sites' mean; no site can be called so (sites.config.SiteConfig.name)


@dataclass(frozen=True, kw_only=True)
class PatientScore:
    """One method's reconstruction of one test patient, by one trained network (or by none: zero-filled)."""

    study: Study
    """within: the tested site's own training patients take part. leave-one-out: they do not."""
    row: str
    """The method: "Local", "Cross", "Fused", "FL-MR", "fed-prox:mu=0.1" …, or "Zero-filled"."""
    column: str
    """The tested site."""
    trained_at: str = ""
    """The one site that trained, for Local and Cross; else empty."""
    seed: int
    """Of the federation."""
    patient: int
    """Index among the site's test patients."""
    psnr: float
    """dB; infinite for a perfect reconstruction."""
    ssim: float
    """At most 1."""
    nmse: float
    """At least 0; lower is better."""

    def value(self, metric: Metric) -> float:
        """One of the three."""
        return {"psnr": self.psnr, "ssim": self.ssim, "nmse": self.nmse}[metric]


class Unit(NamedTuple):
    """What scores are paired by."""

    column: str
    seed: int
    patient: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cell of a table."""

    mean: float
    """Over the units; in the column MEAN over the sites' means, each weighted alike."""
    half_width: float
    """Half the 95 % t-interval of `mean`; NaN with fewer than two units (of any site), or infinite scores."""
    n: int
    """Units."""
    p_adjusted: float | None = None
    """Of the paired test against BASELINE, Holm's; None for BASELINE, ZERO_FILLED, and without common units."""
    verdict: Verdict | None = None
    """Against BASELINE at 5 %; None where `p_adjusted` is."""
    bold: bool = False
    """The best of its column, where the tests say so."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which rows and tested sites a study will have, in order, filled or not."""

    rows: tuple[str, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """One study: `cells[metric][row][column]`, where there is a score."""

    study: Study
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    """The tested sites, and MEAN if there are several."""
    cells: Mapping[Metric, Mapping[str, Mapping[str, Entry]]]
    seeds: int
    """How many there are."""
    patients: tuple[int, int]
    """Test patients of a site: the fewest, the most, of the sites that have scores."""
    uneven: tuple[str, ...]
    """Columns where some row lacks units that another has: nothing is bold there."""

    def entry(self, metric: Metric, row: str, column: str) -> Entry | None:
        """None where there is no score yet, and in MEAN as long as a site is missing."""
        return self.cells[metric].get(row, {}).get(column)

    @property
    def comparisons(self) -> int:
        """With BASELINE, of a metric: what Holm's correction is over."""
        counts = [
            sum(entry.p_adjusted is not None for row in cells.values() for entry in row.values())
            for cells in self.cells.values()
        ]
        return max(counts, default=0)


Summary = tuple[StudyTable, ...]  # in the order of STUDIES


def layout_of(scores: Iterable[PatientScore]) -> dict[Study, Layout]:
    """Of all there is: the known rows as in ROWS, then the others; sites and other rows as they first appear."""
    rows: dict[Study, dict[str, None]] = {}
    sites: dict[Study, dict[str, None]] = {}
    for score in scores:
        rows.setdefault(score.study, {})[score.row] = None
        sites.setdefault(score.study, {})[score.column] = None
    return {
        study: Layout(
            rows=tuple(sorted(rows[study], key=lambda row: ROWS.index(row) if row in ROWS else len(ROWS))),
            sites=tuple(sites[study]),
        )
        for study in STUDIES
        if study in rows
    }


def unit_values(scores: Iterable[PatientScore], metric: Metric) -> dict[str, dict[Unit, float]]:
    """Row -> unit -> value, of one study. Networks trained at different sites (Cross) are averaged first.

    Raises ValueError if one network scores a patient twice.
    """
    found: dict[str, dict[Unit, dict[str, float]]] = {}
    for score in scores:
        unit = Unit(score.column, score.seed, score.patient)
        networks = found.setdefault(score.row, {}).setdefault(unit, {})
        if score.trained_at in networks:
            raise ValueError(f"{score.row!r} scores patient {unit} of study {score.study!r} twice; keep one of the two")
        networks[score.trained_at] = score.value(metric)
    return {
        row: {unit: average([*networks.values()]) for unit, networks in units.items()} for row, units in found.items()
    }
