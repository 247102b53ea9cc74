"""K-space of any matrix and number of coils -> the matrix and the coils that a federation trains on.

Legend: S slices, C coils, H rows, W columns, V virtual coils, N = max(H, W), M matrix.
"""

from __future__ import annotations

import math

import numpy as np

from sites.sources.base import KSpace

OVERSAMPLED = 1.5
"""From this ratio of sides on the longer may be a readout's, oversampled, with air at its ends;"""
AIR = 0.02
"""it is, if what lies beyond the shorter side holds at most so much of the image's energy, noise apart."""
EDGE = 8
"""One of so many rows at either end of k-space has hardly more than noise."""
CALIBRATION = 24
"""Central rows and columns that the coils' correlations are taken from."""


def resample(kspace: KSpace, matrix: int, side: int = 0) -> KSpace:
    """[S, C, H, W] -> [S, C, M, M]: the image at another resolution, its intensities and its proportions kept.

    Pixels are taken to be square. The field of view becomes a square of `side` pixels first (0: `field_of_view`), by
    zeros around the image, or by cutting air off; then k-space is cropped to its centre, or padded with zeros. Never
    squeezed.
    """
    rows, columns = kspace.shape[-2:]
    side = side or field_of_view(kspace)
    if (rows, columns) == (matrix, matrix) == (side, side):
        return kspace
    square = _refielded(_refielded(kspace, side, -2), side, -1)
    scaled: KSpace = np.float32(matrix / side) * _centred(_centred(square, matrix, -2), matrix, -1)
    return scaled


def field_of_view(kspace: KSpace, readout: int = 0) -> int:
    """The square, in pixels, that an image of this k-space [S, C, H, W] is brought to: its longer side.

    readout: rows without oversampling, as `Recording` has them; 0: unknown. Then it is the shorter side where the
    longer seems to be a readout that was oversampled, as fastMRI's are.
    """
    if readout:
        return max(readout, int(kspace.shape[-1]))
    rows, columns = int(kspace.shape[-2]), int(kspace.shape[-1])
    longer, side, short = (-2, rows, columns) if rows > columns else (-1, columns, rows)
    if side < OVERSAMPLED * short:
        return side
    total = kept = noise = 0.0
    for part in kspace:  # a slice at a time: an image of them all would double the memory
        image = _along(part, longer)
        total += float(np.square(np.abs(image)).sum())
        kept += float(np.square(np.abs(_centred(image, short, longer))).sum())
        noise += image.size * _noise(part, longer)
    return short if total - kept - (1 - short / side) * noise <= AIR * max(total - noise, 0.0) else side


def _noise(part: KSpace, axis: int) -> float:
    """Its energy in a pixel of the image, by the median of the outermost rows that were measured. part: [C, H, W]."""
    rows = np.flatnonzero(part.any(axis=(0, -3 - axis)))
    if not len(rows):
        return 0.0
    edge = max(1, len(rows) // EDGE)
    energy = np.square(np.abs(np.take(part, [*rows[:edge], *rows[-edge:]], axis=axis)))
    share = np.count_nonzero(part) / part.size
    return share * float(np.median(energy[energy > 0])) / math.log(2)  # of complex noise: energy is exponential


def _refielded(kspace: KSpace, side: int, axis: int) -> KSpace:
    """Another field of view along one axis: zeros around the image, or less of it."""
    if kspace.shape[axis] == side:
        return kspace
    image = np.fft.ifftshift(_centred(_along(kspace, axis), side, axis), axes=axis)
    return np.fft.fftshift(np.fft.fft(image, axis=axis, norm="ortho"), axes=axis).astype(np.complex64)


def _along(kspace: KSpace, axis: int) -> KSpace:
    """Back to the image along one axis."""
    image = np.fft.ifft(np.fft.ifftshift(kspace, axes=axis), axis=axis, norm="ortho")
    return np.fft.fftshift(image, axes=axis).astype(np.complex64)


def _centred(array: KSpace, length: int, axis: int) -> KSpace:
    """Cut or padded with zeros to a length along one axis; index n // 2 stays the middle."""
    have = array.shape[axis]
    start = have // 2 - length // 2
    if start >= 0 and length <= have:
        return np.take(array, range(start, start + length), axis=axis)
    before = length // 2 - have // 2
    margins = [(0, 0)] * array.ndim
    margins[axis] = (before, length - have - before)
    return np.pad(array, margins)


def compress(kspace: KSpace, coils: int) -> KSpace:
    """[S, C, H, W] -> [S, V, H, W]: the virtual coils with most of the signal (see `mixing`)."""
    return mix(kspace, mixing(kspace, coils))


def mix(kspace: KSpace, weights: KSpace) -> KSpace:
    """[S, C, H, W], [V, C] -> [S, V, H, W]: virtual coils."""
    combined = np.einsum("vc,schw->svhw", weights, kspace)  # einsum: BLAS would sum in an order of its own
    return np.ascontiguousarray(combined, dtype=np.complex64)


def mixing(kspace: KSpace, coils: int) -> KSpace:
    """What makes the virtual coils with most of the signal: [V, C], rows of unit norm, the same for all slices.

    Buehrer et al., Magn Reson Med 2007; 57:1131-1139: principal components over the coils, here of the centre of
    k-space. The largest entry of a row is real and positive; rows beyond the number of coils are zero.
    """
    rows, columns = kspace.shape[-2:]
    top, left = max(0, rows // 2 - CALIBRATION // 2), max(0, columns // 2 - CALIBRATION // 2)
    centre = kspace[..., top : top + CALIBRATION, left : left + CALIBRATION].astype(np.complex128)
    correlations = np.einsum("schw,sdhw->cd", centre, centre.conj())
    _, vectors = np.linalg.eigh(correlations)
    strongest = vectors[:, ::-1][:, :coils].T.conj()
    largest = np.take_along_axis(strongest, np.abs(strongest).argmax(axis=1)[:, None], axis=1)
    turned = strongest * (np.abs(largest) / largest)
    missing = max(0, coils - kspace.shape[1])
    return np.pad(turned, [(0, missing), (0, 0)]).astype(np.complex64)
