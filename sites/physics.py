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


# ---- the signal: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences, 2004, chapter 14 ----------------------


def steady_state(
    tissue: Tissue, tr: float, te: float, ti: float = 0.0, flip_angle: float = 90.0, inversion: float = 0.0
) -> Number:
    """PD sin(a) Mz exp(-TE/T2), Mz = [1 - E_TI + (1 - 2e)(E_TI - E1)] / [1 - (1 - 2e) cos(a) E1]: signed.

    E_TI = exp(-TI/T1), E1 = exp(-TR/T1), a the flip angle, e the efficiency of the inversion pulse. It is what the
    cycle (inversion to (1 - 2e) Mz, recovery for TI, excitation by a, recovery for TR - TI) gives back to itself, with
    transverse magnetisation spoiled and TE much shorter than TR. T2 stands for T2*: susceptibility is not simulated.
    e = 0, a = 90: spin echo; e = 0: spoiled gradient echo; e = 1, a = 90: inversion recovery.
    """
    angle = np.deg2rad(flip_angle)
    sine, cosine = (1.0, 0.0) if flip_angle == 90 else (np.sin(angle), np.cos(angle))
    kept = 1 - 2 * inversion
    e_ti, e1 = np.exp(-ti / tissue.t1), np.exp(-tr / tissue.t1)
    longitudinal = sine * (1 - 2 * inversion * e_ti - kept * e1) / (1 - kept * cosine * e1)
    return _number(tissue.pd * longitudinal * np.exp(-te / tissue.t2))


def spin_echo(tissue: Tissue, tr: float, te: float) -> Number:
    """PD (1 - E1) exp(-TE/T2): 90° excitation, no inversion."""
    return steady_state(tissue, tr, te)


def gradient_echo(tissue: Tissue, tr: float, te: float, flip_angle: float) -> Number:
    """PD sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE/T2): Ernst and Anderson, Rev Sci Instrum 1966; 37:93-102."""
    return steady_state(tissue, tr, te, flip_angle=flip_angle)


def inversion_recovery(tissue: Tissue, tr: float, te: float, ti: float) -> Number:
    """PD (1 - 2 E_TI + E1) exp(-TE/T2): a perfect inversion; FLAIR with TI at the null of CSF."""
    return steady_state(tissue, tr, te, ti, inversion=1.0)


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
    inversion = config.inversion if config.sequence == "inversion_recovery" else 0.0
    return steady_state(tissue, config.tr, config.te, config.ti, config.flip_angle, inversion)


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


def low_resolution(kspace: Complex, part: float) -> Complex:
    """Zero but for the central `part` of rows and columns: what a scanner that acquires no more interpolates from."""
    if part == 1:
        return kspace
    kept = np.zeros_like(kspace)
    rows, columns = (
        slice(size // 2 - acquired // 2, size // 2 - acquired // 2 + acquired)
        for size, acquired in ((size, max(1, round(part * size))) for size in kspace.shape[-2:])
    )
    kept[..., rows, columns] = kspace[..., rows, columns]
    return kept
