"""The live board of a study: a frame of at most the terminal's size whose rows never wrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.text import Text

from engine.board import spinner
from engine.columns import Column, cut, fit, line, longest, shorten, titles
from engine.pictures import progress_bar, sparkline
from engine.standings import clock_time, one_line
from sweeps.studies.findings import Row, count
from sweeps.studies.front_view import front_lines, history_lines
from sweeps.studies.plan import StudyPlan
from sweeps.studies.words import (
    counts_text,
    objective_title,
    param_parts,
    param_text,
    plural,
    sampler_text,
    value_text,
    values_text,
    wrapped,
)

NAME = 12  # columns that a parameter's name gets before others have theirs
SIGNS = {
    "complete": ("✓", "green"),
    "pruned": ("▾", "yellow"),
    "failed": ("✗", "red"),
    "running": ("▸", "cyan"),
    "interrupted": ("▪", "yellow"),
}
CHART = 8, 16  # lines: fewest, most


@dataclass(frozen=True, kw_only=True)
class Working:
    """A job of this process. name: of what is no trial of the search; history: a trial's objectives by round."""

    name: str
    turn: int
    round: int
    rounds: int
    params: Mapping[str, Any]
    history: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """All there is to show but the time. rows: by turn, but for those in `working`; best: the winners so far.

    phase: what is done besides the search; done, total: work, that of a trial being 1
    """

    rows: tuple[Row, ...] = ()
    working: tuple[Working, ...] = ()
    best: tuple[Row, ...] = ()
    phase: str = ""
    done: float = 0.0
    total: float = 1.0

    @property
    def searching(self) -> bool:
        """Whether a trial of the search runs here."""
        return any(not job.name for job in self.working)

    @property
    def part(self) -> float:
        """Of the work, from 0 to 1."""
        return min(1.0, self.done / self.total)


@dataclass(frozen=True)
class StudyBoard:
    """Fits whatever it is drawn on. elapsed, left: seconds; left: None if unknown."""

    plan: StudyPlan
    standing: Standing
    elapsed: float
    left: float | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._frame(options.max_width, options.size.height)

    def _frame(self, width: int, height: int) -> RenderableType:
        standing, inner = self.standing, width - 4  # what a terminal echoes, ^C, still fits in a line
        head = _header(self.plan, width)
        lines = [self._progress(inner), self._counts()]
        room = height - 1 - len(head) - 2 - len(lines)  # the last line stays the cursor's
        table = _Table.of(self.plan, standing, inner)
        best = [Text(), *_best_lines(self.plan, standing.best, inner)] if standing.best else []
        working = _working_lines(standing, table, max(2, room - len(best) - 4))
        room -= len(best) + len(working)
        chart = _chart(self.plan, standing, inner, room - 2 - min(6, len(standing.rows)))
        room -= len(chart)
        body = [*lines, *working, *best, *_last_lines(standing, table, room - 2), *chart]
        placed = (cut(Text(" ").append_text(each), inner + 1) for each in body[: height - 3 - len(head)])
        panel = Panel(Group(*head), title=_title(self.plan, width), title_align="left", box=ROUNDED, width=width)
        panel.border_style = "cyan"
        return Group(panel, *placed)

    def _progress(self, width: int) -> Text:
        done = sum(row.state != "running" for row in self.standing.rows)
        words = [f"{done}/{plural(self.plan.trials, 'trial')}", f"{self.standing.part:.0%}"]
        words.append(f"{clock_time(self.elapsed)} elapsed")
        words += [f"{clock_time(self.left)} left"] if self.left is not None and self.standing.part < 1 else []
        text = f"  {', '.join(words)}"
        bar = max(4, min(60, width - len(text) - 1))
        return Text.assemble(progress_bar(round(1000 * self.standing.part), 1000, bar), text)

    def _counts(self) -> Text:
        counted = count(self.standing.rows)
        counted["running"] = 0  # those are in the table, but for others'
        elsewhere = sum(row.state == "running" for row in self.standing.rows)
        text = Text(counts_text(counted))
        text.append(f", {elsewhere} run in other processes" if elsewhere else "")
        if self.standing.phase:
            text.append("  ").append(f"{spinner(self.elapsed)} {self.standing.phase}", "cyan")
        return text


# ---- the header -----------------------------------------------------------------------------------------


def _title(plan: StudyPlan, width: int) -> Text:
    return cut(Text(f"sweep of {one_line(plan.run.scenario)}", "bold"), width - 6)


def _header(plan: StudyPlan, width: int) -> list[Text]:
    config = plan.config
    pruned = "" if config.pruner == "none" else f", pruned by {config.pruner}"
    seeds = f", {config.seeds} seeds a trial" if config.seeds > 1 else ""
    goals = "; ".join(objective_title(each, config.against) for each in plan.objectives)
    names = ", ".join(each.name for each in plan.space.parameters)
    facts = [
        ("for", f"{goals}; validation patients{seeds}"),
        ("of", f"{names}, by {sampler_text(plan)}{pruned}"),
        ("into", str(plan.out)),
    ]
    return [cut(Text.assemble((f"{label:5}", "bright_black"), text), width - 4) for label, text in facts]


