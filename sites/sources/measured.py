"""What of k-space was measured, to judge by its zeros, and whether any of it was.

What was not measured is exactly zero. Legend: S slices, C coils, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sites.sources.base import KSpace

Measured = npt.NDArray[np.bool_]

STRAY = 0.01  # at most this part of what was measured is 0 by chance
UNEVEN = 1 / 16  # of a side: by how much the zeros around padded k-space may differ left and right
HERMITIAN = 1e-2  # of its norm: what an image that a scanner measured has at least of phase and noise


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
