"""A shift session's answers that are tables: the rounds so far, and what each measure says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from engine.board import chart_lines, identifier_line, name_cell, scored
from engine.columns import Column, cut, fit, line, longest, titles
from engine.pictures import sparkline
from engine.standings import Header, Row, State, number
from engine.types import UNSCORED, Shift, SiteInfo
from sites.run_summary import role
from sites.studio.answers import Curves, Measured, Tree
from sites.studio.branch import Branch, differences
from sites.studio.pictures import label, setting, shift_lines, state


@dataclass(frozen=True)
class _Site:
    """An institution's rounds."""

    row: Row
    shifts: Sequence[float]


def curves(answer: Curves, width: int, rows: int) -> list[RenderableType]:
    """PSNR and shift of every institution by round; what was changed; where there is room, the target's gain drawn."""
    branch = answer.branch
    if not branch.reports:
        return [Text(f"{branch.name} has no rounds yet; run 5 trains five")]
    known = _state(answer)
    sites = [_Site(row, [_shift(branch, number, row.name) for number in range(branch.round)]) for row in known.rows]
    columns = _columns(sites, width)
    lines = [Text(f"{branch.name}: {branch.round} rounds", "bold"), titles(columns)]
    lines += [line(columns, site) for site in sites]
    if not math.isnan(known.accuracies[-1]):
        lines.append(identifier_line(known))
    lines += changes(branch)
    spare = rows - len(lines)
    lines += chart_lines(known, width, min(spare, 14)) if spare >= 6 else []
    return [cut(each, width) for each in lines]


def _shift(branch: Branch, done: int, site: str) -> float:
    """MMD² to the target as it is now, in the round after `done`; NaN where another was the target."""
    target = branch.config.target
    same = branch.settings(done).target == target and site != target
    return branch.reports[done].sites[site].mmd if same else math.nan


def changes(branch: Branch) -> list[Text]:
    """What was changed, and from which round on."""
    found = []
    for done in range(branch.round + 1):
        earlier = branch.settings(done - 1) if done else branch.history[0][1]
        for name, old, new in differences(earlier, branch.settings(done)):
            found.append(Text(f"from round {done + 1}: {name} {setting(old)} → {setting(new)}", "yellow"))
    return found


def _state(answer: Curves) -> State:
    """As the live console knows a run."""
    branch, config = answer.branch, answer.branch.config
    infos = tuple(
        SiteInfo(
            name=site.name,
            role=role(config, site.name),
            description=site.description,
            train_slices=0,
            share="",
            zero_filled=answer.zero_filled.get(site.name, UNSCORED),
        )
        for site in config.institutions
    )
    header = Header(
        scenario=config.scenario, note="", algorithm=config.algorithm_name, target=config.target, devices="", out="",
        rounds=branch.round,
    )  # fmt: skip
    return State(header, infos, branch.reports)


def _columns(sites: Sequence[_Site], width: int) -> list[Column[_Site]]:
    name = longest((site.row.name for site in sites), 4) + 2

    def trend(site: _Site, room: int) -> Text:
        return Text(sparkline(site.row.history, room), "cyan" if site.row.is_target else "blue")

    return fit(
        [
            Column("  site", 0, min(name, 16), lambda site, room: name_cell(site.row, room)),
            Column("role", 4, 6, lambda site, _: Text(site.row.role)),
            Column("loss", 3, 6, lambda site, _: Text(number(site.row.loss, 4)), right=True),
            Column("PSNR dB", 0, 12, lambda site, _: scored(site.row.psnr, site.row.psnr_gain), right=True),
            Column("by round", 1, 8, trend, most=32),
            Column("MMD²", 1, 7, lambda site, _: Text(number(site.row.shift, 4)), right=True),
            Column("by round", 2, 8, lambda site, room: Text(sparkline(site.shifts, room, low=0), "magenta"), most=32),
        ],
        width,
    )


def measured(answer: Measured, width: int) -> list[RenderableType]:
    """A site's measures, or a measure's sites."""
    target = answer.branch.config.target
    heading = Text(f"shift to {target}: {state(answer.branch)}", "bold")
    if not answer.shifts:
        return [heading, Text("there is no other institution to measure")]
    if answer.measure:
        return [heading, *_one_measure(answer.measure, answer.shifts, width)]
    parts: list[RenderableType] = [heading]
    for index, (name, shift) in enumerate(answer.shifts.items()):
        parts += shift_lines(shift, width, name)[min(index, 1) :]  # the titles once
    return parts


def _one_measure(measure: str, shifts: Mapping[str, Mapping[str, Shift]], width: int) -> list[Text]:
    found = {name: each[measure] for name, each in shifts.items() if measure in each}
    columns = [
        Column[str]("site", 0, longest(found, 4), lambda name, _: Text(name)),
        Column[str](label(measure), 0, 12, lambda name, _: Text(number(found[name].value, 4)), right=True),
        Column[str]("by chance", 0, 20, lambda name, _: Text(_interval(found[name])), right=True),
        Column[str]("p", 0, 6, lambda name, _: Text(number(found[name].p, 3)), right=True),
    ]
    kept = fit(columns, width)
    return [titles(kept), *(line(kept, name) for name in found)]


def _interval(shift: Shift) -> str:
    return f"{number(shift.low, 4)} … {number(shift.high, 4)}"


def tree(answer: Tree, width: int) -> list[RenderableType]:
    """A branch a line, below the one it came from."""
    rows = list(answer.branches)

    def name(row: tuple[int, Branch], _: int) -> Text:
        depth, branch = row
        here = branch.name == answer.current
        return Text(("▸ " if here else "  ") + "  " * depth + branch.name, "bold cyan" if here else "")

    def psnr(row: tuple[int, Branch], _: int) -> Text:
        branch = row[1]
        return Text(number(branch.reports[-1].sites[branch.config.target].scores.psnr, 2) if branch.reports else "–")

    def shift(row: tuple[int, Branch], _: int) -> Text:
        branch = row[1]
        last = branch.reports[-1].sites if branch.reports else ()
        measured = [value for site in last if not math.isnan(value := _shift(branch, branch.round - 1, site))]
        return Text(number(sum(measured) / len(measured), 4) if measured else "–")

    wide = longest((f"  {'  ' * depth}{branch.name}" for depth, branch in rows), 8)
    columns: list[Column[tuple[int, Branch]]] = [
        Column("  branch", 0, min(wide, 30), name),
        Column("from round", 1, 10, lambda row, _: Text(str(row[1].began) if row[1].parent else ""), right=True),
        Column("rounds", 0, 6, lambda row, _: Text(str(row[1].round)), right=True),
        Column("target", 1, 10, lambda row, _: Text(row[1].config.target)),
        Column("PSNR dB", 0, 7, psnr, right=True),
        Column("MMD²", 2, 7, shift, right=True),
        Column("weights", 0, 12, lambda row, _: Text(row[1].weights[-1][:12], "bright_black")),
    ]
    kept = fit(columns, width)
    return [titles(kept), *(line(kept, row) for row in rows)]
