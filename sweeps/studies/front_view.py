"""How a study went, drawn in the terminal: values by trial with the best so far; the Pareto front of two objectives."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise

from rich.text import Text

from sweeps.studies.findings import Row, best_so_far
from sweeps.studies.objectives import Objective
from sweeps.studies.plan import StudyPlan
from sweeps.studies.words import objective_title, value_text
from sweeps.terminal_plots import Axis, Layer, Mark, Point, plot

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


def front_lines(plan: StudyPlan, rows: Sequence[Row], won: Collection[int], width: int, height: int) -> list[Text]:
    """All complete trials by both objectives; the winners stand out, with the border of what they dominate.

    won: the winners' turns, at least one.
    """
    points = {row.turn: (row.values[0], row.values[1]) for row in rows if row.state == "complete"}
    front = sorted(points[turn] for turn in won)
    line = Layer(stairs(plan.objectives[0], front), "cyan", joined=True)
    dots = [Mark(point, *DOT) for turn, point in points.items() if turn not in won]
    marks = [Mark(points[turn], *WON, f" {turn}") for turn in sorted(won)]
    x, y = (_axis(plan, k, [point[k] for point in points.values()], _better(plan.objectives[k])) for k in (0, 1))
    return plot(x, y, [line], [*dots, *marks], width, height)


def stairs(first: Objective, front: Sequence[Point]) -> list[Point]:
    """The border of what the front dominates, from its first to its last point. front: by the first objective."""
    up = first.direction == "maximize"  # then a point dominates what is left of it
    corners: list[Point] = []
    for now, then in pairwise(front):
        corners += [now, (now[0], then[1]) if up else (then[0], now[1])]
    return [*corners, *front[-1:]]


def _better(objective: Objective) -> str:
    return " (more is better)" if objective.direction == "maximize" else " (less is better)"


def _axis(plan: StudyPlan, index: int, values: Sequence[float], more: str) -> Axis:
    objective, against = plan.objectives[index], plan.config.against
    title = objective_title(objective, against) + more
    return Axis.over(title, values, lambda value: value_text(objective, value, against))
