"""A table in the terminal: as wide as it may be, in blocks of columns where there are many sites, no line wrapped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from engine.columns import cut, longest, shorten
from engine.standings import one_line
from sweeps.notes import HEADINGS, MARK_COLORS, MARKS, MISSING, TITLES, column_title, entry_parts, footnotes
from sweeps.scores import BASELINE, METRICS, ZERO_FILLED, Entry, Metric, StudyTable, Summary

LABEL = 14  # a method's name gets as many columns, if it needs them, before the cells do
LONG_LABEL = 24  # and as many before the cells get spaces and zeros


def table_view(
    summary: Summary, metrics: Sequence[Metric] = METRICS, notes: bool = True, facts: Sequence[str] = ()
) -> RenderableType:
    """All studies, one below the other. metrics: fewer, where height is short; notes: what the numbers are.

    facts: see `footnotes`.
    """
    parts: list[RenderableType] = [_StudyView(table, tuple(metrics)) for table in summary]
    if notes:
        parts += [Padding(Text(note, "bright_black"), (0, 1)) for note in footnotes(summary, facts)]
    return Group(*parts)


@dataclass(frozen=True)
class _StudyView:
    """A line that explains the study, and a table a metric."""

    table: StudyTable
    metrics: tuple[Metric, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name, explanation = HEADINGS[self.table.study]
        yield cut(Text.assemble((f" {name}: ", "bold"), explanation), options.max_width)
        for metric in self.metrics:
            yield Text()
            yield cut(Text(f" {TITLES[metric]}", "italic"), options.max_width)
            for each in _metric_lines(self.table, metric, options.max_width):
                yield cut(Text(" ").append_text(each), options.max_width)
        yield Text()


def _metric_lines(table: StudyTable, metric: Metric, width: int) -> Iterator[Text]:
    """Of one table; its columns in blocks if need be."""
    names = {row: one_line(row) for row in table.rows}
    longest_name = longest(names.values(), 6)
    least = min(longest_name, LABEL)
    form = _form(table, metric, width - 1, longest_name)
    blocks = _blocks(table.columns, form.fits(width - 1, least))
    most = max(map(len, blocks))
    label = max(least, min(longest_name, width - 1 - form.size * most))
    room = (width - 1 - label - form.size * most) // most
    wanted = longest(map(column_title, table.columns)) + 2 - form.size
    form = replace(form, gap=form.gap + max(0, min(wanted, room)))  # for the sites' names
    for i, block in enumerate(blocks):
        if i:
            yield Text()
        titles = [shorten(column_title(column), form.size - 2) for column in block]
        head = "".join(" " * (form.size - 1 - cell_len(title)) + title + " " for title in titles)
        yield Text(" " * label + head, "bright_black")
        for row in table.rows:
            name = shorten(names[row], label)
            cells = [form.cell(table.entry(metric, row, column)) for column in block]
            line = Text.assemble((name, "bold" if row == BASELINE else ""), " " * (label - cell_len(name)), *cells)
            if row == ZERO_FILLED:
                line.stylize("bright_black")
            yield line


# ---- cells ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    """How a metric's cells are written: widths of mean and interval (0: left out), and what is between."""

    metric: Metric
    means: int
    intervals: int
    between: str
    gap: int
    zeros: bool
    """Whether 0.5 keeps its zero."""

    @property
    def size(self) -> int:
        """Columns of a cell with the gap before and the mark behind it."""
        interval = len(self.between) + self.intervals if self.intervals else 0
        return self.gap + self.means + interval + 1

    def fits(self, width: int, label: int) -> int:
        """How many columns do; at least one."""
        return max(1, (width - label) // self.size)

    def cell(self, entry: Entry | None) -> Text:
        """As wide as `size`."""
        if entry is None:
            return Text(MISSING.rjust(self.size - 1) + " ", "bright_black")
        mean, interval = (part if self.zeros else _bare(part) for part in entry_parts(entry, self.metric))
        shown = mean.rjust(self.means)
        if self.intervals:
            rest = self.between + interval.rjust(self.intervals) if interval else ""
            shown += rest.ljust(len(self.between) + self.intervals)
        mark = MARKS[entry.verdict]
        text = Text(" " * self.gap).append(shown, "bold" if entry.bold else "")
        return text.append(mark or " ", MARK_COLORS.get(mark, ""))


def _form(table: StudyTable, metric: Metric, width: int, longest_name: int) -> _Form:
    """Of those with an interval that need the fewest blocks, the roomiest that cuts no name; else without one."""
    parts = [entry_parts(entry, metric) for row in table.cells[metric].values() for entry in row.values()]
    if not parts:  # room for what will come
        parts = [entry_parts(Entry(mean=20 if metric == "psnr" else 0.5, half_width=0.1, n=2), metric)]
    bare = [(_bare(mean), _bare(interval)) for mean, interval in parts]

    def form(parts: Sequence[tuple[str, str]], between: str, gap: int, zeros: bool) -> _Form:
        means, intervals = longest((m for m, _ in parts), 4), longest((i for _, i in parts))
        return _Form(metric, means, intervals, between, gap, zeros)

    forms = [form(parts, " ±", 2, True), form(parts, "±", 1, True), form(bare, "±", 1, False)]
    least = min(longest_name, LABEL)
    if least + forms[-1].size > width:
        return form([(mean, "") for mean, _ in bare], "", 1, False)

    def cost(form: _Form) -> tuple[int, bool]:
        blocks = math.ceil(len(table.columns) / form.fits(width, least))
        most = math.ceil(len(table.columns) / blocks)
        return blocks, min(longest_name, LONG_LABEL) + most * form.size > width

    return min(forms, key=cost)


def _bare(number: str) -> str:
    """.5 for 0.5: what a narrow terminal gets."""
    return number.removeprefix("0") if number.startswith("0.") else number


def _blocks(columns: Sequence[str], most: int) -> list[Sequence[str]]:
    """Of nearly equal lengths, none above `most`; at least one column."""
    count = math.ceil(len(columns) / most)
    ends = [round(len(columns) * i / count) for i in range(count + 1)]
    return [columns[start:end] for start, end in pairwise(ends)]
