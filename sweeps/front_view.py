"""How a study went, drawn in the terminal: values by trial with the best so far; the Pareto front of two objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from sweeps.findings import Findings, Row, best_so_far
from sweeps.study import StudyPlan
from sweeps.study_words import objective_title, value_text
from sweeps.terminal_plots import Axis, Layer, Mark, plot

DOT, WON = ("•", "white"), ("●", "bold green")


def history_lines(plan: StudyPlan, rows: Sequence[Row], width: int, height: int) -> list[Text]:
    """The first objective by trial: complete ones as dots, the best so far as a line. rows: at least one complete."""
    objective = plan.objectives[0]
    known = [row for row in rows if row.state == "complete"]
    values = [row.values[0] for row in known]
    best = [(float(row.turn), value) for row, value in zip(rows, best_so_far(rows, objective), strict=True)]
    stairs = [
        point for now, then in zip(best, [*best[1:], best[-1]], strict=True) for point in (now, (then[0], now[1]))
    ]
    line = Layer([point for point in stairs if math.isfinite(point[1])], "cyan", joined=True)
    first = next(row for row in known if row.values[0] == best[-1][1])
    dots = [Mark((float(row.turn), row.values[0]), *DOT) for row in known]
    won = Mark((float(first.turn), first.values[0]), *WON, f" {first.turn}")
    x = Axis("trial", 0, max(plan.trials - 1, rows[-1].turn, 1), lambda value: f"{value:.0f}")
    y = _axis(plan, 0, values, " by trial; line: the best so far")
    return plot(x, y, [line], [*dots, won], width, height)


def front_lines(found: Findings, width: int, height: int) -> list[Text]:
    """All complete trials by both objectives; the winners stand out, with the line below which nothing is better."""
    won, known = found.won, [row for row in found.rows if row.state == "complete"]
    points = {row.turn: (row.values[0], row.values[1]) for row in known}
    front = sorted(points[turn] for turn in won)
    line = Layer(stairs(found, front), "cyan", joined=True)
    dots = [Mark(point, *DOT) for turn, point in points.items() if turn not in won]
    marks = [Mark(points[turn], *WON, f" {turn}") for turn in sorted(won)]
    x, y = (
        _axis(found.plan, index, [point[index] for point in points.values()], _better(found, index)) for index in (0, 1)
    )
    return plot(x, y, [line], [*dots, *marks], width, height)


def stairs(found: Findings, front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The border of what the front dominates, from its first to its last point. front: by the first objective."""
    up = found.objectives[0].direction == "maximize"  # then a point dominates what is left of it
    corners: list[tuple[float, float]] = []
    for now, then in pairwise(front):
        corners += [now, (now[0], then[1]) if up else (then[0], now[1])]
    return [*corners, *front[-1:]]


def _better(found: Findings, index: int) -> str:
    return " (more is better)" if found.objectives[index].direction == "maximize" else " (less is better)"


def _axis(plan: StudyPlan, index: int, values: Sequence[float], more: str) -> Axis:
    objective, against = plan.objectives[index], plan.config.against
    title = objective_title(objective, against) + more
    return Axis.over(title, values, lambda value: value_text(objective, value, against))
