"""What `run.py shift --sweep` does once its options are parsed, and `resume` and `show` of its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from sweeps.curves.directory import curves_of, curves_warnings, finished, open_curves, stored_curves, write_curves
from sweeps.curves.parsing import PARSER, with_sweep
from sweeps.curves.plan import CurvesPlan
from sweeps.curves.scores import Point
from sweeps.curves.view import curves_view
from sweeps.fill import fill, missing_words, refuse_failures


def curves(argv: Sequence[str]) -> None:
    """Train what is missing of a sweep, and show it."""
    command = PARSER.parse(with_sweep(argv))
    complete(CurvesPlan(command.curves), command.live)


def resume_curves(directory: Path, live: bool) -> None:
    """Go on with a stored sweep."""
    complete(CurvesPlan(stored_curves(directory)), live)


def show_curves(directory: Path) -> None:
    """Draw a stored sweep."""
    plan = CurvesPlan(stored_curves(directory))
    _show(plan, {federation.name: finished(federation) for federation in plan.federations})


def complete(plan: CurvesPlan, live: bool) -> None:
    """Train what is missing, write and show the curves. Raises TrainingStopped if a federation did not end."""

    def draw() -> RenderableType:
        return curves_view(curves_of(plan, _points(stored)), notes=False)

    with open_curves(plan):
        stored = {federation.name: finished(federation) for federation in plan.federations}
        try:
            failures = fill(plan.federations, stored, finished, plan.config.pool, plan.out, draw, live)
        finally:
            if _points(stored):
                write_curves(plan, _points(stored))
    _show(plan, stored)
    refuse_failures(failures, plan.federations)


Stored = dict[str, Point | None]  # by federation, in the plan's order; None: not done


def _points(stored: Stored) -> list[Point]:
    return [point for point in stored.values() if point is not None]


def _show(plan: CurvesPlan, stored: Stored) -> None:
    console, missing = Console(), missing_words(stored, plan.out)
    console.print(curves_view(curves_of(plan, _points(stored)), warnings=curves_warnings(plan)))
    if missing:
        console.print(Text(missing))
    console.print(Text(" (report.html, curves.md, curves.csv, shift.csv, figures/curves.png)", "bright_black"))
    console.print(Text(f"curves: {plan.out}"), soft_wrap=True)
