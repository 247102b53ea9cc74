"""A branch of a shift session: its settings by round, its rounds, and what of it lies on disk."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from engine import checkpoint
from engine.checkpoint import write_atomically
from engine.outcomes import Snapshot
from engine.records import report_to_json
from engine.types import RoundReport
from sites.config import RunConfig, SiteConfig, flat, stated
from sites.overrides import TARGET
from sites.settings import as_command

CHECKPOINT = "checkpoint"
ROUNDS = "rounds.jsonl"
SCENARIO = "scenario.toml"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One line of rounds. A branch of a branch has the parent's rounds up to the one it began at.

    parent: empty of a scenario's first branch; began: rounds that are the parent's
    history: how many rounds were done, and what the settings became then; ascending, the first at 0
    reports: of all rounds, the parent's too; weights: sha256 of the global weights before the first and after each
    """

    name: str
    parent: str = ""
    began: int = 0
    history: tuple[tuple[int, RunConfig], ...]
    reports: tuple[RoundReport, ...] = ()
    weights: tuple[str, ...]

    @property
    def config(self) -> RunConfig:
        """The settings of the next round."""
        return self.history[-1][1]

    @property
    def round(self) -> int:
        """Rounds done."""
        return len(self.reports)

    def site(self, name: str) -> SiteConfig:
        """An institution as it is now. Raises ValueError if there is none of that name."""
        return site_of(self.config, name)

    def changed(self, config: RunConfig) -> Branch:
        """With other settings from the next round on."""
        return replace(self, history=(*self.history, (self.round, config)))

    def grown(self, report: RoundReport, weights: str) -> Branch:
        """One round on."""
        return replace(self, reports=(*self.reports, report), weights=(*self.weights, weights))

    def settings(self, round: int) -> RunConfig:
        """Those that the round after `round` had, or will have."""
        return next(config for since, config in reversed(self.history) if since <= round)

    def branched(self, name: str, round: int) -> Branch:
        """A new branch that goes on from `round` as this one did."""
        return Branch(
            name=name,
            parent=self.name,
            began=round,
            history=tuple((since, config) for since, config in self.history if since <= round),
            reports=self.reports[:round],
            weights=self.weights[: round + 1],
        )


def site_of(config: RunConfig, name: str) -> SiteConfig:
    """An institution of a resolved run, also by "target". Raises ValueError if there is none of that name."""
    sites = {site.name: site for site in config.institutions}
    called = config.target if name == TARGET and name not in sites else name
    if called not in sites:
        raise ValueError(f"there is no site {name!r}; choose one of {', '.join(sites)}")
    return sites[called]


def with_site(config: RunConfig, site: SiteConfig) -> RunConfig:
    """With one institution in place of that of its name."""
    return replace(config, institutions=tuple(site if s.name == site.name else s for s in config.institutions))


Difference = tuple[str, Any, Any]
"""A setting's name, and its two values."""


def differences(first: RunConfig, second: RunConfig) -> list[Difference]:
    """Every setting that differs, of the run and then of each institution.

    An institution that only one of them has counts as one setting, "absent" at the other.
    """
    old, new = flat(first), flat(second)
    found = [
        (name, old.get(name, "–"), new.get(name, "–")) for name in {**old, **new} if old.get(name) != new.get(name)
    ]
    sites = {site.name: site for site in first.institutions}, {site.name: site for site in second.institutions}
    for name in {**sites[0], **sites[1]}:
        a, b = sites[0].get(name), sites[1].get(name)
        if a is None or b is None:
            found.append((name, "absent" if a is None else "there", "absent" if b is None else "there"))
        else:
            found += [
                (f"{name} {item.name}", getattr(a, item.name), getattr(b, item.name))
                for item in fields(SiteConfig)
                if getattr(a, item.name) != getattr(b, item.name)
            ]
    return found


# ---- on disk ------------------------------------------------------------------------------------------------


class Folders:
    """`branches/NAME/` of a session: `scenario.toml` as it is now, `rounds.jsonl`, and `checkpoint/` with every round.

    A branch's own rounds have checkpoints in its own folder, those before it began in its parent's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, branch: Branch) -> Path:
        """Where a branch lies."""
        return self._path / branch.name

    def begin(self, branch: Branch) -> None:
        """A new branch: the rounds it has, and its scenario."""
        folder = self.of(branch)
        folder.mkdir(parents=True)
        lines = (json.dumps(report_to_json(report), allow_nan=False) + "\n" for report in branch.reports)
        write_atomically(folder / ROUNDS, "".join(lines).encode())
        self.describe(branch)

    def describe(self, branch: Branch) -> None:
        """The scenario as it is now."""
        write_atomically(self.of(branch) / SCENARIO, scenario_toml(branch).encode())

    def append(self, branch: Branch, snapshot: Snapshot) -> None:
        """The branch's last round, and what it can go on from."""
        checkpoint.save(self.of(branch) / CHECKPOINT, snapshot, keep="all")
        with (self.of(branch) / ROUNDS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(report_to_json(branch.reports[-1]), allow_nan=False) + "\n")

    def snapshot(self, branches: Mapping[str, Branch], branch: Branch, round: int) -> Snapshot | None:
        """What a branch can go on from after a round; None: the beginning. Raises ValueError if it is damaged."""
        if round == 0:
            return None
        while round <= branch.began:
            branch = branches[branch.parent]
        return checkpoint.load(self.of(branch) / CHECKPOINT / f"round-{round:05}.safetensors")


def scenario_toml(branch: Branch) -> str:
    """The institutions as they are now, as a scenario file; its first lines say what trains it as it is set now."""
    config = branch.config
    options = shlex.join(_options(config))
    summary = f"{Path(config.scenario).stem} as run.py shift left it: target {config.target}"
    turned = [f"{site.name} {site.shift}" for site in config.institutions if site.shift]
    summary += "".join(f", {words}" for words in turned)
    tables = {"name": branch.name, "summary": summary, "site": [stated(site) for site in config.institutions]}
    return f"# python run.py --scenario THIS_FILE {options}\n{tomli_w.dumps(tables)}"


def _options(config: RunConfig) -> list[str]:
    """The settings that are not their defaults, as `run.py` takes them, but for the scenario and the rounds."""
    here = {"scenario", "data", "sites", "rounds", "device"}
    settings = {name: value for name, value in flat(config).items() if name not in here}
    standard = flat(RunConfig(algorithm=type(config.algorithm)()))
    return as_command(settings, standard, always=("algorithm", "target"))
