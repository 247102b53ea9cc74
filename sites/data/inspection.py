"""What a folder of data holds, as numbers and words; nothing is drawn here.

Every file is read once, one at a time: what a header promises, only the samples can keep.

Legend: S slices, C coils, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from engine.types import Split
from sites.institutions import survey
from sites.sources.base import KSpace
from sites.sources.measured import synthesised
from sites.sources.recordings import Image, Kind, Problem, Recording
from sites.sources.select import split_problems

BINS = 48
BRIGHTEST = 99.9  # percentile that a histogram ends at: what is above are vessels and artefacts
SAMPLED = 5  # slices of a volume that its histogram is made of

Values = npt.NDArray[np.float64]
Advance = Callable[[int, str], object]
"""Told how many samples were looked at, and of which file."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the samples of one volume say.

    histogram: [BINS] parts of the pixels, from 0 to `top`, the percentile BRIGHTEST of the intensities
    picture: [H, W], the middle one of the slices with a signal; slices: as read, of which `empty` have none
    synthesised: whether k-space was made from an image, as the file says, or its symmetry
    """

    histogram: Values
    top: float
    picture: Image
    slices: int
    empty: int
    synthesised: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """The volumes of one contrast at one institution that are of one kind. Pairs are smallest and largest.

    patients: each with the split that the layout says; notes: what readers say of how they read
    synthesised, empty: of the volumes that were looked at, how many have k-space made from images, and their slices
    without any signal; histogram: [BINS], the mean over these volumes; empty, as is picture, if none could be read.
    """

    institution: str
    contrast: str
    kind: Kind
    complete: bool
    patients: Mapping[str, Split | None]
    volumes: int
    slices: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    coils: tuple[int, int]
    fields: tuple[float, ...]
    scanners: tuple[str, ...]
    histogram: Values
    top: float
    picture: Image
    synthesised: int
    empty: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is there.

    looked_at: volumes whose samples were read, all of them unless it had to be quick; passed_over: files that are named
    as segmentations or masks
    """

    path: Path
    groups: tuple[Group, ...]
    problems: tuple[Problem, ...]
    looked_at: int
    passed_over: int = 0

    @property
    def volumes(self) -> int:
        """Of all groups."""
        return sum(group.volumes for group in self.groups)

    def institutions(self) -> dict[str, list[Group]]:
        """The groups by institution, in order of name."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.institution, []).append(group)
        return found


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be looked at: recordings by institution, and what the headers' problems are."""

    path: Path
    institutions: Mapping[str, Sequence[Recording]]
    problems: tuple[Problem, ...]
    quick: bool

    def chosen(self) -> list[Recording]:
        """Those whose samples are read: all, or one of each group."""
        groups = [group for recordings in self.institutions.values() for group in _grouped(recordings).values()]
        return [each for group in groups for each in (group[:1] if self.quick else group)]

    @property
    def samples(self) -> int:
        """How many of them that are."""
        return sum(map(size, self.chosen()))


def plan(path: Path, quick: bool = False, only: str = "") -> Plan:
    """Read all headers. only: the name of the one institution that everything belongs to; empty: sub-folders are."""
    institutions, problems = survey(path, only)
    problems = [*problems, *(each for group in institutions.values() for each in split_problems(group))]
    return Plan(path=path, institutions=institutions, problems=tuple(problems), quick=quick)


def inspect(planned: Plan, advance: Advance = lambda *_: None) -> Inspection:
    """Look at the samples. Files that cannot be read become problems."""
    from sites.sources.find import passed_over

    groups: list[Group] = []
    problems = list(planned.problems)
    chosen = {id(recording) for recording in planned.chosen()}
    looked_at = 0
    for name, recordings in planned.institutions.items():
        for volumes in _grouped(recordings).values():
            good, looks, slices = [], [], 0
            for recording in volumes:
                if id(recording) in chosen:
                    try:
                        seen = look(recording)
                    except (ValueError, OSError) as error:
                        problems.append(problem(recording.paths[0], error))
                        continue
                    finally:
                        advance(size(recording), recording.paths[0].name)
                    looks.append(seen)
                    slices += seen.slices
                else:
                    slices += recording.shape[0]
                good.append(recording)
            looked_at += len(looks)
            if good:
                groups.append(_group(name, good, looks, slices))
    return Inspection(
        path=planned.path,
        groups=tuple(groups),
        problems=tuple(problems),
        looked_at=looked_at,
        passed_over=len(passed_over(planned.path)),
    )


