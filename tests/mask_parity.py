"""Compare our masks with a file of fastMRI's: `python -m tests.mask_parity FILE`.

Prints a line a kind; exit status 0: all equal, 1: some differ, 2: the file is missing or not such a file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sites.masks import column_mask, num_low_frequencies


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Cases of one kind: how many, and what is wrong with those that differ."""

    kind: str
    cases: int
    differences: tuple[str, ...]


def compare(path: Path) -> list[Tally]:
    """One tally a kind. Raises OSError, KeyError or ValueError if the file is not one of reference masks."""
    with h5py.File(path, "r") as file:
        tallies = [_compare_kind(kind, group) for kind, group in file.items()]
    if sum(tally.cases for tally in tallies) == 0:
        raise ValueError("it holds no masks")
    return tallies


def _compare_kind(kind: str, group: Any) -> Tally:
    if not isinstance(group, h5py.Group):
        raise ValueError(f"{kind!r} is not a group of masks")
    found = [(name, _difference(kind, case)) for name, case in group.items()]
    return Tally(
        kind=kind,
        cases=len(found),
        differences=tuple(f"{kind}/{name}: {text}" for name, text in found if text),
    )


def _difference(kind: Any, case: Any) -> str:
    """What differs, or an empty text."""
    columns, acceleration = int(case.attrs["columns"]), int(case.attrs["acceleration"])
    center_fraction = float(case.attrs["center_fraction"])
    seed = [int(s) for s in np.atleast_1d(case.attrs["seed"])]
    try:
        mask = column_mask(kind, columns, acceleration, center_fraction, seed[0] if len(seed) == 1 else seed)
        low = num_low_frequencies(kind, columns, acceleration, center_fraction)
    except ValueError as error:
        return str(error)
    expected = np.asarray(case[()]).astype(bool)
    if mask.shape != expected.shape:
        return f"{mask.size} columns instead of {expected.size}"
    if not np.array_equal(mask, expected):
        return f"{np.count_nonzero(mask != expected)} of {columns} columns differ"
    if "num_low_frequencies" in case.attrs and low != int(case.attrs["num_low_frequencies"]):
        return f"num_low_frequencies {low} instead of {int(case.attrs['num_low_frequencies'])}"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m tests.mask_parity FILE", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        tallies = compare(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = "no such file" if not path.exists() else " ".join(str(error).split())
        print(f"{path}: {reason}; give an HDF5 file of masks as KIND/CASE", file=sys.stderr)
        return 2
    for tally in tallies:
        print(f"{tally.kind}: {tally.cases - len(tally.differences)} of {tally.cases} equal")
        for text in tally.differences:
            print(f"  {text}")
    return 1 if any(tally.differences for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
