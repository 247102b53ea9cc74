"""From images back to k-space: what images lack is supplied by a stated model, and every report says so.

k-space that is made from images is kinder than a scanner's: it has no noise of its own, its phase and coils are as
smooth as the model's, and what the vendor's pipeline did to the image is in it. Results on it are too good: Shimron et
al., PNAS 2022; 119:e2117203119, arXiv 2109.08237.

Legend: S slices, C coils, H rows, W columns, N = max(H, W).
"""

from __future__ import annotations

import numpy as np

from engine.streams import rng
from sites.anatomy import FIELD_OF_VIEW, grid, smooth_field
from sites.physics import Complex, object_phase, to_kspace
from sites.sources.base import KSpace
from sites.sources.recordings import Image

COIL_DISTANCE = 0.75
"""Of the coils' centres from the middle of the image, sides of the image."""
COIL_WIDTH = 0.5
"""Standard deviation of a coil's Gaussian sensitivity, before all are scaled to unit root sum of squares; sides."""
HEAD = 0.05
"""Of the largest intensity: what is brighter belongs to the head, over which the phase is stated."""


def synthesise(image: Image, patient: str, coils: int = 1, phase: float = 1.0) -> KSpace:
    """Fully sampled k-space complex64 [S, C, N, N] of an image float32 [S, H, W], padded to a square.

    The object's phase is `sites.physics.object_phase`: a smooth random field from -phase to phase radians over the
    head, drawn from the patient's name alone; 0: none. coils: see `sensitivities`. The root sum of squares over the
    coils is the image again.
    """
    square = to_square(image)
    head = square > HEAD * square.max()
    turned = square.astype(np.complex64)
    if phase and head.any():
        smooth = smooth_field(*grid(len(square), square.shape[-1]), 6, rng(0, "phase", patient))
        turned *= object_phase(smooth, head, phase)
    if coils == 1:
        return to_kspace(turned)[:, None]
    return np.stack([to_kspace(part * sensitivities(coils, square.shape[-1])) for part in turned])


def sensitivities(coils: int, pixels: int) -> Complex:
    """Smooth coil sensitivities complex64 [C, N, N] whose root sum of squares is 1 everywhere.

    Coil c sits at the angle a = 2 pi c / C, COIL_DISTANCE from the middle: a Gaussian of width COIL_WIDTH around it,
    its phase a at the middle, growing by pi / 2 over the image towards the coil.
    """
    x, y, _ = grid(1, pixels)
    angles = (2 * np.pi * np.arange(coils) / coils).astype(np.float32)[:, None, None]
    across, along = x[None, None, :] / FIELD_OF_VIEW, y[None, :, None] / FIELD_OF_VIEW
    squared = (across - COIL_DISTANCE * np.cos(angles)) ** 2 + (along - COIL_DISTANCE * np.sin(angles)) ** 2
    magnitude = np.exp(-squared / (2 * COIL_WIDTH**2))
    towards = across * np.cos(angles) + along * np.sin(angles)
    turned = np.exp(1j * (angles + np.pi / 2 * towards))
    unit: Complex = (magnitude / np.sqrt((magnitude**2).sum(axis=0)) * turned).astype(np.complex64)
    return unit


def to_square(image: Image) -> Image:
    """[..., H, W] -> [..., N, N]: zeros around the shorter side; the middle, (H // 2, W // 2), stays the middle."""
    side = max(image.shape[-2:])
    margins = [(side // 2 - length // 2, side - length - (side // 2 - length // 2)) for length in image.shape[-2:]]
    return np.pad(image, [*[(0, 0)] * (image.ndim - 2), *margins])
