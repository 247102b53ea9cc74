"""How often a ridge classifier tells the site of patients that it has not seen, under many exchanges at once.

Legend: R rows (slices) of both sites, P patients, S slices of a patient, O pairs of patients, E exchanges,
y labels: 1 at the first site, -1 at the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from engine.permutations import Exchanges
from engine.types import Array

Matrix = npt.NDArray[np.float64]
RIDGE = 1.0  # of the mean of the centred kernel's diagonal
UNDECIDED = 1e-9  # a score (labels are 1 and -1) this close to the threshold
CHUNK = 2**19  # scores at once


def accuracies(kernel: Matrix, owners: Array, exchanges: Exchanges) -> Matrix:
    """[E] the part of slices whose site is told, each patient weighing alike; 0.5: not told apart.

    Every pair of patients, one of each site, is held out in turn and all others are learnt from (leave-pair-out,
    Airola et al. 2011). Neither site is then favoured: where there is nothing to tell, 0.5 is expected of sites of
    equal sizes, where leaving out one patient at a time is wrong more often than not, for its site is short of one.
    A slice on the threshold counts half. With one patient at a site nobody is left to learn that site from: 0.5.

    The classifier is ridge regression on the labels in the kernel's space, with an intercept that is not penalised.
    The size of the ridge (and a kernel's bandwidth) comes from all rows, held out or not, and knows no labels. The
    threshold is 0 where both sites have as many rows to learn from. If not, a score without meaning is the mean label
    b of those rows, and the sites' own slices score b + (1 - b) g / 2 and b - (1 + b) g / 2, with g the gap between
    them (2 in rows that were learnt from). The threshold lies halfway, at b (1 - g / 2), with g the mean over all pairs
    held out: the one number that the pairs share.
    kernel: [R, R]; owners: int [R] each row's patient.
    """
    if min(exchanges[0].sum(), (~exchanges[0]).sum()) < 2:
        return np.full(len(exchanges), 0.5)
    signs = np.where(exchanges.T, 1.0, -1.0)  # [P, E]
    held = list(_held_out(_regression(kernel), owners, signs))
    slices = np.bincount(owners)
    count = exchanges.sum(axis=1) * (~exchanges).sum(axis=1)  # of pairs with one patient of each site
    gap = sum(_gaps(pair).sum(axis=0) for pair in held) / count
    right = sum(_right(pair, _balance(pair, slices, signs) * (1 - gap / 2)).sum(axis=0) for pair in held)
    return np.asarray(right / count)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs of patients, alike in their numbers of slices, held out in turn.

    patients: int [O, 2]; sides: [O, 2, E] their labels; scores: of the one's slices [O, S, E] and the other's
    """

    patients: Array
    sides: Matrix
    scores: tuple[Matrix, Matrix]

    @property
    def apart(self) -> npt.NDArray[np.bool_]:
        """[O, E] whether they are of different sites."""
        return np.asarray(self.sides[:, 0] != self.sides[:, 1])


def _held_out(inverse: Matrix, owners: Array, signs: Matrix) -> Iterator[_Pairs]:
    """All pairs of patients. inverse: see `_regression`; signs: [P, E] the patients' labels.

    Learnt from all other rows, the scores of a pair's rows h are exactly y_h - (M_hh)^-1 (M y)_h (Cawley & Talbot
    2003).
    """
    coefficients = inverse @ signs[owners]  # [R, E]
    rows_of = [np.flatnonzero(owners == patient) for patient in range(len(signs))]
    alike: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for one, other in combinations(range(len(signs)), 2):
        alike[len(rows_of[one]), len(rows_of[other])].append((one, other))
    for (own, others), pairs in alike.items():
        step = max(1, CHUNK // ((own + others) * max(signs.shape[1], own + others)))
        for start in range(0, len(pairs), step):
            patients = np.array(pairs[start : start + step])
            rows = np.array([np.concatenate([rows_of[one], rows_of[other]]) for one, other in patients])  # [O, 2 S]
            block = np.linalg.inv(inverse[rows[:, :, None], rows[:, None, :]])
            scores = signs[owners[rows]] - block @ coefficients[rows]
            yield _Pairs(patients=patients, sides=signs[patients], scores=(scores[:, :own], scores[:, own:]))


def _gaps(pairs: _Pairs) -> Matrix:
    """[O, E] how much higher the mean score is of the patient who is of the first site; 0 if they are of one site."""
    one, other = (scores.mean(axis=1) for scores in pairs.scores)
    return np.asarray((one - other) * (pairs.sides[:, 0] - pairs.sides[:, 1]) / 2)


def _balance(pairs: _Pairs, slices: Array, signs: Matrix) -> Matrix:
    """[O, E] mean label of the rows that are learnt from."""
    held = slices[pairs.patients]
    total = slices @ signs - (held[:, :, None] * pairs.sides).sum(axis=1)
    return np.asarray(total / (slices.sum() - held.sum(axis=1))[:, None])


def _right(pairs: _Pairs, threshold: Matrix) -> Matrix:
    """[O, E] the part of slices told right, both patients weighing alike; 0 if they are of one site."""
    told = np.zeros(threshold.shape)
    for side, scores in enumerate(pairs.scores):
        above = pairs.sides[:, side, None] * (scores - threshold[:, None])
        told += (above > UNDECIDED).mean(axis=1) + (above > -UNDECIDED).mean(axis=1)
    return told / 4 * pairs.apart


def _regression(kernel: Matrix) -> Matrix:
    """[R, R] M: the coefficients of the ridge regression on all rows are M y. Centring makes room for the intercept."""
    count = len(kernel)
    means = kernel.mean(axis=0)
    centred = kernel - means - means[:, None] + means.mean()
    ridge = RIDGE * (float(np.trace(centred)) / count or 1.0)
    return np.asarray(np.linalg.inv(centred + ridge * np.eye(count)) - 1 / (ridge * count))