def problem(path: Path, error: ValueError | OSError) -> Problem:
    """What a reader refused, without the path that it begins with."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(told.split()) or type(error).__name__
    for start in (str(path), path.name):
        if line.startswith(start):
            line = line[len(start) :].lstrip(": ")
    return Problem(path=path, reason=line)


def size(recording: Recording) -> int:
    """Its samples."""
    slices, coils, rows, columns = recording.shape
    return slices * coils * rows * columns


# ---- samples --------------------------------------------------------------------------------------------


def look(recording: Recording) -> Look:
    """Read a volume. Raises ValueError if it cannot be read or holds no signal."""
    from sites.sources.find import read

    samples = read(recording)
    filled = [index for index, each in enumerate(samples) if each.any()]
    if not filled:
        raise ValueError("there is no signal in any slice")
    middle = len(filled) // 2
    spread = {filled[int(at)] for at in np.linspace(0, len(filled) - 1, min(SAMPLED, len(filled)))}
    shown = magnitude(samples[sorted(spread)])
    top = float(np.percentile(shown, BRIGHTEST)) or float(shown.max())
    counts, _ = np.histogram(shown, BINS, (0.0, top))
    return Look(
        histogram=counts / shown.size,
        top=top,
        picture=magnitude(samples[filled[middle] : filled[middle] + 1])[0],
        slices=len(samples),
        empty=len(samples) - len(filled),
        synthesised=recording.synthesised or _is_synthesised(recording, samples),
    )


def _is_synthesised(recording: Recording, samples: KSpace | Image) -> bool:
    return recording.kind == "kspace" and recording.complete and synthesised(cast(KSpace, samples))


def magnitude(samples: KSpace | Image) -> Image:
    """K-space [S, C, H, W] -> the coils' root sum of squares [S, H, W]; an image as it is."""
    if samples.ndim == 3:
        return np.asarray(samples, np.float32)
    image: Image = np.sqrt((np.abs(to_image(cast(KSpace, samples))) ** 2).sum(axis=1))
    return image


def to_image(kspace: KSpace) -> KSpace:
    """Centred unitary transform over the last two axes, as `engine.fourier.ifft2c`."""
    axes = (-2, -1)
    shifted = np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes), axes=axes, norm="ortho")
    return np.fft.fftshift(shifted, axes=axes).astype(np.complex64)


# ---- groups ---------------------------------------------------------------------------------------------


def _grouped(recordings: Iterable[Recording]) -> dict[tuple[str, Kind, bool], list[Recording]]:
    """By contrast, kind and whether complete, in this order."""
    found: dict[tuple[str, Kind, bool], list[Recording]] = {}
    for recording in recordings:
        found.setdefault((recording.contrast, recording.kind, recording.complete), []).append(recording)
    return dict(sorted(found.items()))


def _group(institution: str, recordings: Sequence[Recording], looks: Sequence[Look], slices: int) -> Group:
    first = recordings[0]
    shapes = np.array([recording.shape for recording in recordings])
    low, high = shapes.min(axis=0).tolist(), shapes.max(axis=0).tolist()
    return Group(
        institution=institution,
        contrast=first.contrast,
        kind=first.kind,
        complete=first.complete,
        patients={recording.patient: recording.split for recording in recordings},
        volumes=len(recordings),
        slices=slices,
        rows=(low[2], high[2]),
        columns=(low[3], high[3]),
        coils=(low[1], high[1]),
        fields=tuple(sorted({round(r.field_strength, 2) for r in recordings if r.field_strength})),
        scanners=tuple(sorted({r.scanner for r in recordings if r.scanner})),
        histogram=np.mean([each.histogram for each in looks], axis=0) if looks else np.zeros(0),
        top=float(np.median([each.top for each in looks])) if looks else 0.0,
        picture=looks[len(looks) // 2].picture if looks else np.zeros((0, 0), np.float32),
        synthesised=sum(each.synthesised for each in looks),
        empty=sum(each.empty for each in looks),
        notes=tuple(dict.fromkeys(note for each in recordings for note in each.notes)),
    )
