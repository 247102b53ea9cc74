"""report.html of a sweep: one page, without anything from elsewhere, with the curves, the shift and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from engine.shift import MEASURES
from sites.intervals import spelled, written
from sites.report.curves import FAINT
from sites.report.html_figures import STYLE, chart, css
from sites.report.html_page import (
    Html,
    Key,
    Section,
    callout,
    code,
    details,
    facts,
    figure,
    grid,
    join,
    legend,
    page,
    paragraph,
    table,
    tag,
    tiles,
)
from sites.run_summary import note
from sites.shifts import DIALS
from sweeps.curves.figure import COSTS, GAIN, color_of, draw_cost, draw_gains, draw_measure, draw_scores
from sweeps.curves.notes import curve_footnotes, first_strength, heading, saturations, unit_words
from sweeps.curves.pictures import pictures_section, slices
from sweeps.curves.plan import CurvesPlan
from sweeps.curves.statistics import Curves
from sweeps.curves.tables import lead_lines, score_lines, shift_lines
from sweeps.notes import TITLES
from sweeps.scores import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 2.2  # inches, of a chart of a measure


def curves_page(plan: CurvesPlan, curves: Curves, warnings: Sequence[str] = ()) -> str:
    """The page. warnings: of the sites' data."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        sections = [
            _curves_section(curves),
            _scores_section(curves),
            *([_shift_section(curves), _cost_section(curves)] if curves.shifts else []),
            pictures_section(curves, slices(plan)),
            _setting_section(plan),
        ]
    return page(
        heading(curves),
        sections,
        kicker="Federated MR reconstruction",
        subtitle=f"{', '.join(curves.methods)}; {unit_words(curves)}, at {len(curves.strengths)} strengths",
        top=_top(plan, curves, warnings),
    )


def _top(plan: CurvesPlan, curves: Curves, warnings: Sequence[str]) -> Html:
    parts = [tiles(_tiles(curves))]
    done = len(curves.dots)
    if done < len(plan.federations):
        goes_on = join([f"{done} of {len(plan.federations)} federations are done. ",
                        tag("code", f"python run.py resume {plan.out}"), " goes on."])  # fmt: skip
        parts.append(callout("This sweep is not finished", [goes_on]))
    if warnings:
        parts.append(callout("What must be known of the data", warnings))
    what = note(plan.config.run.institutions)
    parts.append(callout("What the institutions are", [what[0].upper() + what[1:] + "."], plain=True))
    return join(parts)


def _tiles(curves: Curves) -> list[tuple[str, str, str]]:
    """At the highest strength."""
    last = curves.columns[-1]
    found = []
    for method in curves.methods:
        entry, gain = curves.cells["psnr"].get(method, {}).get(last), curves.gains[method].get(last)
        change = curves.changes.get(method, {}).get(last)
        if entry is not None and gain is not None:
            since = "" if change is None else f", {written(change.mean, 2, signed=True)} since {first_strength(curves)}"
            value = f"{written(gain.mean, 2, signed=True)} dB"
            found.append(
                (
                    f"{method} over zero-filled at {last}",
                    value,
                    f"{spelled(entry.mean, entry.half_width, 2)} dB{since}",
                )
            )
    for method in curves.methods[1:]:
        lead, entry = curves.leads[method].get(last), curves.cells["psnr"].get(method, {}).get(last)
        if lead is not None and entry is not None and entry.p_adjusted is not None:
            value = f"{written(lead.mean, 2, signed=True)} dB"
            found.append(
                (f"{method} over {curves.methods[0]} at {last}", value, f"p {entry.p_adjusted:.2g}, corrected")
            )
    return found


# ---- sections -------------------------------------------------------------------------------------------


def _legend(curves: Curves, *more: Key) -> Html:
    return legend([*(Key(method, css(color_of(curves, method))) for method in curves.methods), *more])


