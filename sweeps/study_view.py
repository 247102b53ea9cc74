"""A study drawn in a terminal: how it went, what mattered, the winners, and how to repeat the best."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.standings import one_line
from sweeps.findings import Findings
from sweeps.front_view import front_lines, history_lines
from sweeps.importance import NEEDS, Importance
from sweeps.study_words import (
    counts_text,
    estimate_text,
    goals_text,
    notes,
    p_text,
    param_parts,
    plural,
    sampler_text,
    seeds_text,
    units_text,
    value_text,
    values_text,
    wrapped,
)
from sweeps.winners import Estimate, Tested, Winner

LABEL = "bright_black"
CHART = 100, 10  # columns at most, lines
BAR = 30  # columns at most
SHOWN, SITES = 8, 8  # winners of a front whose parameters are listed; sites beside the target
REASONS = 5  # different ones


def study_view(found: Findings) -> RenderableType:
    """All there is; the charts first: on a small terminal the winners must stay in sight."""
    return _View(found)


@dataclass(frozen=True)
class _View:
    found: Findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found, width = self.found, options.max_width - 1
        parts = (_history, _front, _importances, _study, _notes, _winners, _repeat, _unfinished)
        for part in parts:
            lines = [*part(found, width - 1)]
            for each in lines:
                yield cut(Text(" ").append_text(each), width)
            if lines:
                yield Text()


Lines = Iterator[Text]

# ---- how it went ----------------------------------------------------------------------------------------


def _history(found: Findings, width: int) -> Lines:
    """Of one objective, if there is more than a single trial to see."""
    if len(found.objectives) == 1 and found.counts["complete"] > 1:
        yield from history_lines(found.plan, found.rows, min(width, CHART[0]), CHART[1])


def _front(found: Findings, width: int) -> Lines:
    """Of two objectives; of more the table of winners is all."""
    if len(found.objectives) == 2 and found.winners:
        yield from front_lines(found, min(width, CHART[0]), 2 * CHART[1])


def _importances(found: Findings, width: int) -> Lines:
    """A bar a parameter, by objective."""
    if not any(found.importances):
        if found.importances and found.rows:
            yield Text(f"importances: {NEEDS} are needed", LABEL)
        return
    for number, each in enumerate(filter(None, found.importances)):
        if number:
            yield Text()
        yield from _bars(each, width)


def _bars(importance: Importance, width: int) -> Lines:
    yield Text.assemble(
        ("importances", "bold"),
        f" for {importance.objective}, by fANOVA over {plural(importance.trials, 'complete trial')}",
    )
    name = min(longest(importance.parts), max(10, width - 24))
    room = max(4, min(BAR, width - name - 9))
    for parameter, part in importance.parts.items():
        halves = round(2 * room * part)
        bar = "━" * (halves // 2) + "╸" * (halves % 2)
        yield Text.assemble(f"  {cut(Text(parameter), name).plain:{name}} {part:5.0%}  ", (bar, "cyan"))
    if importance.left_out:
        yield Text(f"  left out, for not every trial has them: {', '.join(importance.left_out)}", LABEL)


# ---- the winners ----------------------------------------------------------------------------------------


def _winners(found: Findings, width: int) -> Lines:
    """The best trial, or the front."""
    if not found.winners:
        yield Text("no trial is complete yet: there is no winner", "yellow")
    elif len(found.objectives) == 1:
        yield from _best(found, width)
    else:
        yield from _table(found, width)


def _best(found: Findings, width: int) -> Lines:
    """What the test patients say of it, on the seeds of the search and on those that are new, side by side."""
    winner = found.winners[0]
    value = values_text(found.objectives, winner.values, found.against)
    over = f" over {one_line(found.against)}" if found.against else ""
    head = f"trial {winner.turn}: {found.objectives[0].name} {value}{over} on validation patients"
    yield Text.assemble(("winner", "bold green"), f"  {head}")
    yield from map(Text, wrapped(param_parts(winner.params), width, "  "))
    tests = [(title, each) for title, each in _tests(winner) if each]
    if not tests:
        yield Text("its test patients are not scored yet", "yellow")
        return
    rows = _rows(found, [each for _, each in tests])
    label = min(longest((title for title, _ in rows), 24), max(24, width - 26 * len(tests)))
    head_cells = [Text(f"{title} {seeds_text(each.seeds)}", LABEL) for title, each in tests]
    for title, cells in [(f"test patients at {one_line(found.plan.target)}", head_cells), *rows]:
        yield Text.assemble(("  " + _padded(title, label), LABEL if cells is head_cells else ""), *map(_cell, cells))


def _tests(winner: Winner) -> list[tuple[str, Tested | None]]:
    return [("searched:", winner.searched), ("confirmed:", winner.confirmed)]


def _rows(found: Findings, tests: Sequence[Tested]) -> list[tuple[str, list[Text]]]:
    """What is told of a winner's tests: a title, and a cell a test."""
    rows = [("PSNR, dB", [Text(estimate_text(each.psnr, 2)) for each in tests])]
    rows.append(("over zero-filled, dB", [_difference(each.gain) for each in tests]))
    if found.against:
        rows.append((f"over {one_line(found.against)}, dB", [_difference(each.against) for each in tests]))
    rows.append(("SSIM", [Text(estimate_text(each.ssim, 3)) for each in tests]))
    rows.append(("units", [Text(units_text(each), LABEL) for each in tests]))
    sites = [name for name in tests[0].sites if name != found.plan.target]
    for name in sites[:SITES]:
        rows.append((f"PSNR at {one_line(name)}", [Text(estimate_text(each.sites[name], 2), LABEL) for each in tests]))
    if len(sites) > SITES:
        rows.append((f"… and {len(sites) - SITES} more sites: report.html", []))
    return rows


