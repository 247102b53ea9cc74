"""What `run.py table` does once its options are parsed, and `resume` and `show` of its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from sweeps.fill import fill, missing_words, refuse_failures
from sweeps.scores import PatientScore
from sweeps.statistics import summarize
from sweeps.tables.directory import finished, open_table, stored_table, table_facts, write_table
from sweeps.tables.parsing import PARSER
from sweeps.tables.plan import Plan
from sweeps.tables.view import table_view


def table(argv: Sequence[str], _began: float) -> None:
    """Train what is missing of a table, and show it."""
    command = PARSER.parse(argv)
    _complete(Plan(command.table), command.live)


def resume_table(directory: Path, live: bool) -> None:
    """Go on with a stored table."""
    _complete(Plan(stored_table(directory)), live)


def show_table(directory: Path) -> None:
    """Draw a stored table."""
    plan = Plan(stored_table(directory))
    _show(plan, {federation.name: finished(federation) for federation in plan.federations})


def _complete(plan: Plan, live: bool) -> None:
    """Train what is missing, write and show the table. Raises TrainingStopped if a federation did not end."""

    def draw() -> RenderableType:
        return table_view(summarize(_scores(stored), plan.layout), metrics=["psnr"], notes=False)

    with open_table(plan):
        stored = {federation.name: finished(federation) for federation in plan.federations}
        try:
            failures = fill(plan.federations, stored, finished, plan.config.pool, plan.out, draw, live)
        finally:
            if _scores(stored):
                write_table(plan, _scores(stored))
    _show(plan, stored)
    refuse_failures(failures, plan.federations)


Stored = dict[str, list[PatientScore] | None]  # by federation, in the plan's order; None: not done


def _scores(stored: Stored) -> list[PatientScore]:
    return [score for scores in stored.values() if scores for score in scores]


def _show(plan: Plan, stored: Stored) -> None:
    console, missing = Console(), missing_words(stored, plan.out)
    console.print(table_view(summarize(_scores(stored), plan.layout), facts=table_facts(plan)))
    if missing:
        console.print(Text(missing))
    console.print(Text(" (table.md, table.tex, table.csv, patients.csv, figures/train_test.png)", "bright_black"))
    console.print(Text(f"table: {plan.out}"), soft_wrap=True)
