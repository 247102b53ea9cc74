"""The health of a run's alignment: are the sites still told apart, and does the encoder feel it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sites.report.curves import (
    COLORS,
    DASHED,
    FAINT,
    TARGET,
    Series,
    draw_lines,
    figure_of,
    mean_of,
    plot_line,
    series_of,
    whole_rounds,
)
from sites.run_reader import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def is_aligned(run: Run) -> bool:
    """Whether any round met an identifier."""
    return any("identifier_accuracy" in site.metrics for report in run.rounds for site in report.sites.values())


GRADIENTS = (
    ("reconstruction", TARGET, "-"),
    ("adversarial", COLORS[3], "-"),
    ("adversarial × weight", COLORS[1], "--"),
)


def draw_alignment(run: Run) -> Figure:
    """Are the latents still told apart, and does the encoder feel it?"""
    figure = figure_of(9.5, 3.4, f"{run.title}: alignment health", run.warnings)
    left, right = figure.subplots(1, 2)
    draw_accuracy(left, run)
    left.set(title="Identifier accuracy, fresh latents", ylabel="accuracy")
    draw_gradients(right, run)
    right.set(title="Gradient norms on the encoder, mean over sources", ylabel="norm")
    for axis in (left, right):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    return figure


def draw_accuracy(axis: Axes, run: Run) -> None:
    """Of the identifiers on latents they have not seen: 1 if the sites are told apart, 0.5 by chance."""
    draw_lines(axis, run, lambda site: site.metrics.get("identifier_accuracy"))
    axis.axhline(0.5, color=FAINT, **DASHED)
    at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axis.annotate("chance", (1, 0.5), (-3, -3), color=FAINT, ha="right", va="top", **at)
    axis.set(xlabel="round", ylim=(-0.03, 1.03))
    whole_rounds(axis, run)


def draw_gradients(axis: Axes, run: Run) -> None:
    """How strongly the encoder is pulled by the reconstruction and by the identifiers."""
    norms = (
        _mean_series(run, lambda metrics: metrics.get("reconstruction_gradient")),
        _mean_series(run, lambda metrics: metrics.get("adversarial_gradient")),
        _mean_series(run, _weighted_gradient),
    )
    for (label, color, style), values in zip(GRADIENTS, norms, strict=True):
        visible = values > 1e-4 * np.max(
            norms[1], where=np.isfinite(norms[1]), initial=0
        )  # zero, but for rounding, before the first step
        plot_line(axis, run, np.where(visible, values, np.nan), label, color, ls=style)
    axis.set(xlabel="round", yscale="log")
    axis.minorticks_off()
    whole_rounds(axis, run)


def _weighted_gradient(metrics: Mapping[str, float]) -> float | None:
    if "adversarial_gradient" not in metrics:
        return None
    return metrics["adversarial_gradient"] * metrics.get("alignment_weight", 1.0)


def _mean_series(run: Run, value: Callable[[Mapping[str, float]], float | None]) -> Series:
    """Mean over the sites that have a value, by round."""
    return mean_of(np.stack([series_of(run, name, lambda site: value(site.metrics)) for name in run.names]))
