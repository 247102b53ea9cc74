"""The directory of a study: its settings, trials, workers' locks and results. Several processes may work on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import optuna

from engine.checkpoint import write_atomically
from engine.records import encoded
from sites.run_directory import settings_toml
from sweeps.directory import Kind, Settings, refuse_another
from sweeps.journal import open_study
from sweeps.study import GROWING, StudyPlan, specs
from sweeps.trials import REASON, ROUNDS
from sweeps.winners import read_winner, winners
from sweeps.workers import Worker, at_work, by_turn

STUDY = Kind("study", "study.toml")
NOTE = "trials were compared on validation patients; test patients were scored once, for the winners"


@contextlib.contextmanager
def take_part(plan: StudyPlan) -> Iterator[tuple[optuna.Study, Worker]]:
    """Take part in the study of a directory, new or of the same settings.

    Raises ValueError if it cannot be written, or holds something else or another study.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        lock = (plan.out / ".lock").open("w")
    except OSError as error:
        raise ValueError(f"--out {plan.out} cannot be written ({error.strerror}); choose another directory") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # for as long as it takes to see what is there
        try:
            _write_settings(plan)
        except ValueError:
            if not STUDY.there(plan.out):
                (plan.out / ".lock").unlink()  # it is somebody else's
            raise
        study = open_study(plan.out, plan.objectives, plan.pruner, plan.config.storage, plan.out.name)
    with at_work(plan.out) as worker:
        yield study, worker


def _write_settings(plan: StudyPlan) -> None:
    from sweeps.study_commands import stored_plan

    asked = Settings(plan.settings, plan.run.institutions)

    def stored() -> Settings:
        there = stored_plan(plan.out)
        return Settings(there.settings, there.run.institutions)

    refuse_another(plan.out, STUDY, asked, stored, GROWING)
    write_atomically(plan.out / STUDY.file, settings_toml(asked.values, asked.institutions, plan.device).encode())


def counts(study: optuna.Study) -> dict[str, int]:
    """Trials by state; of those that repeat each other, since a process died, the last counts."""
    states = Counter(trial.state.name.lower() for trial in by_turn(study).values())
    return {state: states[state] for state in ("complete", "pruned", "fail", "running")}


def summary(plan: StudyPlan, study: optuna.Study) -> dict[str, Any]:
    """summary.json."""
    trials = by_turn(study)
    return {
        "objectives": [{"name": each.name, "direction": each.direction, "unit": each.unit} for each in plan.objectives],
        "against": plan.config.against,
        "space": specs(plan.space),
        "trials": counts(study),
        "rounds": sum(trial.user_attrs.get(ROUNDS, 0) for trial in trials.values()),
        "failed": [
            {"trial": turn, "reason": trial.user_attrs[REASON]}
            for turn, trial in trials.items()
            if REASON in trial.user_attrs
        ],
        "winners": [asdict(read_winner(plan, trial)) for trial in winners(study)],
        "note": NOTE,
    }


def write_results(plan: StudyPlan, study: optuna.Study) -> None:
    """summary.json, of what there is."""
    text = json.dumps(encoded(summary(plan, study)), indent=2, allow_nan=False, default=str) + "\n"
    write_atomically(plan.out / "summary.json", text.encode())


def tidy(plan: StudyPlan) -> None:
    """Once nobody works on a study that is done: the shelf goes."""
    shutil.rmtree(plan.shelf, ignore_errors=True)
