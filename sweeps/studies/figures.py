"""A study's figures: values by trial, values by parameter, the Pareto front of two objectives.

Colours: Okabe and Ito, as in the figures of a run; winners are black rings, pruned trials crosses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.checkpoint import atomically
from sites.report.curves import COLORS, FAINT, STYLE, TARGET, figure_of, plain
from sweeps.studies.findings import Findings, Row, best_so_far
from sweeps.studies.front_view import stairs
from sweeps.studies.space import Choice, Number, Parameter
from sweeps.studies.words import objective_title, param_text, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPLETE, LINE = COLORS[0], COLORS[1]
DRAWN = 12  # parameters that get a panel: those that matter most
ACROSS = 4  # panels side by side
NAME = 18  # characters of a choice


def write_figures(found: Findings) -> list[Path]:
    """`figures/*.png` of a study's directory, those for which there is something to draw."""
    from matplotlib import rc_context

    folder = found.plan.out / "figures"
    folder.mkdir(exist_ok=True)
    with rc_context(STYLE):
        figures = {
            "history": _history(found) if known(found) else None,
            "parameters": _parameters(found) if known(found) else None,
            "pareto": _pareto(found) if known(found) and len(found.objectives) == 2 else None,
        }
        return [_save(figure, folder / f"{name}.png") for name, figure in figures.items() if figure is not None]


def _save(figure: Figure, path: Path) -> Path:
    with atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path


def known(found: Findings) -> list[Row]:
    """The trials that have all their values."""
    return [row for row in found.rows if row.state == "complete"]


def drawn_parameters(found: Findings) -> list[Parameter]:
    """Those that matter most first, as far as that is known; at most DRAWN."""
    parts = next((each.parts for each in found.importances if each), {})
    return sorted(found.plan.space.parameters, key=lambda each: -parts.get(each.name, 0.0))[:DRAWN]


# ---- whole figures --------------------------------------------------------------------------------------


def _history(found: Findings) -> Figure:
    count = len(found.objectives)
    figure = figure_of(7.5, 0.5 + 2.7 * count, _title(found, "values by trial"), found.warnings)
    for index, axis in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
        draw_history(axis, found, index)
        axis.legend(fontsize=8) if index == 0 else None
    return figure


