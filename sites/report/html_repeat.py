"""A report's last part: how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from engine.algorithms import ALGORITHMS
from sites.config import ATLAS, RunConfig, SiteConfig, flat
from sites.report.html_page import Html, Section, code, join, paragraph, tag
from sites.run_reader import Run
from sites.scenario import load_scenario, scenarios, take
from sites.settings import as_command
from sites.shifts import parse_shift, shift_sites


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
    commit = run.stored.environment.get("commit", "")
    changed = "  # and what was changed since, uncommitted" * commit.endswith("+")
    lines = [f"git checkout {commit.rstrip('+')}{changed}"] * bool(commit)
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
    try:
        if shift_sites(own, shift, stored["target"]) != sites:
            return ""
    except ValueError:  # the scenario is another by now
        return ""
    settings = {name: value for name, value in stored.items() if name != "device"} | {"shift": shift}
    try:
        options = as_command(settings, flat(RunConfig(algorithm=ALGORITHMS[algorithm]())), always=named)
    except ValueError:  # a setting of another version
        return ""
    return shlex.join(["python", "run.py", *options])


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
