"""What describes an institution, a scenario and a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sequence = Literal["spin_echo", "gradient_echo", "inversion_recovery"]
Lesions = Literal["none", "glioma"]
MaskKind = Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]


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
    """Inversion time TI, ms; inversion recovery only."""
    flip_angle: float = 90.0
    """Flip angle, degrees; gradient echo only."""
    snr: float = 40.0
    """Mean magnitude inside the head over the noise's standard deviation per real channel, fully sampled image."""
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


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A named federation: what it is about and its institutions, in order."""

    name: str
    summary: str
    sites: tuple[SiteConfig, ...]
