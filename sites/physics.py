"""From tissue to k-space: relaxation times, signal equations, bias field, phase, noise. Pure functions of arrays.

Legend: S slices, C coils, H height, W width. Times in ms, angles in degrees, field strength in tesla, proton
density relative to free water.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sites.config import SiteConfig

Values = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]
Number = float | Values


# ---- tissues ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """pd: proton density relative to free water; t1, t2: relaxation times, ms. Numbers or maps."""

    pd: float
    t1: Number
    t2: float


TISSUES_1_5_T: Mapping[str, Tissue] = {
    "grey": Tissue(pd=0.83, t1=1197.0, t2=95.0),
    "white": Tissue(pd=0.71, t1=646.0, t2=72.0),
    "csf": Tissue(pd=1.0, t1=4300.0, t2=2000.0),
    "tumour": Tissue(pd=0.88, t1=1425.0, t2=172.0),
    "oedema": Tissue(pd=0.84, t1=1180.0, t2=140.0),
}
TISSUES_3_T: Mapping[str, Tissue] = {
    "grey": Tissue(pd=0.83, t1=1607.0, t2=99.0),
    "white": Tissue(pd=0.71, t1=838.0, t2=69.0),
    "csf": Tissue(pd=1.0, t1=4300.0, t2=2000.0),
    "tumour": Tissue(pd=0.88, t1=1900.0, t2=172.0),
    "oedema": Tissue(pd=0.84, t1=1578.0, t2=140.0),
}
"""Grey and white matter: T1 from Wright et al., MAGMA 2008; 21:121-130 (in vivo, MPRAGE, both fields); T2 from Stanisz
et al., Magn Reson Med 2005; 54:507-512 (37 °C, both fields); water content from Whittall et al., Magn Reson Med 1997;
37:34-43. CSF: T1 from Rooney et al., Magn Reson Med 2007; 57:308-318 (independent of the field); T2 of about 2 s from
Spijkerman et al., MAGMA 2018; 31:415-424 (3 T; taken for 1.5 T too). Lesions at 3 T: T2 of solid lower-grade glioma
(172 ms) and T1 of the white matter around glioblastoma (1578 ms) from Badve et al., AJNR 2017; 38:492-499; the lesions'
other values are this project's choice, between grey matter's and CSF's, with T1 at 1.5 T three quarters of that at 3 T,
about grey and white matter's ratio."""


def tissues(field_strength: float) -> dict[str, Tissue]:
    """The table at a field strength from 1.5 to 3 T; between the two, T1 and T2 follow a power law of the field.

    Bottomley et al., Med Phys 1984; 11:425-448: T1 = A B0^b. Raises ValueError outside 1.5 to 3 T.
    """
    if not 1.5 <= field_strength <= 3:
        raise ValueError(f"field_strength {field_strength} T is outside the tissue table; take 1.5 to 3")
    part = float(np.log(field_strength / 1.5) / np.log(2.0))

    def between(low: Number, high: Number) -> float:
        return float(low ** (1 - part) * high**part)

    return {
        name: Tissue(pd=low.pd, t1=between(low.t1, high.t1), t2=between(low.t2, high.t2))
        for (name, low), high in zip(TISSUES_1_5_T.items(), TISSUES_3_T.values(), strict=True)
    }


# ---- signal equations: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences, 2004, chapter 14 -------------


def spin_echo(tissue: Tissue, tr: float, te: float) -> Number:
    """PD (1 - exp(-TR/T1)) exp(-TE/T2): 90° excitation, TE much shorter than TR."""
    return _number(tissue.pd * (1 - np.exp(-tr / tissue.t1)) * np.exp(-te / tissue.t2))


def gradient_echo(tissue: Tissue, tr: float, te: float, flip_angle: float) -> Number:
    """PD sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE/T2), E1 = exp(-TR/T1): the spoiled steady state.

    Ernst and Anderson, Rev Sci Instrum 1966; 37:93-102. T2 stands for T2*: susceptibility is not simulated.
    """
    angle = np.deg2rad(flip_angle)
    e1 = np.exp(-tr / tissue.t1)
    steady = np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1)
    return _number(tissue.pd * steady * np.exp(-te / tissue.t2))


