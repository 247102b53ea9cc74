"""A report's first part: what was run, and on whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from engine.algorithms import ALGORITHMS
from sites.config import ATLAS, SiteConfig
from sites.report.html_page import Html, Section, badge, code, details, facts, html, join, paragraph, table, tag
from sites.run_directory import PACKAGES
from sites.run_reader import Run
from sites.scenario_words import protocol
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
