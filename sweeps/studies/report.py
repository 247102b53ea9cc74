"""report.html of a study: one page, without anything from elsewhere."""

from __future__ import annotations

import math
from functools import partial
from importlib import import_module
from pathlib import Path

from engine.checkpoint import write_atomically
from sites.intervals import written
from sites.report.curves import FAINT, TARGET
from sites.report.figures import REPORT, report_of
from sites.report.html_figures import HEIGHT, STYLE, WIDTH, chart, css
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
    share_bar,
    table,
    tag,
    tiles,
)
from sweeps.studies.figures import (
    COMPLETE,
    LINE,
    draw_history,
    draw_parameter,
    draw_pareto,
    drawn_parameters,
    known,
    write_figures,
)
from sweeps.studies.findings import Findings
from sweeps.studies.importance import NEEDS
from sweeps.studies.tables import repeat_section, setting_section, trials_section, winners_section
from sweeps.studies.winners import Estimate
from sweeps.studies.words import (
    counts_text,
    estimate_text,
    goals_text,
    notes,
    objective_title,
    p_text,
    plural,
    seeds_text,
    value_text,
)

PICTURED = 3
"""Winners whose runs have a report drawn, which takes seconds; of all others `run.py show DIR` draws it."""


def write_report(found: Findings) -> list[Path]:
    """Write figures/*.png and report.html, whose paths are returned, and the reports of the first winners' runs.

    Raises OSError if they cannot be written, ValueError for a damaged run directory.
    """
    figures = write_figures(found)
    for winner in found.winners[:PICTURED]:
        run = found.plan.first_run(winner.turn)
        if (run / "rounds.jsonl").exists():
            report_of(run)
    path = found.plan.out / REPORT
    write_atomically(path, report_html(found).encode())
    return [*figures, path]


def import_heavy() -> None:
    """What figures and importances take seconds to import, scikit-learn too, while there is nothing else to do."""
    for name in ("optuna.importance", *(f"matplotlib.{part}" for part in ("figure", "backends.backend_agg"))):
        import_module(name)


