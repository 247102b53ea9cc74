"""Samples of sites, of which a measure's answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.shift import EDGES
from engine.types import Array, Sample


def site(
    slices: Sequence[int],
    seed: int,
    mean: float = 0.0,
    scale: float = 1.0,
    features: int = 4,
    alike: float = 0.0,
) -> Sample:
    """Patients with so many slices each, N(mean, scale^2) in the first latent and in intensities, N(0, scale^2) else.

    alike: standard deviation between patients, in latents and intensities; within one it is 1.
    """
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(slices)), slices)
    between = alike * random.normal(size=(len(slices), features))
    latents = between[owners] + random.normal(size=(len(owners), features))
    latents *= scale
    latents[:, 0] += mean
    centres = alike * random.normal(size=len(slices))
    pixels = [scale * random.normal(centre, 1, 2000) + mean for centre in centres]
    return Sample(
        latents=latents.astype(np.float32), patients=owners, intensities=np.stack([histogram(p) for p in pixels])
    )


def histogram(pixels: Array) -> Array:
    """float32 [BINS] as `engine.institution` counts them: what lies outside is in the outermost bins."""
    counts, _ = np.histogram(np.clip(pixels, EDGES[0], EDGES[-1]), EDGES)
    return np.asarray(counts / counts.sum(), np.float32)


def in_order(sample: Sample, order: Sequence[int]) -> Sample:
    """The same patients listed in another order."""
    rows = [np.flatnonzero(sample.patients == patient) for patient in order]
    return Sample(
        latents=sample.latents[np.concatenate(rows)],
        patients=np.repeat(np.arange(len(order)), [len(r) for r in rows]),
        intensities=sample.intensities[list(order)],
    )


def by_slice(sample: Sample) -> Sample:
    """As if every slice were a patient of its own."""
    return Sample(
        latents=sample.latents,
        patients=np.arange(len(sample.latents)),
        intensities=sample.intensities[sample.patients],
    )
