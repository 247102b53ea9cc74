"""What domain shift costs, drawn: networks of single sites, by where they trained and where they are tested.

Colours: viridis (van der Walt and Smith, 2015) for PSNR; Moreland's cool to warm (2009), pale at 0, for differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.checkpoint import atomically
from sites.intervals import written
from sites.report.curves import STYLE, figure_of, plain
from sweeps.notes import HEADINGS
from sweeps.scores import ZERO_FILLED, PatientScore
from sweeps.tables.train_test import Grid, TrainTest, train_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

CELL = 0.56, 0.32  # inches, of a number
SMALL = 0.2  # inches, of a cell without
NUMBERED = 20  # sites whose cells hold numbers
BESIDE = 6  # sites with both panels side by side
GAP = 0.35  # cells, between single sites and methods
NAME = 20  # characters of a name
EMPTY = "#ececec"  # no score, or no network: no colour


def write_heat_map(path: Path, scores: Iterable[PatientScore]) -> Path | None:
    """A PNG of the scores (`figures/train_test.png`); None, and no file, if no network trained at a single site."""
    from matplotlib import rc_context

    matrix = train_test(scores)
    if matrix is None:
        return None
    path.parent.mkdir(exist_ok=True)
    with rc_context(STYLE | {"axes.grid": False, "font.size": 8}):
        figure = draw_heat_map(matrix)
        with atomically(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    return path


def draw_heat_map(matrix: TrainTest) -> Figure:
    """PSNR, and its difference to the tested site's own network (without any, to zero-filled)."""
    panels, count = _panels(matrix), len(matrix.sites)
    cell = CELL if count <= NUMBERED else (SMALL, SMALL)
    rows = len(matrix.trained) + len(matrix.methods) + GAP
    name = 0.07 * max(len(_short(name)) for name in (*matrix.sites, *matrix.trained, *matrix.methods))
    down, across = (1, len(panels)) if count <= BESIDE else (len(panels), 1)
    width = max(across * (cell[0] * count + 0.9) + name + 0.3, 4.5)
    height = down * (cell[1] * rows + 0.6 + 0.75 * name) + 0.4
    title = f"Trained at one site, tested at another ({HEADINGS[matrix.study][0]})"
    figure = figure_of(width, height, title)
    axes = figure.subplots(down, across, squeeze=False)
    for i, (axis, panel) in enumerate(zip(axes.flat, panels, strict=True)):
        colors = _draw_cells(axis, matrix, panel)
        if count <= NUMBERED:
            _write_numbers(axis, matrix, panel, colors)
        _label(axis, matrix, named=i == 0 or across == 1)
        figure.colorbar(colors, ax=axis, aspect=30, pad=0.02).outline.set_visible(False)
    return figure


# ---- panels ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """single, joint: [rows, sites], dB; low, high: at the ends of the colours; sign: + before a gain."""

    title: str
    single: Grid
    joint: Grid
    colors: str
    low: float
    high: float
    sign: bool = False


def _panels(matrix: TrainTest) -> list[_Panel]:
    colored = np.concatenate([matrix.single, matrix.joint[[row != ZERO_FILLED for row in matrix.methods]]])
    panels = [_Panel("PSNR, dB", matrix.single, matrix.joint, "viridis", *_range(colored))]
    reference, name = matrix.own, "Local"
    if not np.isfinite(reference).all():
        reference, name = matrix.zero_filled, "zero-filled"
    if np.isfinite(reference).all():
        most = max(0.1, *map(abs, _range(colored - reference)))
        differences = matrix.single - reference, matrix.joint - reference
        panels.append(_Panel(f"Gain over {name}, dB", *differences, "coolwarm_r", -most, most, sign=True))
    return panels


def _range(values: Grid) -> tuple[float, float]:
    """Of the finite ones."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _lines(matrix: TrainTest) -> list[tuple[str, float]]:
    """A row's name and its upper edge, in cells from the top."""
    single = [(name, float(i)) for i, name in enumerate(matrix.trained)]
    return single + [(name, len(single) + GAP + i) for i, name in enumerate(matrix.methods)]


def _values(matrix: TrainTest, panel: _Panel) -> Iterator[tuple[str, float, Grid]]:
    """Name, upper edge, [sites]."""
    for (name, top), values in zip(_lines(matrix), [*panel.single, *panel.joint], strict=True):
        yield name, top, values


def _draw_cells(axis: Axes, matrix: TrainTest, panel: _Panel) -> ScalarMappable:
    """One strip a row; the tested site's own network is framed."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    colors = ScalarMappable(Normalize(panel.low, panel.high), colormaps[panel.colors].with_extremes(bad=EMPTY))
    edges = np.arange(len(matrix.sites) + 1)
    for name, top, values in _values(matrix, panel):
        shown = np.where(np.isfinite(values) & (name != ZERO_FILLED), values, math.nan)
        style: dict[str, Any] = {"cmap": colors.cmap, "norm": colors.norm, "edgecolors": "white", "linewidth": 0.8}
        axis.pcolormesh(edges, [top, top + 1], np.ma.masked_invalid(shown[None]), **style)
    for x, site in enumerate(matrix.sites):
        if math.isfinite(matrix.own[x]):
            where = (x, matrix.trained.index(site))
            axis.add_patch(Rectangle(where, 1, 1, fill=False, edgecolor="black", lw=1.2, zorder=3, clip_on=False))
    axis.set_title(panel.title)
    return colors


def _write_numbers(axis: Axes, matrix: TrainTest, panel: _Panel, colors: ScalarMappable) -> None:
    digits = 2 if len(matrix.sites) <= BESIDE else 1
    for name, top, values in _values(matrix, panel):
        for x, value in enumerate(values.tolist()):
            colored = math.isfinite(value) and name != ZERO_FILLED
            ink = "white" if colored and _luminance(colors.to_rgba(value)) < 0.179 else "black"
            text = _number(value, digits, panel.sign)
            axis.text(x + 0.5, top + 0.5, text, ha="center", va="center", color=ink, fontsize=7.5)


def _luminance(color: Any) -> float:
    """color: RGBA, 0 to 1. WCAG 2.1, relative luminance; white and black text contrast alike at 0.179."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def _number(value: float, digits: int, sign: bool) -> str:
    """sign: + before a gain; a rounded zero has none. Empty for NaN."""
    return "" if math.isnan(value) else written(value, digits, sign)


def _label(axis: Axes, matrix: TrainTest, named: bool) -> None:
    """named: whether the rows are, too."""
    lines = _lines(matrix)
    long = len(matrix.sites) > BESIDE or max(map(len, matrix.sites)) > 8
    angle = 90 if len(matrix.sites) > NUMBERED else 40
    turned: dict[str, Any] = {"rotation": angle, "ha": "right", "rotation_mode": "anchor"} if long else {}
    if angle == 90:
        turned["va"] = "center"
    axis.set_xticks([x + 0.5 for x in range(len(matrix.sites))], [_short(name) for name in matrix.sites], **turned)
    axis.set_yticks([top + 0.5 for _, top in lines], [_short(name) for name, _ in lines] if named else [])
    framed = " (framed: Local)" if named and np.isfinite(matrix.own).any() else ""
    axis.set(xlim=(0, len(matrix.sites)), ylim=(lines[-1][1] + 1, 0), xlabel=f"tested at{framed}")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    if named:
        axis.set_ylabel("trained at", y=1 - len(matrix.trained) / 2 / (lines[-1][1] + 1))


def _short(name: str) -> str:
    return plain(name if len(name) <= NAME else name[: NAME - 1] + "…")
