"""ISMRMRD raw data in HDF5 (Inati et al., Magn Reson Med 2017; 77:411-421), through h5py alone.

Cartesian acquisitions become k-space: rows are read-out, columns phase encoding. Noise, navigators and separate
calibration are passed over, averages averaged, of other repetitions the first is taken. A second phase encoding is
transformed, so that its partitions are slices. The read-out's oversampling is cropped in the image, and k-space where
pixels would not be square.

Legend: N acquisitions, S slices, C coils, H read-out, W phase encoding, Z partitions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sites.sources.base import KSpace
from sites.sources.checks import as_kspace, naming, one_line
from sites.sources.hdf5 import SUFFIXES, acquisitions, elements, header, opened, text
from sites.sources.ismrmrd_grid import NEEDED, Grid, layout
from sites.sources.measured import is_complete
from sites.sources.names import contrast_of, contrast_of_path, patients_of, split_of
from sites.sources.recordings import Found, Problem, Recording

NAME = "ismrmrd"
REVERSED = 1 << 21
BLOCK = 256  # acquisitions read at once


def find(files: Sequence[Path], root: Path) -> Found:
    """See `Reader.find`. What is no HDF5 is left to fastMRI's reader to say."""
    paths = [path for path in files if path.suffix.lower() in SUFFIXES]
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for path, patient in zip(paths, patients_of(paths, root), strict=True):
        group = None
        try:
            with one_line(), opened(path) as file:
                group = acquisitions(file)
                if group is not None:
                    recordings.append(_recording(group, path, root, patient))
        except ValueError as error:
            if group is not None:
                problems.append(Problem(path=path, reason=str(error)))
    return recordings, problems


def read(recording: Recording) -> KSpace:
    """See `Reader.read`."""
    (path,) = recording.paths
    with naming(path), opened(path) as file:
        group = acquisitions(file)
        if group is None:
            raise ValueError("it holds no acquisitions any more; the file has changed")
        grid = layout(elements(text(group["xml"][()])), _heads(group))
        if grid.final != recording.shape:
            raise ValueError(f"kspace is {grid.final} now, and was {recording.shape}; the file has changed")
        kspace = _without_oversampling(_through_partitions(_filled(group["data"], grid), grid), grid)
        return as_kspace(_square(kspace, grid.sides))


def _recording(group: Any, path: Path, root: Path, patient: str) -> Recording:
    xml = elements(text(group["xml"][()]))
    grid = layout(xml, _heads(group))
    told = header(xml)
    return Recording(
        patient=patient,
        contrast=contrast_of_path(path, root) or contrast_of(told.protocol),
        reader=NAME,
        paths=(path,),
        shape=grid.final,
        kind="kspace",
        split=split_of(path, root),
        complete=is_complete(grid.measured),
        field_strength=told.field_strength,
        scanner=told.scanner,
        notes=grid.notes,
        readout=grid.readout,
    )


def _heads(group: Any) -> Any:
    """Of all acquisitions, without their samples."""
    names = group["data"].dtype.names or ()
    if not {"head", "data"} <= set(names) or not set(NEEDED) <= set(group["data"].dtype["head"].names or ()):
        raise ValueError(f"{group.name[1:]}/data holds no acquisitions as ISMRMRD has them; write it with its library")
    return group["data"]["head"]


# ---- samples --------------------------------------------------------------------------------------------


def _filled(data: Any, grid: Grid) -> KSpace:
    """[S × Z, C, H, W], the mean of what was measured twice, zero where nothing was."""
    slices, coils, height, width = grid.shape
    kspace = np.zeros((slices, grid.partitions, coils, height, width), np.complex64)
    first, last = grid.samples
    for at in range(0, len(grid.index), BLOCK):
        part = slice(at, at + BLOCK)
        acquired = data[int(grid.index[part][0]) : int(grid.index[part][-1]) + 1]
        places = zip(grid.index[part], grid.slices[part], grid.planes[part], grid.columns[part], strict=True)
        for index, slab, plane, column in places:
            acquisition = acquired[index - grid.index[part][0]]
            lines = acquisition["data"].view(np.complex64).reshape(coils, -1)
            if lines.shape[1] != int(acquisition["head"]["number_of_samples"]):
                raise ValueError(f"acquisition {index} has {lines.shape[1]} samples, not those its header says")
            lines = lines[:, first:last]
            reverse = int(acquisition["head"]["flags"]) & REVERSED
            line = lines[:, ::-1] if reverse else lines
            kspace[slab, plane, :, grid.start : grid.start + last - first, column] += line
    kspace /= np.maximum(grid.counts, 1)[:, :, np.newaxis, np.newaxis].astype(np.float32)
    return kspace.reshape(slices * grid.partitions, coils, height, width)


def _through_partitions(kspace: KSpace, grid: Grid) -> KSpace:
    """Partitions -> slices. Raises ValueError if they are undersampled, so that slices do not separate."""
    if grid.partitions == 1:
        return kspace
    measured = grid.counts > 0
    for slab in measured:
        planes = slab.any(axis=1)
        if (slab[planes] != slab[planes][0]).any() or not is_complete(planes[np.newaxis, np.newaxis]):
            raise ValueError("it is undersampled along the second phase encoding, so that its slices do not separate")
    slabs = kspace.reshape(grid.shape[0], grid.partitions, *kspace.shape[1:])
    start = grid.partitions // 2 - grid.kept[1] // 2
    kept = np.empty((grid.shape[0], grid.kept[1], *kspace.shape[1:]), np.complex64)
    for coil in range(grid.shape[1]):
        kept[:, :, coil] = _inverse(slabs[:, :, coil], 1)[:, start : start + grid.kept[1]]
    return kept.reshape(-1, *kspace.shape[1:])


def _without_oversampling(kspace: KSpace, grid: Grid) -> KSpace:
    """Rows cropped in the image; every row was measured."""
    rows = grid.kept[0]
    if rows == kspace.shape[2]:
        return kspace
    start = kspace.shape[2] // 2 - rows // 2
    cropped = np.empty((*kspace.shape[:2], rows, kspace.shape[3]), np.complex64)
    for index, part in enumerate(kspace):
        image = np.fft.ifftshift(_inverse(part, 1)[:, start : start + rows], axes=1)
        cropped[index] = np.fft.fftshift(np.fft.fft(image, axis=1, norm="ortho"), axes=1)
    return cropped


def _square(kspace: KSpace, sides: tuple[int, int]) -> KSpace:
    """The centre of k-space, so that pixels become square; the image's intensities stay."""
    have = kspace.shape[2:]
    if have == sides:
        return kspace
    rows, columns = (slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(have, sides, strict=True))
    centre: KSpace = kspace[:, :, rows, columns] * np.float32(math.sqrt(math.prod(sides) / math.prod(have)))
    return centre


def _inverse(kspace: KSpace, axis: int) -> KSpace:
    """Centred unitary inverse transform along one axis."""
    shifted = np.fft.ifft(np.fft.ifftshift(kspace, axes=axis), axis=axis, norm="ortho")
    return np.asarray(np.fft.fftshift(shifted, axes=axis), np.complex64)
