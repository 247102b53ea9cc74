"""What a run's rounds look like: curves by site.

Colours: Okabe and Ito, Color Universal Design, 2008; the target is black and heavy.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.types import SiteRound
from sites.run_reader import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = npt.NDArray[np.float64]
Value = Callable[[SiteRound], float | None]

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#A6761D")
TARGET, MEAN, BAND, FAINT = "#000000", "#0072B2", "#56B4E9", "#808080"
SINGLE = 1 + len(COLORS)  # sites with a line of their own each; beyond, a band
DASHED: dict[str, Any] = {"ls": (0, (4, 3)), "lw": 0.9}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def figure_of(width: float, height: float, title: str, warnings: Sequence[str] = ()) -> Figure:
    """Inches. warnings: what must be known of the data, written below the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [line for text in warnings for line in textwrap.wrap(plain(text), int(14 * width))]
    room = "\n" * math.ceil(0.6 * len(lines))  # of the title's larger lines
    figure.suptitle(plain(title) + room, x=0.01, ha="left", fontweight="bold")
    figure.text(0.01, 1 - 0.3 / height, "\n".join(lines), va="top", fontsize=6.5, color="#a05000")
    return figure


@dataclass(frozen=True)
class Curve:
    """A value of each site by round. zero_filled: the score whose zero-filled level is dashed, if any."""

    title: str
    unit: str
    value: Value
    zero_filled: str = ""


CURVES = (
    Curve("Training loss", "loss", lambda site: site.metrics.get("loss")),
    Curve("PSNR, validation patients", "dB", lambda site: site.scores.psnr, "psnr"),
    Curve("SSIM, validation patients", "SSIM", lambda site: site.scores.ssim, "ssim"),
    Curve("Latent shift to the target, validation patients", "MMD²", lambda site: site.mmd),
)


def draw_curves(run: Run) -> Figure:
    """Loss, PSNR, SSIM and latent shift by round; a line a site, or target, mean and range of many."""
    figure = figure_of(9.5, 6.2, run.title, run.warnings)
    axes = figure.subplots(2, 2)
    for axis, curve in zip(axes.flat, CURVES, strict=True):
        draw_curve(axis, run, curve)
        axis.set(title=curve.title, ylabel=curve.unit)
    handles, labels = axes.flat[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    return figure


def draw_curve(axis: Axes, run: Run, curve: Curve) -> None:
    """One of them."""
    draw_lines(axis, run, curve.value)
    if curve.zero_filled:
        _dash_zero_filled(axis, run, curve.zero_filled)
    axis.set(xlabel="round")
    whole_rounds(axis, run)


def keys(run: Run, target: bool = True) -> list[tuple[str, str, str]]:
    """What the lines mean: label, colour, and heavy, line or band. target: whether it has a line."""
    known = [(f"{run.target} (target)", TARGET, "heavy")] * (target and run.target in run.names)
    others = [name for name in run.names if name != run.target]
    if len(run.names) <= SINGLE:
        return known + [(name, color_of(run, name), "line") for name in others]
    return [*known, ("mean of the others", MEAN, "line"), ("10 to 90 % of the others", BAND, "band")]


def draw_lines(axis: Axes, run: Run, value: Value) -> None:
    series = {name: series_of(run, name, value) for name in run.names}
    known = {name: values for name, values in series.items() if np.isfinite(values).any()}
    if not known:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color=FAINT)
        return
    if run.target in known:
        plot_line(axis, run, known[run.target], f"{run.target} (target)", TARGET, lw=2, zorder=3)
    others = {name: values for name, values in known.items() if name != run.target}
    if len(run.names) <= SINGLE:
        for name, values in others.items():
            plot_line(axis, run, values, name, color_of(run, name))
    elif others:
        stack = np.stack([*others.values()])
        measured = np.isfinite(stack).any(axis=0)
        low, high = np.nanpercentile(stack[:, measured], [10, 90], axis=0)
        rounds = np.array(rounds_of(run))[measured]
        axis.fill_between(rounds, low, high, color=BAND, alpha=0.3, lw=0, label="10 to 90 % of the others")
        plot_line(axis, run, mean_of(stack), "mean of the others", MEAN)


def plot_line(axis: Axes, run: Run, values: Series, label: str, color: str, **style: Any) -> None:
    """Through the rounds that have a value."""
    there = np.isfinite(values)
    mark = "o" if there.sum() < 3 else None
    axis.plot(np.array(rounds_of(run))[there], values[there], color=color, label=plain(label), marker=mark, **style)


def _dash_zero_filled(axis: Axes, run: Run, key: str) -> None:
    """The zero-filled image's score on the validation patients."""
    levels = {site["name"]: site.get("zero_filled_validation") for site in run.summary.get("sites", ())}
    sites = {name: scores[key] for name, scores in levels.items() if scores}
    if len(sites) > SINGLE:
        sites = {name: value for name, value in sites.items() if name == run.target} | {
            "": float(np.nanmean([value for name, value in sites.items() if name != run.target]))
        }
    for name, value in sites.items():
        axis.axhline(value, color=color_of(run, name) if name else MEAN, **DASHED)
    if sites:
        axis.plot([], [], color=FAINT, label="zero-filled", **DASHED)


def color_of(run: Run, name: str) -> str:
    """Of at most SINGLE sites."""
    others = [other for other in run.names if other != run.target]
    return TARGET if name == run.target else COLORS[others.index(name) % len(COLORS)]


def rounds_of(run: Run) -> list[int]:
    return [report.round for report in run.rounds]


def series_of(run: Run, name: str, value: Value) -> Series:
    """By round; NaN where there is no value."""
    values = [value(report.sites[name]) if name in report.sites else None for report in run.rounds]
    return np.array([math.nan if each is None else each for each in values], dtype=np.float64)


def whole_rounds(axis: Axes, run: Run) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    rounds = rounds_of(run)
    axis.set_xlim(rounds[0] - 0.5, rounds[-1] + 0.5)


def mean_of(stack: Series) -> Series:
    """[sites, rounds] -> [rounds], of those that are finite; NaN where none is."""
    count = np.isfinite(stack).sum(axis=0)
    total = np.where(np.isfinite(stack), stack, 0).sum(axis=0)
    means: Series = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def plain(text: str) -> str:
    """What a user wrote, safe from matplotlib's formulas."""
    return text.replace("$", r"\$")
