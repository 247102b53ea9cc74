"""Undersampling masks along k-space columns, equal bit for bit to fastMRI's for the same seed.

Zbontar et al., arXiv 1811.08839 (random, equispaced); Defazio, arXiv 1912.01101 (magic: the offset differs between
the halves of k-space, so that conjugate symmetry does not repeat what was measured). The kinds that end in
`_fraction` space their columns so that with the centre about columns / acceleration are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never, get_args

import numpy as np
import numpy.typing as npt

from sites.config import MaskKind, SiteConfig

Mask = npt.NDArray[np.bool_]


def column_mask(
    kind: MaskKind,
    columns: int,
    acceleration: int,
    center_fraction: float,
    seed: int | Sequence[int],
) -> Mask:
    """Columns measured: bool [columns]; the zero frequency is column columns // 2.

    seed: as `numpy.random.RandomState` takes it; 0 and [0] differ. acceleration 1 measures every column.
    Raises ValueError where no such mask exists (see `num_low_frequencies`).
    """
    low = num_low_frequencies(kind, columns, acceleration, center_fraction)
    if acceleration == 1:
        return np.ones(columns, dtype=bool)
    random = np.random.RandomState(seed)  # the generator fastMRI draws from
    mask = _outer_columns(kind, columns, acceleration, low, random)
    start = (columns - low + 1) // 2
    mask[start : start + low] = True
    return mask


def patient_mask(site: SiteConfig, columns: int, patient: str) -> Mask:
    """The columns measured of all of a patient's slices when scored: seeded by the patient's name, as in fastMRI."""
    return column_mask(site.mask, columns, site.acceleration, site.center_fraction, tuple(map(ord, patient)))


def num_low_frequencies(kind: MaskKind, columns: int, acceleration: int, center_fraction: float) -> int:
    """Number of fully sampled central columns.

    A centre larger than columns / acceleration measures more than asked for, as in fastMRI. Raises ValueError if the
    kind is unknown, acceleration is not in 1 … columns, center_fraction is not in 0 … 1, or the centre leaves an
    equispaced_fraction mask no column to space.
    """
    if kind not in get_args(MaskKind):
        raise ValueError(f"mask {kind!r} is unknown; choose one of {', '.join(get_args(MaskKind))}")
    if not 1 <= acceleration <= columns:
        raise ValueError(f"acceleration {acceleration} is outside 1 to {columns}, the number of columns")
    if not 0 <= center_fraction <= 1:
        raise ValueError(f"center_fraction {center_fraction} is outside 0 to 1")
    low = round(columns * center_fraction)
    if acceleration == 1:
        return low
    if kind == "magic_fraction":
        low = max(min(low, round(columns / acceleration)), 1)
    if kind == "equispaced_fraction" and low * acceleration >= columns:
        raise ValueError(
            f"center_fraction {center_fraction} measures {low} of {columns} columns, which leaves none for "
            f"mask {kind!r} at acceleration {acceleration}; take a fraction below {1 / acceleration:.2g}"
        )
    return low


def _outer_columns(kind: MaskKind, columns: int, acceleration: int, low: int, random: np.random.RandomState) -> Mask:
    """The columns beside the centre; `random` advances as fastMRI's does."""
    match kind:
        case "random":
            return random.uniform(size=columns) < (columns / acceleration - low) / max(columns - low, 1)
        case "equispaced":
            mask = np.zeros(columns, dtype=bool)
            mask[random.randint(acceleration) :: acceleration] = True
            return mask
        case "equispaced_fraction":
            spacing = acceleration * (low - columns) / (low * acceleration - columns)
            mask = np.zeros(columns, dtype=bool)
            positions = np.arange(random.randint(round(spacing)), columns - 1, spacing)
            mask[np.around(positions).astype(int)] = True
            return mask
        case "magic":
            return _magic(columns, acceleration, random.randint(acceleration))
        case "magic_fraction":
            spacing = round(columns / max(round(columns / acceleration) - low, 1))
            return _magic(columns, spacing, random.randint(spacing))
        case _:
            assert_never(kind)


def _magic(columns: int, spacing: int, offset: int) -> Mask:
    """Equispaced columns whose offset from the centre differs between the positive and the negative side."""
    positive = np.zeros((columns + 1) // 2, dtype=bool)
    negative = np.zeros(columns // 2, dtype=bool)
    even = offset % 2 == 0
    positive[offset + 1 if even else offset + 2 :: spacing] = True
    negative[offset + 2 if even else offset - 1 :: spacing] = True
    return np.fft.fftshift(np.concatenate([positive, negative[::-1]]))
