"""Synthetic studies for the tests; to look at one: `python -m tests.sweeps.studies.synthetic_studies DIR 80`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from engine.records import encoded
from engine.streams import rng
from sites.config import RunConfig
from sites.run_directory import config_toml
from sweeps.jobs import Job
from sweeps.studies.findings import Findings, findings
from sweeps.studies.plan import StudyPlan, SweepConfig
from sweeps.studies.space import Values
from sweeps.studies.trials import REASON, ROUNDS
from sweeps.studies.turns import TURN
from sweeps.studies.winners import untested, winners

SEARCH = ("lr=log:0.0005:0.005", "alignment_weight=log:0.001:1", "optimizer=adam,sgd")
PATIENTS = 4  # test patients a site
REASONS = ("round 1: the objective is not a finite number", "lr is <0.5> & too large")
SHA = "76a93bf7dac3a1b6e20c959d02bfb1fa47ec6393974dc2acdd00026ed49f10f8"


def planned(out: Path, search: tuple[str, ...] = SEARCH, rounds: int = 4, **config: Any) -> StudyPlan:
    """A plan of few trials."""
    return StudyPlan(SweepConfig(**{"search": search, "trials": 12, **config}), RunConfig(rounds=rounds, out=str(out)))


def studied(
    plan: StudyPlan,
    ended: int | None = None,
    failed: Collection[int] = (),
    pruned: Collection[int] = (),
    running: int = 0,
    study: optuna.Study | None = None,
) -> optuna.Study:
    """Trials of a function, in memory unless a study is given; ended: how many, else all.

    failed, pruned: their turns; running: further trials that go on
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = study or optuna.create_study(directions=[each.direction for each in plan.objectives])
    study.sampler = RandomSampler(seed=1)
    ended = plan.trials if ended is None else ended
    for turn in range(ended + running):
        trial = study.ask()
        trial.set_user_attr(TURN, turn)
        values = plan.space.suggest(trial)
        early = turn >= ended or turn in pruned
        rounds = min(1 + turn % 3, plan.run.rounds - 1) if early else plan.run.rounds
        if turn < ended:
            trial.set_user_attr(ROUNDS, rounds)
        if len(plan.objectives) == 1 and turn not in failed:
            for round in range(1, rounds + 1):
                trial.report(scored(plan, turn, values)[0] - 2 / round + 2 / plan.run.rounds, round)
        if turn in failed:
            trial.set_user_attr(REASON, REASONS[turn % 2])
            study.tell(trial, state=TrialState.FAIL)
        elif turn in pruned:
            study.tell(trial, state=TrialState.PRUNED)
        elif turn < ended:
            study.tell(trial, list(scored(plan, turn, values)))
    return study


def scored(plan: StudyPlan, turn: int, values: Values) -> tuple[float, ...]:
    """Best at lr 0.002; other objectives are bought with the first."""
    psnr = 24.0 + rng(0, "noise", "", turn).normal(0, 0.05)
    for name, value in values.items():
        if name == "lr":
            psnr -= abs(math.log10(value / 0.002))
        elif isinstance(value, float):
            psnr -= 0.1 * value
        elif value in ("sgd", "fl-mr"):
            psnr -= 0.2
    draw = rng(0, "cost", "", turn).random()
    costs = {"seconds": 20 * (psnr - 20) * (1 + draw), "bytes": 1e7 * (1 + draw) * (psnr - 22)}
    return tuple(float(costs.get(each.name, psnr - 24 * bool(plan.config.against))) for each in plan.objectives)


def finish(plan: StudyPlan, study: optuna.Study) -> None:
    """Write what the winners' federations would leave."""
    for trial in winners(study):
        for job in untested(plan, trial):
            leave(job)


def leave(job: Job) -> None:
    """A job's run directories, finished."""
    for number, config in enumerate(job.configs):
        path = Path(config.out)
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.toml").write_text(config_toml(config, "cpu"))
        random = rng(config.seed, "test", f"{job.name} {number}")
        sites = []
        for site in config.institutions:
            patients = []
            for _ in range(PATIENTS):
                psnr = 21 + random.normal(0, 0.5)
                gain = 2 + random.normal(0, 0.2) + 0.3 * (number < len(job.configs) / 2)
                before, after = ({"psnr": each, "ssim": each / 40, "nmse": 0.1} for each in (psnr, psnr + gain))
                patients.append({"test": after, "zero_filled": before})
            sites.append({"name": site.name, "test_patients": patients})
        summary = {
            "algorithm": config.algorithm_name, "scenario": config.scenario, "target": config.target, "sites": sites,
            "seed": config.seed, "weights_sha256": SHA, "warnings": ["ixi: simulated here"],
        }  # fmt: skip
        (path / "summary.json").write_text(json.dumps(encoded(summary)))


def found(out: Path, *, tested: bool = True, search: tuple[str, ...] = SEARCH, **settings: Any) -> Findings:
    """Of a synthetic study. settings: of `studied` and of the sweep."""
    states = {name: settings.pop(name) for name in ("ended", "failed", "pruned", "running") if name in settings}
    plan = planned(out, search, **settings)
    study = studied(plan, **states)
    if tested:
        finish(plan, study)
    return findings(plan, study)


if __name__ == "__main__":
    from rich.console import Console

    from sweeps.studies.view import study_view

    where, width = Path(sys.argv[1]), int(sys.argv[2])
    extra: dict[str, Any] = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    extra = {name: tuple(value) if isinstance(value, list) else value for name, value in extra.items()}
    Console(width=width, force_terminal=True).print(study_view(found(where, **extra)))