def report_html(found: Findings) -> str:
    """The page."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        sections = [
            setting_section(found),
            winners_section(found),
            *([_course(found), _parameters(found)] if known(found) else []),
            *([_front(found)] if len(found.objectives) == 2 and found.winners else []),
            _importances(found),
            trials_section(found),
            repeat_section(found),
        ]
    plan = found.plan
    method = "" if plan.space.algorithms != (None,) else f" of {plan.run.algorithm_name}"
    title = f"Sweep{method} on {Path(plan.run.scenario).stem}"
    size = f"{plural(len(plan.space.parameters), 'parameter')}, {plural(plan.trials, 'trial')}"
    subtitle = f"{size} for {goals_text(plan)}"
    return page(title, sections, kicker="Federated MR reconstruction", subtitle=subtitle, top=_top(found))


# ---- the top --------------------------------------------------------------------------------------------


def _top(found: Findings) -> Html:
    parts = [tiles(_tiles(found))]
    if not found.finished:
        lines = [join([tag("code", f"python run.py resume {found.plan.out}"), " goes on."])]
        parts.append(callout("This study is not finished", lines))
    if found.warnings:
        parts.append(callout("What must be known of the data", found.warnings))
    told = notes(found.plan, found.winners, found.tested_before)
    parts.append(callout("What the numbers are", told, plain=True))
    return join(parts)


def _tiles(found: Findings) -> list[tuple[str, str, str]]:
    rounds = sum(row.rounds for row in found.rows)
    done = f"{len(found.rows)} of {found.plan.trials}"
    shown = [("Trials", done, f"{counts_text(found.counts)}; {plural(rounds, 'round')}")]
    if not found.winners:
        return shown
    best, objective = found.winners[0], found.objectives[0]
    value = value_text(objective, best.values[0], found.against)
    shown.append(
        (f"Best {objective_title(objective, found.against)}", value, f"validation patients, trial {best.turn}")
    )
    if len(found.objectives) > 1:
        shown.append(("Pareto front", plural(len(found.winners), "trial"), "listed below"))
    for which, tested in (("", best.searched), (", confirmed", best.confirmed)):
        if tested:
            gain = estimate_text(tested.gain, 2, signed=True)
            over = f"by seed ± {tested.by_seed.psnr.half_width:.2f}; " if tested.by_seed else ""
            more = f"{_half(tested.psnr)}{over}{seeds_text(tested.seeds)}; {gain} over zero-filled"
            shown.append((f"Test PSNR at {tested.target}{which}", f"{tested.psnr.mean:.2f} dB", more))
        if tested and tested.against and (tested is best.confirmed or not best.confirmed):
            more = f"{_half(tested.against)}{p_text(tested.against)}"
            shown.append((f"Over {found.against}{which}", f"{written(tested.against.mean, 2, signed=True)} dB", more))
    return shown


def _half(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.half_width) else f"± {estimate.half_width:.2f}; "


# ---- figures --------------------------------------------------------------------------------------------


def _keys(found: Findings, *more: Key) -> Html:
    won = "the winner" if len(found.winners) == 1 else "winners"
    keys = [Key("complete", css(COMPLETE), "dot"), Key(f"{won}: black rings", css(TARGET), "dot"), *more]
    pruned = "pruned: crosses at the border, for a value after fewer rounds does not compare"
    return legend([*keys, *[Key(pruned, css(FAINT), "dot")] * bool(found.counts["pruned"])])


def _course(found: Findings) -> Section:
    single = len(found.objectives) == 1
    size = (8.6, 3.0) if single else (WIDTH, HEIGHT)
    figures = [
        figure(
            chart(partial(draw_history, found=found, index=index), f"history{index}", f"{each.name} by trial", *size),
            f"{objective_title(each, found.against)} by trial",
        )
        for index, each in enumerate(found.objectives)
    ]
    keys = _keys(found, *[Key("best so far", css(LINE))] * single)
    return Section(
        "course", "How the search went", join([keys, *figures] if single else [keys, grid(figures)]), "Course"
    )


def _parameters(found: Findings) -> Section:
    shown = drawn_parameters(found)
    figures = [
        figure(
            chart(
                partial(draw_parameter, found=found, parameter=parameter, index=index),
                f"parameter{place}-{index}",
                f"{each.name} by {parameter.name}",
            ),
            parameter.name,
            objective_title(each, found.against),
        )
        for index, each in enumerate(found.objectives)
        for place, parameter in enumerate(shown)
    ]
    rest = len(found.plan.space.parameters) - len(shown)
    more = f"The {len(shown)} parameters that matter most; {rest} more are in the table of trials."
    parts = [_keys(found), grid(figures), *[paragraph(more, note=True)] * bool(rest)]
    return Section("parameters", "Values by parameter", join(parts), "Parameters")


def _front(found: Findings) -> Section:
    drawing = chart(partial(draw_pareto, found=found), "pareto", "Trials by both objectives", width=8.6, height=4.4)
    what = paragraph(
        "No trial is better than a winner in both objectives; the line borders what the winners dominate. The numbers "
        "are the trials'.",
        note=True,
    )
    keys = legend([Key("winners", css(COMPLETE), "dot"), Key("dominated", css(FAINT), "dot"), Key("front", css(LINE))])
    return Section("front", "Pareto front, on validation patients", join([what, keys, figure(drawing, "")]), "Front")


def _importances(found: Findings) -> Section:
    name, title = "importances", "Parameter importances"
    there = [each for each in found.importances if each]
    if not there:
        return Section(name, title, paragraph(f"Not known: it takes {NEEDS}.", absent=True), "Importances")
    parts = [
        paragraph(
            "fANOVA (Hutter et al., ICML 2014): of the variance that a random forest, fitted to the complete trials, "
            "predicts over the space, the part that each parameter explains by itself, of a sum of 1. From some dozen "
            "trials it is a hint, no more.",
            note=True,
        )
    ]
    for each in there:
        rows = [[parameter, join([f"{part:.3f}", share_bar(part)])] for parameter, part in each.parts.items()]
        parts.append(tag("h3", f"{each.objective}, {plural(each.trials, 'complete trial')}"))
        parts.append(table(["Parameter", "Importance"], rows, name=f"importance-{each.objective}"))
        if each.left_out:
            parts.append(paragraph(f"Left out, for not every trial has them: {', '.join(each.left_out)}.", note=True))
    return Section(name, title, join(parts), "Importances")
