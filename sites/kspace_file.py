"""A file or a DICOM folder that a network is applied to, and what of its k-space was measured.

All formats of `sites.sources.find`. An image becomes k-space by its Fourier transform, without phase or noise.

Legend: S slices, C coils, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.masks import Mask
from sites.physics import to_kspace
from sites.sources import arrays, fastmri
from sites.sources.base import KSpace
from sites.sources.find import find, read
from sites.sources.measured import SYNTHESISED, ZERO_PHASE, padded, pattern, samples, synthesised
from sites.sources.recordings import Recording

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Some slices of one patient in k-space.

    name: seeds the mask, as a patient's name does; site: the institution whose patient it is, or empty; index: which
        of its patients
    kspace: complex64 [S, C, H, W]; complete: whether it is fully sampled, so that the truth is known
    mask: bool, what is taken as measured: [S, W] columns or [S, H, W] samples; None until one is drawn
    sampling: how the mask came about, in words; empty: slices without any signal
    notes: what the user should know of where it comes from, a line each
    """

    name: str
    site: str = ""
    index: int | None = None
    kspace: KSpace
    complete: bool = True
    mask: Mask | None = None
    sampling: str = ""
    empty: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def filled(self) -> list[int]:
        """The slices with a signal."""
        return [index for index in range(len(self.kspace)) if index not in self.empty]

    @property
    def fraction(self) -> float:
        """The part of k-space that the mask measures, over the slices with a signal."""
        assert self.mask is not None
        return float(self.mask[self.filled].mean())

    @property
    def shared_mask(self) -> Mask:
        """The mask as a file has it: [W] or [H, W] if it is every slice's, else [S, H, W]."""
        assert self.mask is not None
        slices, _, *sides = self.kspace.shape
        every = self.mask if self.mask.ndim == 3 else np.broadcast_to(self.mask[:, np.newaxis], (slices, *sides))
        mask: Mask = self.mask[0] if (self.mask == self.mask[0]).all() else every
        return mask


def read_volume(path: Path, coils: bool = False) -> Volume:
    """Read a file, or the one series of a folder. coils: the first axis of a 3-D array is coils, of one slice.

    Raises ValueError, in one line, if it cannot be read, or there is more than one recording.
    """
    recordings, problems = find(path)
    if not recordings:
        raise ValueError(f"{problems[0].path}: {problems[0].reason}")
    if len(recordings) > 1:
        some = ", ".join(f"{each.patient} {each.contrast}".strip() for each in recordings[:4])
        more = ", …" if len(recordings) > 4 else ""
        raise ValueError(f"{path} holds {len(recordings)} recordings ({some}{more}); give one file, or one series")
    (recording,) = recordings
    array: Array = read(recording)
    if recording.kind == "image":
        if coils:
            raise ValueError(f"{path}: --coils is for k-space, and this is an image; leave it out")
        return _of_image(recording, array)
    try:
        return _measured(recording, _as_coils(array) if coils else array)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _of_image(recording: Recording, image: npt.NDArray[np.float32]) -> Volume:
    """As if every slice had been scanned in full. image: [S, H, W]."""
    left_out = recording.shape[0] - len(image)
    dropped = (f"slices without any signal were left out: {left_out}",) if left_out else ()
    notes = (SYNTHESISED, *recording.notes, *dropped)
    kspace = to_kspace(image.astype(np.complex64))[:, np.newaxis]
    return Volume(name=recording.patient, kspace=kspace, sampling="fully sampled", notes=notes)


def _as_coils(kspace: KSpace) -> KSpace:
    """[S, 1, H, W] -> [1, S, H, W]."""
    if kspace.shape[1] > 1:
        raise ValueError("kspace has 4 axes; --coils is for arrays of 3: coils, rows, columns")
    if len(kspace) == 1:
        raise ValueError("kspace is one slice of one coil; --coils is for arrays of 3 axes: coils, rows, columns")
    return kspace.swapaxes(0, 1)


def _measured(recording: Recording, kspace: KSpace) -> Volume:
    """Raises ValueError if the file's own mask does not fit."""
    signal = samples(kspace)
    filled = signal.any(axis=(1, 2))
    empty = tuple(int(index) for index in np.flatnonzero(~filled))
    found = pattern(signal)
    is_padded = padded(found[filled])
    complete = bool(found.all()) or is_padded
    told = fastmri.read_mask(recording) if recording.reader == fastmri.NAME else None
    words = "fully sampled"
    mask = None
    if told is not None:
        mask = _mask(told, signal.shape)
        words = f"{_beside(mask, signal, complete)}by the file's mask"
    elif not complete:
        mask = found
        words = f"{'columns' if found.ndim == 2 else 'a 2-D pattern'}, to judge by the file's zeros"
    words += " (zero-padded)" if is_padded else ""
    notes = tuple(note for note in recording.notes if note != arrays.AXES)  # who reconstructs has --coils before them
    if recording.synthesised or (complete and synthesised(kspace)):
        notes = (SYNTHESISED if recording.synthesised else ZERO_PHASE, *notes)
    return Volume(
        name=recording.patient,
        kspace=kspace,
        complete=complete,
        mask=mask,
        sampling=words,
        empty=empty,
        notes=notes,
    )


def _beside(mask: Mask, signal: Mask, complete: bool) -> str:
    """What there is besides what the mask measures, in words. Raises ValueError if it measures nothing."""
    inside = signal & (mask[:, np.newaxis] if mask.ndim == 2 else mask)
    if not inside.any():
        raise ValueError("mask leaves nothing of kspace but zeros; do they belong together?")
    beyond = bool((signal & ~inside).any())
    return "full k-space, " if complete else "what lies outside is left out, " if beyond else ""


def _mask(told: Array, shape: tuple[int, ...]) -> Mask:
    """A file's mask -> bool [S, W] or [S, H, W]. Raises ValueError if it does not fit kspace or is no mask."""
    slices, rows, columns = shape
    if told.shape not in ((columns,), (rows, columns), shape):
        raise ValueError(f"mask has shape {told.shape}; with this kspace give ({columns},) or ({rows}, {columns})")
    if told.dtype.kind not in "biuf" or not np.isin(told, (0, 1)).all():
        raise ValueError(f"mask ({told.dtype}) is not only 0 and 1; 1 is what was measured")
    mask = told.astype(bool)
    return mask if mask.ndim == 3 else np.broadcast_to(mask, (slices, *mask.shape)).copy()
