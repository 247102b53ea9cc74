"""What of k-space was measured, to judge by its zeros, and whether any of it was.

What was not measured is exactly zero. Legend: S slices, C coils, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sites.sources.base import KSpace
from sites.sources.recordings import Image, Recording

Measured = npt.NDArray[np.bool_]

STRAY = 0.01  # at most this part of what was measured is 0 by chance
UNEVEN = 1 / 16  # of a side: by how much the zeros around padded k-space may differ left and right
HERMITIAN = 1e-2  # of its norm: what an image that a scanner measured has at least of phase and noise


UNDERSAMPLED = "undersampled k-space without a reference cannot be trained or scored on; `run.py reconstruct` takes it"
NO_SIGNAL = "of k-space is zero throughout; take it out of the file, or --skip-bad leaves it out"
TOO_GOOD = "which makes results too good: Shimron et al., PNAS 2022, arXiv 2109.08237"
SYNTHESISED = f"k-space was synthesised from images, {TOO_GOOD}"
ZERO_PHASE = f"k-space has no phase, as that of magnitude images, {TOO_GOOD}"


def checked(recording: Recording, read: KSpace | Image, skip_bad: bool) -> tuple[Measured, bool]:
    """What was read of a recording, before it is trained on: which slices have a signal [S], and whether its k-space
    lacks the phase of a measurement (see `synthesised`).

    skip_bad: slices without a signal may be there. Raises ValueError, in one line that names the file, if k-space is
    undersampled, or a slice has no signal; all of them never may.
    """
    path = recording.paths[0]
    filled: Measured = np.asarray(read.reshape(len(read), -1).any(axis=1))
    if not filled.any():
        raise ValueError(f"{path}: there is no signal in any slice; give another file")
    if recording.kind == "image":
        return filled, False
    kspace = cast(KSpace, read)
    if not is_complete(samples(kspace)):
        raise ValueError(f"{path}: {UNDERSAMPLED}")
    if not filled.all() and not skip_bad:
        raise ValueError(f"{path}: slice {int(np.argmin(filled))} (from 0) {NO_SIGNAL}")
    return filled, synthesised(kspace)


def samples(kspace: KSpace) -> Measured:
    """Where any coil has a signal: bool [S, H, W]."""
    return np.stack([(part != 0).any(axis=0) for part in kspace])


def pattern(samples: Measured) -> Measured:
    """[S, H, W], where any coil has a signal -> columns [S, W] if these explain it, else the samples as they are.

    An empty slice counts as measured like the first that is not; there must be one.
    """
    filled = samples.any(axis=(1, 2))
    assert filled.any()
    samples = samples.copy()
    samples[~filled] = samples[np.argmax(filled)]
    columns: Measured = np.logical_or.reduce(samples, axis=1)
    covered = int(columns.sum()) * samples.shape[1]
    return columns if covered - int(samples.sum()) <= STRAY * covered else samples


def padded(pattern: Measured) -> bool:
    """Whether it is k-space of a smaller matrix, full and in the centre, with zeros around: no undersampling.

    fastMRI's columns are padded so. At least half of a side was measured: less is a low-resolution scan.
    """
    if pattern.all() or (pattern != pattern[0]).any():
        return False
    box = []
    for index, side in zip(np.nonzero(pattern[0]), pattern[0].shape, strict=True):
        first, last = int(index.min()), int(index.max()) + 1
        if 2 * (last - first) < side or abs(first - (side - last)) > UNEVEN * side:
            return False
        box.append(slice(first, last))
    return bool(pattern[0][tuple(box)].all())


def is_complete(samples: Measured) -> bool:
    """Whether k-space is fully sampled, zero-padded or not. Without any signal there is nothing to find missing."""
    if not samples.any():
        return True
    found = pattern(samples)
    return bool(found.all()) or padded(found)


def seems_complete(slices: int, coils: int, read: Callable[[int, int], npt.NDArray[Any]]) -> bool:
    """`is_complete`, judged by three slices with a signal, of each the first coil that has one.

    read: slice, coil -> [H, W]. All samples are judged when they are read (see `checked`).
    """
    thirds = dict.fromkeys((slices // 4, slices // 2, 3 * slices // 4))
    found: list[Measured] = []
    for index in dict.fromkeys((*thirds, *range(slices))):
        with np.errstate(invalid="ignore"):  # nan is told when all is read
            coil = next(filter(np.any, (read(index, coil) != 0 for coil in range(coils))), None)
        found += [] if coil is None else [coil]
        if len(found) == len(thirds):
            break
    return not found or is_complete(np.stack(found))


def synthesised(kspace: KSpace) -> bool:
    """Whether k-space [S, C, H, W], fully sampled, is a magnitude image's Fourier transform and was never measured.

    Such an image is real up to one constant phase, its k-space Hermitian, which no scanner's is: coils, field and
    motion leave phase, and noise has two channels. What a network scores on it is too good to be true: Shimron et
    al., PNAS 2022; 119:e2117203119. Judged by the middle of the slices with a signal, every coil for itself.
    """
    filled = [index for index, part in enumerate(kspace) if part.any()]
    if not filled:
        return False
    middle = kspace[filled[len(filled) // 2]].copy()
    for axis, side in ((1, middle.shape[1]), (2, middle.shape[2])):
        if side % 2 == 0:  # the lone highest frequency has no mirror image in cropped k-space
            middle[(slice(None),) * axis + (0,)] = 0
    images = np.fft.ifft2(np.fft.ifftshift(middle.astype(np.complex128), axes=(-2, -1)))
    return all(_is_real(image) for image in images if image.any())


def _is_real(image: npt.NDArray[np.complexfloating]) -> bool:
    """Up to one phase. image: [H, W]."""
    image = image / np.abs(image).max()
    turned = image * np.exp(-0.5j * np.angle(np.square(image).sum()))
    return bool(np.linalg.norm(turned.imag) < HERMITIAN * np.linalg.norm(image))
