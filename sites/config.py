"""What describes an institution, a scenario and a run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

Sequence = Literal["spin_echo", "gradient_echo", "inversion_recovery"]
Lesions = Literal["none", "glioma"]
MaskKind = Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]


def one_of(choices: object) -> str:
    """The values of a Literal, for a message."""
    return "one of " + ", ".join(map(str, get_args(choices)))


@dataclass(frozen=True, kw_only=True)
class SiteConfig:
    """One simulated institution: its scanner, protocol, patients and undersampling."""

    name: str
    """Unique name; the site's random streams are derived from it."""
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
        checks = (
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
        for field, valid, allowed in checks:
            if not valid:
                raise ValueError(f"site {self.name!r}: {field} is {getattr(self, field)!r}; take {allowed}")


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
