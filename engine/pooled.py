"""Two sites' rows pooled, and measures of how far they lie apart under all exchanges of patients at once.

Whatever no exchange changes is computed once: all that the measures need of latents is one Gram matrix.
Legend: R rows (slices) of both sites, D features, P patients of both sites, E exchanges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.permutations import Exchanges
from engine.types import Array

Matrix = npt.NDArray[np.float64]
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # multiples of the median squared distance
CHUNK = 2**20  # numbers in the matrices that singular values are taken of at once
ZERO = 1e-12  # of what a difference is taken of: rounding


@dataclass(frozen=True, kw_only=True)
class Pool:
    """rows: [R, D] around their mean; owners: int [R] each row's patient, the first site's `first` of them first."""

    rows: Matrix
    owners: Array
    first: int

    @property
    def as_is(self) -> Exchanges:
        """[1, P]."""
        return np.arange(self.owners.max() + 1)[None] < self.first

    @cached_property
    def gram(self) -> Matrix:
        """[R, R] inner products."""
        return self.rows @ self.rows.T

    @cached_property
    def kernel(self) -> Matrix:
        """[R, R] mean of Gaussian kernels around the median squared distance."""
        squares = np.diag(self.gram)
        distances = np.maximum(squares[:, None] + squares - 2 * self.gram, 0)
        median = float(np.median(distances[~np.eye(len(distances), dtype=bool)])) or 1.0
        return np.asarray(sum(np.exp(distances / (-median * b)) for b in BANDWIDTHS) / len(BANDWIDTHS))


def pool(
    what: str, first: Array, second: Array, first_patients: Array | None = None, second_patients: Array | None = None
) -> Pool:
    """Of [M, D] and [N, D] with patients int [M] and [N] by any numbers; None: a site's rows stay together.

    Raises ValueError for fewer than two rows of a site. what: what is to be made of them, for the message.
    """
    if len(first) < 2 or len(second) < 2:
        raise ValueError(f"{what} of {len(first)} and {len(second)} latents: needs at least two of each")
    rows = np.concatenate([first, second]).astype(np.float64)
    rows -= rows[0]  # so that rows that are all the same become zero, not nearly
    one, other = (
        np.zeros(len(site), int) if patients is None else np.unique(patients, return_inverse=True)[1]
        for site, patients in ((first, first_patients), (second, second_patients))
    )
    patients = int(one.max()) + 1
    return Pool(rows=rows - rows.mean(axis=0), owners=np.concatenate([one, other + patients]), first=patients)


def mmd(pool: Pool, exchanges: Exchanges) -> Matrix:
    """[E] unbiased squared MMD."""
    sums, diagonal = _Sums(pool.kernel, pool, exchanges), np.diag(pool.kernel)
    m, n = sums.slices
    within_first = (sums.first - diagonal @ sums.at_first) / (m * (m - 1))
    within_second = (sums.second - diagonal @ sums.at_second) / (n * (n - 1))
    return _settled(within_first + within_second - 2 * sums.across / (m * n), 1.0)


def coral(pool: Pool, exchanges: Exchanges) -> Matrix:
    """[E] CORAL distance, from the squared norms of the centred blocks of the Gram matrix.

    |C1|^2 = |J G11 J|^2 / (m - 1)^2, <C1, C2> = |J G12 J|^2 / ((m - 1) (n - 1)), where J takes a site's mean out.
    """
    sums, squares = _Sums(pool.gram, pool, exchanges), _Sums(pool.gram**2, pool, exchanges)
    m, n = sums.slices
    first, second = sums.at_first, sums.at_second
    towards_first, towards_second = sums.to_first**2, sums.to_second**2
    one = squares.first - 2 / m * (first * towards_first).sum(axis=0) + (sums.first / m) ** 2
    two = squares.second - 2 / n * (second * towards_second).sum(axis=0) + (sums.second / n) ** 2
    both = squares.across - (first * towards_second).sum(axis=0) / n - (second * towards_first).sum(axis=0) / m
    both += sums.across**2 / (m * n)
    difference = one / (m - 1) ** 2 + two / (n - 1) ** 2 - 2 * both / ((m - 1) * (n - 1))
    scale = squares.first / (m - 1) ** 2 + squares.second / (n - 1) ** 2
    return np.asarray(np.maximum(_settled(difference, scale), 0) / (4 * pool.rows.shape[1] ** 2))


def frechet(pool: Pool, exchanges: Exchanges) -> Matrix:
    """[E] squared Fréchet distance of Gaussian fits; tr (C1 C2)^1/2 = |J X1 X2' J|_* / ((m - 1) (n - 1))^1/2."""
    sums, diagonal = _Sums(pool.gram, pool, exchanges), np.diag(pool.gram)
    m, n = sums.slices
    means = sums.first / m**2 + sums.second / n**2 - 2 * sums.across / (m * n)
    one = (diagonal @ sums.at_first - sums.first / m) / (m - 1)
    two = (diagonal @ sums.at_second - sums.second / n) / (n - 1)
    common = _nuclear_norms(pool, exchanges) / np.sqrt((m - 1) * (n - 1))
    scale = diagonal @ sums.at_first / (m - 1) + diagonal @ sums.at_second / (n - 1)
    return np.maximum(_settled(means + one + two - 2 * common, scale), 0)


