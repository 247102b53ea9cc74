"""Watching federations train side by side: live on a terminal, with what they have shown so far, or in plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from engine.board import spinner
from engine.columns import cut
from engine.pictures import progress_bar
from engine.standings import clock_time
from sweeps.jobs import Job
from sweeps.pool import Progress


class PoolWatcher(Protocol):
    """Who is told how federations get on. Enter it before the start-up."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, progress: Progress[Any]) -> None:
        """Something happened to a federation; what it left, if it is done, has been taken in."""
        ...


class Work:
    """How much of the work is done, and how long the rest will take at this session's pace."""

    def __init__(self, federations: Sequence[Job], stored: int, now: Callable[[], float]) -> None:
        """federations: those to train; stored: federations that an earlier session finished."""
        self.total, self.stored, self.done, self.failed = len(federations), stored, 0, 0
        self.running: dict[str, Progress[Any]] = {}
        self._work = sum(federation.work for federation in federations)
        self._ended = 0.0
        self._now, self._began, self._first = now, now(), 0.0

    def update(self, progress: Progress[Any]) -> None:
        """A round, or an end."""
        self._first = self._first or self._now()
        if progress.kind == "round":
            self.running[progress.federation.name] = progress
            return
        self.running.pop(progress.federation.name, None)
        self._ended += progress.federation.work
        self.done += progress.kind == "done"
        self.failed += progress.kind == "failed"

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    @property
    def part(self) -> float:
        """Of the work, from 0 to 1."""
        begun = sum(p.federation.work * p.round / p.federation.config.rounds for p in self.running.values())
        return (self._ended + begun) / self._work if self._work else 1.0

    @property
    def left(self) -> float | None:
        """Seconds; None before there is a pace."""
        seconds = self._now() - self._first
        return seconds * (1 - self.part) / self.part if self._first and self.part > 0 and seconds > 1 else None

    def words(self) -> str:
        """In one line."""
        words = [f"{self.done + self.failed}/{self.total} federations", f"{self.part:.0%}", clock_time(self.elapsed)]
        words += [] if self.left is None or self.part >= 1 else [f"{clock_time(self.left)} left"]
        words += [f"{self.stored} stored"] if self.stored else []
        words += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(words)


class LivePool:
    """What has been found so far, below the federations that train; the last frame goes."""

    def __init__(self, work: Work, draw: Callable[[], RenderableType], console: Console | None = None) -> None:
        """draw: of all that is done, anew after each federation."""
        self._work, self._draw = work, draw
        self.console = console or Console()
        self._found = draw()
        self._live = Live(
            console=self.console, refresh_per_second=2, transient=True, get_renderable=self.renderable,
            vertical_overflow="crop",
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, progress: Progress[Any]) -> None:
        self._work.update(progress)
        if progress.kind == "failed":
            self.console.print(Text(f"{progress.federation.name} stopped: {progress.reason}", "red"))
        if progress.kind == "done":
            self._found = self._draw()

    def renderable(self) -> RenderableType:
        """The view as it is now."""
        width, work = self.console.width - 1, self._work
        lines = [cut(Text.assemble(" ", progress_bar(round(1000 * work.part), 1000, 24), f" {work.words()}"), width)]
        if not work.running and not work.done + work.failed:
            lines.append(Text.assemble(" ", (spinner(work.elapsed), "cyan"), " starting Ray and the first federations"))
        for progress in work.running.values():
            rounds = progress.federation.config.rounds
            bar = progress_bar(progress.round, rounds, 12)
            words = f" round {progress.round}/{rounds}  {progress.federation.name}"
            lines.append(cut(Text.assemble(" ", bar, words), width))
        return Group(*lines, Text(), self._found)


class PlainPool:
    """One line per federation, for files, pipes and --no-live."""

    def __init__(self, work: Work, stream: TextIO | None = None) -> None:
        self._work, self._stream = work, stream or sys.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def update(self, progress: Progress[Any]) -> None:
        self._work.update(progress)
        if progress.kind != "round":
            what = f"stopped: {progress.reason}" if progress.kind == "failed" else "done"
            print(f"{progress.federation.name} {what}; {self._work.words()}", file=self._stream, flush=True)


def watcher(federations: Sequence[Job], stored: int, draw: Callable[[], RenderableType], live: bool) -> PoolWatcher:
    """Live where the output is a terminal and it is wanted. federations: those to train; stored: how many are done."""
    work = Work(federations, stored, time.monotonic)
    return LivePool(work, draw) if live and sys.stdout.isatty() else PlainPool(work)