def _difference(estimate: Estimate | None) -> Text:
    """Green or red where the interval leaves out zero; with p, if there is one."""
    if estimate is None:
        return Text()
    color = "green" if estimate.mean > 0 else "red"
    sure = abs(estimate.mean) > estimate.half_width
    text = Text(estimate_text(estimate, 2, signed=True), color if sure else "")
    return text.append(f"  {p_text(estimate)}" if estimate.p is not None else "", "none")


def _padded(text: str, width: int) -> str:
    return cut(Text(text), width).plain.ljust(width)


def _cell(text: Text) -> Text:
    text.truncate(24, pad=True)
    return Text("  ").append_text(text)


def _table(found: Findings, width: int) -> Lines:
    """A row for a winner on the seeds of the search, and one on seeds that are new."""
    title = f"Pareto front, {plural(len(found.winners), 'trial')}"
    yield Text.assemble((title, "bold green"), f", tested at {one_line(found.plan.target)}")
    rows = [_Line(winner, "", winner.searched) for winner in found.winners]
    new = [_Line(winner, "new ", winner.confirmed) for winner in found.winners if winner.confirmed]
    lines = sorted([*rows, *new], key=lambda each: found.winners.index(each.winner))
    columns = fit(_columns(found, lines), width)
    yield titles(columns)
    for each in lines:
        yield line(columns, each)
    for winner in found.winners[:SHOWN]:
        yield from map(Text, wrapped(param_parts(winner.params), width, f"trial {winner.turn}: "))
    if len(found.winners) > SHOWN:
        yield Text(f"… and {len(found.winners) - SHOWN} more: report.html and summary.json have all", LABEL)


@dataclass(frozen=True)
class _Line:
    """A winner on some seeds; tested: None if its test patients are not scored yet."""

    winner: Winner
    new: str
    tested: Tested | None

    @property
    def label(self) -> str:
        return self.new + seeds_text(self.tested.seeds) if self.tested else "not scored"