def wasserstein(histograms: Array, exchanges: Exchanges, width: float) -> Matrix:
    """[E] 1-Wasserstein distance of the sites' mean histograms. histograms: [P, BINS], in bins of the same width."""
    at_first = exchanges.astype(np.float64)
    at_second = 1 - at_first
    weights = at_first / at_first.sum(axis=1, keepdims=True) - at_second / at_second.sum(axis=1, keepdims=True)
    between = np.cumsum(weights @ histograms.astype(np.float64), axis=1)
    return _settled(np.abs(between).sum(axis=1) * width, width * histograms.shape[1])


class _Sums:
    """A matrix's sums over rows and columns of the same site, and of both. [E], and [R, E] for columns alone."""

    def __init__(self, matrix: Matrix, pool: Pool, exchanges: Exchanges) -> None:
        self.at_first = exchanges.T[pool.owners].astype(np.float64)
        self.at_second = 1 - self.at_first
        self.slices = self.at_first.sum(axis=0), self.at_second.sum(axis=0)
        self.to_first, self.to_second = matrix @ self.at_first, matrix @ self.at_second
        self.first = (self.at_first * self.to_first).sum(axis=0)
        self.second = (self.at_second * self.to_second).sum(axis=0)
        self.across = (self.at_second * self.to_first).sum(axis=0)


def _nuclear_norms(pool: Pool, exchanges: Exchanges) -> Matrix:
    """[E] sum of the singular values of the Gram matrix's block across the sites, both means taken out.

    Where patients have unequal numbers of slices, blocks are of several sizes: zeros fill them up.
    """
    at_first = exchanges[:, pool.owners]
    first, m = _rows_of(at_first)
    second, n = _rows_of(~at_first)
    step = max(1, CHUNK // (first.shape[1] * second.shape[1]))
    parts = []
    for start in range(0, len(exchanges), step):
        some = slice(start, start + step)
        real = (np.arange(first.shape[1]) < m[some])[:, :, None] & (np.arange(second.shape[1]) < n[some])[:, None, :]
        block = pool.gram[first[some, :, None], second[some, None, :]] * real
        block -= block.sum(axis=1, keepdims=True) / m[some, :, None]
        block -= block.sum(axis=2, keepdims=True) / n[some, :, None]
        parts.append(np.linalg.svd(block * real, compute_uv=False).sum(axis=1))
    return np.concatenate(parts)


def _rows_of(member: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """[E, R] -> indices [E, most] of the members, others behind them; how many they are [E, 1]."""
    count = member.sum(axis=1, keepdims=True)
    return np.argsort(~member, axis=1, kind="stable")[:, : count.max()], count


def _settled(values: Matrix, scale: Matrix | float) -> Matrix:
    """Zero where nothing but rounding is left of a difference of numbers of such a size."""
    return np.where(np.abs(values) <= ZERO * scale, 0.0, values)
