"""A run in words and numbers: what the console is told at the start, and summary.json at the end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from engine.console import Header
from engine.driver import Facts, Outcome
from engine.types import Role, SiteInfo
from engine.weights import sha256
from sites.config import ATLAS, RunConfig
from sites.launch import Placed
from sites.run_directory import RunDirectory

NOTE = "simulated institutions: real anatomy (ICBM152), simulated scanners; no patient data"


def role(config: RunConfig, site: str) -> Role:
    """What a site is in a resolved run."""
    trains = site in config.training
    if site == config.target:
        return "both" if trains else "target"
    return "source" if trains else "test"


def header(config: RunConfig, run: RunDirectory, placed: Placed) -> Header:
    """What the console says of a run as a whole."""
    real = [f"{site.name} ({site.source})" for site in config.institutions if site.source != ATLAS]
    return Header(
        scenario=config.scenario,
        note=f"{NOTE}; but for {', '.join(real)}" if real else NOTE,
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
            description=site.description or f"{site.field_strength:g} T {site.sequence.replace('_', ' ')}",
            train_slices=facts.train_slices[site.name],
            share=placed.share(site.name),
            zero_filled=facts.zero_filled[site.name],
        )
        for site in config.institutions
    ]


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
                "test": asdict(outcome.test[site.name].scores),
                "zero_filled": asdict(outcome.zero_filled[site.name].scores),
                "zero_filled_validation": asdict(facts.zero_filled[site.name]),
                "test_patients": [
                    {"test": asdict(test), "zero_filled": asdict(zero_filled)}
                    for test, zero_filled in zip(
                        outcome.test[site.name].per_volume, outcome.zero_filled[site.name].per_volume, strict=True
                    )
                ],
            }
            for site in config.institutions
        ],
        "ledger": dict(outcome.ledger),
    }