def _columns(found: Findings, lines: Sequence[_Line]) -> list[Column[_Line]]:
    def objective(index: int) -> Column[_Line]:
        each = found.objectives[index]

        def cell(row: _Line, _: int) -> Text:
            return Text("" if row.new else value_text(each, row.winner.values[index], found.against))

        return Column(each.name, 0, max(7, len(each.name)), cell, right=True)

    def tested(title: str, rank: int, width: int, cell: Callable[[Tested], Text]) -> Column[_Line]:
        right = width > 0
        return Column(title, rank, width, lambda row, _: cell(row.tested) if row.tested else Text("–"), right=right)

    units = longest((units_text(row.tested) for row in lines if row.tested), 5)
    against = f"over {one_line(found.against)}"
    return [
        Column[_Line]("trial", 0, 5, lambda row, _: Text("" if row.new else str(row.winner.turn)), right=True),
        *(objective(index) for index in range(len(found.objectives))),
        Column[_Line]("test", 1, longest(row.label for row in lines), lambda row, _: Text(row.label, LABEL)),
        tested("test PSNR", 1, 12, lambda of: Text(estimate_text(of.psnr, 2))),
        tested("over zero-filled", 2, 16, lambda of: _difference(of.gain)),
        *([tested(against, 3, max(24, len(against)), lambda of: _difference(of.against))] if found.against else []),
        tested("SSIM", 4, 13, lambda of: Text(estimate_text(of.ssim, 3))),
        tested("units", 5, units, lambda of: Text(units_text(of), LABEL)),
    ]


# ---- again ----------------------------------------------------------------------------------------------


def _repeat(found: Findings, width: int) -> Lines:
    """The one command line; of a front, that of the best by its first objective."""
    if not found.winners:
        return
    best = found.winners[0]
    which = f"the best by {found.objectives[0].name}, " if len(found.objectives) > 1 else ""
    seed = f" (its first seed, {found.plan.run.seed})" if found.plan.config.seeds > 1 else ""
    end = ", which ends with this weights_sha256:" if best.sha else ":"
    yield Text.assemble(("repeat", "bold"), f"  {which}trial {best.turn}{seed}{end}")
    yield from map(Text, command_lines(best.command, width))
    if best.sha:
        yield Text(best.sha, LABEL)


def command_lines(command: str, width: int) -> list[str]:
    """A command on several lines, to be copied as they stand; an option stays with its value where both fit."""
    pairs: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        joins = pairs and pairs[-1].startswith("--") and " " not in pairs[-1] and not word.startswith("--")
        pairs[-1:] = [f"{pairs[-1]} {word}"] if joins else [*pairs[-1:], word]
    lines = [pairs[0]]
    for pair in pairs[1:]:
        if len(lines[-1]) + len(pair) + 3 <= width:
            lines[-1] += f" {pair}"
        else:
            lines[-1] += " \\"
            lines.append(f"  {pair}")
    return lines


# ---- what else ------------------------------------------------------------------------------------------


def _failures(found: Findings, width: int) -> Lines:
    """Why trials failed, the same reason once."""
    reasons: dict[str, list[int]] = {}
    for row in found.rows:
        if row.state == "failed":
            reasons.setdefault(one_line(row.reason) or "its process ended", []).append(row.turn)
    for reason, turns in [*reasons.items()][:REASONS]:
        trials = f"trial{'s' * (len(turns) > 1)} {', '.join(map(str, turns[:6]))}" + " …" * (len(turns) > 6)
        yield from (Text(each, "red") for each in wrapped(reason.split(), width, f"{trials} failed: ", " "))
    if len(reasons) > REASONS:
        yield Text(f"… and {len(reasons) - REASONS} more reasons: report.html has all", "red")


def _study(found: Findings, width: int) -> Lines:
    """What was searched for, and what became of the trials."""
    config = found.plan.config
    pruner = "" if config.pruner == "none" else f", pruned by {config.pruner}"
    rounds = sum(row.rounds for row in found.rows)
    parts = [
        f"{len(found.rows)} of {plural(config.trials, 'trial')}: {counts_text(found.counts)}",
        f"{plural(rounds, 'round')} in all",
        f"for {goals_text(found.plan)}",
        f"by {sampler_text(found.plan)}{pruner}",
    ]
    yield from map(Text, wrapped(parts, width, "study: "))
    yield from _failures(found, width)


def _notes(found: Findings, width: int) -> Lines:
    for note in notes(found.plan, found.winners, found.tested_before):
        yield from (Text(each, LABEL) for each in wrapped(note.split(" "), width, between=" "))
    for warning in found.warnings:
        yield from (Text(each, "yellow") for each in wrapped(one_line(warning).split(" "), width, "⚠ ", " "))


def _unfinished(found: Findings, _width: int) -> Lines:
    if not found.finished:
        yield Text(f"unfinished: run.py resume {found.plan.out} goes on", "yellow")
