"""Curves against shift, drawn: scores by strength, each measure of shift by strength, and cost by measure.

Colours: Okabe and Ito, Color Universal Design, 2008 (`sites.report.curves.COLORS`); a method has the same throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.checkpoint import atomically
from engine.shift import MEASURES
from sites.intervals import written
from sites.report.curves import COLORS, DASHED, FAINT, STYLE, figure_of, plain
from sweeps.curves.notes import first_strength, heading, unit_words
from sweeps.curves.statistics import Cost, Curves
from sweeps.notes import MARKS
from sweeps.scores import ZERO_FILLED, Entry, Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP, ROW, WIDTH = 3.2, 1.75, 2.05  # inches: height of the scores, of a row of measures; width of a measure
DOT: dict[str, Any] = {"ls": "", "marker": "o", "ms": 3, "alpha": 0.6, "mew": 0}  # a federation
GAIN = "PSNR gained over zero-filled, dB"
COSTS: tuple[tuple[Cost, str], ...] = (("loss", "PSNR lost, dB"), ("gain", "PSNR gained, dB"))


def write_figure(path: Path, curves: Curves, warnings: Sequence[str] = ()) -> Path:
    """A PNG (`figures/curves.png`). warnings: of the sites' data."""
    from matplotlib import rc_context

    path.parent.mkdir(exist_ok=True)
    with rc_context(STYLE | {"font.size": 8, "axes.titlesize": 9}):
        figure = draw_curves(curves, warnings)
        with atomically(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    return path


def draw_curves(curves: Curves, warnings: Sequence[str] = ()) -> Figure:
    """Scores above; below them a column a measure, where the shift was measured."""
    count = len(curves.shifts)
    rows = 1 + len(COSTS) if count else 0
    title = f"{heading(curves)}: mean, 95 % t-interval over {unit_words(curves)}"
    figure = figure_of(max(8.0, WIDTH * count), 0.5 + TOP + ROW * rows * (count > 0), title, warnings)
    heights = [TOP, ROW * rows] if count else [TOP]
    above, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    left, middle, right = above.subplots(1, 3)
    draw_scores(left, curves, "psnr")
    draw_gains(middle, curves)
    draw_scores(right, curves, "ssim")
    left.set_title(f"PSNR, dB{_marks(curves)}")
    middle.set_title(GAIN)
    right.set_title("SSIM")
    handles, labels = left.get_legend_handles_labels()
    above.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    for part in below:
        axes = part.subplots(rows, count, squeeze=False)
        for i, measure in enumerate(curves.shifts):
            draw_measure(axes[0, i], curves, measure)
            axes[0, i].set_title(MEASURES[measure].label)
            for axis, (cost, _) in zip(axes[1:, i], COSTS, strict=True):
                draw_cost(axis, curves, measure, cost)
            axes[-1, i].set_xlabel(MEASURES[measure].label)
        axes[0, 0].set_ylabel("shift")
        for axis, (_, name) in zip(axes[1:, 0], COSTS, strict=True):
            axis.set_ylabel(name)
        part.supxlabel(_explanation(curves), fontsize=7, color=FAINT)
    return figure


def _explanation(curves: Curves) -> str:
    return (
        f"Shift of {plain(curves.target)} against the sources, by strength (mean over sources; dashed: where chance "
        f"ends); then, by shift, PSNR lost since {first_strength(curves)} and gained over zero-filled; a dot a "
        f"federation, ρ Spearman's"
    )


def color_of(curves: Curves, method: str) -> str:
    """A method's, in every panel."""
    return COLORS[curves.methods.index(method) % len(COLORS)]


def draw_scores(axis: Axes, curves: Curves, metric: Metric) -> None:
    """A line a method with its interval, zero-filled dashed; marks where a method differs from the first."""
    for method in (*curves.methods, ZERO_FILLED):
        there = curves.cells[metric].get(method, {})
        points = [(s, there[name]) for s, name in zip(curves.strengths, curves.columns, strict=True) if name in there]
        if not points:
            continue
        x, means = [s for s, _ in points], np.array([entry.mean for _, entry in points])
        if method == ZERO_FILLED:
            axis.plot(x, means, color=FAINT, label="zero-filled", **DASHED)
            continue
        half = _line(axis, x, [(entry.mean, entry.half_width) for _, entry in points], curves, method)
        for (strength, entry), top in zip(points, means + half, strict=True):
            _draw_mark(axis, strength, float(top), entry, color_of(curves, method))
    axis.set_xlabel(f"strength of {plain(curves.dial)}")


def draw_gains(axis: Axes, curves: Curves) -> None:
    """The same of what PSNR gains over the zero-filled image, paired."""
    for method in curves.methods:
        there = [(s, curves.gains[method][name]) for s, name in zip(curves.strengths, curves.columns, strict=True)
                 if name in curves.gains[method]]  # fmt: skip
        if there:
            _line(axis, [s for s, _ in there], [gain for _, gain in there], curves, method)
    axis.axhline(0, color=FAINT, **DASHED)
    axis.set_xlabel(f"strength of {plain(curves.dial)}")


def _line(
    axis: Axes, x: Sequence[float], estimates: Sequence[tuple[float, float]], curves: Curves, method: str
) -> npt.NDArray[np.float64]:
    """Through means, in a band of their intervals, half of which are returned: 0 where not known."""
    means, half = np.array([mean for mean, _ in estimates]), np.nan_to_num([half for _, half in estimates])
    axis.fill_between(x, means - half, means + half, color=color_of(curves, method), alpha=0.15, lw=0)
    axis.plot(x, means, color=color_of(curves, method), marker="o", ms=3.5, label=plain(method))
    return half


def _marks(curves: Curves) -> str:
    return f" (▲ better, ▼ worse than {plain(curves.methods[0])})" if curves.comparisons else ""


def _draw_mark(axis: Axes, x: float, y: float, entry: Entry, color: str) -> None:
    if MARKS[entry.verdict] and math.isfinite(y):
        axis.annotate(MARKS[entry.verdict], (x, y), (0, 1), textcoords="offset points", ha="center", color=color)


def draw_measure(axis: Axes, curves: Curves, measure: str) -> None:
    """A line a method through the means, a dot a seed; dashed, where chance ends."""
    for method, by_strength in curves.shifts[measure].items():
        there = [(s, by_strength[name]) for s, name in zip(curves.strengths, curves.columns, strict=True)
                 if name in by_strength]  # fmt: skip
        dots = [dot for dot in curves.dots if dot.method == method and measure in dot.shift]
        x, color = [strength for strength, _ in there], color_of(curves, method)
        axis.plot(x, [each.estimate.mean for _, each in there], color=color)
        axis.plot(
            [dot.strength for dot in dots],
            [dot.shift[measure] for dot in dots],
            "o",
            ms=3,
            alpha=0.6,
            mew=0,
            color=color,
        )
        axis.plot(x, [each.high for _, each in there], color=color, **DASHED)
    axis.set_xlabel("strength")


def draw_cost(axis: Axes, curves: Curves, measure: str, cost: Cost) -> None:
    """A dot a federation; each method's ρ above, in its colour."""
    for i, method in enumerate(curves.methods):
        dots = [dot for dot in curves.dots if dot.method == method and measure in dot.shift]
        color, rho = color_of(curves, method), written(curves.rho(measure, method, cost), 2, signed=True)
        x, y = [dot.shift[measure] for dot in dots], [getattr(dot, cost) for dot in dots]
        axis.plot(x, y, color=color, **DOT)
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 7}
        axis.annotate(f"ρ {rho}" if i == 0 else rho, (0, 1), (30 * i - 8 * (i == 0) + 8, 2), color=color, **place)
