"""report.html of a study: one page, without anything from elsewhere."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from engine.checkpoint import write_atomically
from engine.standings import clock_time
from sites.curves import FAINT, TARGET
from sites.html_figures import HEIGHT, STYLE, WIDTH, chart, css
from sites.html_page import (
    Html,
    Key,
    Section,
    badge,
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
    share_bar,
    table,
    tag,
    tiles,
)
from sweeps.findings import Findings, Row
from sweeps.importance import NEEDS
from sweeps.study_figures import (
    COMPLETE,
    LINE,
    draw_history,
    draw_parameter,
    draw_pareto,
    drawn_parameters,
    known,
    write_figures,
)
from sweeps.study_words import (
    counts_text,
    estimate_text,
    goals_text,
    notes,
    objective_title,
    p_text,
    param_text,
    plural,
    range_text,
    sampler_text,
    seeds_text,
    units_text,
    value_text,
)
from sweeps.winners import Estimate, Tested, Winner

REPORT = "report.html"


def write_report(found: Findings) -> list[Path]:
    """Write figures/*.png and report.html, whose paths are returned. Raises OSError if they cannot be written."""
    figures = write_figures(found)
    path = found.plan.out / REPORT
    write_atomically(path, report_html(found).encode())
    return [*figures, path]


def report_html(found: Findings) -> str:
    """The page."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        sections = [
            _setting(found),
            _winners(found),
            *([_course(found), _parameters(found)] if known(found) else []),
            *([_front(found)] if len(found.objectives) == 2 and found.winners else []),
            _importances(found),
            _trials(found),
            _repeat(found),
        ]
    plan = found.plan
    title = f"Sweep of {plan.run.algorithm_name} on {Path(plan.run.scenario).stem}"
    if "algorithm" in {each.name for each in plan.space.parameters}:
        title = f"Sweep on {Path(plan.run.scenario).stem}"
    size = f"{plural(len(plan.space.parameters), 'parameter')}, {plural(plan.config.trials, 'trial')}"
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
    done = f"{len(found.rows)} of {found.plan.config.trials}"
    shown = [("Trials", done, f"{counts_text(found.counts)}; {plural(rounds, 'round')}")]
    if not found.winners:
        return shown
    best, objective = found.winners[0], found.objectives[0]
    value = _minus(value_text(objective, best.values[0], found.against))
    shown.append((f"Best {objective_title(objective, found.against)}", value, f"validation patients, trial {best.turn}"))
    if len(found.objectives) > 1:
        shown.append(("Pareto front", plural(len(found.winners), "trial"), f"trial {best.turn} and others"))
    for which, tested in (("", best.searched), (", confirmed", best.confirmed)):
        if tested:
            gain = _minus(estimate_text(tested.gain, 2, signed=True))
            more = f"{_half(tested.psnr)}{seeds_text(tested.seeds)}; {gain} over zero-filled"
            shown.append((f"Test PSNR at {found.plan.target}{which}", f"{tested.psnr.mean:.2f} dB", more))
        if tested and tested.against and (tested is best.confirmed or not best.confirmed):
            more = f"{_half(tested.against)}{p_text(tested.against)}"
            shown.append((f"Over {found.against}{which}", _minus(f"{tested.against.mean:+.2f} dB"), more))
    return shown


def _half(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.half_width) else f"± {estimate.half_width:.2f}; "


def _minus(text: str) -> str:
    """With a minus sign that is one."""
    return text.replace("-", "−")


# ---- what was searched ----------------------------------------------------------------------------------


def _setting(found: Findings) -> Section:
    plan, config = found.plan, found.plan.config
    rows = [[each.name, range_text(each), _who(found, each.name)] for each in plan.space.parameters]
    better = {"maximize": "more", "minimize": "less"}
    goals = "; ".join(
        f"{objective_title(each, found.against)} ({each.words}; {better[each.direction]} is better)"
        for each in found.objectives
    )
    seconds = math.fsum(row.seconds for row in found.rows if not math.isnan(row.seconds))
    new = f"on {plural(config.confirm, 'seed')} that the search has not seen" if config.confirm else "no (--confirm N)"
    seeds = plural(config.seeds, "seed")
    pairs = [
        ("Objective", goals),
        ("Chosen on", "validation patients, after the last round" + f", the mean of {seeds}" * (config.seeds > 1)),
        ("Sampler", sampler_text(plan)),
        ("Pruner", config.pruner),
        ("Trials", f"{config.trials}, each of {plural(plan.run.rounds, 'round')}" + f" and {seeds}" * (config.seeds > 1)),
        ("Federation", f"{plan.run.scenario}, target {plan.target}, seed {plan.run.seed}, on {plan.device}"),
        ("Confirmed", new),
        ("Time", f"{clock_time(seconds)}, the sum of all trials"),
    ]
    stored = plan.out / "study.toml"
    parts = [facts(pairs), table(["Parameter", "Values", "Trials that have it"], rows, name="space", words=3)]
    if stored.exists():
        parts.append(details("The whole configuration (study.toml)", code(stored.read_text(encoding="utf-8"))))
    return Section("setting", "What was searched", join(parts), "Search")


def _who(found: Findings, name: str) -> str:
    space = found.plan.space
    if name not in space.conditional:
        return "all"
    return "with " + ", ".join(str(each) for each in space.algorithms if name in {own.name for own in space.of(each)})


# ---- the winners ----------------------------------------------------------------------------------------


def _winners(found: Findings) -> Section:
    name, title = "winners", "The winner" if len(found.objectives) == 1 else "The winners: the Pareto front"
    if not found.winners:
        return Section(name, title, paragraph("No trial is complete yet.", absent=True), "Winners")
    against = [f"Over {found.against}, dB", "p"] * bool(found.against)
    values = [objective_title(each, found.against) for each in found.objectives]
    scores = ["PSNR, dB", "Over zero-filled, dB", *against, "SSIM"]
    rows = [row for winner in found.winners for row in _winner_rows(found, winner)]
    groups = [("", 1), ("validation patients", len(values)), (f"test patients at {found.plan.target}", 1 + len(scores))]
    parts = [table(["Trial", *values, "Scored on", *scores], rows, name="winners", groups=groups)]
    names = [each.name for each in found.plan.space.parameters]
    settings = [[f"trial {each.turn}", *_params(each.params, names)] for each in found.winners]
    parts += [tag("h3", "Settings"), table(["", *names], settings, name="settings")]
    if any(winner.searched for winner in found.winners):
        parts.append(_by_site(found))
    return Section(name, title, join(parts), "Winners")


def _params(params: Mapping[str, object], names: Sequence[str]) -> list[str]:
    return [param_text(params[name]) if name in params else "–" for name in names]


def _winner_rows(found: Findings, winner: Winner) -> list[list[str]]:
    """On the seeds of the search; and on those that are new."""
    values = [_minus(value_text(o, v, found.against)) for o, v in zip(found.objectives, winner.values, strict=True)]
    rows: list[list[str]] = [[tag("a", f"trial {winner.turn}", href=f"trials/{winner.turn}/"), *values]]
    rows[0] += _scores(found, winner.searched)
    if winner.confirmed:
        rows.append([f"trial {winner.turn}, confirmed", *[""] * len(values), *_scores(found, winner.confirmed)])
    return rows


def _scores(found: Findings, tested: Tested | None) -> list[str]:
    if tested is None:
        return ["not yet", *["–"] * (3 + 2 * bool(found.against))]
    on = join([seeds_text(tested.seeds), tag("span", units_text(tested), cls="pm below")])
    against = [_cell(tested.against, 2, True), p_text(tested.against).removeprefix("p ")] if tested.against else []
    return [on, _cell(tested.psnr, 2), _cell(tested.gain, 2, True), *against, _cell(tested.ssim, 3)]


def _cell(estimate: Estimate, digits: int, signed: bool = False) -> Html:
    """Coloured where the interval of a difference leaves out zero."""
    mean, _, half = _minus(estimate_text(estimate, digits, signed)).partition(" ± ")
    sure = signed and abs(estimate.mean) > estimate.half_width
    shown = tag("span", mean, cls=("good" if estimate.mean > 0 else "bad") if sure else "")
    return join([shown, *[tag("span", f" ± {half}", cls="pm below")] * bool(half)])


def _by_site(found: Findings) -> Html:
    """Test PSNR of the winners at every site."""
    tests = [
        (f"trial {winner.turn}{label}", tested)
        for winner in found.winners
        for label, tested in (("", winner.searched), (", confirmed", winner.confirmed))
        if tested
    ]
    head = ["Site", *(title for title, _ in tests)]
    rows = [
        [join([name, *[badge("target")] * (name == found.plan.target)]), *(_cell(t.sites[name], 2) for _, t in tests)]
        for name in tests[0][1].sites
    ]
    return join([tag("h3", "Test PSNR by site, dB"), table(head, rows, name="by-site")])


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
    return Section("course", "How the search went", join([keys, *figures] if single else [keys, grid(figures)]), "Course")


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
    drawing = chart(partial(draw_pareto, found=found), "pareto", "Trials by both objectives", width=7.5, height=4.2)
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


# ---- all trials, and again ------------------------------------------------------------------------------


def _trials(found: Findings) -> Section:
    name, title = "trials", "All trials"
    if not found.rows:
        return Section(name, title, paragraph("There is none yet.", absent=True), "Trials")
    names = [each.name for each in found.plan.space.parameters]
    values = [objective_title(each, found.against) for each in found.objectives]
    rows = [_trial_row(found, row, names) for row in found.rows]
    parts = [table(["Trial", "State", *values, "Rounds", "Time", *names], rows, name="trials", words=2)]
    if found.counts["pruned"]:
        parts.append(paragraph("A pruned trial's value is that of its last round.", note=True))
    return Section(name, title, join(parts), "Trials")


def _trial_row(found: Findings, row: Row, names: Sequence[str]) -> list[str]:
    where = f"trials/{row.turn}/"
    link = tag("a", f"trial {row.turn}", href=where) if (found.plan.out / where).exists() else f"trial {row.turn}"
    state = join([row.state, *[badge("winner")] * (row.turn in found.won)])
    if row.reason:
        state = tag("div", row.state, tag("div", row.reason, cls="note"), cls="wide")
    values = [
        _minus(value_text(each, row.values[index], found.against)) if len(row.values) > index else "–"
        for index, each in enumerate(found.objectives)
    ]
    seconds = "–" if math.isnan(row.seconds) else clock_time(row.seconds)
    return [link, state, *values, str(row.rounds), seconds, *_params(row.params, names)]


def _repeat(found: Findings) -> Section:
    out = shlex.quote(str(found.plan.out))
    parts = []
    for winner in found.winners:
        seed = f" (its first seed, {found.plan.run.seed})" if found.plan.config.seeds > 1 else ""
        parts += [paragraph(f"Trial {winner.turn}{seed}:"), code(winner.command)]
        if winner.sha:
            parts.append(
                paragraph(
                    f"On the same kind of device ({found.plan.device}) the final weights are the same bit for bit: "
                    "weights_sha256 ",
                    tag("code", winner.sha),
                )
            )
    again = (
        "The whole study, from the configuration above saved as a file. (What is tried next depends on what has ended by "
        "then: trials side by side may differ.)"
    )
    parts += [paragraph(again), code(f"python run.py sweep --config {out}/study.toml")]
    return Section("repeat", "How to repeat it", join(parts), "Repeat")
