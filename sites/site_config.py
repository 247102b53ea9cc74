"""What describes an institution, simulated or of files, and a scenario of them."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from engine.types import Split
from engine.validation import Rule, require

Sequence = Literal["spin_echo", "gradient_echo", "inversion_recovery"]
Lesions = Literal["none", "glioma"]
MaskKind = Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]


ATLAS = "atlas"  # the source of simulated patients
FILES = ("files", "fastmri", "ismrmrd", "nifti", "dicom", "arrays")  # sources of real ones: any reader's, or one's
Use = Literal["both", "train", "test"]
Division = Literal["patients", "slices"]
OF_FILES = ("path", "contrast", "use", "split", "virtual_coils", "fingerprint")
OF_SCANNER = (
    "field_strength", "sequence", "tr", "te", "ti", "flip_angle", "inversion", "snr", "bias_field", "resolution",
    "lesions", "head_size", "atrophy",
)  # fmt: skip
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
    """Receive coils, 1 to 64: of the simulated scanner, or of the k-space that is synthesised from files of images."""
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
    """Flip angle, degrees; 90 with spin echo."""
    inversion: float = 1.0
    """Efficiency of the inversion pulse, from 0 (none) to 1; inversion recovery only, 1 for the others."""
    snr: float = 40.0
    """Mean magnitude inside the head over the noise's standard deviation per real channel, fully sampled."""
    bias_field: float = 0.2
    """Peak-to-peak variation of the receive field over the head, as a fraction, from 0 to below 1."""
    phase: float = 1.0
    """Largest smooth object phase, radians, simulated or put on images; 0 makes k-space Hermitian."""
    resolution: float = 1.0
    """Part of k-space's rows and columns that the scanner acquires, 0.25 to 1; the rest is zero: an interpolated image
    of lower resolution."""
    lesions: Lesions = "none"
    """What its patients suffer from: nothing, or one tumour each."""
    head_size: float = 1.0
    """Scale of its patients' heads, 0.8 to 1.2."""
    atrophy: float = 0.0
    """How far ventricles and sulci have widened with age, from 0 to 1."""
    mask: MaskKind = "random"
    """Undersampling pattern along columns, as fastMRI names them."""
    acceleration: int = 4
    """Undersampling factor, at least 1 (1: every column is measured)."""
    center_fraction: float = 0.08
    """Fully sampled central columns, as a fraction of all, from 0 to 1."""
    shift: str = ""
    """Domain shifts of all the above, DIAL=STRENGTH, several by commas, for example "contrast=0.5,snr=1"; 0 is as
    above, 1 the full shift (`run.py scenarios` lists the dials)."""
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
        spin = self.sequence == "spin_echo"
        gpus = self.gpus is None or self.gpus > 0
        rules = (
            ("name", re.fullmatch(r"\w[\w.-]*", self.name) is not None, "letters, digits, '_', '-' and '.'"),
            ("field_strength", 1.5 <= self.field_strength <= 3, "1.5 to 3 (tesla)"),
            ("sequence", self.sequence in get_args(Sequence), one_of(Sequence)),
            ("tr", 0 < self.tr < math.inf, "above 0 (ms)"),
            ("te", 0 <= self.te < self.tr, "at least 0 and below tr (ms)"),
            ("ti", 0 < self.ti < self.tr if inversion else self.ti == 0, "with inversion_recovery above 0 "
             "and below tr (ms), with another sequence 0"),
            ("flip_angle", self.flip_angle == 90 if spin else 0 < self.flip_angle < 180, "with spin_echo 90 "
             "(degrees), with another sequence between 0 and 180"),
            ("inversion", 0 <= self.inversion <= 1 if inversion else self.inversion == 1, "with "
             "inversion_recovery 0 to 1, with another sequence 1"),
            ("snr", 0 < self.snr < math.inf, "above 0"),
            ("bias_field", 0 <= self.bias_field < 1, "at least 0 and below 1"),
            ("phase", 0 <= self.phase < math.inf, "at least 0 (radians)"),
            ("resolution", 0.25 <= self.resolution <= 1, "0.25 to 1"),
            ("coils", 1 <= self.coils <= 64, "1 to 64"),
            ("head_size", 0.8 <= self.head_size <= 1.2, "0.8 to 1.2"),
            ("atrophy", 0 <= self.atrophy <= 1, "0 to 1"),
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


def stated(site: SiteConfig) -> dict[str, Any]:
    """The fields of a site as a TOML file has them: those of files or those of simulated patients, not both."""
    foreign = () if site.source not in (ATLAS, *FILES) else OF_SCANNER if site.of_files else OF_FILES
    return {name: value for name, value in asdict(site).items() if value is not None and name not in foreign}
