"""How far two sites lie apart, in latents and in images, and what chance alone would show. numpy only: for the driver.

Legend: M, N rows (slices) of the first and the second site, D latent features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine import pooled
from engine.held_out import accuracies
from engine.permutations import exchanges, judged
from engine.pooled import Matrix, pool
from engine.types import Array, Sample, Shift

BINS = 256
EDGES = np.linspace(-6, 6, BINS + 1)  # of the bins of a network input's intensities, in deviations of a slice
WIDTH = float(EDGES[-1] - EDGES[0]) / BINS
MOST = 128  # slices of a site that `shifts` looks at: its cost is bounded


@dataclass(frozen=True, kw_only=True)
class Measure:
    """label: for people; saturates: grows no more once the sites are fully apart. Larger is further apart."""

    label: str
    saturates: bool


MEASURES = {
    "mmd": Measure(label="MMD²", saturates=True),
    "coral": Measure(label="CORAL", saturates=False),
    "a_distance": Measure(label="A-distance", saturates=True),
    "identifier_accuracy": Measure(label="identifier accuracy", saturates=True),
    "frechet": Measure(label="Fréchet", saturates=False),
    "wasserstein": Measure(label="Wasserstein", saturates=False),
}


def shifts(first: Sample, second: Sample, random: np.random.Generator) -> dict[str, Shift]:
    """Every one of `MEASURES`, each with its null from exchanges of patients; NaN if a latent is not finite.

    Of more than `MOST` slices of a site, evenly spaced ones are taken. Raises ValueError for fewer than two slices.
    """
    first, second = _thinned(first), _thinned(second)
    both = pool("shift", first.latents, second.latents, first.patients, second.patients)
    if not np.isfinite(both.rows).all():
        return {name: Shift(value=np.nan, low=np.nan, high=np.nan, p=np.nan) for name in MEASURES}
    ways, complete = exchanges(np.bincount(both.owners), both.first, random)
    values = {
        "mmd": pooled.mmd(both, ways),
        "coral": pooled.coral(both, ways),
        "a_distance": _a_distance(accuracies(both.gram, both.owners, ways)),
        "identifier_accuracy": accuracies(both.kernel, both.owners, ways),
        "frechet": pooled.frechet(both, ways),
        "wasserstein": pooled.wasserstein(np.concatenate([first.intensities, second.intensities]), ways, WIDTH),
    }
    return {name: judged(values[name], complete) for name in MEASURES}


def mmd(first: Array, second: Array) -> float:
    """Unbiased squared maximum mean discrepancy of two samples [M, D] and [N, D]; around 0 if they are alike.

    Gretton et al., JMLR 2012, eq. 3, with the mean of Gaussian kernels of five bandwidths around the median
    squared distance (Long et al., ICML 2015). Raises ValueError for fewer than two rows.
    """
    both = pool("MMD", first, second)
    return float(pooled.mmd(both, both.as_is)[0])


def coral(first: Array, second: Array) -> float:
    """CORAL distance of [M, D] and [N, D]: squared Frobenius norm of the covariances' difference, over 4 D^2.

    Sun & Saenko, ECCV 2016 workshops, arXiv 1607.01719, eq. 1. Blind to means. Raises ValueError for fewer than two
    rows.
    """
    both = pool("CORAL distance", first, second)
    return float(pooled.coral(both, both.as_is)[0])


def frechet(first: Array, second: Array) -> float:
    """Squared Fréchet distance of the Gaussians fitted to [M, D] and [N, D] (Heusel et al., NeurIPS 2017, eq. 6).

    Few rows of the same distribution have a large one too: look at the null. Raises ValueError for fewer than two rows.
    """
    both = pool("Fréchet distance", first, second)
    return float(pooled.frechet(both, both.as_is)[0])


def a_distance(first: Array, second: Array, first_patients: Array, second_patients: Array) -> float:
    """Proxy A-distance 2 (1 - 2 error), from -2 to 2, of a linear classifier on held-out patients; 0: it guesses.

    Ben-David et al., Machine Learning 2010, of [M, D] and [N, D]; patients: int [M] and [N]; the classifier:
    `engine.held_out.accuracies`. Raises ValueError for fewer than two rows.
    """
    both = pool("A-distance", first, second, first_patients, second_patients)
    return float(_a_distance(accuracies(both.gram, both.owners, both.as_is))[0])


def identifier_accuracy(first: Array, second: Array, first_patients: Array, second_patients: Array) -> float:
    """Accuracy on held-out patients of a classifier in the space of `mmd`'s kernel, so not a linear one; 0.5: guesses.

    Of [M, D] and [N, D]; patients: int [M] and [N]; the classifier: `engine.held_out.accuracies`. Raises ValueError for
    fewer than two rows.
    """
    both = pool("identifier accuracy", first, second, first_patients, second_patients)
    return float(accuracies(both.kernel, both.owners, both.as_is)[0])


def wasserstein(first: Array, second: Array) -> float:
    """1-Wasserstein distance between the mean histograms of two sites' patients, in deviations of a slice.

    The integral of |F1 - F2|, the distribution functions' difference. [P, BINS] and [Q, BINS]: the part of each
    patient's intensities in each of the bins of `EDGES`.
    """
    at_first = np.arange(len(first) + len(second))[None] < len(first)
    return float(pooled.wasserstein(np.concatenate([first, second]), at_first, WIDTH)[0])


def spearman(x: Array, y: Array) -> float:
    """Spearman's rank correlation of two [N], ties at their mean rank; NaN if one of them does not vary."""
    a, b = (_ranks(values) - (len(values) - 1) / 2 for values in (x, y))
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float(a @ b) / spread if spread else np.nan


def _ranks(values: Array) -> Matrix:
    """[N] from 0, ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[inverse])


def _a_distance(accuracy: Matrix) -> Matrix:
    return 2 * (1 - 2 * (1 - accuracy))


def _thinned(sample: Sample) -> Sample:
    """At most `MOST` of its slices, evenly spaced; its patients all the same, if they are no more than that."""
    if len(sample.latents) <= MOST:
        return sample
    kept = np.linspace(0, len(sample.latents) - 1, MOST).astype(int)
    patients, owners = np.unique(sample.patients[kept], return_inverse=True)
    return replace(sample, latents=sample.latents[kept], patients=owners, intensities=sample.intensities[patients])
