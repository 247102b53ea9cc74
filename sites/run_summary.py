"""A run in words and numbers: what the console is told at the start, and summary.json at the end."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.console import Header
from engine.outcomes import Facts, Outcome
from engine.records import speed_to_json
from engine.types import UNSCORED, Role, RoundReport, SiteInfo, SiteScores
from engine.weights import sha256
from sites.config import ATLAS, RunConfig, SiteConfig
from sites.institutions import sub_folders
from sites.launch import Placed
from sites.run_directory import RunDirectory

NOTE = "simulated institutions: real anatomy (ICBM152), simulated scanners; no patient data"


def role(config: RunConfig, site: str) -> Role:
    """What a site is in a resolved run."""
    trains = site in config.training
    if site == config.target:
        return "both" if trains else "target"
    return "source" if trains else "test"


def note(institutions: Sequence[SiteConfig]) -> str:
    """What kind of institutions these are."""
    real = [f"{site.name} ({site.source})" for site in institutions if site.source != ATLAS]
    if len(real) == len(institutions):
        return f"institutions with data of their own: {', '.join(real)}"
    return f"{NOTE}; but for {', '.join(real)}" if real else NOTE


def warnings(config: RunConfig, notes: Mapping[str, Sequence[str]]) -> list[str]:
    """What every report must say of the data: a line each, which begins with the sites that it is about."""
    about: dict[str, list[str]] = {}
    for site in config.institutions:
        for text in notes.get(site.name, ()):
            about.setdefault(text, []).append(site.name)
    told = [f"{', '.join(names)}: {text}" for text, names in about.items()]
    left_out = _left_out(config)
    return told + [f"left out, for nothing in it can be used: {', '.join(left_out)}"] * bool(left_out)


def _left_out(config: RunConfig) -> list[str]:
    """Sub-folders of --data that became no institution, though none was left out by number."""
    if not (config.data and config.skip_bad):
        return []
    paths = {Path(site.path) for site in config.institutions}
    return [path.name for path in sub_folders(Path(config.data)) if path not in paths]


def header(config: RunConfig, facts: Facts, run: RunDirectory, placed: Placed) -> Header:
    """What the console says of a run as a whole."""
    return Header(
        scenario=config.scenario,
        note=note(config.institutions),
        warnings=tuple(warnings(config, facts.notes)),
        algorithm=config.algorithm_name,
        target=config.target,
        devices=placed.words,
        out=str(run.path),
        rounds=config.rounds,
    )


def site_infos(config: RunConfig, facts: Facts, placed: Placed) -> list[SiteInfo]:
    """What the console says of each site, in the scenario's order."""
    return [
        SiteInfo(
            name=site.name,
            role=role(config, site.name),
            description=_shift(site) + (site.description or _words(site)),
            train_slices=facts.train_slices[site.name],
            share=placed.share(site.name),
            zero_filled=facts.zero_filled.get(site.name, UNSCORED),
        )
        for site in config.institutions
    ]


def _shift(site: SiteConfig) -> str:
    return f"{site.shift} of " if site.shift else ""


def _words(site: SiteConfig) -> str:
    """A site that nobody described."""
    if site.of_files:
        alone = ", by slices" if site.split == "slices" else ""
        return f"{site.contrast or 'files'} of {Path(site.path).name}{alone}"
    return f"{site.field_strength:g} T {site.sequence.replace('_', ' ')}"


def summary(
    config: RunConfig, facts: Facts, outcome: Outcome, run: RunDirectory, clock: Sequence[float]
) -> dict[str, Any]:
    """summary.json. clock: seconds at the first round's start, at each round's end of this session, and at the end."""
    assert run.snapshot is not None
    rounds = [sum(report.seconds.values()) for report in run.reports]
    return {
        "algorithm": config.algorithm_name,
        "scenario": config.scenario,
        "target": config.target,
        "seed": config.seed,
        "rounds": config.rounds,
        "weights_sha256": sha256(run.snapshot.server.weights),
        "seconds": {
            "startup": round(clock[0], 3),
            "first_round": round(clock[1], 3) if len(clock) > 2 else None,
            "median_round": round(statistics.median(rounds), 3),
            "total": round(clock[-1], 3),
        },
        "sites": [
            {
                "name": site.name,
                "role": role(config, site.name),
                "train_slices": facts.train_slices[site.name],
                **_test_scores(outcome, site.name),
                "zero_filled_validation": asdict(facts.zero_filled.get(site.name, UNSCORED)),
                "speed": _median_speed(run.reports, site.name),
            }
            for site in config.institutions
        ],
        "ledger": dict(outcome.ledger),
        "warnings": warnings(config, facts.notes),
    }


def _test_scores(outcome: Outcome, site: str) -> dict[str, Any]:
    """Of a site's test patients, in the mean and one by one; NaN of a site without."""
    without = SiteScores(site=site, scores=UNSCORED, per_volume=())
    test, zero_filled = outcome.test.get(site, without), outcome.zero_filled.get(site, without)
    return {
        "test": asdict(test.scores),
        "zero_filled": asdict(zero_filled.scores),
        "test_patients": [
            {"test": asdict(one), "zero_filled": asdict(other)}
            for one, other in zip(test.per_volume, zero_filled.per_volume, strict=True)
        ],
    }


def _median_speed(reports: Sequence[RoundReport], site: str) -> dict[str, Any]:
    """Slices a second, of all rounds; nothing of a site that did not train."""
    speeds = [speed_to_json(report.speed[site]) for report in reports if site in report.speed]
    return {name: round(statistics.median(each[name] for each in speeds), 1) for name in (speeds[0] if speeds else ())}