def inversion_recovery(tissue: Tissue, tr: float, te: float, ti: float) -> Number:
    """PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2): signed; FLAIR with TI at the null of CSF."""
    recovered = 1 - 2 * np.exp(-ti / tissue.t1) + np.exp(-tr / tissue.t1)
    return _number(tissue.pd * recovered * np.exp(-te / tissue.t2))


def _number(value: np.float64 | Values) -> Number:
    """A Python float of a scalar, so that a tissue's scalar signal does not widen maps to float64."""
    return float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float32)


def ernst_angle(t1: float, tr: float) -> float:
    """Degrees: the flip angle of the largest spoiled gradient-echo signal, cos(a) = exp(-TR/T1)."""
    return float(np.rad2deg(np.arccos(np.exp(-tr / t1))))


def null_time(t1: float, tr: float) -> float:
    """ms: the inversion time that nulls a tissue, T1 (ln 2 - ln(1 + exp(-TR/T1)))."""
    return float(t1 * (np.log(2) - np.log1p(np.exp(-tr / t1))))


def signal(config: SiteConfig, tissue: Tissue) -> Number:
    """The signed signal of a tissue under an institution's protocol."""
    match config.sequence:
        case "spin_echo":
            return spin_echo(tissue, config.tr, config.te)
        case "gradient_echo":
            return gradient_echo(tissue, config.tr, config.te, config.flip_angle)
        case "inversion_recovery":
            return inversion_recovery(tissue, config.tr, config.te, config.ti)


# ---- what the scanner adds ----------------------------------------------------------------------------------


def receive_field(smooth: Values, head: npt.NDArray[np.bool_], peak_to_peak: float) -> Values:
    """The bias field: mean about 1, varying by peak_to_peak over the head. smooth, head: [S, H, W]."""
    field: Values = np.float32(1) + np.float32(peak_to_peak) * (_unit(smooth, head) - np.float32(0.5))
    return field


def object_phase(smooth: Values, head: npt.NDArray[np.bool_], largest: float) -> Complex:
    """exp(i phi), phi from -largest to largest radians over the head. smooth, head: [S, H, W]."""
    phi = np.float32(largest) * (2 * _unit(smooth, head) - np.float32(1))
    turned: Complex = (np.cos(phi) + 1j * np.sin(phi)).astype(np.complex64)
    return turned


def _unit(smooth: Values, head: npt.NDArray[np.bool_]) -> Values:
    """A field mapped to 0 … 1 over the head; beyond it, where there is no signal, held at the ends."""
    inside = smooth[head]
    low, high = inside.min(), inside.max()
    unit: Values = ((smooth - low) / max(high - low, np.finfo(np.float32).tiny)).clip(0, 1)
    return unit


def noise(shape: tuple[int, ...], sigma: float, random: np.random.Generator) -> Complex:
    """Complex white Gaussian noise of standard deviation sigma per real channel, the same in k-space and image.

    The magnitude of an image that holds it is Rician: Gudbjartsson and Patz, Magn Reson Med 1995; 34:910-914.
    """
    parts = random.standard_normal((*shape, 2), dtype=np.float32)
    white: Complex = np.float32(sigma) * parts.view(np.complex64)[..., 0]
    return white


# ---- Fourier ------------------------------------------------------------------------------------------------


def to_kspace(image: Complex) -> Complex:
    """Centred unitary transform over the last two axes, as `engine.fourier.fft2c`."""
    axes = (-2, -1)
    shifted = np.fft.fft2(np.fft.ifftshift(image, axes=axes), axes=axes, norm="ortho")
    return np.fft.fftshift(shifted, axes=axes).astype(np.complex64)


def crop_kspace(kspace: Complex, matrix: int) -> Complex:
    """The central matrix × matrix samples: the same field of view and intensity at a lower resolution."""
    rows, columns = kspace.shape[-2:]
    top, left = rows // 2 - matrix // 2, columns // 2 - matrix // 2
    scale = np.float32(matrix / np.sqrt(rows * columns))
    cropped: Complex = scale * kspace[..., top : top + matrix, left : left + matrix]
    return cropped
