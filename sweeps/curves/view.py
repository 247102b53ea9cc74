"""Curves against shift in the terminal: a chart, the scores, the shift by measure; no line is wrapped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, shorten, titles
from engine.pictures import line_chart
from engine.shift import MEASURES
from engine.standings import one_line
from sites.intervals import fixed, written
from sweeps.curves.notes import curve_footnotes, heading, in_six, saturations
from sweeps.curves.statistics import Curves, Estimate
from sweeps.notes import MARK_COLORS, MARKS, MISSING
from sweeps.scores import ZERO_FILLED, Entry

COLORS = ("cyan", "yellow", "magenta", "green", "blue", "red")
DIM = "bright_black"
CHART = 7  # lines
BESIDE = 44  # columns that are left for the chart to stand beside the scores
LABEL = 14  # columns of a method's name


def curves_view(curves: Curves, notes: bool = True, warnings: Sequence[str] = ()) -> RenderableType:
    """All of it. notes: what the numbers are; warnings: of the sites' data."""
    parts: list[RenderableType] = [_Scores(curves)]
    if curves.shifts:
        parts += [Text(), _Shifts(curves)]
        parts += [Padding(Text(text, "yellow"), (0, 1)) for text in saturations(curves)]
    if notes:
        parts += [Text(), *(Padding(Text(note, DIM), (0, 1)) for note in curve_footnotes(curves, warnings))]
    return Group(*parts)


@dataclass(frozen=True)
class _Scores:
    """PSNR by strength and method, beside the chart or below it."""

    curves: Curves

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        title = f": PSNR, dB; Δ since {self.curves.columns[0]}; gain over zero-filled"
        yield cut(Text.assemble((f" {one_line(heading(self.curves))}", "bold"), title), width)
        table = [cut(each, width) for each in _score_lines(self.curves, width)]
        if console.color_system is None:  # lines could not be told apart
            yield from table
            return
        taken = longest(each.plain for each in table)
        if width - taken >= BESIDE:
            chart = _chart(self.curves, min(width - taken - 3, 72), max(CHART, len(table)))
            for i in range(max(len(table), len(chart))):
                left = table[i] if i < len(table) else Text()
                left.align("left", taken + 2)
                yield left.append_text(chart[i]) if i < len(chart) else left
        else:
            yield from table
            yield Text()
            yield from _chart(self.curves, min(width - 2, 72), CHART)


def _color(curves: Curves, method: str) -> str:
    return COLORS[curves.methods.index(method) % len(COLORS)]


# ---- scores ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    """What a method's cells hold besides the mean and its mark."""

    interval: bool
    change: bool
    gain: bool
    gap: int = 2

    @property
    def size(self) -> int:
        """Columns: 25.12 ±0.35▲  −1.20  +4.80 with all."""
        return self.gap + 5 + 6 * self.interval + 1 + NUMBER * (self.change + self.gain)

    def head(self, method: str, style: str) -> Text:
        """As wide as `size`."""
        width = self.gap + 5 + 6 * self.interval
        text = Text(shorten(one_line(method), width - 1).rjust(width) + " ", style)
        return text.append(("Δ".rjust(NUMBER) * self.change) + "gain".rjust(NUMBER) * self.gain, DIM)

    def cell(self, entry: Entry | None, change: Estimate | None, gain: Estimate | None) -> Text:
        """As wide as `size`."""
        text = MISSING if entry is None else fixed(entry.mean, 2)
        if entry is not None and self.interval:
            text += " " * 6 if math.isnan(entry.half_width) else f" ±{fixed(entry.half_width, 2)}"
        mark = MARKS[entry.verdict] if entry is not None else ""
        cell = Text(text.rjust(self.gap + 5 + 6 * self.interval), "" if entry else DIM)
        cell.append(mark or " ", MARK_COLORS.get(mark, ""))
        shown = [change] * self.change + [gain] * self.gain
        return cell.append(
            "".join(("" if each is None else written(each.mean, 2, signed=True)).rjust(NUMBER) for each in shown)
        )


NUMBER = 7  # columns of a signed one
FORMS = (_Form(True, True, True), _Form(False, True, True), _Form(False, False, True), _Form(False, False, False))


