"""What a run's rounds look like: curves by site, and the health of its alignment.

Colours: Okabe and Ito, Color Universal Design, 2008; the target is black and heavy.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
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
TARGET, MEAN, BAND = "#000000", "#0072B2", "#56B4E9"
SINGLE = 1 + len(COLORS)  # sites with a line of their own each; beyond, a band
DASHED: dict[str, Any] = {"ls": (0, (4, 3)), "lw": 0.9}


def figure_of(width: float, height: float, title: str, warnings: Sequence[str] = ()) -> Figure:
    """Inches. warnings: what must be known of the data, written below the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [line for text in warnings for line in textwrap.wrap(plain(text), int(14 * width))]
    room = "\n" * math.ceil(0.6 * len(lines))  # of the title's larger lines
    figure.suptitle(title + room, x=0.01, ha="left", fontweight="bold")
    figure.text(0.01, 1 - 0.3 / height, "\n".join(lines), va="top", fontsize=6.5, color="#a05000")
    return figure


def draw_curves(run: Run) -> Figure:
    """Loss, PSNR, SSIM and latent shift by round; a line a site, or target, mean and range of many."""
    figure = figure_of(9.5, 6.2, run.title, run.warnings)
    panels: list[tuple[str, str, Value]] = [
        ("Training loss", "loss", lambda site: site.metrics.get("loss")),
        ("PSNR, validation patients", "dB", lambda site: site.scores.psnr),
        ("SSIM, validation patients", "SSIM", lambda site: site.scores.ssim),
        ("Latent shift to the target, validation patients", "MMD²", lambda site: site.mmd),
    ]
    axes = figure.subplots(2, 2)
    for axis, (title, unit, value) in zip(axes.flat, panels, strict=True):
        _site_lines(axis, run, value)
        axis.set(title=title, ylabel=unit, xlabel="round")
        _whole_rounds(axis, run)
    _dash_zero_filled(axes.flat[1], run, "psnr")
    _dash_zero_filled(axes.flat[2], run, "ssim")
    handles, labels = axes.flat[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    return figure


def _site_lines(axis: Axes, run: Run, value: Value) -> None:
    series = {name: _series(run, name, value) for name in run.names}
    known = {name: values for name, values in series.items() if np.isfinite(values).any()}
    if not known:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color="#808080")
        return
    if run.target in known:
        _line(axis, run, known[run.target], f"{run.target} (target)", TARGET, lw=2, zorder=3)
    others = {name: values for name, values in known.items() if name != run.target}
    if len(run.names) <= SINGLE:
        for name, values in others.items():
            _line(axis, run, values, name, _color(run, name))
    elif others:
        stack = np.stack([*others.values()])
        measured = np.isfinite(stack).any(axis=0)
        low, high = np.nanpercentile(stack[:, measured], [10, 90], axis=0)
        rounds = np.array(_rounds(run))[measured]
        axis.fill_between(rounds, low, high, color=BAND, alpha=0.3, lw=0, label="10 to 90 % of the others")
        _line(axis, run, _mean(stack), "mean of the others", MEAN)


def _line(axis: Axes, run: Run, values: Series, label: str, color: str, **style: Any) -> None:
    """Through the rounds that have a value."""
    there = np.isfinite(values)
    mark = "o" if there.sum() < 3 else None
    axis.plot(np.array(_rounds(run))[there], values[there], color=color, label=plain(label), marker=mark, **style)


def _dash_zero_filled(axis: Axes, run: Run, key: str) -> None:
    """The zero-filled image's score on the validation patients."""
    sites = {site["name"]: site["zero_filled_validation"][key] for site in run.summary.get("sites", ())}
    if len(sites) > SINGLE:
        sites = {name: value for name, value in sites.items() if name == run.target} | {
            "": float(np.nanmean([value for name, value in sites.items() if name != run.target]))
        }
    for name, value in sites.items():
        axis.axhline(value, color=_color(run, name) if name else MEAN, **DASHED)
    if sites:
        axis.plot([], [], color="#808080", label="zero-filled", **DASHED)


def _color(run: Run, name: str) -> str:
    """Of at most SINGLE sites."""
    others = [other for other in run.names if other != run.target]
    return TARGET if name == run.target else COLORS[others.index(name) % len(COLORS)]


def _rounds(run: Run) -> list[int]:
    return [report.round for report in run.rounds]


def _series(run: Run, name: str, value: Value) -> Series:
    """By round; NaN where there is no value."""
    values = [value(report.sites[name]) if name in report.sites else None for report in run.rounds]
    return np.array([math.nan if each is None else each for each in values], dtype=np.float64)


def _whole_rounds(axis: Axes, run: Run) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    rounds = _rounds(run)
    axis.set_xlim(rounds[0] - 0.5, rounds[-1] + 0.5)


# ---- alignment ------------------------------------------------------------------------------------------


def is_aligned(run: Run) -> bool:
    """Whether any round met an identifier."""
    return any("identifier_accuracy" in site.metrics for report in run.rounds for site in report.sites.values())


def draw_alignment(run: Run) -> Figure:
    """Are the latents still told apart, and does the encoder feel it?"""
    figure = figure_of(9.5, 3.4, f"{run.title}: alignment health", run.warnings)
    left, right = figure.subplots(1, 2)
    _site_lines(left, run, lambda site: site.metrics.get("identifier_accuracy"))
    left.axhline(0.5, color="#808080", **DASHED)
    at: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "ha": "right",
        "va": "top",
    }
    left.annotate("chance", (1, 0.5), (-3, -3), color="#808080", **at)
    left.set(title="Identifier accuracy, fresh latents", ylabel="accuracy", xlabel="round", ylim=(-0.03, 1.03))
    norms = {
        "reconstruction": _mean_series(run, lambda m: m.get("reconstruction_gradient")),
        "adversarial": _mean_series(run, lambda m: m.get("adversarial_gradient")),
        "adversarial × weight": _mean_series(run, _weighted_gradient),
    }
    for (label, values), color in zip(norms.items(), (TARGET, COLORS[3], COLORS[1]), strict=True):
        style = "--" if "weight" in label else "-"
        visible = values > 1e-4 * np.nanmax(norms["adversarial"])  # zero, but for rounding, before the first step
        _line(right, run, np.where(visible, values, np.nan), label, color, ls=style)
    right.set(title="Gradient norms on the encoder, mean over sources", ylabel="norm", xlabel="round", yscale="log")
    for axis in (left, right):
        _whole_rounds(axis, run)
        axis.legend(fontsize=8)
    return figure


def _weighted_gradient(metrics: Mapping[str, float]) -> float | None:
    if "adversarial_gradient" not in metrics:
        return None
    return metrics["adversarial_gradient"] * metrics.get("alignment_weight", 1.0)


def _mean_series(run: Run, value: Callable[[Mapping[str, float]], float | None]) -> Series:
    """Mean over the sites that have a value, by round."""
    return _mean(np.stack([_series(run, name, lambda site: value(site.metrics)) for name in run.names]))


def _mean(stack: Series) -> Series:
    """[sites, rounds] -> [rounds], of those that are finite; NaN where none is."""
    count = np.isfinite(stack).sum(axis=0)
    total = np.where(np.isfinite(stack), stack, 0).sum(axis=0)
    means: Series = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def plain(text: str) -> str:
    """What a user wrote, safe from matplotlib's formulas."""
    return text.replace("$", r"\$")
