"""How often a ridge classifier tells the site of patients that it has not seen, under many exchanges at once.

Legend: R rows (slices) of both sites, P patients, S slices of the patient with the most, O pairs of patients,
E exchanges, y labels: 1 at the first site, -1 at the second.
"""

from __future__ import annotations

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
    Its threshold is 0 where both sites have as many rows to learn from; see `_told` for where they have not. Only the
    size of the ridge comes from all rows, held out or not, and it knows no labels.
    kernel: [R, R]; owners: int [R] each row's patient.
    """
    if min(exchanges[0].sum(), (~exchanges[0]).sum()) < 2:
        return np.full(len(exchanges), 0.5)
    pairs = _pairs(owners)
    inverse = _regression(kernel)
    without = _without(inverse, pairs)
    signs = np.where(exchanges.T, 1.0, -1.0)  # [P, E]
    coefficients = inverse @ signs[owners]  # [R, E]
    step = max(1, CHUNK // pairs.rows.size)
    parts = []
    for start in range(0, len(exchanges), step):
        some = slice(start, start + step)
        y = signs[pairs.patients, some][:, :, None] * pairs.real  # [O, 2, S, E]
        scores = y - (without @ _joined(coefficients[pairs.rows, some] * pairs.real)).reshape(y.shape)
        parts.append(_told(scores, signs[:, some], pairs))
    return np.concatenate(parts)


def _told(scores: Matrix, signs: Matrix, pairs: _Pairs) -> Matrix:
    """[E] the accuracy of scores [O, 2, S, E] of slices of held-out pairs. signs: [P, E] the patients' labels.

    Where the sites have unequal numbers of rows to learn from, a score without meaning is the mean label b of those
    rows, and the scores of the sites' own slices lie at b + (1 - b) g / 2 and b - (1 + b) g / 2, where g is the gap
    between them (2 in rows that were learnt from). The threshold lies halfway: b (1 - g / 2), with g the mean over all
    pairs.
    """
    sides = signs[pairs.patients]  # [O, 2, E]
    apart = sides[:, 0] != sides[:, 1]
    count = apart.sum(axis=0)
    means = (scores * pairs.share).sum(axis=2)
    gap = ((sides * means).sum(axis=1) * apart).sum(axis=0) / count
    learnt = pairs.slices.sum() - pairs.slices[pairs.patients].sum(axis=1)  # [O]
    total = pairs.slices @ signs - np.einsum("op,ope->oe", pairs.slices[pairs.patients], sides)
    threshold = total / learnt[:, None] * (1 - gap / 2)
    above = sides[:, :, None] * (scores - threshold[:, None, None])
    told = np.where(np.abs(above) < UNDECIDED, 0.5, above > 0)
    accuracy = (told * pairs.share).sum(axis=2).mean(axis=1)  # [O, E]
    return np.asarray((accuracy * apart).sum(axis=0) / count)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """slices: int [P]; patients: int [O, 2]; rows: int [O, 2, S] theirs, filled up with others.

    real, share: [O, 2, S, 1] 0 for what fills up, else 1 and the part of the patient's slices.
    """

    slices: Array
    patients: Array
    rows: Array
    real: Matrix
    share: Matrix


def _pairs(owners: Array) -> _Pairs:
    slices = np.bincount(owners)
    own = np.arange(slices.max()) < slices[:, None]
    rows = np.zeros(own.shape, int)
    rows[own] = np.argsort(owners, kind="stable")
    patients = np.array(list(combinations(range(len(slices)), 2)))
    real = own[patients, :, None].astype(np.float64)
    share = real / slices[patients][:, :, None, None]
    return _Pairs(slices=slices, patients=patients, rows=rows[patients], real=real, share=share)


def _regression(kernel: Matrix) -> Matrix:
    """[R, R] M: the coefficients of the ridge regression on all rows are M y. Centring makes room for the intercept."""
    count = len(kernel)
    means = kernel.mean(axis=0)
    centred = kernel - means - means[:, None] + means.mean()
    ridge = RIDGE * (float(np.trace(centred)) / count or 1.0)
    return np.asarray(np.linalg.inv(centred + ridge * np.eye(count)) - 1 / (ridge * count))


def _without(inverse: Matrix, pairs: _Pairs) -> Matrix:
    """[O, 2 S, 2 S] inverses of M's blocks of a pair's rows h, filled up with the identity's.

    Learnt from the other rows, the scores of these are exactly y_h - (M_hh)^-1 (M y)_h (Cawley & Talbot 2003).
    """
    rows, real = _joined(pairs.rows[..., None])[..., 0], _joined(pairs.real)[..., 0]
    block = inverse[rows[:, :, None], rows[:, None, :]] * (real[:, :, None] * real[:, None, :])
    diagonal = np.arange(rows.shape[1])
    block[:, diagonal, diagonal] += 1 - real
    return np.asarray(np.linalg.inv(block))


def _joined(by_patient: Array) -> Array:
    """[O, 2, S, E] -> [O, 2 S, E]."""
    return by_patient.reshape(len(by_patient), -1, by_patient.shape[-1])