def _score_lines(curves: Curves, width: int) -> Iterator[Text]:
    """Methods side by side, all in the roomiest form that fits, or the tightest in blocks."""
    label, before, methods = 9, 13, curves.methods
    room = width - label - before
    form = next((form for form in FORMS if form.size * len(methods) <= room), FORMS[-1])
    most = min(len(methods), max(1, room // form.size))
    form = replace(form, gap=form.gap + max(0, min(3, room // most - form.size)))
    psnr = curves.cells["psnr"]
    for start in range(0, len(methods), most):
        block = methods[start : start + most]
        if start:
            yield Text()
        head = Text(" strength".ljust(label), DIM)
        for method in block:
            head.append_text(form.head(method, _color(curves, method)))
        yield head.append("zero-filled".rjust(before), DIM)
        for name in curves.columns:
            row = Text(f" {name}".ljust(label))
            for method in block:
                change, gain = (kind.get(method, {}).get(name) for kind in (curves.changes, curves.gains))
                row.append_text(form.cell(psnr.get(method, {}).get(name), change, gain))
            yield row.append_text(_zero_filled(curves, name, before))


def _zero_filled(curves: Curves, name: str, size: int) -> Text:
    entry = curves.cells["psnr"].get(ZERO_FILLED, {}).get(name)
    since = curves.changes.get(ZERO_FILLED, {}).get(name)
    text = MISSING if entry is None else fixed(entry.mean, 2)
    return Text((text + ("" if since is None else written(since.mean, 2, signed=True)).rjust(7)).rjust(size), DIM)


# ---- shift ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shifts:
    """A line a measure and method: its mean by strength, and what it goes with; dim what chance alone would show."""

    curves: Curves

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        curves, width = self.curves, options.max_width
        words = ": mean over these; dim: within chance; ρ: with loss of PSNR, gain"
        yield cut(Text.assemble((" Sources apart", "bold"), words), width)
        columns = fit(_shift_columns(curves), width - 1)
        yield cut(Text(" ").append_text(titles(columns)), width)
        for measure, by_method in curves.shifts.items():
            for method in by_method:
                yield cut(Text(" ").append_text(line(columns, (measure, method))), width)


Row = tuple[str, str]  # measure, method


def _shift_columns(curves: Curves) -> list[Column[Row]]:
    first = curves.methods[0]

    def measure(row: Row, _: int) -> Text:
        return Text(MEASURES[row[0]].label if row[1] == first else "")

    def method(row: Row, width: int) -> Text:
        return Text(shorten(one_line(row[1]), width), _color(curves, row[1]))

    labels = longest(MEASURES[name].label for name in curves.shifts)
    names = longest(map(one_line, curves.methods))
    every = [Column("measure", 0, labels, measure), Column("method", 0, min(names, LABEL), method, most=names)]
    ranks = _ranks(len(curves.columns))
    for name, rank in zip(curves.columns, ranks, strict=True):
        every.append(Column(name, rank, 6, _shift_cell(curves, name), right=True))
    every.append(Column("ρ loss", 0, 6, lambda row, _: Text(written(curves.rho(*row), 2, signed=True)), right=True))
    every.append(
        Column(
            "ρ gain",
            max(ranks) + 1,
            6,
            lambda row, _: Text(written(curves.rho(*row, "gain"), 2, signed=True)),
            right=True,
        )
    )
    return every


def _shift_cell(curves: Curves, name: str) -> Callable[[Row, int], Text]:
    def cell(row: Row, _: int) -> Text:
        found = curves.shifts[row[0]][row[1]].get(name)
        if found is None:
            return Text(MISSING, DIM)
        return Text(in_six(found.estimate.mean), DIM if found.estimate.mean <= found.high else "")

    return cell


def _ranks(count: int) -> list[int]:
    """Of columns in a row: the ends are the last to go, before them the middle, and so on by halves."""
    ranks, parts = {0: 0, count - 1: 0}, 1
    while len(ranks) < count:
        parts *= 2
        for k in range(parts + 1):
            ranks.setdefault(round(k * (count - 1) / parts), parts)
    return [ranks[i] for i in range(count)]


# ---- chart ----------------------------------------------------------------------------------------------


def _chart(curves: Curves, width: int, height: int) -> list[Text]:
    """PSNR by strength, a colour a method; zero-filled dim. `height` lines, the last the axis."""
    series: Mapping[str, Sequence[float]] = {
        method: [_mean(curves, method, name) for name in curves.columns] for method in (ZERO_FILLED, *curves.methods)
    }
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if len(curves.columns) < 2 or not finite:
        return []
    low, high = min(finite), max(finite)
    ends = [fixed(high, 1), fixed(low, 1)]
    margin = longest(ends) + 2
    at = np.linspace(curves.strengths[0], curves.strengths[-1], 2 * (width - margin))
    canvas = [[(" ", DIM)] * (width - margin) for _ in range(height - 1)]
    for method, values in series.items():
        style = DIM if method == ZERO_FILLED else _color(curves, method)
        known = np.interp(at, curves.strengths, values).tolist()
        drawn = line_chart(known, len(at), width - margin, height - 1, low, high)
        for row, characters in zip(canvas, drawn, strict=True):
            for x, character in enumerate(characters):
                if character != " ":
                    row[x] = (_over(row[x][0], character), style)
    names = [ends[0], *[""] * (height - 3), ends[1]]
    lines = [
        Text.assemble((f" {name.rjust(margin - 2)}┤"[:margin], DIM), *row)
        for name, row in zip(names, canvas, strict=True)
    ]
    return [*lines, _axis(curves, width, margin)]


def _over(below: str, above: str) -> str:
    """The dots of both braille characters."""
    return above if below == " " else chr(ord(below) | ord(above))


def _axis(curves: Curves, width: int, margin: int) -> Text:
    first, last = curves.columns[0], curves.columns[-1]
    space = width - margin - len(first) - len(last)
    return Text(" " * margin + first + " strength ".center(space, "─") + last, DIM)


def _mean(curves: Curves, method: str, name: str) -> float:
    entry = curves.cells["psnr"].get(method, {}).get(name)
    return math.nan if entry is None else entry.mean