def _curves_section(curves: Curves) -> Section:
    figures = [
        _by_strength(partial(draw_scores, curves=curves, metric="psnr"), "curve-psnr", TITLES["psnr"]),
        _by_strength(partial(draw_gains, curves=curves), "curve-gain", GAIN),
        _by_strength(partial(draw_scores, curves=curves, metric="ssim"), "curve-ssim", TITLES["ssim"]),
    ]
    parts = [_legend(curves, Key("zero-filled", css(FAINT), "dash")), grid(figures)]
    parts += [paragraph(text, note=True) for text in curve_footnotes(curves)]
    return Section("curves", f"Scores of {curves.target} against the strength", join(parts), "Curves")


def _by_strength(draw: Callable[[Axes], None], name: str, title: str, height: float = 2.7) -> Html:
    return figure(chart(draw, name, f"{title} by strength", height=height), title)


def _scores_section(curves: Curves) -> Section:
    parts = []
    for metric in METRICS:
        head, *rows = score_lines(curves, metric)
        parts += [tag("h3", TITLES[metric]), table(head, rows, name=f"scores-{metric}")]
    if len(curves.methods) > 1:
        head, *rows = lead_lines(curves)
        title = f"PSNR minus that of {curves.methods[0]}, dB, paired; p of Wilcoxon's test, corrected by Holm"
        parts += [tag("h3", title), table(head, rows, name="leads")]
    return Section("scores", "Scores", join(parts))


def _shift_section(curves: Curves) -> Section:
    figures = [
        _by_strength(partial(draw_measure, curves=curves, measure=measure), f"shift-{measure}", label, HEIGHT)
        for measure, label in _labels(curves)
    ]
    head, *rows = shift_lines(curves)
    what = paragraph(
        f"Validation patients of {curves.target} against each source's, after the last round, in the mean over "
        "sources: a dot a seed, a line through their means; dashed, where chance ends (97.5 % of exchanges of patients "
        "are measured below).",
        note=True,
    )
    ended = saturations(curves)
    parts = [what, _legend(curves), grid(figures), *([callout("Saturated", ended, plain=True)] if ended else [])]
    return Section("shift", "How far apart", join([*parts, table(head, rows, name="shifts", words=2)]), "Shift")


def _cost_section(curves: Curves) -> Section:
    what = paragraph(
        f"A dot is a federation: what {curves.target}'s patients lost in PSNR since {first_strength(curves)}, and what "
        "they gained over the zero-filled image, against how far the sources are. ρ, by method: Spearman's.",
        note=True,
    )
    parts = [what, _legend(curves)]
    for cost, name in COSTS:
        figures = []
        for measure, label in _labels(curves):
            draw = partial(draw_cost, curves=curves, measure=measure, cost=cost)
            figures.append(figure(chart(draw, f"{cost}-{measure}", f"{name} by {label}", height=HEIGHT), label))
        parts += [tag("h3", name), grid(figures)]
    return Section("cost", "What it costs", join(parts), "Cost")


def _labels(curves: Curves) -> list[tuple[str, str]]:
    return [(measure, MEASURES[measure].label) for measure in curves.shifts]


# ---- setting --------------------------------------------------------------------------------------------


def _setting_section(plan: CurvesPlan) -> Section:
    run, file = plan.config.run, plan.out / "curves.toml"
    others = "; ".join(f"{site.name}: {site.shift}" for site in run.institutions if site.shift)
    pairs = [
        ("Dial", f"{plan.dial}: {DIALS[plan.dial].summary}"),
        ("Target", plan.target + ("" if run.target_trains else " (does not train)")),
        ("Scenario", run.data or run.scenario),
        ("Other shifts", ", ".join(part for part in (run.shift, others) if part) or "none"),
        ("Methods", plan.config.methods),
        ("Seeds", f"{plan.config.seeds}, from {run.seed}"),
        ("Rounds", str(run.rounds)),
        ("Image", f"{run.matrix} × {run.matrix} pixels"),
    ]
    parts = [facts(pairs), paragraph("To repeat it, or to go on:"), code(f"python run.py shift --config {file}")]
    if file.exists():
        parts.append(details("All settings (curves.toml)", code(file.read_text(encoding="utf-8"))))
    return Section("setting", "Setting", join(parts))
