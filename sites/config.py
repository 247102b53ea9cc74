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
from engine.types import Split
from engine.validation import Rule, require

Sequence = Literal["spin_echo", "gradient_echo", "inversion_recovery"]
Lesions = Literal["none", "glioma"]
MaskKind = Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]


ATLAS = "atlas"  # the source of simulated patients
FILES = ("files", "fastmri", "ismrmrd", "nifti", "dicom", "arrays")  # sources of real ones: any reader's, or one's
Use = Literal["both", "train", "test"]
Division = Literal["patients", "slices"]
OF_FILES = ("path", "contrast", "use", "split", "coils", "virtual_coils", "fingerprint")
OF_SCANNER = ("field_strength", "sequence", "tr", "te", "ti", "flip_angle", "snr", "bias_field", "lesions")
UNSET = -1  # of a number that means another thing for simulated patients than for files
SIMULATED = {"train_patients": 8, "val_patients": 2, "test_patients": 4, "slices": 8}


def one_of(choices: object) -> str:
    """The values of a Literal, for a message."""
    return "one of " + ", ".join(map(str, get_args(choices)))


@dataclass(frozen=True, kw_only=True)
class SiteConfig:
    """One institution: its undersampling; its scanner, protocol and patients if simulated, else where its files are."""

    name: str
    """Unique name; the site's random streams are derived from it."""
    source: str = ATLAS
    """Where its patients come from: atlas, the simulation; files, below `path`, of any format that is read; or of one:
    fastmri, ismrmrd, nifti, dicom, arrays. Other sources are given to `federate` from Python."""
    path: str = ""
    """Files only: their folder, or the one file. In a TOML file relative to that file's own folder."""
    contrast: str = ""
    """Files only: T1, T1c, T2, PD, FLAIR, … ; needed where there are several."""
    use: Use = "both"
    """Files only: train: nothing but trained on, and not scored; test: never trained on; both: divided by patient."""
    split: Division = "patients"
    """Files only: slices divides the slices of a one-patient institution, which every report then warns of."""
    coils: int = 1
    """Files that are images only: coils of the k-space that is synthesised from them."""
    virtual_coils: int = 0
    """Files only: compress each patient's coils to so many; 0: keep them all."""
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
    """Largest smooth object phase, radians, simulated or put on images; 0 makes k-space Hermitian."""
    lesions: Lesions = "none"
    """What its patients suffer from: nothing, or one tumour each."""
    mask: MaskKind = "random"
    """Undersampling pattern along columns, as fastMRI names them."""
    acceleration: int = 4
    """Undersampling factor, at least 1 (1: every column is measured)."""
    center_fraction: float = 0.08
    """Fully sampled central columns, as a fraction of all, from 0 to 1."""
    train_patients: int = UNSET
    """Patients to train on; left out: 8 simulated ones. Of files, if all three are left out or 0: as folders named
    train, val and test say, else 70 %, 15 % and 15 % of the patients, at least one for each of the last two."""
    val_patients: int = UNSET
    """Patients scored after every round; left out: 2 simulated ones."""
    test_patients: int = UNSET
    """Patients scored once, at the end; left out: 4 simulated ones."""
    slices: int = UNSET
    """Simulated only: axial slices a patient; left out: 8. (In a stored run the mean of a patient's files.)"""
    fingerprint: str = ""
    """Of the files, written by a run when it has divided them: other files are then refused. Leave it out."""
    gpus: float | None = None
    """This site's share of a GPU; None: --gpus-per-site decides."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, that names the site, the field, its value and what it may be."""
        for name, simulated in SIMULATED.items():
            if getattr(self, name) == UNSET:
                object.__setattr__(self, name, 0 if self.of_files else simulated)
        require(self, self._file_rules() if self.of_files else self._other_rules(), where=f"site {self.name!r}: ")
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
            ("gpus", gpus, "above 0, or leave it out"),
        )  # fmt: skip
        require(self, rules, where=f"site {self.name!r}: ")

    @property
    def of_files(self) -> bool:
        """Whether its patients are read from files."""
        return self.source in FILES

    @property
    def counts(self) -> dict[Split, int]:
        """Patients by split."""
        return {"train": self.train_patients, "val": self.val_patients, "test": self.test_patients}

    def _other_rules(self) -> list[Rule]:
        """Of patients that are simulated, or come from a source in Python."""
        mend = f'{ATLAS!r}\'s default, it is for files (source = "files")'
        return [
            *((name, getattr(self, name) == _default(name), f"{_default(name)!r}, {mend}") for name in OF_FILES),
            *((name, getattr(self, name) >= 1, "at least 1") for name in SIMULATED),
        ]

    def _file_rules(self) -> list[Rule]:
        mend = f"no such setting: it is for simulated patients (source = {ATLAS!r})"
        counts = self.counts
        return [
            ("path", bool(self.path), "the folder of its files"),
            *((name, getattr(self, name) == _default(name), mend) for name in OF_SCANNER),
            ("use", self.use in get_args(Use), one_of(Use)),
            ("split", self.split in get_args(Division), one_of(Division)),
            ("split", self.split == "patients" or self.use == "both", "patients, unless use is both"),
            ("coils", 1 <= self.coils <= 64, "1 to 64"),
            ("virtual_coils", self.virtual_coils >= 0, "at least 0"),
            *((f"{split}_patients", count >= 0, "at least 0 (0 for all three: automatic)")
              for split, count in counts.items()),
            ("train_patients", self.use != "test" or counts["train"] == 0, "0 with use = \"test\""),
            ("test_patients", self.use != "train" or counts["test"] == 0, "0 with use = \"train\""),
            ("slices", self.slices == 0 or bool(self.fingerprint), f"no number, files decide: {mend}"),
        ]  # fmt: skip


def _default(name: str) -> Any:
    return SiteConfig.__dataclass_fields__[name].default


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
    data: str = ""
    """Folder of real data, in place of a scenario: each of its sub-folders is an institution, named after it."""
    contrast: str = ""
    """Which contrast to take of institutions of files that do not say it themselves: T1, T2, FLAIR, …"""
    split: Division = "patients"
    """Of institutions of files that have one patient only: slices divides that patient's slices, with a warning."""
    only_train: str = ""
    """Names, separated by commas, of institutions of files that are trained on and not tested (`use = "train"`)."""
    only_test: str = ""
    """Names, separated by commas, of institutions of files that are tested and never trained on (`use = "test"`)."""
    skip_bad: bool = False
    """Leave out files that cannot be used, and say how many, rather than stop at the first."""
    memory_gb: float = 2.0
    """K-space that each institution of files keeps in memory, GB (1e9 bytes); what is beyond is read when needed."""
    sites: int | Auto = "auto"
    """Number of institutions: the scenario's first N, or all and further ones drawn; auto: the scenario's own."""
    target: str = "auto"
    """The institution the others are aligned with; auto: the fourth that both trains and is tested, or the last."""
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
    """The names in a text that separates them by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def stated(site: SiteConfig) -> dict[str, Any]:
    """The fields of a site as a TOML file has them: those of files or those of simulated patients, not both."""
    foreign = () if site.source not in (ATLAS, *FILES) else OF_SCANNER if site.of_files else OF_FILES
    return {name: value for name, value in asdict(site).items() if value is not None and name not in foreign}


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
