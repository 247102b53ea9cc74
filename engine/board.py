"""The live board: a frame of at most the terminal's size whose rows never wrap, drawn from what is known."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import ROUNDED
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.pictures import line_chart, progress_bar, sparkline
from engine.standings import (
    Clock,
    Header,
    Row,
    State,
    byte_size,
    clock_time,
    metric,
    number,
    one_line,
    round_seconds,
    tightest,
)
from engine.types import RoundReport, Speed

LABEL = 12  # columns of the labels below the table
OSCILLATING, APART = 0.35, 0.95  # identifier accuracy; chance is 0.5
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass(frozen=True)
class Board:
    """Fits whatever it is drawn on."""

    state: State
    clock: Clock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield frame(self.state, self.clock, options.max_width, options.size.height)


def frame(state: State, clock: Clock, width: int, height: int) -> RenderableType:
    """Header, one row a site (and a second one for its scanner where there is room), notes."""
    header = header_lines(state.header, width - 4)
    rows, mean = state.rows, [state.mean] if len(state.rows) > 1 else []
    columns = table_columns([*rows, *mean], width - 2)
    notes = note_lines(state, clock, width - 2)

    room = height - 1 - len(header) - 2 - 1 - len(mean)  # the last line stays the cursor's
    notes = notes[: max(1, room - 1)]
    room -= len(notes)
    detailed = all(column.title != "scanner" for column in columns) and 2 * len(rows) <= room
    shown = rows if len(rows) <= room else rows[: max(1, room - 1)]

    lines = [titles(columns)]
    for row in shown:
        lines.append(line(columns, row))
        lines += [detail_line(row)] if detailed else []
    if len(shown) < len(rows):
        lines.append(Text(f"  … and {len(rows) - len(shown)} more sites", "bright_black"))
    for row in mean:
        lines.append(line(columns, row))
        lines[-1].stylize("bold")
    spare = height - 1 - len(header) - 2 - len(lines) - len(notes)
    lines += [Text(), *notes] if spare > 0 else notes
    lines += chart_lines(state, width - 2, min(spare - 1, 14)) if spare - 1 >= 6 and state.reports else []
    return Group(header_panel(state.header, header, width), *(_placed(line, width) for line in lines))


def _placed(line: Text, width: int) -> Text:
    """One column in from the left, never wrapped."""
    return cut(Text(" ").append_text(line), width - 1)


# ---- the header -----------------------------------------------------------------------------------------


def header_panel(header: Header, lines: Sequence[Text], width: int) -> Panel:
    """The scenario's name in the border."""
    title = cut(Text(one_line(header.scenario), "bold"), width - 6)
    return Panel(Group(*lines), title=title, title_align="left", box=ROUNDED, border_style="cyan", width=width)


def header_lines(header: Header, width: int) -> list[Text]:
    """The note, then the facts, as many to a line as fit."""
    facts = [_fact("algorithm", header.algorithm), _fact("on", header.devices), _fact("into", header.out)]
    if header.target is not None:
        facts.insert(1, Text.assemble(("target ", "bright_black"), (f"◎ {one_line(header.target)}", "bold cyan")))
    lines = [facts[0]]
    for fact in facts[1:]:
        if lines[-1].cell_len + 3 + fact.cell_len <= width:
            lines[-1].append("   ").append_text(fact)
        else:
            lines.append(fact)
    note = [Text(part, "italic") for part in textwrap.wrap(one_line(header.note), width, max_lines=2, placeholder=" …")]
    return [cut(line, width) for line in [*note, *lines, *warning_lines(header, width)]]


def warning_lines(header: Header, width: int) -> list[Text]:
    """Each on one or two lines, marked."""
    told = [textwrap.wrap(one_line(text), width - 2, max_lines=2, placeholder=" …") for text in header.warnings]
    return [Text(f"{'  ' if i else '⚠ '}{part}", "yellow") for parts in told for i, part in enumerate(parts)]


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "bright_black"), one_line(value))


# ---- the table ------------------------------------------------------------------------------------------


def table_columns(rows: Sequence[Row], width: int) -> list[Column[Row]]:
    """What a table of these rows shows in `width`; the scanner's columns come and go together."""
    name = longest((row.name for row in rows), 4) + 2
    scanner = longest((row.scanner for row in rows), 7)
    share = min(14, longest((row.share for row in rows), 5))
    every = [
        Column("  site", 0, min(name, 16), name_cell, most=min(name, 32)),
        Column("role", 5, 6, lambda row, _: Text(row.role)),
        Column("scanner", 6, min(scanner, 30), lambda row, _: Text(row.scanner, "bright_black"), most=scanner),
        Column("slices", 6, 6, lambda row, _: Text(str(row.slices), "bright_black"), right=True),
        Column("share", 6, share, lambda row, _: Text(row.share, "bright_black")),
        Column("loss", 2, 6, lambda row, _: Text(number(row.loss, 4)), right=True),
        Column("PSNR dB", 0, 12, lambda row, _: scored(row.psnr, row.psnr_gain), right=True),
        Column("SSIM", 1, 11, lambda row, _: scored(row.ssim, row.ssim_gain), right=True),
        Column("shift", 3, 6, lambda row, _: Text(number(row.shift, 4)), right=True),
        Column("PSNR trend", 4, 6, trend_cell, most=48),
    ]
    return fit(every, width)


