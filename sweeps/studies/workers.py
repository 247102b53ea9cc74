"""Processes that work on one study: who has which trial, and what becomes of the trials of those that died.

A worker holds a lock on a file of its own in `workers/` for as long as it lives, however it ends. A trial has a turn,
the how-many-th of the study it is, counted from 0; one that is repeated, since its worker died, keeps its turn, so that
its run directory and what it draws stay its own. Asking for trials and looking after the dead exclude each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.studies.samplers import Sampling
from sweeps.studies.space import Space, Values
from sweeps.studies.turns import TURN, by_turn

WORKERS = "workers"
WORKER = "worker"  # of a trial's user attributes


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process at work. directory: the sweep's; name: <host>-<pid>-<random>."""

    directory: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A trial that is a worker's, to be told about."""

    trial: optuna.Trial
    turn: int
    values: Values


@contextlib.contextmanager
def at_work(directory: Path) -> Iterator[Worker]:
    """Be a worker of a sweep's directory, which exists. Raises ValueError if it cannot be written."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    try:
        (directory / WORKERS).mkdir(exist_ok=True)
        lock = _lock_file(directory, name).open("w")
    except OSError as error:
        raise ValueError(f"{directory} cannot be written ({error.strerror}); choose another directory") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield Worker(directory=directory, name=name)
        finally:
            _lock_file(directory, name).unlink(missing_ok=True)


def claim(study: optuna.Study, worker: Worker, space: Space, sampling: Sampling, trials: int) -> Claim | None:
    """The next trial with its values: one to repeat, or a new one; None if the study has had its `trials` turns."""
    with _alone(worker.directory):
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        turn = waiting[0].user_attrs.get(TURN) if waiting else None
        if turn is None:
            turn = 1 + max(by_turn(study), default=-1)
            if turn >= trials:
                return None
        study.sampler = sampling(turn)
        trial = study.ask()
        trial.set_user_attr(TURN, turn)
        values = space.suggest(trial)
        trial.set_user_attr(WORKER, worker.name)  # last: one that has it has all its values
        return Claim(trial=trial, turn=turn, values=values)


def recover(study: optuna.Study, worker: Worker) -> list[int]:
    """Fail the trials of workers that died, and enqueue each to be repeated, once; the turns of those, in order.

    worker: the one that looks after them. A trial that no worker has claimed died between two lines of `claim`.
    """
    repeated = []
    with _alone(worker.directory):
        latest = by_turn(study)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _cared_for(trial, worker.directory):
                continue
            turn = trial.user_attrs.get(TURN)
            if turn is not None and latest[turn].number == trial.number:  # else one that died here has enqueued it
                _enqueue_again(study, trial, turn)
                repeated.append(turn)
            study.tell(trial.number, state=TrialState.FAIL)
    return repeated


def orphans(study: optuna.Study, directory: Path) -> frozenset[int]:
    """Turns that nobody works on, though their trials have not ended: the next worker repeats them."""
    latest = by_turn(study).items()
    return frozenset(
        turn
        for turn, trial in latest
        if trial.state == TrialState.WAITING or (trial.state == TrialState.RUNNING and not _cared_for(trial, directory))
    )


def _cared_for(trial: FrozenTrial, directory: Path) -> bool:
    """Whether the worker that claimed a trial lives."""
    owner: str = trial.user_attrs.get(WORKER, "")
    return owner != "" and _lives(directory, owner)


def _enqueue_again(study: optuna.Study, trial: FrozenTrial, turn: int) -> None:
    """With the same values, in the same generation of its sampler, but for the rungs of a pruner that it reached.

    Of one that had only some of its values none is kept: the same sampler draws them all again.
    """
    drawn = trial.params if WORKER in trial.user_attrs else {}
    kept = {name: value for name, value in trial.system_attrs.items() if not name.startswith("completed_rung_")}
    kept["fixed_params"] = {**kept.get("fixed_params", {}), **drawn}  # as Study.enqueue_trial does
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=kept, user_attrs={TURN: turn}))


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / WORKERS / "alone").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def one_at_a_time(directory: Path, what: str) -> Iterator[None]:
    """Of all processes that work on a sweep's directory: what only one of them does."""
    with (directory / WORKERS / what).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def others(worker: Worker) -> bool:
    """Whether another process works on the directory."""
    names = (file.stem for file in (worker.directory / WORKERS).glob("*.lock"))
    return any(_lives(worker.directory, name) for name in names if name != worker.name)


def _lives(directory: Path, worker: str) -> bool:
    """Whether somebody holds a worker's lock."""
    try:
        lock: IO[str] = _lock_file(directory, worker).open()
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock_file(directory: Path, worker: str) -> Path:
    return directory / WORKERS / f"{worker}.lock"
