"""Watching a federation: live on a terminal, or one plain line per event."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from engine.board import Board, spinner
from engine.columns import cut
from engine.pictures import half_blocks, sparkline
from engine.standings import Clock, Header, State, clock_time, number, one_line, tightest
from engine.summary import summary_view
from engine.types import RoundReport, SiteInfo

__all__ = ["Header", "LiveWatcher", "PlainWatcher", "Watcher", "half_blocks", "sparkline", "summary_view"]


class Watcher(Protocol):
    """Who is told what a federation does. Enter it before the start-up."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def phase(self, text: str) -> None:
        """What is being done now besides rounds: "starting Ray", "scoring the test patients"."""
        ...

    def start(self, header: Header, sites: Sequence[SiteInfo], reports: Sequence[RoundReport] = ()) -> None:
        """The first round is about to begin. reports: earlier rounds of a resumed run."""
        ...

    def update(self, report: RoundReport) -> None:
        """A round is done."""
        ...

    def message(self, text: str) -> None:
        """Something worth keeping in view."""
        ...


class _Stopwatch:
    """The seconds that a `Clock` shows."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()
        self._ticks: list[float] = []

    def tick(self) -> None:
        """The rounds start, or one of them ends."""
        self._ticks.append(self._now())

    def read(self) -> Clock:
        now, ticks = self._now(), self._ticks
        rounds = tuple(after - before for before, after in pairwise(ticks))
        return Clock(now - self._began, rounds, now - ticks[-1] if ticks else 0.0)


class LiveWatcher:
    """A board that is redrawn in place; its last frame stays in the scrollback."""

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console()
        self._watch = _Stopwatch(now)
        self._phases: list[tuple[str, float]] = []  # of the start-up, with the second each began
        self._state: State | None = None
        self._live = Live(console=self.console, refresh_per_second=2, get_renderable=self.renderable)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state is not None:
            self._state = replace(self._state, phase="")
        self._live.stop()

    def phase(self, text: str) -> None:
        if self._state is None:
            self._phases.append((text, self._watch.read().elapsed))
        else:
            self._state = replace(self._state, phase=text)
        self._live.refresh()

    def start(self, header: Header, sites: Sequence[SiteInfo], reports: Sequence[RoundReport] = ()) -> None:
        self._watch.tick()
        self._state = State(header, tuple(sites), tuple(reports))
        self._live.refresh()

    def update(self, report: RoundReport) -> None:
        assert self._state is not None, "start comes before update"
        self._watch.tick()
        self._state = replace(self._state, reports=(*self._state.reports, report), phase="")
        self._live.refresh()

    def message(self, text: str) -> None:
        self.console.print(Text(text))

    def renderable(self) -> RenderableType:
        """The board as it is now, or what the start-up has done and is doing."""
        clock = self._watch.read()
        if self._state is not None:
            return Board(self._state, clock)
        ends = [*(second for _, second in self._phases), clock.elapsed][1:]
        lines: list[Text] = []
        for (text, first), then in zip(self._phases, ends, strict=True):
            mark = ("✓", "green") if len(lines) < len(ends) - 1 else (spinner(clock.elapsed), "cyan")
            seconds = (f"  {then - first:.1f} s", "bright_black")
            lines.append(cut(Text.assemble(mark, f" {one_line(text)}", seconds), self.console.width - 1))
        return Group(*lines)


class PlainWatcher:
    """One line per event and no escape codes, for files, pipes and --no-live."""

    def __init__(self, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stdout
        self._watch = _Stopwatch(now)
        self._state: State | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def phase(self, text: str) -> None:
        self.message(f"{text} …")

    def start(self, header: Header, sites: Sequence[SiteInfo], reports: Sequence[RoundReport] = ()) -> None:
        self._watch.tick()
        self._state = State(header, tuple(sites), tuple(reports))
        target = "no target" if header.target is None else f"target {header.target}"
        self.message(f"{header.scenario}: {header.note}")
        for text in header.warnings:
            self.message(f"warning: {text}")
        self.message(f"{header.algorithm}, {target}, {header.rounds} rounds on {header.devices} into {header.out}")
        for row in self._state.rows:
            self.message(f"{row.name}: {row.role}, {row.scanner}, {row.slices} slices, {row.share}")
        if reports:
            self.message(f"going on after round {reports[-1].round}")

    def update(self, report: RoundReport) -> None:
        assert self._state is not None, "start comes before update"
        self._watch.tick()
        self._state = replace(self._state, reports=(*self._state.reports, report))
        self.message(round_line(self._state, self._watch.read()))

    def message(self, text: str) -> None:
        print(one_line(text), file=self._stream, flush=True)


def round_line(state: State, clock: Clock) -> str:
    """The last round in one line."""
    report, total = state.reports[-1], state.header.rounds
    mean, left = state.mean, clock.left(total - report.round)
    words = [
        f"round {report.round}/{total}",
        f"loss {number(mean.loss, 4)}",
    ]
    words += [] if math.isnan(mean.psnr_gain) else [f"mean gain {mean.psnr_gain:+.2f} dB"]
    words += [f"{row.name} {row.psnr:.2f} dB" for row in state.rows if row.is_target and not math.isnan(row.psnr)]
    accuracy = state.accuracies[-1]
    words += [] if math.isnan(accuracy) else [f"identifiers {accuracy:.2f}"]
    words += [f"{clock.rounds[-1]:.2f} s"]
    speed = tightest(report)
    words += [f"input {speed[1].input:.0f} and training {speed[1].training:.0f} slices/s"] if speed else []
    words += [f"{clock_time(left)} left"] if left is not None and report.round < total else []
    return ", ".join(words)
