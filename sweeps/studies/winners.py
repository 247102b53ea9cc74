"""Winners of a study: the best trial, or the Pareto front; chosen on validation patients, then tested once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from sites.intervals import average, interval
from sweeps.directory import finished_summary
from sweeps.jobs import Job
from sweeps.statistics import signed_rank_test
from sweeps.studies.plan import StudyPlan
from sweeps.studies.turns import SEEDS, TURN


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
class Means:
    """Scores of the target's test patients.

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
class Tested(Means):
    """A unit is a patient under a seed. by_seed: a unit is a seed, by the mean of its patients; None of a single one.

    target: the site's name
    """

    target: str
    by_seed: Means | None


@dataclass(frozen=True, kw_only=True)
class Winner:
    """One of the best. values: of the objectives, on validation patients; sha: of its first federation's weights.

    by_seed: `values` of each seed of the search; empty of a single one
    """

    turn: int
    params: Mapping[str, Any]
    values: tuple[float, ...]
    by_seed: tuple[tuple[float, ...], ...]
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
        by_seed=tuple(map(tuple, trial.user_attrs.get(SEEDS, ()))),
        command=plan.command(turn, trial.params),
        sha=first.get("weights_sha256", ""),
        searched=_tested(plan, [job]),
        confirmed=_tested(plan, plan.confirmations(turn, trial.params)),
    )


class _Run(NamedTuple):
    """What a winner's federation says, and that of the method to compare with."""

    seed: int
    summary: Mapping[str, Any]
    other: Mapping[str, Any] | None


def _tested(plan: StudyPlan, jobs: Sequence[Job]) -> Tested | None:
    """Of finished jobs; None if there is none, or one is not done."""
    runs: list[_Run] = []
    for job in jobs:
        summaries = [finished_summary(config) for config in job.configs]
        if any(summary is None for summary in summaries):
            return None
        half = len(summaries) // (2 if plan.config.against else 1)
        others: Sequence[Any] = summaries[half:] or [None] * half
        runs += [_Run(c.seed, s, o) for c, s, o in zip(job.configs, summaries, others, strict=False) if s]
    if not runs:
        return None
    target = jobs[0].config.target
    seeds = tuple(run.seed for run in runs)
    by_seed = Means(seeds=seeds, **_estimates(runs, target, _mean_of_each)) if len(seeds) > 1 else None
    return Tested(seeds=seeds, target=target, by_seed=by_seed, **_estimates(runs, target, _all_of_them))


Groups = Sequence[Sequence[float]]  # of patients, by seed


def _all_of_them(groups: Groups, paired: bool = False) -> Estimate:
    return Estimate.of([value for group in groups for value in group], paired)


def _mean_of_each(groups: Groups, paired: bool = False) -> Estimate:  # noqa: ARG001
    """Without a test: of few seeds Wilcoxon's has nothing to say."""
    return Estimate.of([average([*group]) for group in groups if group])


def _estimates(runs: Sequence[_Run], target: str, estimate: Callable[..., Estimate]) -> dict[str, Any]:
    """The fields of `Means`, but for the seeds. estimate: of the groups of units."""
    mine = [_patients(run.summary, target) for run in runs]
    theirs = [_patients(run.other, target) for run in runs if run.other]
    sites = dict.fromkeys(site["name"] for run in runs for site in run.summary["sites"] if site["test_patients"])
    return {
        "psnr": estimate([_scores(each, "psnr") for each in mine]),
        "ssim": estimate([_scores(each, "ssim") for each in mine]),
        "gain": estimate([_differences(_scores(each, "psnr"), _scores(each, "psnr", "zero_filled")) for each in mine]),
        "sites": {name: estimate([_scores(_patients(run.summary, name), "psnr") for run in runs]) for name in sites},
        "against": estimate(
            [_differences(_scores(a, "psnr"), _scores(b, "psnr")) for a, b in zip(mine, theirs, strict=True)],
            paired=True,
        )
        if theirs
        else None,
    }


def _scores(patients: Sequence[Mapping[str, Any]], metric: str, of: str = "test") -> list[float]:
    return [each[of][metric] for each in patients]


def _differences(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(mine, theirs, strict=True)]


def _patients(summary: Mapping[str, Any], site: str) -> list[Mapping[str, Any]]:
    """Scores of a site's test patients; none of a site that this seed has not drawn."""
    return next((list(each["test_patients"]) for each in summary["sites"] if each["name"] == site), [])
