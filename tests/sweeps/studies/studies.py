"""Studies of a function in place of federations; as a program, with a directory, it dies with a trial under way."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import TrialState

from sweeps.studies.journal import open_study
from sweeps.studies.objectives import objectives
from sweeps.studies.samplers import SamplerName, pruner, sampling
from sweeps.studies.space import Choice, Number, Space, Values
from sweeps.studies.turns import by_turn
from sweeps.studies.workers import Worker, at_work, claim, recover

SPACE = Space(
    (
        Number(name="lr", low=1e-4, high=1e-2, log=True),
        Number(name="alignment_weight", low=1e-3, high=1.0, log=True),
        Choice(name="algorithm", values=("fl-mr", "fl-mrcm")),
        Number(name="local_epochs", low=1, high=4, whole=True),
    )
)
NUMBERS = Space(
    (
        Number(name="lr", low=1e-4, high=1e-2, log=True),
        Number(name="snr", low=10, high=40, step=0.5),
        Number(name="local_epochs", low=1, high=4, whole=True),
    )
)
FINITE = Space((*(each for each in SPACE.parameters if each.name != "lr" and each.name != "alignment_weight"),
                Choice(name="alignment_weight", values=(0.01, 0.1, 1.0))))  # fmt: skip


def psnr(values: Values) -> float:
    """Best at lr = 1e-3 and an alignment weight of 0.1, of a method that aligns."""
    aligned = 1 - 0.3 * abs(math.log10(values["alignment_weight"] / 0.1)) if "alignment_weight" in values else 0
    return float(30 + aligned - abs(math.log10(values.get("lr", 1e-3) / 1e-3)) + 0.01 * values["local_epochs"])


def seconds(values: Values) -> float:
    return float(values["local_epochs"])


def study_of(directory: Path, names: str = "target-psnr", prune: str = "none", storage: str = "") -> optuna.Study:
    directory.mkdir(exist_ok=True)
    return open_study(directory, objectives(names), pruner(prune, 9, objectives(names)), storage)  # type: ignore[arg-type]


def work(
    study: optuna.Study,
    worker: Worker,
    trials: int,
    name: SamplerName = "tpe",
    space: Space = SPACE,
    seed: int = 0,
    rounds: int = 0,
    before_tell: Callable[[int], None] = lambda _: None,
) -> None:
    """Do what is left of a study's trials. rounds: of which values are reported, rising to the last."""
    several = len(study.directions) > 1
    draw = sampling(name, space, objectives("target-psnr,seconds" if several else "target-psnr"), seed)
    while mine := claim(study, worker, space, draw, trials):
        best = psnr(mine.values)
        before_tell(mine.turn)
        for round in range(1, rounds + 1):
            mine.trial.report(best - 1 / round, round)
            if round < rounds and mine.trial.should_prune():
                study.tell(mine.trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(mine.trial, [best, seconds(mine.values)] if several else best)


def outcome(study: optuna.Study) -> list[tuple[TrialState, Values, list[float] | None]]:
    """What counts of each turn, in their order."""
    found = by_turn(study)
    assert sorted(found) == list(range(len(found)))
    return [(found[turn].state, found[turn].params, found[turn].values) for turn in sorted(found)]


def _die(turn: int) -> None:
    if turn == 6:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with at_work(place) as worker:
        study = study_of(place)
        recover(study, worker)
        work(study, worker, 20, before_tell=_die)
