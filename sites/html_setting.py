"""A report's first part and its last: what was run, on whom, and how to run it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from engine.algorithms import ALGORITHMS
from sites.config import ATLAS, ELSEWHERE, RunConfig, SiteConfig, flat
from sites.html_page import Html, Section, badge, code, details, facts, html, join, paragraph, table, tag
from sites.run_directory import PACKAGES
from sites.run_reader import Run
from sites.scenario import load_scenario, scenarios, take
from sites.scenario_words import protocol
from sites.shifts import parse_shift, shift_sites
from sites.site_words import against, dialled

ROLES = {
    "source": "trains",
    "both": "trains; the target",
    "target": "the target; does not train",
    "test": "only tested",
}


def setting_section(run: Run) -> Section:
    """What a reader must know to judge the rest."""
    parts = [facts(_facts(run)), _institutions(run)]
    if run.stored.text:
        parts.append(details("The whole configuration (config.toml)", code(run.stored.text)))
    return Section("setting", "Setting", join(parts))


def _facts(run: Run) -> list[tuple[str, str]]:
    stored, environment = run.stored.settings, run.stored.environment
    about: dict[str, Any] = {**stored, **run.summary}
    first = ("scenario", "data", "algorithm", "target", "seed", "rounds")
    found = [(name.capitalize(), _fact(name, about)) for name in first if about.get(name) not in (None, "")]
    if stored:
        found += [
            ("Image", "{0} × {0} pixels".format(stored.get("matrix", "?"))),
            ("Network", _network(stored)),
            ("Training", _training(stored)),
        ]
    if environment:
        versions = [f"{name} {environment[name]}" for name in PACKAGES if environment.get(name)]
        found += [
            ("Device", environment.get("device") or "unknown"),
            ("Commit", environment.get("commit") or "unknown (no git checkout)"),
            ("Versions", ", ".join(versions)),
        ]
    if "weights_sha256" in run.summary:
        sha256 = str(run.summary["weights_sha256"])
        found.append(("Weights", tag("span", "sha256 ", tag("code", sha256[:16]), "…", title=sha256)))
    return found


def _fact(name: str, about: Mapping[str, Any]) -> str:
    value = str(about[name])
    if name == "target":
        return value + ("" if about.get("target_trains", True) else " (does not train)")
    if name != "algorithm" or value not in ALGORITHMS:
        return value
    own = [field.name for field in fields(ALGORITHMS[value]) if field.name in about]
    settings = ", ".join(f"{each.replace('_', ' ')} {_value(about[each])}" for each in own)
    source = (ALGORITHMS[value].__doc__ or "").partition("\n")[0]
    return join([value, ": ", cited(source), Html("<br>"), tag("span", settings, cls="note")])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def cited(text: str) -> Html:
    """With a link to each arXiv number."""
    link = r'<a href="https://arxiv.org/abs/\2">\1\2</a>'
    return Html(re.sub(r"(arXiv )(\d{4}\.\d{4,5})", link, html(text)))


def _network(stored: Mapping[str, Any]) -> str:
    cascades = stored.get("cascades", 0)
    kind = f"{cascades} cascades of a U-Net and data consistency" if cascades else "U-Net"
    residual = ", residual" if stored.get("residual") else ""
    return (
        f"{kind}, {stored.get('channels', '?')} channels, {stored.get('pool_layers', '?')} poolings, "
        f"{stored.get('norm', '?')} normalisation{residual}"
    )


def _training(stored: Mapping[str, Any]) -> str:
    epochs = stored.get("local_epochs", "?")
    decay = stored.get("lr_decay_round", 0)
    later = f" (× {stored.get('lr_decay')} from round {decay + 1} on)" if decay else ""
    return (
        f"{stored.get('optimizer', '?')}, learning rate {stored.get('lr', '?')}{later}, batches of "
        f"{stored.get('batch_size', '?')} slices, {epochs} local epoch{'s' * (epochs != 1)} a round, optimiser state "
        f"{stored.get('optimizer_state', '?')}, {stored.get('precision', '?')}"
    )


# ---- institutions ---------------------------------------------------------------------------------------


def site_name(run: Run, name: str) -> Html:
    """A row's name; the target's is marked."""
    return join([name, badge("target")]) if name == run.target else html(name)


def _institutions(run: Run) -> Html:
    sites = run.stored.institutions
    if not sites:
        return paragraph("The institutions are not described: there is no config.toml.", absent=True)
    target = next((site for site in sites if site.name == run.target), sites[0])
    roles = {site["name"]: ROLES.get(site.get("role", ""), "") for site in run.summary.get("sites", ())}
    rows = [
        [
            site_name(run, site.name),
            _scanner(site),
            protocol(site)[1],
            _patients(site),
            *([roles.get(site.name, "")] * bool(roles)),
            _shift(site, target),
        ]
        for site in sorted(sites, key=lambda site: site is not target)
    ]
    head = [
        "Institution",
        "Protocol",
        "Undersampling",
        "Patients (train / val / test)",
        *["Role"] * bool(roles),
        "Shift",
    ]
    return join([tag("h3", "Institutions"), table(head, rows, name="sites", words=len(head))])


def _scanner(site: SiteConfig) -> Html:
    described = [tag("div", site.description)] if site.description else []
    own = protocol(site)[0] if site.of_files or site.source == ATLAS else f"k-space given in Python ({site.source})"
    return tag("div", *described, tag("div", own, cls="note"), cls="wide")


def _patients(site: SiteConfig) -> str:
    counts = " / ".join(str(count) for count in site.counts.values())
    divided = ", divided by slices" if site.of_files and site.split == "slices" else ""
    return counts + (f" of {site.slices} slices" if site.slices > 0 else "") + divided


def _shift(site: SiteConfig, target: SiteConfig) -> Html:
    """What its dials do, and how it then differs from the target."""
    parts = [tag("div", words) for words in dialled(site)]
    if site is not target:
        differs = "; ".join(against(site, target)) or "no difference in its settings"
        parts.append(tag("div", f"against the target: {differs}", cls="note" if parts else ""))
    return tag("div", *parts, cls="wide")


# ---- again ----------------------------------------------------------------------------------------------


def repeat_section(run: Run) -> Section:
    """The command lines."""
    known = run.stored.settings.get("algorithm") in ALGORITHMS
    foreign = [site.name for site in run.stored.institutions if not site.of_files and site.source != ATLAS]
    if not run.stored.text:
        return _repeat(paragraph("There is no config.toml to repeat the run from.", absent=True))
    if not known or foreign:
        what = f"k-space of {', '.join(foreign)}" if known else f"algorithm {run.stored.settings.get('algorithm')!r}"
        text = f"The {what} was given in Python: repeat the run with federate() and the same, as configured above."
        return _repeat(paragraph(text, absent=True))
    commit = run.stored.environment.get("commit", "").rstrip("+")
    lines = [f"git checkout {commit}"] * bool(commit)
    lines.append(f"python run.py --config {shlex.quote(str(run.path / 'config.toml'))}")
    parts = [
        paragraph("From the run directory, or from the configuration above saved as a file:"),
        code("\n".join(lines)),
    ]
    short = command_line(run)
    if short:
        parts += [paragraph("The same, written out:"), code(short)]
    sha256 = run.summary.get("weights_sha256")
    if sha256:
        device = run.stored.environment.get("device") or "device"
        parts.append(
            paragraph(
                f"On the same kind of device ({device}) the final weights are the same bit for bit: sha256 ",
                tag("code", str(sha256)),
            )
        )
    return _repeat(*parts)


def _repeat(*parts: Html) -> Section:
    return Section("repeat", "How to repeat it", join(parts), "Repeat")


def command_line(run: Run) -> str:
    """The settings that are not the demo's; empty if a scenario's name and options do not say it all."""
    stored = run.stored.settings
    scenario, algorithm = stored.get("scenario", ""), stored.get("algorithm")
    named = ("scenario", "sites", "target", "algorithm", "rounds", "seed")
    if scenario not in scenarios() or algorithm not in ALGORITHMS or not {*named} <= stored.keys():
        return ""
    if not isinstance(stored["sites"], int):
        return ""
    own, sites = take(load_scenario(scenario), stored["sites"], stored["seed"]).sites, run.stored.institutions
    shift = _shift_option(own, sites)
    if shift_sites(own, shift, stored["target"]) != sites:
        return ""
    default = flat(RunConfig(algorithm=ALGORITHMS[algorithm]()))
    others = [
        name for name in default
        if name not in (*named, *ELSEWHERE, "device") and stored.get(name, default[name]) != default[name]
    ]  # fmt: skip
    options = [_option(name, stored[name]) for name in (*named, *others)]
    options += [_option("shift", shift)] * bool(shift)
    return "python run.py --preset demo " + " ".join(options)


def _shift_option(own: Sequence[SiteConfig], sites: Sequence[SiteConfig]) -> str:
    """What `--shift` says to take a scenario's own sites to these, as far as dials can."""
    turned = {site.name: parse_shift(site.shift) for site in own}
    return ",".join(
        f"{site.name}:{dial}={strengths.get(dial, 0)}"
        for site in sites
        if (strengths := parse_shift(site.shift)) != turned.get(site.name)
        for dial in {**turned.get(site.name, {}), **strengths}
        if strengths.get(dial, 0) != turned.get(site.name, {}).get(dial, 0)
    )


def _option(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {shlex.quote(str(value))}"
