"""How far two sites' latents lie apart. numpy only: the driver computes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.types import Array, Sample, Shift

Matrix = npt.NDArray[np.float64]
BINS = 256
EDGES = np.linspace(-6, 6, BINS + 1)  # of the bins of a network input's intensities, in deviations of a slice
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # multiples of the median squared distance


def mmd(first: Array, second: Array) -> float:
    """Unbiased squared maximum mean discrepancy of two samples [M, D] and [N, D]; around 0 if they are alike.

    Gretton et al., JMLR 2012, eq. 3, with the mean of Gaussian kernels of five bandwidths around the median
    squared distance (Long et al., ICML 2015). Raises ValueError for fewer than two rows.
    """
    if len(first) < 2 or len(second) < 2:
        raise ValueError(f"MMD of {len(first)} and {len(second)} latents: needs at least two of each")
    both = np.concatenate([first, second]).astype(np.float64)
    kernel = _gaussian_kernels(both)
    m, n = len(first), len(second)
    within_first = (kernel[:m, :m].sum() - np.trace(kernel[:m, :m])) / (m * (m - 1))
    within_second = (kernel[m:, m:].sum() - np.trace(kernel[m:, m:])) / (n * (n - 1))
    return float(within_first + within_second - 2 * kernel[:m, m:].mean())


def _gaussian_kernels(rows: Matrix) -> Matrix:
    """[R, D] -> [R, R] mean of the kernels."""
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0)
    off_diagonal = distances[~np.eye(len(rows), dtype=bool)]
    median = float(np.median(off_diagonal)) or 1.0
    kernel: Matrix = np.mean([np.exp(-distances / (median * b)) for b in BANDWIDTHS], axis=0)
    return kernel


def shifts(first: Sample, second: Sample, random: np.random.Generator) -> dict[str, Shift]:
    """Every measure of two sites' samples."""
    del random
    value = mmd(first.latents, second.latents)
    return {"mmd": Shift(value=value, low=0.0, high=0.0, p=1.0)}