def _parameters(found: Findings) -> Figure:
    """A row of panels an objective and ACROSS parameters."""
    parameters, count = drawn_parameters(found), len(found.objectives)
    across = min(ACROSS, len(parameters))
    down = math.ceil(len(parameters) / across)
    title = _title(found, "values by parameter")
    figure = figure_of(0.6 + 2.6 * across, 0.8 + 2.3 * down * count, title, found.warnings)
    axes = figure.subplots(down * count, across, squeeze=False)
    for index in range(count):
        for place in range(down * across):
            axis = axes[index * down + place // across, place % across]
            if place >= len(parameters):
                axis.set_visible(False)
                continue
            draw_parameter(axis, found, parameters[place], index)
            axis.set_ylabel(axis.get_ylabel() if place % across == 0 else "")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _pareto(found: Findings) -> Figure:
    figure = figure_of(6.5, 4.6, _title(found, "Pareto front"), found.warnings)
    axis = figure.subplots()
    draw_pareto(axis, found)
    axis.legend(fontsize=8)
    return figure


def _title(found: Findings, what: str) -> str:
    return f"Sweep of {Path(found.plan.run.scenario).stem}: {what}, validation patients"


# ---- single axes ----------------------------------------------------------------------------------------


def draw_history(axis: Axes, found: Findings, index: int) -> None:
    """An objective by trial, and the best so far."""
    objective, rows = found.objectives[index], found.rows
    best = best_so_far(rows, objective, index)
    if len(found.objectives) == 1:
        axis.step([row.turn for row in rows], best, where="post", color=LINE, label="best so far", zorder=2)
    _scatter(axis, found, index, lambda row: float(row.turn))
    axis.set(xlabel="trial", ylabel=plain(objective_title(objective, found.against)))
    _whole(axis)
    _in_units(axis.yaxis, found, index)


def draw_parameter(axis: Axes, found: Findings, parameter: Parameter, index: int) -> None:
    """An objective against a parameter's values, of the trials that have it."""
    name = parameter.name
    if isinstance(parameter, Choice):
        places = {value: float(place) for place, value in enumerate(parameter.values)}
        _scatter(axis, found, index, lambda row: places.get(row.params.get(name), math.nan))
        labels = [_short(param_text(value)) for value in parameter.values]
        turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if len("".join(labels)) > 20 else {}
        axis.set_xticks([*places.values()], labels, **turned)
        axis.set_xlim(-0.5, len(places) - 0.5)
    else:
        _scatter(axis, found, index, lambda row: float(row.params.get(name, math.nan)))
        _scale(axis, parameter)
    axis.set(xlabel=plain(_short(name)), ylabel=plain(objective_title(found.objectives[index], found.against)))
    _in_units(axis.yaxis, found, index)


def draw_pareto(axis: Axes, found: Findings) -> None:
    """The trials by two objectives, the winners numbered, and the border of what they dominate."""
    front = sorted((winner.values[0], winner.values[1]) for winner in found.winners)
    border = stairs(found.objectives[0], front)
    axis.plot([x for x, _ in border], [y for _, y in border], color=LINE, label="front", zorder=2)
    others = [row.values for row in known(found) if row.turn not in found.won]
    axis.plot([v[0] for v in others], [v[1] for v in others], "o", ms=4.5, color=FAINT, label="dominated", zorder=3)
    won = [x for x, _ in front], [y for _, y in front]
    axis.plot(*won, "o", ms=6, color=COMPLETE, mec=TARGET, label="winners", zorder=4)
    for winner in found.winners:
        axis.annotate(
            str(winner.turn), (winner.values[0], winner.values[1]), (5, 4), textcoords="offset points", fontsize=8
        )
    names = [plain(objective_title(each, found.against)) for each in found.objectives]
    better = {"maximize": "more is better", "minimize": "less is better"}
    labels = [f"{name} ({better[each.direction]})" for name, each in zip(names, found.objectives, strict=True)]
    axis.set(xlabel=labels[0], ylabel=labels[1])
    _in_units(axis.xaxis, found, 0)
    _in_units(axis.yaxis, found, 1)


def _in_units(axis: Any, found: Findings, index: int) -> None:
    """Bytes as MB and GB."""
    if found.objectives[index].unit == "B":
        axis.set_major_formatter(lambda value, _: value_text(found.objectives[index], value, found.against))


def _whole(axis: Axes, whole: bool = True) -> None:
    """Few ticks, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=5 if not whole else "auto", integer=whole))


def _scale(axis: Axes, parameter: Number) -> None:
    """The whole range that was searched, with a few round numbers."""
    if not parameter.log:
        room = 0.04 * (parameter.high - parameter.low)
        axis.set_xlim(parameter.low - room, parameter.high + room)
        _whole(axis, parameter.whole)
        return
    room = (parameter.high / parameter.low) ** 0.04
    axis.set_xscale("log")
    axis.set_xlim(parameter.low / room, parameter.high * room)
    ticks = _log_ticks(parameter.low, parameter.high)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 of each, or with 3, as far as there are not too many; else the ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= 4:
            break
    ticks = ticks[:: max(1, math.ceil(len(ticks) / 4))]
    return ticks if len(ticks) > 1 else [low, high]


def _scatter(axis: Axes, found: Findings, index: int, place: Any) -> None:
    """Trials by an objective, at `place` of their row; those without are left out."""

    def points(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
        there = [row for row in rows if len(row.values) > index and not math.isnan(place(row))]
        return [place(row) for row in there], [row.values[index] for row in there]

    pruned = [place(row) for row in found.rows if row.state == "pruned" and not math.isnan(place(row))]
    if pruned:  # at the border: a value after fewer rounds does not compare
        at: dict[str, Any] = {"transform": axis.get_xaxis_transform(), "clip_on": False}
        axis.plot(pruned, [0.02] * len(pruned), "x", ms=4.5, color=FAINT, label="pruned (no value)", zorder=2.5, **at)
    axis.plot(*points(known(found)), "o", ms=4.5, color=COMPLETE, alpha=0.8, label="complete", zorder=3)
    won = points([row for row in known(found) if row.turn in found.won])
    ring: dict[str, Any] = {"ms": 9, "mfc": "none", "mec": TARGET, "mew": 1.4}
    axis.plot(*won, "o", label="winner" if len(found.winners) == 1 else "winners", zorder=4, **ring)


def _short(name: str) -> str:
    return plain(name if len(name) <= NAME else name[: NAME - 1] + "…")
