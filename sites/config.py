"""What describes an institution, a scenario and a run."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args

from tyro.conf import Suppress

from engine.algorithms import ALGORITHMS, Algorithm, FlMrcm
from engine.checkpoint import Keep
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from engine.validation import require

Sequence = Literal["spin_echo", "gradient_echo", "inversion_recovery"]
Lesions = Literal["none", "glioma"]
MaskKind = Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]


ATLAS = "atlas"  # the source of simulated patients


def one_of(choices: object) -> str:
    """The values of a Literal, for a message."""
    return "one of " + ", ".join(map(str, get_args(choices)))


@dataclass(frozen=True, kw_only=True)
class SiteConfig:
    """One simulated institution: its scanner, protocol, patients and undersampling."""

    name: str
    """Unique name; the site's random streams are derived from it."""
    source: str = ATLAS
    """Where its patients come from: atlas, the simulation; other sources are given to `federate` from Python."""
    description: str = ""
    """The scanner and protocol in words, shown in the console."""
    field_strength: float = 3.0
    """Main field, tesla, from 1.5 to 3."""
    sequence: Sequence = "spin_echo"
    """Pulse sequence; its equation is in sites/physics.py."""
    tr: float = 500.0
    """Repetition time TR, ms."""
    te: float = 12.0
    """Echo time TE, ms."""
    ti: float = 0.0
    """Inversion time TI, ms; inversion recovery only, 0 for the others."""
    flip_angle: float = 90.0
    """Flip angle, degrees; gradient echo only, 90 for the others."""
    snr: float = 40.0
    """Mean magnitude inside the head over the noise's standard deviation per real channel, fully sampled."""
    bias_field: float = 0.2
    """Peak-to-peak variation of the receive field over the head, as a fraction, from 0 to below 1."""
    phase: float = 1.0
    """Largest smooth object phase, radians; 0 makes k-space Hermitian."""
    lesions: Lesions = "none"
    """What its patients suffer from: nothing, or one tumour each."""
    mask: MaskKind = "random"
    """Undersampling pattern along columns, as fastMRI names them."""
    acceleration: int = 4
    """Undersampling factor, at least 1 (1: every column is measured)."""
    center_fraction: float = 0.08
    """Fully sampled central columns, as a fraction of all, from 0 to 1."""
    train_patients: int = 8
    """Patients to train on."""
    val_patients: int = 2
    """Patients scored after every round."""
    test_patients: int = 4
    """Patients scored once, at the end."""
    slices: int = 8
    """Axial slices a patient."""
    gpus: float | None = None
    """This site's share of a GPU; None: --gpus-per-site decides."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, that names the site, the field, its value and what it may be."""
        inversion = self.sequence == "inversion_recovery"
        gradient = self.sequence == "gradient_echo"
        gpus = self.gpus is None or self.gpus > 0
        rules = (
            ("name", re.fullmatch(r"\w[\w.-]*", self.name) is not None, "letters, digits, '_', '-' and '.'"),
            ("field_strength", 1.5 <= self.field_strength <= 3, "1.5 to 3 (tesla)"),
            ("sequence", self.sequence in get_args(Sequence), one_of(Sequence)),
            ("tr", 0 < self.tr < math.inf, "above 0 (ms)"),
            ("te", 0 <= self.te < self.tr, "at least 0 and below tr (ms)"),
            ("ti", 0 < self.ti < self.tr if inversion else self.ti == 0, "with inversion_recovery above 0 "
             "and below tr (ms), with another sequence 0"),
            ("flip_angle", 0 < self.flip_angle < 180 if gradient else self.flip_angle == 90, "with "
             "gradient_echo between 0 and 180 (degrees), with another sequence 90"),
            ("snr", 0 < self.snr < math.inf, "above 0"),
            ("bias_field", 0 <= self.bias_field < 1, "at least 0 and below 1"),
            ("phase", 0 <= self.phase < math.inf, "at least 0 (radians)"),
            ("lesions", self.lesions in get_args(Lesions), one_of(Lesions)),
            ("mask", self.mask in get_args(MaskKind), one_of(MaskKind)),
            ("acceleration", self.acceleration >= 1, "at least 1"),
            ("center_fraction", 0 <= self.center_fraction <= 1, "0 to 1"),
            ("train_patients", self.train_patients >= 1, "at least 1"),
            ("val_patients", self.val_patients >= 1, "at least 1"),
            ("test_patients", self.test_patients >= 1, "at least 1"),
            ("slices", self.slices >= 1, "at least 1"),
            ("gpus", gpus, "above 0, or leave it out"),
        )  # fmt: skip
        require(self, rules, where=f"site {self.name!r}: ")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A named federation: what it is about and its institutions, in order."""

    name: str
    summary: str
    sites: tuple[SiteConfig, ...]

    def __post_init__(self) -> None:
        """Raises ValueError if there is no site or if two share a name."""
        if not self.sites:
            raise ValueError(f"scenario {self.name!r} has no sites; give at least one [[site]]")
        names = [site.name for site in self.sites]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"scenario {self.name!r}: two sites are named {twice[0]!r}; names must differ")


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
    sites: int | Auto = "auto"
    """Number of institutions: the scenario's first N, or all and further ones drawn; auto: the scenario's own."""
    target: str = "auto"
    """The institution the others are aligned with; auto: the fourth, or the last of fewer."""
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
            ("shift_every", self.shift_every >= 0, "at least 0"),
            ("checkpoint_every", self.checkpoint_every >= 1, "at least 1"),
            ("keep_checkpoints", self.keep_checkpoints == "all" or self.keep_checkpoints >= 0, "at least 0, or all"),
        )
        require(self, rules)

    @property
    def training(self) -> tuple[str, ...]:
        """Of a resolved run: the institutions whose patients are trained on, in name order."""
        chosen = names(self.train_sites) or [site.name for site in self.institutions]
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
            settings |= asdict(value)  # type: ignore[arg-type]
        elif item.name != "institutions":
            settings[item.name] = value
    return settings


ELSEWHERE = {
    "out", "ray_address", "keep_checkpoints", "checkpoint_every",
    "workers", "sites_per_worker", "gpus_per_site",
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
