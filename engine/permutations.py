"""Exchanging patients between two sites: what a measure would show if it did not matter who was scanned where.

Legend: E exchanges, P patients of both sites.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from engine.types import Array, Shift

PERMUTATIONS = 199  # p is at least 0.005
ROUNDING = 1e-9  # of the largest value: closer ones are ties

Exchanges = npt.NDArray[np.bool_]
"""[E, P] whether a patient is at the first site; row 0: as it is."""


def exchanges(slices: Array, first: int, random: np.random.Generator) -> tuple[Exchanges, bool]:
    """Ways to deal patients, the first `first` of whom are at the first site, to two sites of as many; are these all?

    All distinct ones if they are at most `PERMUTATIONS`, else the way it is and as many drawn (Phipson & Smyth 2010);
    with as many patients at both sites, changing the sites' names makes no other way. Patients are exchanged, not
    slices: those of one patient are alike, whatever the site.
    slices: int [P] each patient's. A way that leaves a site one slice is left out: it has no distribution.
    """
    patients = len(slices)
    same_size = 2 * first == patients
    if comb(patients, first) <= PERMUTATIONS * (1 + same_size):
        complete, found = True, _every(patients, first, same_size)
    else:
        order = random.permuted(np.tile(np.arange(patients), (PERMUTATIONS, 1)), axis=1)
        complete, found = False, np.concatenate([np.arange(patients)[None] < first, order < first])
    at_first = found @ slices
    return found[(at_first > 1) & (slices.sum() - at_first > 1)], complete


def _every(patients: int, first: int, same_size: bool) -> Exchanges:
    """Every choice of who is at the first site, in lexical order; that of patient 0 alone if sizes are the same."""
    chosen: Iterable[tuple[int, ...]] = combinations(range(patients), first)
    if same_size:
        chosen = ((0, *rest) for rest in combinations(range(1, patients), first - 1))
    indices = np.array(list(chosen))
    found = np.zeros((len(indices), patients), bool)
    np.put_along_axis(found, indices, True, axis=1)
    return found


def judged(values: Array, complete: bool) -> Shift:
    """A measure's values [E] under the exchanges, the first as it is, with what chance alone would show.

    complete: the exchanges are all there are, so that p is exact; of drawn ones the way it is counts as one more.
    The interval's ends are values that occur: of a few exchanges it holds them all.
    """
    null = values if complete else values[1:]
    reached = int((null >= values[0] - ROUNDING * np.abs(values).max()).sum())
    if not len(null):
        return Shift(value=float(values[0]), low=float(values[0]), high=float(values[0]), p=1.0)
    low = float(np.quantile(null, 0.025, method="lower"))
    high = float(np.quantile(null, 0.975, method="higher"))
    p = reached / len(null) if complete else (1 + reached) / (1 + len(null))
    return Shift(value=float(values[0]), low=low, high=high, p=p)
