"""report.html: one page, without anything from elsewhere, that says what a run was and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from engine.standings import byte_size, clock_time, metric
from sites.intervals import written
from sites.report.alignment_figures import GRADIENTS, draw_accuracy, draw_gradients, is_aligned
from sites.report.curves import CURVES, FAINT, draw_curve
from sites.report.html_costs import crossed, ledger_section, timing_section
from sites.report.html_figures import LABELS, STYLE, chart, css, run_legend
from sites.report.html_latents import latents_section, shift_section
from sites.report.html_page import (
    Html,
    Key,
    Section,
    callout,
    figure,
    grid,
    join,
    legend,
    page,
    paragraph,
    tag,
    tiles,
)
from sites.report.html_pictures import pictures_section
from sites.report.html_repeat import repeat_section
from sites.report.html_results import Scored, mean_scored, results_section, scored
from sites.report.html_setting import setting_section
from sites.report.projections import Projection
from sites.run_reader import Run
from sites.run_summary import note


def report_html(run: Run, flat: Sequence[Projection]) -> str:
    """The page. flat: the latents in the plane. What the run holds nothing for is said to be missing."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        sections = [
            setting_section(run),
            results_section(run),
            _curves_section(run),
            pictures_section(run),
            latents_section(run, flat),
            shift_section(run),
            *([_alignment_section(run)] if is_aligned(run) else []),
            ledger_section(run),
            timing_section(run),
            repeat_section(run),
        ]
    return page(run.title, sections, kicker="Federated MR reconstruction", subtitle=_subtitle(run), top=_top(run))


# ---- the top --------------------------------------------------------------------------------------------


def _subtitle(run: Run) -> str:
    about = {**run.stored.settings, **run.summary}
    count = len(run.names) or len(run.stored.institutions)
    parts = [f"{count} institution{'s' * (count != 1)}", f"target {run.target}" if run.target else ""]
    parts += [
        f"{about[name]} rounds" if name == "rounds" else f"{name} {about[name]}"
        for name in ("rounds", "seed")
        if name in about
    ]
    return ", ".join(part for part in parts if part)


def _top(run: Run) -> Html:
    parts = [tiles(_tiles(run))]
    if not run.summary:
        planned = run.stored.settings.get("rounds")
        done = f"{len(run.rounds)} of {planned} rounds are done" if planned else f"{len(run.rounds)} rounds are done"
        lines = [
            join(
                [
                    f"{done}; there are no test scores yet. ",
                    tag("code", f"python run.py resume {run.path}"),
                    " goes on.",
                ]
            )
        ]
        parts.append(callout("This run is not finished", lines))
    if run.warnings:
        parts.append(callout("What must be known of the data", run.warnings))
    if run.stored.institutions:
        what = note(run.stored.institutions)
        parts.append(callout("What the institutions are", [what[0].upper() + what[1:] + "."], plain=True))
    return join(parts)


def _tiles(run: Run) -> list[tuple[str, str, str]]:
    sites = run.summary.get("sites", ())
    found = [_gain_tile(f"PSNR gain, mean of {len(sites)} sites", mean_scored(sites, "psnr"))] if len(sites) > 1 else []
    found += [
        _gain_tile(f"PSNR gain at {site['name']}", scored(site, "psnr")) for site in sites if site["name"] == run.target
    ]
    if not sites:
        planned = run.stored.settings.get("rounds")
        found.append(("Rounds done", f"{len(run.rounds)}" + (f" of {planned}" if planned else ""), ""))
    ledger = crossed(run)
    if ledger:
        largest = max(ledger, key=lambda kind: ledger[kind])
        more = f"most of it {largest}: {byte_size(ledger[largest])}"
        found.append(("Crossed the boundaries", byte_size(sum(ledger.values())), more))
    seconds = run.summary.get("seconds", {})
    if isinstance(seconds.get("total"), (int, float)) and math.isfinite(seconds["total"]):
        device = run.stored.environment.get("device", "")
        more = f"{seconds.get('median_round', math.nan):.2f} s a round" + (f", {device}" if device else "")
        found.append(("Time", clock_time(seconds["total"]), more))
    return found


def _gain_tile(title: str, of: Scored) -> tuple[str, str, str]:
    half = "" if math.isnan(of.gain.half) else f"± {written(of.gain.half, 2)}; "
    change = f"{written(of.zero_filled.mean, 2)} → {written(of.network.mean, 2)}"
    return title, f"{written(of.gain.mean, 2, signed=True)} dB", half + change


# ---- by round -------------------------------------------------------------------------------------------


def _curves_section(run: Run) -> Section:
    section = partial(Section, "curves", "Learning curves", link="Curves")
    if not run.rounds:
        return section(paragraph("No round is stored.", absent=True))
    figures = [
        figure(
            chart(partial(draw_curve, run=run, curve=curve), f"curve{index}", f"{curve.title} by round", labels=LABELS),
            curve.title,
            curve.unit,
        )
        for index, curve in enumerate(CURVES)
    ]
    dashed = [Key("zero-filled image", css(FAINT), "dash")] * bool(run.summary)
    return section(join([run_legend(run, *dashed), grid(figures)]))


def _alignment_section(run: Run) -> Section:
    accuracies = chart(lambda axis: draw_accuracy(axis, run), "accuracy", "Identifier accuracy by round", labels=LABELS)
    gradients = chart(lambda axis: draw_gradients(axis, run), "gradients", "Gradient norms by round", labels=LABELS)
    shapes = {"-": "line", "--": "dash"}
    lines = legend(Key(label, css(color), shapes[style]) for label, color, style in GRADIENTS)
    what = paragraph(
        "Each source's identifier tells its latents from the target's; the encoder learns to fool it. Near 0.5 on "
        "latents it has not seen it is fooled, near 1 the sites are still told apart. An alignment whose gradient "
        "vanishes beside the reconstruction's does nothing, whatever the accuracy.",
        note=True,
    )
    figures = [
        figure(
            join([run_legend(run, target=False), accuracies]),
            "Identifier accuracy, fresh latents",
            _last_accuracies(run),
        ),
        figure(join([lines, gradients]), "Gradient norms on the encoder, mean over sources", "logarithmic"),
    ]
    return Section("alignment", "Health of the alignment", join([what, grid(figures)]), "Alignment")


def _last_accuracies(run: Run) -> str:
    """In words."""
    last = [metric(report, "identifier_accuracy") for report in run.rounds[-10:]]
    last = [value for value in last if math.isfinite(value)]
    if not last:
        return ""
    rounds = f"the last {len(last)} rounds" if len(last) > 1 else "the last round"
    between = f"{min(last):.2f} to {max(last):.2f}" if len(last) > 1 else f"{last[0]:.2f}"
    return f"{between} in the mean of the sources, over {rounds}"