def detail_line(row: Row) -> Text:
    """What a narrow table has no columns for."""
    words = [row.scanner, f"{row.slices} slices", row.share]
    return Text("  " + ", ".join(word for word in words if word), "bright_black")


def name_cell(row: Row, width: int) -> Text:  # noqa: ARG001
    return Text(f"◎ {row.name}", "bold cyan") if row.is_target else Text(f"  {row.name}")


def trend_cell(row: Row, width: int) -> Text:
    return Text(sparkline(row.history, width), "cyan" if row.is_target else "blue")


def scored(value: float, gain: float) -> Text:
    """The score and its gain over zero-filled, green or red."""
    if math.isnan(value):
        return Text("–")
    return Text.assemble(f"{value:.2f} ", (f"{gain:+.2f}", "green" if gain > 0 else "red"))


# ---- below the table ------------------------------------------------------------------------------------


def note_lines(state: State, clock: Clock, width: int) -> list[Text]:
    """What concerns the whole federation, the most important first."""
    last = state.reports[-1] if state.reports else None
    lines = [progress_line(state, clock, width)]
    if last is not None and not math.isnan(state.accuracies[-1]):
        lines.append(identifier_line(state))
        lines.append(gradients_line(last))
    if last is not None:
        lines.append(seconds_line(last))
        speed = tightest(last)
        lines += [_note("input", speed_words(*speed))] if speed else []
        lines.append(_note("crossed", ", ".join(f"{kind} {byte_size(n)}" for kind, n in last.ledger.items())))
    return lines


def progress_line(state: State, clock: Clock, width: int) -> Text:
    """Rounds done, with a bar and the time; or what else is being done."""
    done = state.reports[-1].round if state.reports else 0
    total = state.header.rounds
    left = clock.left(total - done)
    times = f"{clock_time(clock.elapsed)} elapsed"
    times += f", {clock_time(left)} left" if left is not None and done < total else ""
    if state.phase:
        times = f"{spinner(clock.elapsed)} {state.phase}  {clock_time(clock.elapsed)}"
    line = _note("rounds", f"{done}/{total}  ")
    bar = max(4, min(60, width - line.cell_len - 2 - max(26, cell_len(times))))
    return line.append_text(progress_bar(done, total, bar)).append(f"  {times}")


def identifier_line(state: State) -> Text:
    """How well the identifiers tell sources from target, and what that means."""
    last, trend = state.accuracies[-1], sparkline(state.accuracies, 12, 0, 1)
    line = _note("identifiers", f"accuracy {last:.2f}  ").append(trend, "magenta").append("  ")
    if last < OSCILLATING:
        return line.append("well below chance: oscillating", "yellow")
    if last > APART:
        return line.append("near 1: sites still told apart", "yellow")
    return line.append("0.5 is chance", "bright_black")


def gradients_line(report: RoundReport) -> Text:
    """Norms on the encoder, on one batch."""
    adversarial = metric(report, "adversarial_gradient")
    line = _note("gradients", f"reconstruction {metric(report, 'reconstruction_gradient'):.1e}, adversarial ")
    line.append(f"{adversarial:.1e}", "bold red" if adversarial == 0 else "")
    return line.append(f" × weight {metric(report, 'alignment_weight'):.2g}")


def seconds_line(report: RoundReport) -> Text:
    """The last round by phase."""
    phases = ", ".join(f"{phase} {value:.2g}" for phase, value in report.seconds.items() if phase != "total")
    return _note("last round", f"{round_seconds(report):.2f} s: {phases}")


def speed_words(site: str, speed: Speed) -> str:
    """Input against training, of one site."""
    held_up = ", which it holds up" if speed.input < 2 * speed.training else ""
    return f"{speed.input:.0f} slices/s, training {speed.training:.0f}{held_up} ({one_line(site)})"


def spinner(seconds: float) -> str:
    """A different sign each time the board is drawn."""
    return SPINNER[int(seconds * 2) % len(SPINNER)]


def _note(label: str, text: str) -> Text:
    return Text.assemble((f"{label:{LABEL}}", "bright_black"), text)


def chart_lines(state: State, width: int, height: int) -> list[Text]:
    """Where there is room: the PSNR gain and the loss of all rounds, from 0 up, the rounds to come left blank."""
    of = "" if state.header.target is None else f" at {one_line(state.header.target)}"
    charts = [(f"PSNR gain{of}, dB", state.gains, 2, "cyan"), ("mean loss", state.losses, 4, "blue")]
    charts = charts[: 2 if width >= 100 else 1]
    share = min(90, (width - 4 * (len(charts) - 1)) // len(charts))
    blocks = [_chart(*chart, state.header.rounds, share, height) for chart in charts]
    return [Text("    ").join(parts) for parts in zip(*blocks, strict=True)]


def _chart(
    title: str, values: Sequence[float], digits: int, color: str, total: int, width: int, height: int
) -> list[Text]:
    """A blank line, the title, and `height - 2` lines with the largest and smallest value beside them."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    marks = [number(high, digits), *[""] * (height - 4), number(low, digits)]
    lines = [Text(), Text(f"{'':9}{title}", "bright_black")]
    for mark, row in zip(marks, line_chart(values, total, width - 9, height - 2, low, high), strict=True):
        lines.append(Text.assemble((f"{mark:>6} │ ", "bright_black"), (row, color)))
    for each in lines:
        each.truncate(width, pad=True)
    return lines
