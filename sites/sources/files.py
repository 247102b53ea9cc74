"""Patients of a real institution: files, read by their readers and brought to the federation's matrix.

Legend: S slices, C coils, H rows, W columns, M matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sites.config import SiteConfig
from sites.sources.base import KSpace, Rows
from sites.sources.forward import synthesise
from sites.sources.measured import ZERO_PHASE, checked
from sites.sources.recordings import Problem, Recording
from sites.sources.resample import field_of_view, mix, mixing, resample
from sites.sources.select import SPLITS, select, shares

SYNTHESISED = (
    "k-space was synthesised from images, which makes results too good: Shimron et al., PNAS 2022, arXiv 2109.08237"
)
BY_SLICES = "one patient, divided by slices: those tested are neighbours of those trained on, so scores are too good"
EMPTY = "slices of k-space that are zero throughout were left out"
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
        kinds = {each.kind for group in self._selection.recordings.values() for each in group}
        if config.coils > 1 and "kspace" in kinds:
            raise ValueError(f"site {config.name!r}: coils is {config.coils}, and k-space has its own; leave coils out")
        self._problems = {problem.path: problem for problem in self._selection.problems}
        self._told: set[str] = {BY_SLICES} if config.split == "slices" else set()
        self._parts: dict[str, list[Part]] = {}
        self._last: tuple[str, KSpace] = ("", np.empty(0, np.complex64))  # the patient that was read whole last

    def patients(self) -> Sequence[str]:
        """Those trained on, then those of validation and test."""
        return [name for split in SPLITS for name in self._selection.splits[split]]

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, M, M]: all recordings of the patient. With skip_bad perhaps no slice is left.

        Raises ValueError, in one line that names the file, for what cannot be used.
        """
        name, split = self._taken_apart(patient)
        whole = self._whole(name)
        return whole[_slices(len(whole), split)]

    def rows(self, patient: str, rows: Rows) -> KSpace:
        """Some slices of a patient whom `kspace` gave before, by ascending index: the same bits.

        Of fastMRI's HDF5, which `data prepare` writes, only these are read. Raises ValueError as `kspace`.
        """
        name, split = self._taken_apart(patient)
        parts = self._parts[name]
        ends = np.cumsum([len(part.rows) for part in parts])
        rows = np.arange(ends[-1])[_slices(int(ends[-1]), split)][rows]
        if not all(_is_direct(part.recording) for part in parts):
            return self._whole(name)[rows]
        found = []
        for part, end in zip(parts, ends, strict=True):
            inside = rows[(rows >= end - len(part.rows)) & (rows < end)] - (end - len(part.rows))
            if len(inside):
                found.append(self._finished(_read_rows(part.recording, part.rows[inside]), part))
        return np.concatenate(found)

    @property
    def notes(self) -> Sequence[str]:
        """What every report must say, once all patients have been read."""
        skipped = []
        if self._problems:
            first, count = next(iter(self._problems.values())), len(self._problems)
            what = "1 file was" if count == 1 else f"{count} files were"
            skipped = [f"{what} skipped as bad, the first {first.path.name}: {first.reason}"]
        return [*sorted(self._told), *skipped]

    # ---- inside -----------------------------------------------------------------------------------------

    def _taken_apart(self, patient: str) -> tuple[str, str]:
        """A patient's name in the files, and which part of the slices is meant; empty: all."""
        if self.config.split == "slices":
            name, _, split = patient.rpartition("/")
            return name, split
        return patient, ""

    def _whole(self, name: str) -> KSpace:
        if self._last[0] != name:
            again = name in self._parts
            read = [self._part(each, skip=self._skip_bad and not again) for each in self._selection.recordings[name]]
            good = [each for each in read if each is not None]
            self._parts[name] = [part for part, _ in good]
            none = np.empty((0, 1, self.matrix, self.matrix), np.complex64)
            self._last = name, _joined([kspace for _, kspace in good]) if good else none
        return self._last[1]

    def _part(self, recording: Recording, skip: bool) -> tuple[Part, KSpace] | None:
        """skip: None for a recording that cannot be used. Raises ValueError otherwise."""
        try:
            return self._used(recording)
        except (ValueError, OSError) as error:
            if not skip:
                raise ValueError(f"site {self.config.name!r}: {error}") from error
            reason = str(error).removeprefix(f"{recording.paths[0]}: ")
            self._problems[recording.paths[0]] = Problem(path=recording.paths[0], reason=reason)
            return None

    def _used(self, recording: Recording) -> tuple[Part, KSpace]:
        from sites.sources.find import read

        config, samples = self.config, read(recording)
        filled, zero_phase = checked(recording, samples, self._skip_bad)
        if not filled.all() and recording.kind == "kspace":
            self._problems[recording.paths[0]] = Problem(path=recording.paths[0], reason=EMPTY)
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
    return recording.reader == "fastmri" and recording.kind == "kspace" and recording.shape[0] > 1


def _read_rows(recording: Recording, rows: Rows) -> KSpace:
    """Slices of a file in fastMRI's form, by ascending index. Raises ValueError that names the file."""
    from sites.sources.checks import naming
    from sites.sources.hdf5 import opened

    (path,) = recording.paths
    with naming(path), opened(path) as file:
        kspace: KSpace = np.asarray(file["kspace"][rows], dtype=np.complex64)
        if kspace.size != len(rows) * np.prod(recording.shape[1:]) or not np.isfinite(kspace).all():
            raise ValueError("kspace is not what it was when the run began; restore the file")
        return kspace.reshape(len(rows), *recording.shape[1:])
