"""A report's numbers: the test patients' scores with intervals, and what the network gained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sites.intervals import average, fixed, interval, interval_of_means, written
from sites.report.curves import FAINT, MEAN, TARGET, plain
from sites.report.html_figures import PAPER, chart
from sites.report.html_page import Html, Section, figure, grid, join, paragraph, table, tag
from sites.report.html_setting import site_name
from sites.run_reader import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metric = Literal["psnr", "ssim", "nmse"]
METRICS: Mapping[Metric, tuple[str, int]] = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 3), "nmse": ("NMSE", 4)}
DRAWN = 24  # sites whose gains are drawn


# ---- scores ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean over test patients and half its 95 % t-interval; NaN where unknown."""

    mean: float
    half: float = math.nan

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.half


@dataclass(frozen=True)
class Scored:
    """A site's, or the mean site's, scores of one metric. gain: network minus zero-filled, paired by patient."""

    zero_filled: Estimate
    network: Estimate
    gain: Estimate


def scored(site: Mapping[str, Any], metric: Metric) -> Scored:
    """Of a site of summary.json, whose means these are."""
    before, after, gains = _patients(site, metric)
    means = site["zero_filled"][metric], site["test"][metric]
    return Scored(
        Estimate(means[0], _half([before])),
        Estimate(means[1], _half([after])),
        Estimate(means[1] - means[0], _half([gains])),
    )


def mean_scored(sites: Sequence[Mapping[str, Any]], metric: Metric) -> Scored:
    """Of the sites that have scores, each weighted alike."""
    sites = [site for site in sites if not math.isnan(site["test"][metric])]
    if not sites:
        return Scored(Estimate(math.nan), Estimate(math.nan), Estimate(math.nan))
    means = [average([site[when][metric] for site in sites]) for when in ("zero_filled", "test")]
    groups = list(zip(*(_patients(site, metric) for site in sites), strict=True))
    before, after, gains = (_half(group) for group in groups)
    return Scored(Estimate(means[0], before), Estimate(means[1], after), Estimate(means[1] - means[0], gains))


def _patients(site: Mapping[str, Any], metric: Metric) -> tuple[list[float], list[float], list[float]]:
    """Zero-filled, network and gain, patient by patient."""
    patients = site.get("test_patients", ())
    before, after = ([one[when][metric] for one in patients] for when in ("zero_filled", "test"))
    return before, after, [late - early for early, late in zip(before, after, strict=True)]


def _half(groups: Sequence[Sequence[float]]) -> float:
    if not all(groups) or not all(math.isfinite(value) for group in groups for value in group):
        return math.nan
    return (interval(groups[0]) if len(groups) == 1 else interval_of_means(groups))[1]


def results_section(run: Run) -> Section:
    """The scores of the test patients, who were scored once, at the end."""
    sites = sorted(run.summary.get("sites", ()), key=lambda site: bool(site["name"] != run.target))
    if not sites:
        text = (
            "The run is not finished: test patients are scored once, at its end. The curves below show how it stands."
        )
        return Section("results", "Results on the test patients", paragraph(text, absent=True), "Results")
    parts = [_what_it_is(sites), _scores_table(run, sites)]
    drawn = [site for site in sites if len(site.get("test_patients", ())) > 0]
    if 0 < len(drawn) <= DRAWN:
        parts.append(grid([_gains(run, drawn, "psnr"), _gains(run, drawn, "ssim")]))
    return Section("results", "Results on the test patients", join(parts), "Results")


def _gains(run: Run, sites: Sequence[Mapping[str, Any]], metric: Metric) -> Html:
    drawing = chart(
        partial(draw_gains, sites=sites, metric=metric, target=run.target),
        f"gains-{metric}",
        f"{METRICS[metric][0]}: the gain of every test patient, with mean and interval of each site",
        height=0.6 + 0.26 * len(sites),
    )
    note = "a ring: a patient; dot and bar: the mean and its 95 % t-interval"
    return figure(drawing, f"Gain over the zero-filled image: {METRICS[metric][0]}", note)


def _what_it_is(sites: Sequence[Mapping[str, Any]]) -> Html:
    counts = {len(site.get("test_patients", ())) for site in sites}
    single = " One patient has no interval." if counts & {0, 1} else ""
    return paragraph(
        "Mean ± half the 95 % t-interval over a site's test patients: the unit is a patient, a whole volume, never a "
        "slice. The gain is network minus zero-filled image, paired by patient; it is coloured where its interval "
        f"leaves out zero.{single} All patients were reconstructed by one trained network, so that nothing here speaks "
        "of other seeds.",
        note=True,
    )


def _scores_table(run: Run, sites: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        [site_name(run, site["name"]), _count(site), *_cells({metric: scored(site, metric) for metric in METRICS})]
        for site in sites
    ]
    foot = []
    if len(sites) > 1:
        everyone = str(sum(len(site.get("test_patients", ())) for site in sites) or "–")
        means = {metric: mean_scored(sites, metric) for metric in METRICS}
        foot = [[f"Mean of {len(sites)} sites", everyone, *_cells(means)]]
    groups = [("", 2), *((title + _better(metric), 3) for metric, (title, _) in METRICS.items())]
    head = ["Site", "Patients", *["Zero-filled", "Network", "Gain"] * len(METRICS)]
    return table(head, rows, name="scores", foot=foot, groups=groups)


def _better(metric: Metric) -> str:
    return " ↓" if metric == "nmse" else " ↑"


def _count(site: Mapping[str, Any]) -> str:
    return str(len(site["test_patients"])) if "test_patients" in site else "–"


def _cells(of: Mapping[Metric, Scored]) -> list[Html]:
    cells = []
    for metric, each in of.items():
        digits = METRICS[metric][1]
        better = (each.gain.mean > 0) == (metric != "nmse")
        mark = ("good" if better else "bad") if each.gain.certain else ""
        gain = tag("span", estimated(each.gain, digits, signed=True), cls=mark)
        cells += [estimated(each.zero_filled, digits), estimated(each.network, digits), gain]
    return cells


def estimated(estimate: Estimate, digits: int, signed: bool = False) -> Html:
    """24.64 ± 0.99, without the second if it is unknown."""
    half = "" if math.isnan(estimate.half) else tag("span", f" ± {fixed(estimate.half, digits)}", cls="pm below")
    return join([written(estimate.mean, digits, signed), half])


def significant(value: float) -> str:
    """Three figures, whatever the size."""
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else written(value, 0)


def draw_gains(axis: Axes, sites: Sequence[Mapping[str, Any]], metric: Metric, target: str | None) -> None:
    """A row a site: every patient's gain, its mean and interval."""
    for row, site in enumerate(reversed(sites)):
        gains = [gain for gain in _patients(site, metric)[2] if math.isfinite(gain)]
        estimate = scored(site, metric).gain
        color = TARGET if site["name"] == target else MEAN
        axis.plot(gains, [row] * len(gains), "o", ms=4.5, mfc=PAPER, mec=FAINT, mew=1, zorder=4)
        if math.isfinite(estimate.mean):
            bar = [[estimate.half], [estimate.half]] if math.isfinite(estimate.half) else None
            axis.errorbar([estimate.mean], [row], xerr=bar, fmt="o", ms=5.5, color=color, elinewidth=1.8, zorder=3)
    axis.axvline(0, color=FAINT, lw=0.9)
    axis.set_yticks(range(len(sites)), [plain(site["name"]) for site in reversed(sites)])
    axis.set_ylim(-0.6, len(sites) - 0.4)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