# ---- tables ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Columns that running and ended trials share. width: of a whole line."""

    columns: list[Column[Row]]
    width: int

    @staticmethod
    def of(plan: StudyPlan, standing: Standing, width: int) -> _Table:
        rows = [*standing.rows, *map(_row, standing.working)]
        rounds = longest((f"{row.rounds}/{plan.rounds(row.params)}" for row in rows), 5)
        every = [
            Column[Row]("trial", 0, 7, lambda row, _: Text.assemble(SIGNS[row.state], f" {row.turn:>5}")),
            Column[Row]("round", 1, rounds, lambda row, _: Text(f"{row.rounds}/{plan.rounds(row.params)}"), right=True),
            *(_value_column(plan, index) for index in range(len(plan.objectives))),
            *([_trend()] if len(plan.objectives) == 1 else []),
            *(_param_column(each.name, rank, rows) for rank, each in enumerate(plan.space.parameters, start=4)),
        ]
        columns = [replace(each, title=shorten(each.title, each.width)) for each in fit(every, width)]
        return _Table(columns, width)

    def line(self, row: Row) -> Text:
        """A failed trial's reason takes the place of what it has not."""
        if row.reason:
            head = Text.assemble(SIGNS[row.state], f" {row.turn:>5}  ", (one_line(row.reason), "red"))
            return cut(head, self.width)
        return line(self.columns, row)


def _trend() -> Column[Row]:
    return Column("trend", 3, 8, lambda row, room: Text(sparkline(row.history, room), "blue"), most=24)


def _value_column(plan: StudyPlan, index: int) -> Column[Row]:
    objective, against = plan.objectives[index], plan.config.against

    def cell(row: Row, _: int) -> Text:
        known = len(row.values) > index
        style = "" if row.state == "complete" else "bright_black" if row.state == "pruned" else "bold"
        return Text(value_text(objective, row.values[index], against) if known else "–", style)

    return Column(objective.name, index and 2, max(8, len(objective.name)), cell, right=True)


def _param_column(name: str, rank: int, rows: Sequence[Row]) -> Column[Row]:
    """As wide as its values, and its name as far as there is room."""
    values = longest((param_text(row.params[name]) for row in rows if name in row.params), 6)
    least = min(max(values, min(len(name), NAME)), 24)

    def cell(row: Row, room: int) -> Text:
        if name not in row.params:
            return Text("–", "bright_black")
        return Text(shorten(param_text(row.params[name]), room))

    return Column(name, rank, least, cell, right=True, most=len(name))


def _working_lines(standing: Standing, table: _Table, room: int) -> list[Text]:
    """A row for each job of this process."""
    if not standing.working:
        return []
    shown = standing.working if len(standing.working) <= room else standing.working[: max(1, room - 1)]
    lines = [_named(each, table.width) if each.name else table.line(_row(each)) for each in shown]
    if len(shown) < len(standing.working):
        lines.append(Text(f"  … and {len(standing.working) - len(shown)} more", "bright_black"))
    return [Text(), *([titles(table.columns)] if standing.searching else []), *lines]


def _named(working: Working, width: int) -> Text:
    """What is no trial of the search: a test, a confirmation."""
    done = f"round {working.round}/{working.rounds}  " if working.round else ""
    bar = progress_bar(working.round, working.rounds, 12)
    return cut(Text.assemble(SIGNS["running"], " ", bar, f" {done}{working.name}"), width)


def _row(working: Working) -> Row:
    last = working.history[-1:] or ((),)
    single = tuple(values[0] for values in working.history if len(values) == 1)
    return Row(
        turn=working.turn, state="running", params=dict(working.params), values=last[0], rounds=working.round,
        history=single,
    )  # fmt: skip


def _last_lines(standing: Standing, table: _Table, room: int) -> list[Text]:
    """The last trials that ended, the latest first."""
    ended = [row for row in standing.rows if row.state != "running"]
    if not ended or room < 1:
        return []
    title = Text("last trials", "bright_black") if standing.searching else titles(table.columns)
    return [Text(), title, *(table.line(row) for row in reversed(ended[-room:]))]


def _best_lines(plan: StudyPlan, best: Sequence[Row], width: int) -> list[Text]:
    """The best so far with all its parameters, or the front."""
    told = [values_text(plan.objectives, row.values, plan.config.against) for row in best]
    if len(plan.objectives) == 1:
        parts = wrapped(param_parts(best[0].params), width, f"best   trial {best[0].turn}  {told[0]}  ", most=2)
    else:
        front = [f"trial {row.turn} ({values})" for row, values in zip(best, told, strict=True)]
        parts = wrapped(front, width, "front  ", most=3)
    lines = [Text(part) for part in parts]
    lines[0].stylize("bold green", 0, 6)
    return lines


# ---- the chart ------------------------------------------------------------------------------------------


def _chart(plan: StudyPlan, standing: Standing, width: int, room: int) -> list[Text]:
    """Where there is room: what the trials came to, and the best so far; of two objectives the front."""
    height = min(room - 1, CHART[1])
    if height < CHART[0] or not standing.best:
        return []
    width = min(width, 110)
    if len(plan.objectives) == 2:
        return [Text(), *front_lines(plan, standing.rows, [row.turn for row in standing.best], width, height)]
    return [Text(), *history_lines(plan, standing.rows, width, height)]
