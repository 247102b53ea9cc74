"""Winners of a study: the best trial, or the Pareto front; chosen on validation patients, then tested once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sites.intervals import interval
from sweeps.directory import finished_summary
from sweeps.jobs import Job
from sweeps.statistics import signed_rank_test
from sweeps.studies.plan import StudyPlan
from sweeps.studies.turns import TURN


@dataclass(frozen=True)
class Estimate:
    """A mean over units and half its 95 % t-interval, NaN of a single one. p: Wilcoxon's of paired differences."""

    mean: float
    half_width: float
    count: int
    p: float | None = None

    @staticmethod
    def of(values: Sequence[float], paired: bool = False) -> Estimate:
        """Of the values of units; NaN of none."""
        if not values:
            return Estimate(math.nan, math.nan, 0)
        p = signed_rank_test(values)[0] if paired else None
        return Estimate(*interval(values), len(values), p)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Scores of the target's test patients: a unit is a patient under a seed.

    psnr: dB; gain: over the zero-filled image, paired; against: over the method to compare with, if any, paired
    sites: PSNR by site
    """

    seeds: tuple[int, ...]
    psnr: Estimate
    ssim: Estimate
    gain: Estimate
    sites: Mapping[str, Estimate]
    against: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Winner:
    """One of the best. values: of the objectives, on validation patients; sha: of its first federation's weights."""

    turn: int
    params: Mapping[str, Any]
    values: tuple[float, ...]
    command: str
    sha: str
    searched: Tested | None
    """On the seeds of the search."""
    confirmed: Tested | None
    """On seeds that the search has not seen."""


def winners(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, of equals the first; with several objectives the Pareto front. Empty if none is complete."""
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.number)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))[:1]  # of equals the first


def untested(plan: StudyPlan, trial: FrozenTrial) -> list[Job]:
    """What is left to do for a winner: score its test patients, confirm it. Raises ValueError for damaged runs."""
    turn = trial.user_attrs[TURN]
    jobs = [plan.trial(turn, trial.params, tested=True), *plan.confirmations(turn, trial.params)]
    return [job for job in jobs if any(finished_summary(config) is None for config in job.configs)]


def read_winner(plan: StudyPlan, trial: FrozenTrial) -> Winner:
    """What the directories of a winner say, as far as they are done."""
    turn = trial.user_attrs[TURN]
    job = plan.trial(turn, trial.params, tested=True)
    first = finished_summary(job.config) or {}
    return Winner(
        turn=turn,
        params=dict(trial.params),
        values=tuple(trial.values),
        command=plan.command(turn, trial.params),
        sha=first.get("weights_sha256", ""),
        searched=_tested(plan, [job]),
        confirmed=_tested(plan, plan.confirmations(turn, trial.params)),
    )


def _tested(plan: StudyPlan, jobs: Sequence[Job]) -> Tested | None:
    """Of finished jobs; None if there is none, or one is not done."""
    runs: list[tuple[int, Mapping[str, Any], Mapping[str, Any] | None]] = []
    for job in jobs:
        summaries = [finished_summary(config) for config in job.configs]
        if any(summary is None for summary in summaries):
            return None
        half = len(summaries) // (2 if plan.config.against else 1)
        others: Sequence[Any] = summaries[half:] or [None] * half
        seeds = [config.seed for config in job.configs]
        runs += [(seed, s, o) for seed, s, o in zip(seeds, summaries, others, strict=False) if s]
    if not runs:
        return None
    mine = [patient for _, summary, _ in runs for patient in _patients(summary, plan.target)]
    theirs = [patient for _, _, other in runs if other for patient in _patients(other, plan.target)]
    names = [site["name"] for site in runs[0][1]["sites"] if site["test_patients"]]
    return Tested(
        seeds=tuple(seed for seed, _, _ in runs),
        psnr=Estimate.of([each["test"]["psnr"] for each in mine]),
        ssim=Estimate.of([each["test"]["ssim"] for each in mine]),
        gain=Estimate.of([each["test"]["psnr"] - each["zero_filled"]["psnr"] for each in mine]),
        sites={
            name: Estimate.of([each["test"]["psnr"] for _, s, _ in runs for each in _patients(s, name)])
            for name in names
        },
        against=Estimate.of(
            [a["test"]["psnr"] - b["test"]["psnr"] for a, b in zip(mine, theirs, strict=True)], paired=True
        )
        if theirs
        else None,
    )


def _patients(summary: Mapping[str, Any], site: str) -> list[Mapping[str, Any]]:
    """Scores of a site's test patients."""
    return next(list(each["test_patients"]) for each in summary["sites"] if each["name"] == site)
