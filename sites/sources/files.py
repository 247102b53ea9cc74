"""Patients of a real institution: files, read by their readers and brought to the federation's matrix.

Legend: S slices, C coils, H rows, W columns, M matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sites.config import SiteConfig
from sites.sources.base import KSpace, Rows
from sites.sources.forward import synthesise
from sites.sources.measured import SYNTHESISED, UNDERSAMPLED, ZERO_PHASE, checked
from sites.sources.recordings import Recording
from sites.sources.resample import field_of_view, mix, mixing, resample
from sites.sources.select import SPLITS, select, shares

BY_SLICES = "one patient, divided by slices: those tested are neighbours of those trained on, so scores are too good"
CHANGED = "are not those that the run divided when it began; restore them, or start anew with another --out"


@dataclass(frozen=True)
class Part:
    """How a recording is read again slice by slice. rows: those used; side, mixing: see `resample`, `mix`."""

    recording: Recording
    rows: Rows
    side: int
    mixing: KSpace | None


class FileSource:
    """A `sites.sources.base.SliceSource` of a site of files."""

    def __init__(self, config: SiteConfig, matrix: int, skip_bad: bool = False) -> None:
        """Reads headers. Raises ValueError as `select` does, or if the files are not those of the stored run."""
        self.config = config
        self.matrix = matrix
        self._skip_bad = skip_bad
        self._selection = select(config, skip_bad)
        if config.fingerprint not in ("", self._selection.fingerprint):
            raise ValueError(f"site {config.name!r}: the files in {config.path} {CHANGED}")
        self._undersampled = sum(each.reason == UNDERSAMPLED for each in self._selection.problems)
        self._unreadable = len(self._selection.problems) - self._undersampled
        self._empty: set[Path] = set()
        self._told: set[str] = {BY_SLICES} if config.split == "slices" else set()
        self._parts: dict[str, list[Part]] = {}
        self._divided: KSpace | None = None  # of a patient whose slices are divided, until the last part is given

    def patients(self) -> Sequence[str]:
        """Those trained on, then those of validation and test."""
        return [name for split in SPLITS for name in self._selection.splits[split]]

    def streamed_beyond(self, bytes: float) -> float | None:
        """These bytes; None if k-space cannot be read slice by slice, and stays in memory.

        Raises ValueError if, by the headers, it is larger then.
        """
        recordings = [each for group in self._selection.recordings.values() for each in group]
        if all(map(_is_direct, recordings)):
            return bytes
        needed = sum(map(self._size, recordings))
        if needed > bytes:
            raise ValueError(
                f"site {self.config.name!r} needs {needed / 1e9:.2g} GB: only k-space in HDF5 is read slice by slice; "
                f"take --memory-gb {math.ceil(needed / 1e7) / 100:g}, or run.py data prepare {self.config.path} DST"
            )

        return None

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, M, M]: all recordings of the patient. With skip_bad perhaps no slice is left.

        Raises ValueError, in one line that names the site and the file, for what cannot be used.
        """
        name, split = self._taken_apart(patient)
        try:
            if not split:
                return self._whole(name)
            whole = self._whole(name) if self._divided is None else self._divided
        except (ValueError, OSError) as error:
            raise ValueError(f"site {self.config.name!r}: {error}") from error
        self._divided = None if split == SPLITS[-1] else whole
        return whole[_slices(len(whole), split)]

    def rows(self, patient: str, rows: Rows) -> KSpace:
        """Some slices of a patient whom `kspace` gave before, by ascending index: the same bits.

        Only these are read, of fastMRI's HDF5, which `data prepare` writes: see `streamed_beyond`. Raises ValueError or
        OSError that names the file.
        """
        name, split = self._taken_apart(patient)
        parts = self._parts[name]
        ends = np.cumsum([len(part.rows) for part in parts])
        rows = np.arange(ends[-1])[_slices(int(ends[-1]), split)][rows]
        found = []
        for part, end in zip(parts, ends, strict=True):
            inside = rows[(rows >= end - len(part.rows)) & (rows < end)] - (end - len(part.rows))
            if len(inside):
                found.append(self._finished(_read_rows(part.recording, part.rows[inside]), part))
        return np.concatenate(found)

    @property
    def notes(self) -> Sequence[str]:
        """What every report must say, once all patients have been read."""
        reasons = {"undersampled": self._undersampled, "unreadable": self._unreadable}
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        skipped = [f"{_counted(sum(reasons.values()))} skipped as bad: {told}"] if told else []
        empty = [f"slices of k-space that are zero throughout were left out of {_counted(len(self._empty))}"]
        return [*sorted(self._told), *skipped, *(empty if self._empty else [])]

    # ---- inside -----------------------------------------------------------------------------------------

    def _taken_apart(self, patient: str) -> tuple[str, str]:
        """A patient's name in the files, and which part of the slices is meant; empty: all."""
        if self.config.split == "slices":
            name, _, split = patient.rpartition("/")
            return name, split
        return patient, ""

    def _whole(self, name: str) -> KSpace:
        """Read anew each time, and once only what turned out to be bad."""
        if name in self._parts:
            read = [self._used(part.recording) for part in self._parts[name]]
        else:
            read = [good for each in self._selection.recordings[name] for good in self._good(each)]
        self._parts[name] = [part for part, _ in read]
        none = np.empty((0, 1, self.matrix, self.matrix), np.complex64)
        return _joined([kspace for _, kspace in read]) if read else none

    def _good(self, recording: Recording) -> list[tuple[Part, KSpace]]:
        """None of a recording that cannot be used, if such are skipped. Raises ValueError or OSError otherwise."""
        try:
            return [self._used(recording)]
        except (ValueError, OSError) as error:
            if not self._skip_bad:
                raise
            undersampled = str(error).endswith(UNDERSAMPLED)
            self._undersampled += undersampled
            self._unreadable += not undersampled
            return []

    def _used(self, recording: Recording) -> tuple[Part, KSpace]:
        from sites.sources.find import read

        config, samples = self.config, read(recording)
        filled, zero_phase = checked(recording, samples, self._skip_bad)
        if not filled.all() and recording.kind == "kspace":
            self._empty.add(recording.paths[0])
        self._told.update(recording.notes)
        samples = samples if filled.all() else samples[filled]
        kspace: KSpace
        if recording.kind == "image":
            kspace = synthesise(np.asarray(samples, np.float32), recording.patient, config.coils, config.phase)
            self._told.add(SYNTHESISED)
        else:
            kspace = samples.astype(np.complex64, copy=False)
            if recording.synthesised or zero_phase:
                self._told.add(SYNTHESISED if recording.synthesised else ZERO_PHASE)
        weights = mixing(kspace, config.virtual_coils) if config.virtual_coils else None
        part = Part(recording, np.flatnonzero(filled), field_of_view(kspace, recording.readout), weights)
        return part, self._finished(kspace, part)

    def _finished(self, kspace: KSpace, part: Part) -> KSpace:
        return resample(kspace if part.mixing is None else mix(kspace, part.mixing), self.matrix, part.side)

    def _size(self, recording: Recording) -> int:
        """Bytes of its k-space, by its header."""
        coils = self.config.coils if recording.kind == "image" else self.config.virtual_coils or recording.shape[1]
        return recording.shape[0] * coils * self.matrix**2 * np.dtype(np.complex64).itemsize


