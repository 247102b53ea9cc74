"""A study as it runs: trials are asked for, trained side by side, pruned or told, until there are enough.

Optuna's storage is the only record: whatever kills this process, another goes on from it. Values are of validation
patients; test patients are scored once, at the end, for the winners.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from engine.types import TrainingStopped
from sites.config import ATLAS
from sweeps.jobs import Job, Round
from sweeps.pool import Pool, Progress, open_pool
from sweeps.shares import demand
from sweeps.studies.plan import StudyPlan, Trial, corners
from sweeps.studies.turns import SEEDS, by_turn
from sweeps.studies.winners import untested, winners
from sweeps.studies.workers import Worker, claim, one_at_a_time, recover

WINNERS = "winners"  # what only one process does at a time: testing them, writing what was found
PATIENCE = 0.5  # seconds between looks at what other processes do
REASON, ROUNDS = "reason", "rounds"  # of a trial's attributes: why it failed, how many rounds it trained


class StudyWatcher(Protocol):
    """Who is told how a study gets on. Enter it before the start-up."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...

    def began(self, job: Job) -> None:
        """A job was given to a worker: a trial, or a winner that is tested."""
        ...

    def update(self, progress: Progress[Job], values: Sequence[float]) -> None:
        """A round of a job, or its end. values: of the objectives after that round, if it is a trial's."""
        ...

    def ended(self, trial: FrozenTrial) -> None:
        """A trial has its state and values."""
        ...


@dataclass
class _Trained:
    """A trial as far as it is trained."""

    job: Trial
    trial: optuna.Trial
    rounds: list[Round] = field(default_factory=list)
    values: tuple[float, ...] = ()


def run_study(
    plan: StudyPlan,
    study: optuna.Study,
    worker: Worker,
    watcher: StudyWatcher,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Complete the study: its trials, its winners' test patients, their confirmation.

    meanwhile: done in a thread of its own once no trial is left to begin, which leaves cores free.
    Raises ValueError for what the machine has no room for, TrainingStopped if a winner cannot be trained again.
    """
    recover(study, worker)
    if not unfinished(plan, study):
        return
    simulated = any(site.source == ATLAS for site in plan.trial(0, corners(plan.space)[0]).config.institutions)
    with open_pool(plan.pool, plan.trials, plan.demand, simulated, plan.shelf) as pool:
        _Session(plan, study, worker, pool, watcher).run(meanwhile)


def unfinished(plan: StudyPlan, study: optuna.Study) -> bool:
    """Whether trials are missing or run, or a winner is not tested."""
    latest = by_turn(study)
    ended = sum(trial.state.is_finished() for trial in latest.values())
    return ended < plan.trials or bool(_further(plan, study))


def _further(plan: StudyPlan, study: optuna.Study) -> list[Job]:
    """What the winners still need."""
    return [job for trial in winners(study) for job in untested(plan, trial)]


class _Session:
    """This process's part in a study."""

    def __init__(
        self, plan: StudyPlan, study: optuna.Study, worker: Worker, pool: Pool[Any], watcher: StudyWatcher
    ) -> None:
        self._plan, self._study, self._worker, self._pool, self._watcher = plan, study, worker, pool, watcher
        self._trained: dict[int, _Trained] = {}  # by turn

    def run(self, meanwhile: Callable[[], None]) -> None:
        """Until there is nothing to do."""
        with ThreadPoolExecutor(1) as thread:
            aside: Future[None] | None = None
            while True:
                while self._pool.idle and self._begin():
                    pass
                if self._pool.idle:  # nothing is left to begin
                    aside = aside or thread.submit(meanwhile)
                if self._pool.running:
                    self._take_in(self._pool.wait())
                elif not recover(self._study, self._worker):
                    if not self._others_train():  # the winner is not known before
                        break
                    time.sleep(PATIENCE)
            with one_at_a_time(self._plan.out, WINNERS):
                self._test()

    def _others_train(self) -> bool:
        """Whether another process is at a trial."""
        return any(trial.state == TrialState.RUNNING for trial in by_turn(self._study).values())

    def _begin(self) -> bool:
        """Give another trial to the pool, if there is to be one."""
        plan = self._plan
        claimed = claim(self._study, self._worker, plan.space, plan.sampling, plan.trials)
        if claimed is None:
            return False
        try:
            job = plan.trial(claimed.turn, claimed.values)
            self._pool.room.check(demand(job))
        except ValueError as error:
            self._tell(claimed.trial, None, str(error))
            return True
        self._trained[claimed.turn] = _Trained(job, claimed.trial)
        self._watcher.began(job)
        self._pool.start(job)
        return True

    def _take_in(self, progress: Progress[Any]) -> None:
        trained = self._trained[progress.federation.turn]
        if progress.kind == "round":
            assert progress.result is not None
            if progress.round <= len(trained.rounds):  # its process died: it begins anew
                trained.rounds.clear()
            trained.rounds.append(progress.result)
            trained.values = self._plan.judged(trained.job, trained.rounds)
            self._watcher.update(progress, trained.values)
            self._judge(trained, progress.round)
            return
        self._watcher.update(progress, trained.values)
        if progress.kind == "done" and self._plan.config.seeds > 1:
            trained.trial.set_user_attr(SEEDS, self._plan.by_seed(trained.job, trained.rounds))
        self._tell(
            trained.trial, trained.values if progress.kind == "done" else None, progress.reason, len(trained.rounds)
        )
        del self._trained[progress.federation.turn]

    def _judge(self, trained: _Trained, round: int) -> None:
        """Report a round, and leave the trial if its value is no number or others were better by now."""
        trial = trained.trial
        if not all(map(math.isfinite, trained.values)):
            self._leave(trained, None, f"round {round}: the objective is not a finite number")
        elif len(self._plan.objectives) == 1:
            trial.report(trained.values[0], round)
            if round < trained.job.config.rounds and trial.should_prune():
                self._leave(trained, trained.values, "", TrialState.PRUNED)

    def _leave(self, trained: _Trained, values: Sequence[float] | None, reason: str, state: Any = None) -> None:
        """Free its worker at once, and tell the study."""
        self._pool.stop(trained.job)
        self._tell(trained.trial, values, reason, len(trained.rounds), state)
        del self._trained[trained.job.turn]

    def _tell(
        self,
        trial: optuna.Trial,
        values: Sequence[float] | None,
        reason: str,
        rounds: int = 0,
        state: TrialState | None = None,
    ) -> None:
        """values: None of a trial that failed. A pruned trial's value is that of its last round."""
        trial.set_user_attr(ROUNDS, rounds)
        if reason:
            trial.set_user_attr(REASON, reason)
        if state == TrialState.PRUNED:
            frozen = self._study.tell(trial, state=state)
        elif values is None:
            frozen = self._study.tell(trial, state=TrialState.FAIL)
        else:
            frozen = self._study.tell(trial, list(values))
        self._watcher.ended(frozen)

    def _test(self) -> None:
        """Score the winners' test patients, and confirm the winners: what is stored is not done again."""
        jobs = _further(self._plan, self._study)
        while jobs or self._pool.running:
            while jobs and self._pool.idle:
                self._watcher.began(jobs[0])
                self._pool.start(jobs.pop(0))
            progress = self._pool.wait()
            self._watcher.update(progress, ())
            if progress.kind == "failed":
                raise progress.error or TrainingStopped(f"{progress.federation.name}: {progress.reason}")
        if _further(self._plan, self._study):
            raise ValueError(
                f"{self._plan.out} is not to be seen by its workers; a cluster's machines must share --out"
            )
