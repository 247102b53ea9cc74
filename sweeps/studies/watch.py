"""Watching a study: live on a terminal, or in plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, TextIO

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from engine.board import spinner
from engine.columns import cut, shorten
from engine.standings import clock_time, one_line
from sweeps.jobs import Job
from sweeps.pool import Progress
from sweeps.studies.board import Standing, StudyBoard, Working
from sweeps.studies.findings import Row, rank, rows_of
from sweeps.studies.plan import Confirmation, StudyPlan, Trial
from sweeps.studies.trials import StudyWatcher
from sweeps.studies.turns import TURN
from sweeps.studies.winners import winners
from sweeps.studies.words import of_trials, params_text, plural, values_text

PLAIN = 120  # columns of a line, as far as its parameters can be cut


class Pace:
    """How long the rest takes, from what this session has got done; work: of a whole trial 1."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._began = now, now()
        self._first: tuple[float, float] | None = None  # when the first job began, and what was done by then

    def start(self, done: float) -> None:
        """The first job begins; Ray has started."""
        self._first = self._first or (self._now(), done)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    def left(self, done: float, total: float) -> float | None:
        """Seconds; None before there is a pace."""
        if self._first is None or done <= self._first[1] or self._now() - self._first[0] < 1:
            return None
        return (self._now() - self._first[0]) * (total - done) / (done - self._first[1])


class LiveStudy:
    """A board that is redrawn in place; the last frame goes, for what has been found is drawn then."""

    def __init__(
        self,
        plan: StudyPlan,
        study: optuna.Study,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._study = plan, study
        self.console = console or Console()
        self._pace = Pace(now)
        self._jobs: dict[str, Working] = {}  # by name
        self._confirmed = 0.0  # work
        self._read()
        self._standing: Standing | None = None  # of a whole moment, for the thread that draws; None: nothing has begun
        self._live = Live(
            console=self.console, refresh_per_second=2, transient=True, get_renderable=self.renderable,
            vertical_overflow="crop",
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def began(self, job: Any) -> None:
        self._pace.start(self._done)
        params = job.values if isinstance(job, Trial) else {}
        self._jobs[job.name] = Working(
            name=_task(job), turn=job.turn, round=0, rounds=job.config.rounds, params=params
        )  # fmt: skip
        self._settle()

    def update(self, progress: Progress[Any], values: Sequence[float]) -> None:
        name = progress.federation.name
        before = self._jobs[name]
        if progress.kind == "round":
            history = () if progress.round <= before.round else before.history  # its process died: it began anew
            self._jobs[name] = replace(before, round=progress.round, history=(*history, tuple(values)))
        else:
            del self._jobs[name]
            self._confirmed += self._weight * isinstance(progress.federation, Confirmation)
        self._settle()

    def ended(self, trial: FrozenTrial) -> None:
        turn = trial.user_attrs[TURN]
        self._jobs = {name: job for name, job in self._jobs.items() if job.name or job.turn != turn}  # if it was left
        self._read()
        self._settle()

    def renderable(self) -> RenderableType:
        """The board as it is now."""
        elapsed, standing = self._pace.elapsed, self._standing
        if standing is not None:
            return StudyBoard(self._plan, standing, elapsed, self._pace.left(standing.done, standing.total))
        lines = [Text.assemble((spinner(elapsed), "cyan"), f" starting Ray and the first trials  {elapsed:.1f} s")]
        stored = sum(row.state != "running" for row in self._rows)
        words = f"  {of_trials(stored, self._plan.trials)} are stored"
        lines += [Text(words, "bright_black")] * bool(stored)
        return Group(*(cut(line, self.console.width - 1) for line in lines))

    def _read(self) -> None:
        """What the study holds, other processes' trials too."""
        self._rows = rows_of(self._study)
        best = [Row.of(trial) for trial in winners(self._study)]
        self._best = tuple(sorted(best, key=lambda row: rank(self._plan, row.values, row.turn)))

    def _settle(self) -> None:
        mine = {job.turn for job in self._jobs.values() if not job.name}
        tasks = [job for job in self._jobs.values() if job.name]
        self._standing = Standing(
            rows=tuple(row for row in self._rows if row.turn not in mine),
            working=tuple(self._jobs.values()),
            best=self._best,
            phase="the search is done; testing the winners" if tasks else "",
            done=self._done,
            total=self._plan.trials + self._weight * self._plan.config.confirm * max(1, len(self._best)),
        )

    @property
    def _weight(self) -> float:
        """Of a confirmation's work, that of a trial being 1."""
        return 1 / self._plan.config.seeds

    @property
    def _done(self) -> float:
        running = sum((self._weight if job.name else 1) * job.round / job.rounds for job in self._jobs.values())
        return self._confirmed + running + sum(row.state != "running" for row in self._rows)


class PlainStudy:
    """A line per trial, for files, pipes and --no-live."""

    def __init__(
        self,
        plan: StudyPlan,
        study: optuna.Study,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._stream = plan, stream or sys.stdout
        self._stored, self._ended = sum(row.state != "running" for row in rows_of(study)), 0
        self._pace = Pace(now)

    def __enter__(self) -> Self:
        if self._stored:
            self._say(f"going on: {of_trials(self._stored, self._plan.trials)} are stored")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def began(self, job: Any) -> None:
        self._pace.start(0)
        if _task(job):
            self._say(_task(job))

    def update(self, progress: Progress[Any], values: Sequence[float]) -> None: ...

    def ended(self, trial: FrozenTrial) -> None:
        self._ended += 1
        row, config = Row.of(trial), self._plan.config
        done = self._stored + self._ended
        left = self._pace.left(self._ended, self._plan.trials - self._stored)
        told = values_text(self._plan.objectives, row.values, config.against) if row.values else one_line(row.reason)
        when = f"after {plural(row.rounds, 'round')} " if row.state == "pruned" else ""
        head = f"trial {row.turn} {row.state} {when}".rstrip() + f": {told}"
        times = f"{done}/{self._plan.trials}, {clock_time(self._pace.elapsed)}"
        times += f", {clock_time(left)} left" if left else ""
        params = shorten(params_text(row.params), PLAIN - len(head) - len(times) - 5)
        self._say(f"{head} ({params}); {times}" if params else f"{head}; {times}")

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def watching(plan: StudyPlan, study: optuna.Study, live: bool) -> StudyWatcher:
    """Live where the output is a terminal and it is wanted."""
    return LiveStudy(plan, study) if live and sys.stdout.isatty() else PlainStudy(plan, study)


def _task(job: Job) -> str:
    """What is no trial of the search, in words; empty for one that is."""
    if isinstance(job, Trial):
        return f"testing {job.name}" if job.tested else ""
    return f"confirming {job.name}"
