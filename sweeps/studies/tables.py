"""The parts of a study's report that are words and tables: the search, its winners, all trials, how to repeat it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from engine.standings import clock_time
from sites.report.figures import REPORT
from sites.report.html_page import Html, Section, badge, code, details, facts, join, paragraph, table, tag
from sweeps.directory import STUDY
from sweeps.studies.findings import Findings, Row
from sweeps.studies.winners import Estimate, Means, Winner
from sweeps.studies.words import (
    at_target,
    command_lines,
    estimate_text,
    objective_title,
    p_text,
    param_text,
    plural,
    range_text,
    rounds_text,
    sampler_text,
    seeds_text,
    units_text,
    value_text,
)

PRINTED = 110  # characters of a line of code


# ---- what was searched ----------------------------------------------------------------------------------


def setting_section(found: Findings) -> Section:
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
    target = f"target {plan.target}" if plan.target else "a target of its own in each trial"
    pairs = [
        ("Objective", goals),
        ("Chosen on", "validation patients, after the last round" + f", the mean of {seeds}" * (config.seeds > 1)),
        ("Sampler", sampler_text(plan)),
        ("Pruner", config.pruner),
        ("Trials", f"{plan.trials}, each of {rounds_text(plan)}" + f" and {seeds}" * (config.seeds > 1)),
        (
            "Federation",
            f"{plan.run.scenario}, {target}, seed {plan.run.seed}, on {plan.device}",
        ),
        ("Confirmed", new),
        ("Time", f"{clock_time(seconds)}, the sum of all trials"),
    ]
    stored = plan.out / STUDY.file
    parts = [facts(pairs), table(["Parameter", "Values", "Trials that have it"], rows, name="space", words=3)]
    if stored.exists():
        parts.append(details(f"The whole configuration ({STUDY.file})", code(stored.read_text(encoding="utf-8"))))
    return Section("setting", "What was searched", join(parts), "Search")


def _who(found: Findings, name: str) -> str:
    space = found.plan.space
    if name not in space.conditional:
        return "all"
    return "with " + ", ".join(str(each) for each in space.algorithms if name in {own.name for own in space.of(each)})


# ---- the winners ----------------------------------------------------------------------------------------


def winners_section(found: Findings) -> Section:
    name, title = "winners", "The winner" if len(found.objectives) == 1 else "The winners: the Pareto front"
    if not found.winners:
        return Section(name, title, paragraph("No trial is complete yet.", absent=True), "Winners")
    against = [f"Over {found.against}, dB", "p"] * bool(found.against)
    values = [objective_title(each, found.against) for each in found.objectives]
    scores = ["PSNR, dB", "Over zero-filled, dB", *against, "SSIM"]
    rows = [row for winner in found.winners for row in _winner_rows(found, winner)]
    groups = [
        ("", 1),
        ("validation patients", len(values)),
        (f"test patients {at_target(found.target)}", 1 + len(scores)),
    ]
    parts = [table(["Trial", *values, "Scored on", *scores], rows, name="winner-scores", groups=groups)]
    names = [each.name for each in found.plan.space.parameters]
    settings = [[f"trial {each.turn}", *_params(each.params, names)] for each in found.winners]
    parts += [tag("h3", "Settings"), table(["", *names], settings, name="settings")]
    if any(winner.searched for winner in found.winners):
        parts.append(_by_site(found))
    return Section(name, title, join(parts), "Winners")


def _params(params: Mapping[str, object], names: Sequence[str]) -> list[str]:
    return [param_text(params[name]) if name in params else "–" for name in names]


def _winner_rows(found: Findings, winner: Winner) -> list[list[str]]:
    """On the seeds of the search; and on those that are new; by seed, where there are several."""
    values = [value_text(o, v, found.against) for o, v in zip(found.objectives, winner.values, strict=True)]
    report = found.plan.first_run(winner.turn) / REPORT
    where = str(report.relative_to(found.plan.out.absolute())) if report.exists() else f"trials/{winner.turn}/"
    rows: list[list[str]] = [[tag("a", f"trial {winner.turn}", href=where), *values]]
    rows[0] += _scores(found, winner.searched)
    more: list[tuple[str, Means | None]] = [
        ("by seed", winner.searched and winner.searched.by_seed),
        ("confirmed", winner.confirmed),
        ("confirmed, by seed", winner.confirmed and winner.confirmed.by_seed),
    ]
    return rows + [
        [f"trial {winner.turn}, {label}", *[""] * len(values), *_scores(found, tested)]
        for label, tested in more
        if tested
    ]


def _scores(found: Findings, tested: Means | None) -> list[str]:
    if tested is None:
        return ["not yet", *["–"] * (3 + 2 * bool(found.against))]
    on = join([seeds_text(tested.seeds), tag("span", units_text(tested), cls="pm below")])
    p = p_text(tested.against).removeprefix("p ").removeprefix("= ") if tested.against else ""
    against = [_cell(tested.against, 2, True), p] if tested.against else []
    return [on, _cell(tested.psnr, 2), _cell(tested.gain, 2, True), *against, _cell(tested.ssim, 3)]


def _cell(estimate: Estimate, digits: int, signed: bool = False) -> Html:
    """Coloured where the interval of a difference leaves out zero."""
    mean, _, half = estimate_text(estimate, digits, signed).partition(" ± ")
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
    names = dict.fromkeys(name for _, tested in tests for name in tested.sites)
    rows = [
        [
            join([name, *[badge("target")] * (name == found.target)]),
            *(_cell(tested.sites[name], 2) if name in tested.sites else "–" for _, tested in tests),
        ]
        for name in names
    ]
    return join([tag("h3", "Test PSNR by site, dB"), table(head, rows, name="by-site")])


# ---- all trials, and again ------------------------------------------------------------------------------


def trials_section(found: Findings) -> Section:
    name, title = "trials", "All trials"
    if not found.rows:
        return Section(name, title, paragraph("There is none yet.", absent=True), "Trials")
    names = [each.name for each in found.plan.space.parameters]
    values = [objective_title(each, "") for each in found.objectives]
    rows = [_trial_row(found, row, names) for row in found.rows]
    parts = [table(["Trial", "State", *values, "Rounds", "Time", *names], rows, name="all-trials", words=2)]
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
        value_text(each, row.values[index], found.against) if len(row.values) > index else "–"
        for index, each in enumerate(found.objectives)
    ]
    seconds = "–" if math.isnan(row.seconds) else clock_time(row.seconds)
    return [link, state, *values, str(row.rounds), seconds, *_params(row.params, names)]


def repeat_section(found: Findings) -> Section:
    out = shlex.quote(str(found.plan.out))
    parts = []
    for winner in found.winners:
        seed = f" (its first seed, {found.plan.run.seed})" if found.plan.config.seeds > 1 else ""
        parts += [paragraph(f"Trial {winner.turn}{seed}:"), code("\n".join(command_lines(winner.command, PRINTED)))]
        if winner.sha:
            parts.append(
                paragraph(
                    f"On the same kind of device ({found.plan.device}) the final weights are the same bit for bit: "
                    "weights_sha256 ",
                    tag("code", winner.sha),
                )
            )
    again = (
        "The whole study, from the configuration above saved as a file. (What is tried next depends on what has ended "
        "by then: trials side by side may differ.)"
    )
    parts += [paragraph(again), code(f"python run.py sweep --config {out}/{STUDY.file}")]
    return Section("repeat", "How to repeat it", join(parts), "Repeat")
