"""A shift session's answers, drawn: they fit 80 columns and 24 rows, and use more where there is more."""

from __future__ import annotations

import math
import textwrap
from typing import assert_never

from rich.console import Group, RenderableType
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.shift import MEASURES
from engine.standings import metric, number, one_line, round_seconds
from engine.summary import warnings_view
from sites.run_summary import note
from sites.shifts import DIALS
from sites.studio.answers import (
    Answer,
    Compared,
    Curves,
    Forked,
    Helped,
    Listed,
    Looked,
    Measured,
    Opened,
    Ran,
    Shown,
    Told,
    Tree,
    Turned,
)
from sites.studio.bench import SiteView
from sites.studio.branch import Branch
from sites.studio.compared import compared
from sites.studio.lines import explanation, summary, usage
from sites.studio.pictures import looked, setting, shown, turned
from sites.studio.tables import curves, measured, tree
from sites.studio.words import COMMANDS, Command, Measure, Turn

KEYS = "On an empty line: ← → turn the dial, [ ] choose it, Tab the site; Ctrl-D quits."


def draw(answer: Answer, width: int, rows: int) -> RenderableType:
    """An answer in at most so many columns, and rows where that leaves anything to see."""
    match answer:
        case Helped():
            parts = _help(answer.command, width)
        case Listed():
            name = longest(answer.scenarios, 4)
            lines = (Text(f"{key:{name}}  {one_line(text)}") for key, text in answer.scenarios.items())
            parts = [cut(each, width) for each in lines]
        case Opened():
            parts = _opened(answer, width)
        case Shown():
            parts = shown(answer, width, rows)
        case Looked():
            parts = looked(answer, width, rows)
        case Turned():
            parts = turned(answer, width, rows)
        case Ran():
            parts = _ran(answer)
        case Curves():
            parts = curves(answer, width, rows)
        case Measured():
            parts = measured(answer, width)
        case Forked():
            parts = _forked(answer, width)
        case Tree():
            parts = tree(answer, width)
        case Compared():
            parts = compared(answer, width, rows)
        case Told():
            parts = [Text(each) for each in answer.lines]
        case _:
            assert_never(answer)
    return Group(*parts)


def round_line(branch: Branch) -> Text:
    """The branch's last round, in one line."""
    report, target = branch.reports[-1], branch.config.target
    words = [f"round {report.round}", f"loss {number(metric(report, 'loss'), 4)}"]
    site = report.sites[target]
    words += [f"{target} {number(site.scores.psnr, 2)} dB"]
    shifts = [each.mmd for each in report.sites.values() if each.shift]
    words += [f"shift {number(sum(shifts) / len(shifts), 4)}"] if shifts else []
    accuracy = metric(report, "identifier_accuracy")
    words += [] if math.isnan(accuracy) else [f"identifiers {accuracy:.2f}"]
    return Text(", ".join(words)).append(f", {round_seconds(report):.1f} s", "bright_black")


# ---- words --------------------------------------------------------------------------------------------------


def _help(command: type[Command] | None, width: int) -> list[RenderableType]:
    if command is None:
        lines = [Text(f"{_short(kind):26}").append(summary(kind), "bright_black") for kind in COMMANDS.values()]
        lines.append(Text(KEYS))
        return [cut(each, width) for each in lines]
    parts = [Text(usage(command), "bold")]
    for paragraph in explanation(command):
        parts += [Text(each) for each in textwrap.wrap(paragraph, width)]
    if command is Turn:
        parts += _described({name: dial.summary for name, dial in DIALS.items()}, width)
    if command is Measure:
        parts += _described({name: each.label for name, each in MEASURES.items()}, width)
    return list(parts)


def _short(kind: type[Command]) -> str:
    return usage(kind).replace(" [FIELD VALUE …]", " …")


def _described(entries: dict[str, str], width: int) -> list[Text]:
    name = longest(entries) + 2
    lines: list[Text] = []
    for key, text in entries.items():
        wrapped = textwrap.wrap(text, width - name - 2)
        lines += [Text(f"  {key if not i else '':{name}}", "cyan").append(part, "") for i, part in enumerate(wrapped)]
    return lines


def _opened(answer: Opened, width: int) -> list[RenderableType]:
    """What the scenario is about, and its institutions."""
    config, views = answer.branch.config, answer.views
    parts = [Text(f"{answer.branch.name}: {note(config.institutions)}", "bold")]
    parts += [Text(each, "italic") for each in textwrap.wrap(one_line(answer.summary), width)]
    name = longest((view.site.name for view in views), 4) + 2
    words = longest((one_line(view.site.description) for view in views), 7)
    columns: list[Column[SiteView]] = [
        Column("  site", 0, name, lambda v, _: _name(v, config.target)),
        Column("scanner", 1, 20, lambda v, _: Text(one_line(v.site.description), "bright_black"), most=words),
        Column("dials", 2, longest((v.site.shift for v in views), 5), lambda v, _: Text(v.site.shift, "cyan")),
        Column("zero-filled", 0, 11, lambda v, _: Text(f"{v.zero_filled.psnr:.2f} dB"), right=True),
    ]
    kept = fit(columns, width)
    parts += [titles(kept), *(line(kept, view) for view in views)]
    marked = [warnings_view(answer.warnings)] if answer.warnings else []
    return [*(cut(each, width) for each in parts), *marked]


def _name(view: SiteView, target: str) -> Text:
    is_target = view.site.name == target
    return Text(f"◎ {view.site.name}", "bold cyan") if is_target else Text(f"  {view.site.name}")


def _ran(answer: Ran) -> list[RenderableType]:
    branch, done = answer.branch, len(answer.reports)
    stopped = f" (stopped; {answer.asked} were asked for)" if done < answer.asked else ""
    return [Text(f"{branch.name} is at round {branch.round}{stopped}, weights {branch.weights[-1][:12]}", "bold")]


def _forked(answer: Forked, width: int) -> list[RenderableType]:
    branch = answer.branch
    lines = [Text(f"{branch.name} goes on from round {branch.began} of {branch.parent}", "bold")]
    lines += [Text(f"as it was then: {name} {setting(old)} → {setting(new)}") for name, old, new in answer.since]
    return [cut(each, width) for each in lines]
