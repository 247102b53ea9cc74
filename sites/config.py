"""What describes a run; with what describes its institutions, from `sites.site_config`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from tyro.conf import Suppress

from engine.algorithms import ALGORITHMS, Algorithm, FlMrcm
from engine.checkpoint import Keep
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from engine.validation import require
from sites.site_config import (
    ATLAS,
    FILES,
    Division,
    Lesions,
    MaskKind,
    Scenario,
    SiteConfig,
    Use,
    stated,
)

__all__ = [
    "ATLAS",
    "FILES",
    "PAPER",
    "Division",
    "Lesions",
    "MaskKind",
    "Preset",
    "RunConfig",
    "Scenario",
    "SiteConfig",
    "Use",
    "difference",
    "first_difference",
    "flat",
    "flat_fields",
    "identity",
    "names",
    "stated",
]

Preset = Literal["demo", "paper"]
Auto = Literal["auto"]

PAPER: dict[str, dict[str, Any]] = {
    "run": {"matrix": 256, "rounds": 50},
    "model": {"channels": 32, "pool_layers": 4, "residual": False, "zero_last": False},
    "train": {
        "optimizer": "rmsprop",
        "lr": 1e-4,
        "lr_decay": 0.1,
        "lr_decay_round": 40,
        "batch_size": 16,
        "local_epochs": 2,
    },
}
"""Guo et al., CVPR 2021, section 4: what `--preset paper` changes. The defaults are `--preset demo`."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One federation: who takes part, what they learn, how, and where the results go."""

    scenario: str = "cvpr21"
    """A named scenario (`run.py scenarios` lists them) or a TOML file of the same form."""
    data: str = ""
    """Folder of real data, in place of a scenario: each of its sub-folders is an institution, named after it."""
    contrast: str = ""
    """Which contrast to take of institutions of files that do not say it themselves: T1, T2, FLAIR, …"""
    split: Division = "patients"
    """Of institutions of files that have one patient only: slices divides that patient's slices, with a warning."""
    site_settings: str = ""
    """Settings of single institutions, in place of their own, separated by commas: SITE.FIELD=VALUE, where SITE is a
    name, target or sources (all others), for example hpks.snr=20,sources.acceleration=8."""
    only_train: str = ""
    """Names, separated by commas, of institutions of files that are trained on and not tested (`use = "train"`)."""
    only_test: str = ""
    """Names, separated by commas, of institutions of files that are tested and never trained on (`use = "test"`)."""
    skip_bad: bool = False
    """Leave out files that cannot be used, and say how many, rather than stop at the first."""
    memory_gb: float = 2.0
    """K-space that each institution of files keeps in memory, GB (1e9 bytes); beyond it HDF5 is read when needed, and
    other formats are refused."""
    sites: int | Auto = "auto"
    """Number of institutions: the scenario's first N, or all and further ones drawn; auto: the scenario's own."""
    target: str = "auto"
    """The institution the others are aligned with; auto: the fourth that both trains and is tested, or the last."""
    shift: str = ""
    """Domain shifts, DIAL=STRENGTH or SITE:DIAL=STRENGTH, several by commas; without a site: of the target. 0 is the
    institution's own distribution, 1 the full shift: contrast=0.5,ixi:snr=1 (`run.py scenarios` lists the dials)."""
    target_trains: bool = True
    """Whether the target also trains (without the adversarial term)."""
    train_sites: str = ""
    """Names, separated by commas, of the only sites that train (all are scored): one name is training at that site
    alone, scored everywhere. Empty: all."""
    fused: bool = False
    """All shards that train in one place, as one site: centralised training, which no hospital would allow."""
    rounds: int = 20
    """Federated rounds."""
    matrix: int = 64
    """Rows and columns of k-space and image."""
    seed: int = 0
    """Seed of every random stream of the run, at least 0."""
    shift_every: int = 1
    """Measure the latent shift to the target every N rounds; 0: never."""
    checkpoint_every: int = 1
    """Write a checkpoint every N rounds (and after the last); a run that stops goes on from the latest."""
    keep_checkpoints: Keep = 2
    """How many checkpoints to keep: a number or all; 0: the last, and none once the run is finished."""
    previews: bool = True
    """Whether one test slice's pictures of every site leave it for the report."""
    out: str = ""
    """Run directory; empty: runs/<UTC time>-<algorithm>-<scenario>. One that holds this run already goes on."""
    ray_address: str = ""
    """Address of a running Ray cluster; empty: a Ray of its own on this machine."""
    algorithm: Algorithm = field(default_factory=FlMrcm)
    train: TrainConfig = field(default_factory=TrainConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    placement: Placement = field(default_factory=Placement)
    institutions: Suppress[tuple[SiteConfig, ...]] = ()
    """The sites themselves, in place of the scenario's (a stored run's config.toml has them)."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that no run can have."""
        smallest = 2 * 2**self.model.pool_layers
        rules = (
            ("sites", self.sites == "auto" or self.sites >= 1, "at least 1, or auto"),
            ("rounds", self.rounds >= 1, "at least 1"),
            ("matrix", self.matrix >= smallest, f"at least {smallest} with {self.model.pool_layers} poolings"),
            ("seed", self.seed >= 0, "at least 0"),
            ("memory_gb", 0 <= self.memory_gb < math.inf, "at least 0 (GB)"),
            ("shift_every", self.shift_every >= 0, "at least 0"),
            ("checkpoint_every", self.checkpoint_every >= 1, "at least 1"),
            ("keep_checkpoints", self.keep_checkpoints == "all" or self.keep_checkpoints >= 0, "at least 0, or all"),
        )
        require(self, rules)

    @property
    def training(self) -> tuple[str, ...]:
        """Of a resolved run: the institutions whose patients are trained on, in name order."""
        chosen = names(self.train_sites) or [site.name for site in self.institutions if site.train_patients]
        return tuple(sorted(name for name in chosen if self.target_trains or name != self.target))

    @property
    def algorithm_name(self) -> str:
        """As `--algorithm` spells it."""
        return next(
            (n for n, kind in ALGORITHMS.items() if kind is type(self.algorithm)), type(self.algorithm).__name__
        )

    @staticmethod
    def preset(name: Preset, **changes: Any) -> RunConfig:
        """The settings of a preset, with further fields of RunConfig changed."""
        if name == "demo":
            return RunConfig(**changes)
        model, train = ModelConfig(**PAPER["model"]), TrainConfig(**PAPER["train"])
        paper: dict[str, Any] = {**PAPER["run"], "model": model, "train": train}
        return RunConfig(**(paper | changes))


def names(text: str) -> list[str]:
    """The names in a text that separates them by commas. Raises ValueError if one stands there twice."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    for name in found:
        if found.count(name) > 1:
            raise ValueError(f"{name!r} stands twice in {text!r}; name it once")
    return found


def flat(config: RunConfig) -> dict[str, Any]:
    """The settings by the names they have on the command line, without the institutions."""
    return {"algorithm": config.algorithm_name, **flat_fields(config)}


def flat_fields(config: Any) -> dict[str, Any]:
    """The fields of a configuration and of those inside it, by name, without the institutions."""
    settings: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            settings |= flat_fields(value)
        elif item.name != "institutions":
            settings[item.name] = value
    return settings


ELSEWHERE = {
    "out", "ray_address", "keep_checkpoints", "checkpoint_every",
    "workers", "sites_per_worker", "gpus_per_site", "memory_gb",
}  # fmt: skip
"""Settings that do not change a run's numbers: a run directory goes on under others."""


def identity(config: RunConfig) -> str:
    """A fingerprint of what decides a run's numbers round by round; its length and whereabouts do not count."""
    settings = {name: value for name, value in flat(config).items() if name not in {*ELSEWHERE, "rounds"}}
    text = json.dumps([settings, [asdict(site) for site in config.institutions]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def difference(stored: RunConfig, asked: RunConfig) -> str:
    """The first setting in which two runs differ, as "name (stored 1, asked 2)"; empty if they are the same run."""
    named = first_difference(flat(stored), flat(asked), ELSEWHERE)
    return named or ("" if stored.institutions == asked.institutions else "the institutions")


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], but: Collection[str]) -> str:
    """The first setting that differs, but for some, as "name (stored 1, asked 2)"; empty if none does."""
    for name in [*old, *(n for n in new if n not in old)]:
        if name not in but and old.get(name) != new.get(name):
            return f"{name} (stored {old.get(name)!r}, asked {new.get(name)!r})"
    return ""
