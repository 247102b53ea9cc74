"""Where the acquisitions of an ISMRMRD file go in k-space.

Legend: N acquisitions, S slices, C coils, H read-out, W phase encoding, Z partitions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from sites.sources.checks import LARGEST
from sites.sources.geometry import square

Integers = npt.NDArray[np.integer[Any]]

SKIPPED = sum(1 << bit - 1 for bit in (19, 20, 23, 24, 26, 27, 28, 29, 30, 31))  # noise … see ISMRMRD's flags
SIZES = ("number_of_samples", "discard_pre", "discard_post", "active_channels", "center_sample")
NEEDED = (*SIZES, "flags", "encoding_space_ref", "idx")  # fields of an acquisition's head
FIRST = ("contrast", "phase", "repetition", "set")  # counters of which only the first is taken


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where acquisitions go.

    shape: slabs or slices, C, H, W encoded; partitions: Z of a slab, 1 if 2-D; kept: rows and partitions that belong
    to the image, without oversampling; sides: rows and columns of k-space's centre that make the pixels square
    readout: of these rows, how many the field of view has; start: row of the first sample
    samples: of an acquisition, from, to
    index: [N] of the acquisitions that count; slices, planes, columns: [N], where each goes; notes: what was left out
    """

    shape: tuple[int, int, int, int]
    partitions: int
    kept: tuple[int, int]
    sides: tuple[int, int]
    readout: int
    start: int
    samples: tuple[int, int]
    index: Integers
    slices: Integers
    planes: Integers
    columns: Integers
    notes: tuple[str, ...]

    @property
    def counts(self) -> Integers:
        """How often each was measured: [S, Z, W]."""
        counts = np.zeros((self.shape[0], self.partitions, self.shape[3]), np.int64)
        np.add.at(counts, (self.slices, self.planes, self.columns), 1)
        return counts

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """[S, H, W], in any partition."""
        rows = np.arange(self.shape[2])[:, np.newaxis]
        inside = (rows >= self.start) & (rows < self.start + self.samples[1] - self.samples[0])
        return np.asarray(inside & (self.counts.sum(axis=1) > 0)[:, np.newaxis])

    @property
    def final(self) -> tuple[int, int, int, int]:
        """S, C, H, W after all."""
        return self.shape[0] * self.kept[1], self.shape[1], *self.sides


def layout(xml: ElementTree.Element, heads: Any) -> Grid:
    """xml: the header; heads: [N] of the acquisitions.

    Raises ValueError if it is no Cartesian scan, or header and acquisitions disagree.
    """
    encoding = xml.find("encoding")
    if encoding is None:
        raise ValueError("its ISMRMRD header has no encoding, so that nothing says how large the image is")
    trajectory = (encoding.findtext("trajectory") or "missing").strip().lower()
    if trajectory != "cartesian":
        raise ValueError(f"its trajectory is {trajectory}; only cartesian is read, so grid it first")
    encoded, recon = encoding.find("encodedSpace"), encoding.find("reconSpace")
    height, width, partitions = (int(_size(encoded, "matrixSize", axis)) for axis in "xyz")
    index, notes = _chosen(heads)
    heads = heads[index]
    first, last, coils, center = _samples(heads)
    height = max(height, last - first)
    start = 0 if height == last - first else height // 2 - center
    if start < 0 or start + last - first > height:
        raise ValueError(f"{last - first} samples around {center} do not fit {height} rows; is the header damaged?")
    counters = heads["idx"]
    slices = np.unique(counters["slice"], return_inverse=True)[1]
    shape = (int(slices.max()) + 1, coils, height, width)
    if math.prod(shape) * partitions > LARGEST:
        raise ValueError(f"it would be {shape} × {partitions}, more than memory is for; is the header damaged?")
    inside = _inside(encoded, recon, "x", height)
    rows = inside if start == 0 and height == last - first else height
    pixel = _size(encoded, "fieldOfView_mm", "x") / height, _size(encoded, "fieldOfView_mm", "y") / width
    sides = square((rows, width), pixel)
    return Grid(
        shape=shape,
        partitions=partitions,
        kept=(rows, _inside(encoded, recon, "z", partitions)),
        sides=sides,
        readout=max(1, round(sides[0] * inside / rows)),
        start=start,
        samples=(first, last),
        index=index,
        slices=slices,
        planes=_places(encoding, counters["kspace_encode_step_2"], "kspace_encoding_step_2", partitions),
        columns=_places(encoding, counters["kspace_encode_step_1"], "kspace_encoding_step_1", width),
        notes=notes,
    )


def _chosen(heads: Any) -> tuple[Integers, tuple[str, ...]]:
    """Which acquisitions count, and what is left out."""
    counts = ((heads["flags"] & np.uint64(SKIPPED)) == 0) & (heads["encoding_space_ref"] == 0)
    notes = []
    for name in FIRST:
        values = np.unique(heads["idx"][name][counts])
        if len(values) > 1:
            notes.append(f"the first of {len(values)} {name}s is read")
            counts &= heads["idx"][name] == values[0]
    if not counts.any():
        raise ValueError("it holds no acquisitions of an image, only noise or calibration")
    return np.flatnonzero(counts), tuple(notes)


def _samples(heads: Any) -> tuple[int, int, int, int]:
    """Of every acquisition: first and last sample that counts, coils, which sample is the centre, from the first."""
    each = np.stack([heads[name] for name in SIZES], axis=1).astype(np.int64)
    if (each != each[0]).any():
        raise ValueError("its acquisitions differ in samples or coils; only even ones are read")
    number, before, after, coils, center = map(int, each[0])
    if number - before - after < 1 or coils < 1:
        raise ValueError(f"its acquisitions have {number - before - after} samples of {coils} coils")
    return before, number - after, coils, center - before


def _places(encoding: ElementTree.Element, steps: Integers, limit: str, length: int) -> Integers:
    """Steps of a phase encoding -> columns; the limits' centre becomes the middle."""
    center = encoding.findtext(f"encodingLimits/{limit}/center")
    steps = steps.astype(np.int64)
    places = steps - int(center) + length // 2 if center and length > 1 else steps
    if places.min() < 0 or places.max() >= length:
        raise ValueError(f"{limit} goes from {steps.min()} to {steps.max()} around {center}, beyond {length} places")
    return places


def _size(space: ElementTree.Element | None, what: str, axis: str) -> float:
    """A side of a matrix or of a field of view (mm), above 0."""
    try:
        size = float(space.findtext(f"{what}/{axis}") or "") if space is not None else 0.0
    except ValueError:
        size = 0.0
    if not 0 < size < LARGEST:
        raise ValueError(f"its ISMRMRD header tells no {what} {axis}")
    return size


def _inside(encoded: ElementTree.Element | None, recon: ElementTree.Element | None, axis: str, length: int) -> int:
    """How many of the rows or partitions the image keeps: its part of the field of view that was encoded."""
    part = _size(recon, "fieldOfView_mm", axis) / _size(encoded, "fieldOfView_mm", axis)
    return max(1, round(length * part)) if part < 1 else length