def _counted(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _joined(volumes: Sequence[KSpace]) -> KSpace:
    """Raises ValueError if a patient's recordings differ in coils."""
    coils = sorted({volume.shape[1] for volume in volumes})
    if len(coils) > 1:
        raise ValueError(f"recordings of one patient have {coils[0]} to {coils[-1]} coils; set virtual_coils")
    return volumes[0] if len(volumes) == 1 else np.concatenate(volumes)


def _slices(count: int, split: str) -> slice:
    """Of a patient who is divided: the block of slices that a split has; empty: all."""
    if not split:
        return slice(None)
    ends = np.cumsum((0, *shares(count)))
    index = [*SPLITS].index(split)  # type: ignore[arg-type]
    return slice(int(ends[index]), int(ends[index + 1]))


def _is_direct(recording: Recording) -> bool:
    """Whether single slices of its k-space can be read from its file."""
    return recording.reader == "fastmri" and recording.kind == "kspace"


def _read_rows(recording: Recording, rows: Rows) -> KSpace:
    """Slices of a file in fastMRI's form, by ascending index. Raises ValueError that names the file."""
    from sites.sources.checks import naming
    from sites.sources.hdf5 import opened

    assert _is_direct(recording)
    (path,) = recording.paths
    with naming(path), opened(path) as file:
        kspace: KSpace = np.asarray(file["kspace"][rows if recording.shape[0] > 1 else ()], dtype=np.complex64)
        if kspace.size != len(rows) * np.prod(recording.shape[1:]) or not np.isfinite(kspace).all():
            raise ValueError("kspace is not what it was when the run began; restore the file")
        return kspace.reshape(len(rows), *recording.shape[1:])
