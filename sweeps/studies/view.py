"""A study drawn in a terminal: how it went, what mattered, the winners, and how to repeat the best."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from engine.columns import cut, longest
from engine.standings import one_line
from sweeps.studies.findings import Findings
from sweeps.studies.front_view import front_lines, history_lines
from sweeps.studies.importance import NEEDS, Importance
from sweeps.studies.winners_view import LABEL, Lines, winner_lines
from sweeps.studies.words import (
    command_lines,
    counts_text,
    goals_text,
    notes,
    of_trials,
    plural,
    sampler_text,
    wrapped,
)

CHART = 100, 10  # columns at most, lines
BAR = 30  # columns at most
REASONS = 5  # different ones


def study_view(found: Findings) -> RenderableType:
    """All there is; the charts first: on a small terminal the winners must stay in sight.

    To be printed with crop=False: a word of the command line that is longer than a line would be useless if cut.
    """
    return _View(found)


@dataclass(frozen=True)
class _View:
    found: Findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found, width = self.found, options.max_width - 1
        parts = (_history, _front, _importances, _study, _notes, winner_lines, _repeat, _unfinished)
        for part in parts:
            lines = [*part(found, width - 1)]
            for each in lines:
                line = Text(" ", no_wrap=True, overflow="ignore").append_text(each)
                yield line if each.overflow == "ignore" else cut(line, width)
            if lines:
                yield Text()


# ---- how it went ----------------------------------------------------------------------------------------


def _history(found: Findings, width: int) -> Lines:
    """Of one objective, if there is more than a single trial to see."""
    if len(found.objectives) == 1 and found.counts["complete"] > 1:
        yield from history_lines(found.plan, found.rows, min(width, CHART[0]), CHART[1])


def _front(found: Findings, width: int) -> Lines:
    """Of two objectives; of more the table of winners is all."""
    if len(found.objectives) == 2 and found.winners:
        yield from front_lines(found.plan, found.rows, found.won, min(width, CHART[0]), 2 * CHART[1])


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
    yield from (Text(each, overflow="ignore") for each in command_lines(best.command, width))
    if best.sha:
        yield Text(best.sha, LABEL)


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
        f"{of_trials(len(found.rows), found.plan.trials)}: {counts_text(found.counts)}",
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
        goes_on = f"unfinished: run.py resume {shlex.quote(str(found.plan.out))} goes on"
        yield Text(goes_on, "yellow", overflow="ignore")  # to be copied
