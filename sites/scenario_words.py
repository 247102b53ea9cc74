"""Scenarios, protocols and dials in words: what `run.py scenarios` prints. A line that is not indented is a heading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace

from sites.config import RunConfig, Scenario, SiteConfig
from sites.dials import DIALS, OF_MASKS
from sites.scenario import load_scenario, scenario_file, scenarios
from sites.shifts import parse_shift

SHIFT = (
    ("run.py --shift contrast=0.5", "half the way, at the target"),
    ("run.py --shift contrast=0.5,ixi:snr=1", "and another, at the site ixi"),
    ("run.py --scenario contrast --shift contrast=0.2", "set anew; 0 is no shift"),
)


def overview(width: int) -> Iterator[str]:
    """All scenarios with their sites, then the dials and how they are turned; lines of at most `width` columns."""
    for name in (RunConfig.scenario, *(name for name in scenarios() if name != RunConfig.scenario)):
        scenario = load_scenario(name)
        yield f"{name} (the default)" if name == RunConfig.scenario else name
        yield from _paragraph(scenario.summary, width)
        yield from _sites(scenario, width)
        yield ""
    yield "To use one"
    yield from _paragraph(
        "run.py --scenario NAME trains in it, run.py scenarios NAME explains it. Each is a TOML file to copy and "
        "change; --scenario takes yours too: mine.toml. They are in",
        width,
    )
    yield f"  {scenario_file(RunConfig.scenario).parent}"
    yield ""
    yield "Dials of domain shift"
    yield from _paragraph(
        "A site is an acquisition model, so its shift has a strength: 0 is the site's own distribution, unchanged, 1 "
        "the full shift. The patients are the same at any strength. Say --shift DIAL=STRENGTH, of the target, or "
        'SITE:DIAL=STRENGTH, several by commas; or, in a [[site]] table, shift = "DIAL=STRENGTH". Of measured images '
        f"only {' and '.join(OF_MASKS)} can be turned.",
        width,
    )
    yield from (f"  {command:<49}{meaning}" for command, meaning in SHIFT)
    yield ""
    longest = max(map(len, DIALS))
    for dial in DIALS.values():
        yield from _paragraph(dial.summary, width, f"  {dial.name:<{longest}} {'*' if dial.by_patient else ' '} ")
    yield from _paragraph("the strength is the part of the patients that are shifted, each in full", width, "  * ")


def explained(name: str, width: int) -> Iterator[str]:
    """One scenario: its sites' protocols, what their shifts change, the file to copy. Raises ValueError if unknown."""
    scenario = load_scenario(name)
    yield scenario.name
    yield from _paragraph(scenario.summary, width)
    told: dict[SiteConfig, str] = {}
    for names, site in _alike(scenario):
        yield ""
        yield from _paragraph(", ".join(names), width)
        words = [f"as {told[_own(site)]}, shifted"] if _own(site) in told else protocol(site)
        told.setdefault(_own(site), names[0])
        for line in words:
            yield from _paragraph(line, width, "    ")
        yield from _changes(site, width)
    yield ""
    yield f"  use it    run.py --scenario {name}"
    if turned := next((site for site in scenario.sites if site.shift), None):
        yield f"  turn it   run.py --scenario {name} --shift {turned.name}:{next(iter(parse_shift(turned.shift)))}=0.2"
    yield f"  copy it   {name if name.endswith('.toml') else scenario_file(name)}"


def protocol(site: SiteConfig) -> list[str]:
    """A site's own distribution, a line each: images, undersampling, patients."""
    masks = (
        f"{site.mask} columns ×{site.acceleration}, the central {site.center_fraction:g} of all fully sampled"
        if site.acceleration > 1
        else "every column measured"
    )
    if site.of_files:
        return [f"files in {site.path}{f', {site.contrast}' if site.contrast else ''}", masks]
    times = [f"TR {site.tr:g} ms", f"TE {site.te:g} ms"]
    if site.sequence == "inversion_recovery":
        times += [f"TI {site.ti:g} ms", *([f"inversion {site.inversion:g}"] if site.inversion < 1 else [])]
    if site.flip_angle != 90:
        times.append(f"flip angle {site.flip_angle:g}°")
    scanner = [f"SNR {site.snr:g}", f"bias field {site.bias_field:g}", f"phase {site.phase:g} rad"]
    if site.coils > 1:
        scanner.append(f"{site.coils} coils")
    if site.resolution < 1:
        scanner.append(f"resolution {site.resolution:g}")
    heads: list[str] = ["healthy" if site.lesions == "none" else site.lesions]
    if site.head_size != 1:
        heads.append(f"heads of {site.head_size:g}")
    if site.atrophy:
        heads.append(f"atrophy {site.atrophy:g}")
    counts = f"{site.train_patients} to train on, {site.val_patients} to validate, {site.test_patients} to test"
    return [
        f"{site.field_strength:g} T {site.sequence.replace('_', ' ')}, {', '.join(times)}; {', '.join(scanner)}",
        masks,
        f"{', '.join(heads)}; {counts} ({site.slices} slices each)",
    ]


def _changes(site: SiteConfig, width: int) -> Iterator[str]:
    """What each dial of a site's shift changes, at its strength and in full."""
    turned = replace(site, shift="")
    for name, strength in parse_shift(site.shift).items():
        dial = DIALS[name]
        whom = f", in {strength:.0%} of the patients" if dial.by_patient and strength < 1 else ""
        yield from _paragraph(f"{dial.summary}{whom}", width, f"    {name}={strength:g}  ")
        if strength < 1 and not dial.by_patient:
            yield from _paragraph(_difference(turned, dial.turn(turned, strength)), width, f"      at {strength:g}: ")
        yield from _paragraph(_difference(turned, dial.turn(turned, 1.0)), width, "      at 1: ")
        turned = turned if dial.by_patient else dial.turn(turned, strength)


def _difference(own: SiteConfig, other: SiteConfig) -> str:
    """The fields that differ, as "tr 500 → 6000"."""
    before, after = asdict(own), asdict(other)
    changed = (
        f"{name} {_value(before[name])} → {_value(after[name])}" for name in before if before[name] != after[name]
    )
    return ", ".join(changed) or "nothing"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _alike(scenario: Scenario) -> Iterator[tuple[list[str], SiteConfig]]:
    """The scenario's sites, those that differ in their name alone together, in order of the first of each."""
    groups: dict[SiteConfig, tuple[list[str], SiteConfig]] = {}
    for site in scenario.sites:
        groups.setdefault(replace(site, name="any"), ([], site))[0].append(site.name)
    yield from groups.values()


def _sites(scenario: Scenario, width: int) -> Iterator[str]:
    """A line a site, or one for several that are alike."""
    groups = list(_alike(scenario))
    longest = max(len(", ".join(names)) for names, _ in groups)
    seen: set[SiteConfig] = set()
    for names, site in groups:
        words = f"{site.description or protocol(site)[0]}; {site.mask} ×{site.acceleration}"
        told = "the same" if _own(site) in seen else words
        seen.add(_own(site))
        shift = f", shift {site.shift}" if site.shift else ""
        yield from _paragraph(told + shift, width, f"  {', '.join(names):<{longest}}  ")


def _own(site: SiteConfig) -> SiteConfig:
    """A site's own distribution, whoever it is."""
    return replace(site, name="any", shift="")


def _paragraph(text: str, width: int, first: str = "  ") -> list[str]:
    """Wrapped, after `first`, its further lines below the first's text."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
