"""Where the sites' latents lie, drawn: in the plane, and the shift to the target by round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from engine.shift import MEASURES
from engine.types import Shift
from sites.report.curves import (
    COLORS,
    FAINT,
    MEAN,
    SINGLE,
    TARGET,
    Series,
    color_of,
    draw_lines,
    figure_of,
    mean_of,
    plain,
    rounds_of,
    series_of,
    whole_rounds,
)
from sites.report.projections import WORDS, Projection, When
from sites.run_reader import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALPHA = 0.05
SHAPES = {"dot": "o", "square": "s", "triangle": "^", "diamond": "D"}  # as a page and as matplotlib calls them
DISTINCT = len(SHAPES) * len(COLORS)


# ---- projections ------------------------------------------------------------------------------------------


def draw_projection(run: Run, flat: Sequence[Projection]) -> Figure:
    """A row a method, before and after side by side."""
    methods = list(dict.fromkeys(each.method for each in flat))
    columns = [when for when in get_args(When) if any(each.when == when for each in flat)]
    title = f"{run.title}: latents of the validation patients"
    figure = figure_of(4.6 * len(columns), 0.6 + 3.6 * len(methods), title, run.warnings)
    axes = figure.subplots(len(methods), len(columns), squeeze=False)
    for line, method in zip(axes, methods, strict=True):
        for axis, when in zip(line, columns, strict=True):
            each = next((one for one in flat if (one.method, one.when) == (method, when)), None)
            if each is None:
                axis.set_axis_off()
                continue
            draw_points(axis, run, each)
            axis.set_title(f"{method}, {WORDS[when]}")
    if len(run.names) <= 1 + DISTINCT:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, max(1, len(labels))))
    return figure


def draw_points(axis: Axes, run: Run, projection: Projection) -> None:
    """A point a slice, the target's on top."""
    looks = point_looks(run)
    others = [name for name in projection.points if name != run.target]
    for name in [*others, *(name for name in projection.points if name == run.target)]:
        color, shape = looks.get(name, (MEAN, "dot"))
        z, label = projection.points[name], f"{name} (target)" if name == run.target else name
        axis.scatter(z[:, 0], z[:, 1], s=16, color=color, marker=SHAPES[shape], alpha=0.8, lw=0, label=plain(label))
    if projection.explained:
        first, second = (f"{100 * part:.0f} % of the variance" for part in projection.explained)
        axis.set(xlabel=f"first component, {first}", ylabel=f"second, {second}")
    else:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(True)
    axis.set_aspect("equal", adjustable="datalim")


def point_looks(run: Run) -> dict[str, tuple[str, str]]:
    """Colour and shape by site, the target first; there are DISTINCT for the others, then they come again."""
    others = [name for name in run.names if name != run.target]
    pairs = cycle((color, shape) for shape in SHAPES for color in COLORS)
    target = {run.target: (TARGET, "dot")} if run.target in run.names else {}
    return target | dict(zip(others, pairs, strict=False))


# ---- shift ----------------------------------------------------------------------------------------------


def label_of(measure: str) -> str:
    """A measure as it is written."""
    return MEASURES[measure].label if measure in MEASURES else measure


def measures(run: Run) -> list[str]:
    """That any round reports, in the engine's order; those that it does not know last."""
    there = dict.fromkeys(measure for report in run.rounds for site in report.sites.values() for measure in site.shift)
    return [measure for measure in dict.fromkeys([*MEASURES, *there]) if measure in there]


def draw_shift(run: Run) -> Figure:
    """Every measure of the distance to the target by round, with what chance alone would show."""
    shown = measures(run)
    rows = math.ceil(len(shown) / 2)
    title = f"{run.title}: latent shift to the target"
    figure = figure_of(9.5, 0.8 + 2.7 * rows, title, run.warnings)
    axes = figure.subplots(rows, 2, squeeze=False)
    for axis, measure in zip(axes.flat, shown, strict=False):
        draw_measure(axis, run, measure)
        axis.set_title(plain(label_of(measure)))
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, max(1, len(labels))))
    return figure


def draw_measure(axis: Axes, run: Run, measure: str) -> None:
    """A line a site, full dots where p < 0.05; the band of chance in grey, its mean over sites."""
    low, high = (mean_of(_stack(run, measure, end)) for end in ("low", "high"))
    there = np.isfinite(low) & np.isfinite(high)
    rounds = np.array(rounds_of(run))
    if there.any():
        axis.fill_between(rounds[there], low[there], high[there], color=FAINT, alpha=0.25, lw=0, label="chance")
    draw_lines(axis, run, lambda site: site.shift[measure].value if measure in site.shift else None)
    for name, color in _single(run):
        values, p = (series_of(run, name, _entry(measure, entry)) for entry in ("value", "p"))
        for chosen, face in ((p < ALPHA, color), (p >= ALPHA, "white")):
            seen = chosen & np.isfinite(values)
            axis.plot(rounds[seen], values[seen], "o", ms=3.2, mfc=face, mec=color, mew=0.9)
    axis.set(xlabel="round")
    whole_rounds(axis, run)


def _single(run: Run) -> Iterator[tuple[str, str]]:
    """Sites that have a line of their own, and its colour."""
    if len(run.names) <= SINGLE:
        yield from ((name, color_of(run, name)) for name in run.names)


def _entry(measure: str, entry: str) -> Callable[[Any], float | None]:
    def value(site: Any) -> float | None:
        shift: Shift | None = site.shift.get(measure)
        return None if shift is None else float(getattr(shift, entry))

    return value


def _stack(run: Run, measure: str, entry: str) -> Series:
    """[sites, rounds]"""
    return np.stack([series_of(run, name, _entry(measure, entry)) for name in run.names])
