"""The train x test matrix: how networks of single sites do at every site, and the joint methods beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sites.intervals import average
from sweeps.scores import STUDIES, ZERO_FILLED, PatientScore, Study, layout_of, unit_values

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrainTest:
    """PSNR, dB, mean over seeds and test patients; NaN where there is no score. sites: tested, in order.

    single: [sites that trained, sites]; joint: [methods, sites], zero-filled the last if there.
    """

    study: Study
    trained: tuple[str, ...]
    methods: tuple[str, ...]
    sites: tuple[str, ...]
    single: Grid
    joint: Grid

    @property
    def own(self) -> Grid:
        """[sites]: each tested site's own network."""
        rows = [self.trained.index(site) if site in self.trained else None for site in self.sites]
        return np.array([math.nan if row is None else self.single[row, i] for i, row in enumerate(rows)])

    @property
    def zero_filled(self) -> Grid:
        """[sites]."""
        blank = np.full(len(self.sites), math.nan)
        return self.joint[self.methods.index(ZERO_FILLED)] if ZERO_FILLED in self.methods else blank


def train_test(scores: Iterable[PatientScore]) -> TrainTest | None:
    """Of the first study with networks of single sites (`trained_at`) tested at other ones; None if there is none."""
    scores = list(scores)
    studies = {score.study for score in scores if score.trained_at not in ("", score.column)}
    if not studies:
        return None
    study = min(studies, key=STUDIES.index)
    mine = [score for score in scores if score.study == study]
    sites = layout_of(mine)[study].sites
    single = [score for score in mine if score.trained_at]
    trained = sorted({score.trained_at for score in single}, key=lambda site: _place(site, sites))
    joint = [score for score in mine if not score.trained_at]
    rows = layout_of(joint)[study].rows if joint else ()
    methods = [row for row in rows if row != ZERO_FILLED] + [row for row in rows if row == ZERO_FILLED]
    by_site = {site: _site_means([s for s in single if s.trained_at == site], sites) for site in trained}
    by_method = {row: _site_means([s for s in joint if s.row == row], sites) for row in methods}
    blank = np.empty((0, len(sites)))
    return TrainTest(
        study=study,
        trained=tuple(trained),
        methods=tuple(methods),
        sites=sites,
        single=np.stack([*by_site.values()]),
        joint=np.stack([*by_method.values()]) if by_method else blank,
    )


def _place(site: str, sites: Sequence[str]) -> tuple[int, str]:
    """Tested sites first, in their order."""
    return (sites.index(site), "") if site in sites else (len(sites), site)


def _site_means(scores: Sequence[PatientScore], sites: Sequence[str]) -> Grid:
    """[sites], of one network or method."""
    values = {unit: value for units in unit_values(scores, "psnr").values() for unit, value in units.items()}
    groups = [[value for unit, value in values.items() if unit.column == site] for site in sites]
    return np.array([average(group) if group else math.nan for group in groups])
