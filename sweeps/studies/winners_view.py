"""A study's winners in a terminal: of one objective the best trial, of several a row each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.standings import one_line
from sweeps.studies.findings import Findings
from sweeps.studies.winners import Estimate, Means, Tested, Winner
from sweeps.studies.words import (
    at_target,
    estimate_text,
    p_text,
    param_parts,
    plural,
    seeds_text,
    units_text,
    value_text,
    values_text,
    wrapped,
)

Lines = Iterator[Text]
LABEL = "bright_black"
SHOWN, SITES = 8, 8  # winners of a front whose parameters are listed; sites beside the target
CELL = 24  # columns, of a number with its interval and p


def winner_lines(found: Findings, width: int) -> Lines:
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
    label = min(longest((title for title, _ in rows), 24), max(24, width - (CELL + 2) * len(tests)))
    head_cells = [Text(f"{title} {seeds_text(each.seeds)}", LABEL) for title, each in tests]
    for title, cells in [(f"test patients {at_target(found.target)}", head_cells), *rows]:
        yield Text.assemble(("  " + _padded(title, label), LABEL if cells is head_cells else ""), *map(_cell, cells))


def _tests(winner: Winner) -> list[tuple[str, Tested | None]]:
    return [("searched:", winner.searched), ("confirmed:", winner.confirmed)]


def _rows(found: Findings, tests: Sequence[Tested]) -> list[tuple[str, list[Text]]]:
    """What is told of a winner's tests: a title, and a cell a test."""
    rows = [*_scores(found, tests), ("units", [Text(units_text(each), LABEL) for each in tests])]
    by_seed = [each.by_seed for each in tests]
    if any(by_seed):
        counts = [Text(seeds_text(each.seeds) if each else "one seed", LABEL) for each in by_seed]
        rows += [("by seed: their means", counts), *((f"  {title}", cells) for title, cells in _scores(found, by_seed))]
    sites = [name for name in tests[0].sites if name != tests[0].target]
    rows += [
        (f"PSNR at {one_line(name)}", [_plain(each.sites.get(name), 2, LABEL) for each in tests])
        for name in sites[:SITES]
    ]
    if len(sites) > SITES:
        rows.append((f"… and {len(sites) - SITES} more sites: report.html", []))
    return rows


def _scores(found: Findings, tests: Sequence[Means | None]) -> list[tuple[str, list[Text]]]:
    """A title, and a cell a test."""
    rows = [("PSNR, dB", [_plain(each.psnr if each else None, 2) for each in tests])]
    rows.append(("over zero-filled, dB", [_difference(each.gain if each else None) for each in tests]))
    if found.against:
        over = [_difference(each.against if each else None) for each in tests]
        rows.append((f"over {one_line(found.against)}, dB", over))
    return [*rows, ("SSIM", [_plain(each.ssim if each else None, 3) for each in tests])]


def _plain(estimate: Estimate | None, digits: int, style: str = "") -> Text:
    return Text("–" if estimate is None else estimate_text(estimate, digits), style)


def _difference(estimate: Estimate | None) -> Text:
    """Green or red where the interval leaves out zero; with p, if there is one."""
    if estimate is None:
        return Text("–")
    color = "green" if estimate.mean > 0 else "red"
    sure = abs(estimate.mean) > estimate.half_width
    text = Text(estimate_text(estimate, 2, signed=True), color if sure else "")
    return text.append(f"  {p_text(estimate)}" if estimate.p is not None else "", "none")


def _padded(text: str, width: int) -> str:
    return cut(Text(text), width).plain.ljust(width)


def _cell(text: Text) -> Text:
    text.truncate(CELL, pad=True)
    return Text("  ").append_text(text)


def _table(found: Findings, width: int) -> Lines:
    """A row for a winner on the seeds of the search, one on seeds that are new; by seed, where there are several."""
    title = f"Pareto front, {plural(len(found.winners), 'trial')}"
    yield Text.assemble((title, "bold green"), f", tested {at_target(found.target)}")
    lines = [each for winner in found.winners for each in _lines(winner)]
    columns = fit(_columns(found, lines), width)
    yield titles(columns)
    for each in lines:
        yield line(columns, each)
    for winner in found.winners[:SHOWN]:
        yield from map(Text, wrapped(param_parts(winner.params), width, f"trial {winner.turn}: "))
    if len(found.winners) > SHOWN:
        yield Text(f"… and {len(found.winners) - SHOWN} more: report.html and summary.json have all", LABEL)


def _lines(winner: Winner) -> list[_Line]:
    lines = [_Line(winner, "", winner.searched)]
    if winner.searched and winner.searched.by_seed:
        lines.append(_Line(winner, "by seed, ", winner.searched.by_seed))
    if winner.confirmed:
        lines.append(_Line(winner, "new ", winner.confirmed))
    if winner.confirmed and winner.confirmed.by_seed:
        lines.append(_Line(winner, "by seed, new ", winner.confirmed.by_seed))
    return lines


@dataclass(frozen=True)
class _Line:
    """A winner on some seeds; tested: None if its test patients are not scored yet; new: what is said before them."""

    winner: Winner
    new: str
    tested: Means | None

    @property
    def label(self) -> str:
        return self.new + seeds_text(self.tested.seeds) if self.tested else "not scored"


def _columns(found: Findings, lines: Sequence[_Line]) -> list[Column[_Line]]:
    def objective(index: int) -> Column[_Line]:
        each = found.objectives[index]

        def cell(row: _Line, _: int) -> Text:
            return Text("" if row.new else value_text(each, row.winner.values[index], found.against))

        return Column(each.name, 0, max(7, len(each.name)), cell, right=True)

    def tested(title: str, rank: int, width: int, cell: Callable[[Means], Text]) -> Column[_Line]:
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
        *([tested(against, 3, max(CELL, len(against)), lambda of: _difference(of.against))] if found.against else []),
        tested("SSIM", 4, 13, lambda of: Text(estimate_text(of.ssim, 3))),
        tested("units", 5, units, lambda of: Text(units_text(of), LABEL)),
    ]
