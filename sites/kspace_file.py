"""K-space in a file, and what of it was measured.

fastMRI's form (Zbontar et al., arXiv 1811.08839): HDF5 with `kspace`, complex [S, H, W] or [S, C, H, W], transformed
as engine.fourier does, and perhaps `mask`. Or a numpy array. What was not measured is exactly zero.

Legend: S slices, C coils, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.masks import Mask
from sites.sources.base import KSpace

Array = npt.NDArray[Any]

HDF5 = (".h5", ".hdf5")
STRAY = 0.01  # at most this part of what was measured is 0 by chance
UNEVEN = 1 / 16  # of a side: by how much the zeros around padded k-space may differ left and right


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Some slices of one patient in k-space.

    name: seeds the mask, as a patient's name does; site: the institution whose simulated patient it is, or empty
    kspace: complex64 [S, C, H, W]; complete: whether it is fully sampled, so that the truth is known
    mask: bool, what is taken as measured: [S, W] columns or [S, H, W] samples; None until one is drawn
    sampling: how the mask came about, in words; empty: slices without any signal
    """

    name: str
    site: str = ""
    kspace: KSpace
    complete: bool = True
    mask: Mask | None = None
    sampling: str = ""
    empty: tuple[int, ...] = ()

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
    """Read a file. coils: the first axis of a 3-D array is coils, of one slice.

    Raises ValueError, in one line, if it cannot be read or is not k-space.
    """
    try:
        if path.suffix.lower() == ".npy":
            found = {"kspace": _read_npy(path)}
        elif path.suffix.lower() in HDF5:
            found = _read_hdf5(path)
        else:
            raise ValueError(f"k-space is read from .h5, .hdf5 and .npy, not from {path.suffix or 'such a name'}")
        kspace = _as_slices(found["kspace"], coils)
        return _measured(path.stem, kspace, found.get("mask"))
    except (OSError, EOFError, RuntimeError) as error:
        told = str(error).splitlines()[0] if str(error) else "it is empty"
        raise ValueError(f"{path} cannot be read ({told}); is it whole, and in the form its name says?") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


# ---- reading --------------------------------------------------------------------------------------------


def _read_npy(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"it is no whole .npy file of numbers ({str(error).splitlines()[0]})") from error
    return array


def _read_hdf5(path: Path) -> dict[str, Array]:
    import h5py

    with h5py.File(path, "r") as file:
        if not isinstance(file.get("kspace"), h5py.Dataset):
            held = ", ".join(sorted(file)[:6]) or "nothing"
            raise ValueError(f"there is no dataset kspace (it holds {held}); name it so, as fastMRI does")
        return {name: np.asarray(file[name][()]) for name in ("kspace", "mask") if name in file}


def _as_slices(array: Array, coils: bool) -> KSpace:
    """Any array -> complex64 [S, C, H, W]. Raises ValueError if it is no k-space."""
    if array.dtype.kind != "c":
        raise ValueError(f"kspace is {array.dtype} of shape {array.shape}; give complex numbers")
    if coils and array.ndim != 3:
        raise ValueError(f"kspace has {array.ndim} axes; --coils is for arrays of 3: coils, rows, columns")
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise ValueError(f"kspace has shape {array.shape}; give [H, W], [S, H, W] or [S, C, H, W]")
    slices = array[(np.newaxis,) * (2 if array.ndim == 2 else coils)]
    slices = slices if slices.ndim == 4 else slices[:, np.newaxis]
    with np.errstate(over="ignore"):
        kspace: KSpace = np.ascontiguousarray(slices, dtype=np.complex64)
    for index, part in enumerate(kspace):
        if not np.isfinite(part).all():
            raise ValueError(f"slice {index} of kspace (from 0) holds nan, inf or more than single precision can")
    return kspace


# ---- what was measured ----------------------------------------------------------------------------------


def _measured(name: str, kspace: KSpace, told: Array | None) -> Volume:
    """told: the file's own mask. Raises ValueError if there is no signal, or the mask does not fit."""
    samples: Mask = np.stack([(part != 0).any(axis=0) for part in kspace])  # [S, H, W]
    filled = np.array([part.any() for part in samples])
    if not filled.any():
        raise ValueError("kspace is zero everywhere; give measured k-space")
    empty = tuple(int(index) for index in np.flatnonzero(~filled))
    pattern = _pattern(samples, filled)
    padded = _padding(pattern[filled])
    complete = bool(pattern.all()) or padded
    words = "fully sampled"
    mask = None
    if told is not None:
        mask = _mask(told, samples.shape)
        inside = samples & (mask[:, np.newaxis] if mask.ndim == 2 else mask)
        if not inside.any():
            raise ValueError("mask leaves nothing of kspace but zeros; do they belong together?")
        beyond = bool((samples & ~inside).any())
        left = "full k-space, " if complete else "what lies outside is left out, " if beyond else ""
        words = f"{left}by the file's mask"
    elif not complete:
        mask = pattern
        words = f"{'columns' if pattern.ndim == 2 else 'a 2-D pattern'}, to judge by the file's zeros"
    words += " (zero-padded)" if padded else ""
    return Volume(name=name, kspace=kspace, complete=complete, mask=mask, sampling=words, empty=empty)


def _pattern(samples: Mask, filled: Mask) -> Mask:
    """[S, H, W], where any coil has a signal -> columns [S, W] if these explain it, else the samples as they are.

    An empty slice counts as measured like the first that is not.
    """
    samples = samples.copy()
    samples[~filled] = samples[np.argmax(filled)]
    columns: Mask = np.logical_or.reduce(samples, axis=1)
    covered = int(columns.sum()) * samples.shape[1]
    return columns if covered - int(samples.sum()) <= STRAY * covered else samples


def _padding(pattern: Mask) -> bool:
    """Whether it is k-space of a smaller matrix, full and in the centre, with zeros around: no undersampling.

    fastMRI's columns are padded so. At least half of a side was measured: less is a low-resolution scan.
    """
    if pattern.all() or (pattern != pattern[0]).any():
        return False
    box = []
    for index, side in zip(np.nonzero(pattern[0]), pattern[0].shape, strict=True):
        first, last = int(index.min()), int(index.max()) + 1
        if 2 * (last - first) < side or abs(first - (side - last)) > UNEVEN * side:
            return False
        box.append(slice(first, last))
    return bool(pattern[0][tuple(box)].all())


def _mask(told: Array, shape: tuple[int, ...]) -> Mask:
    """A file's mask -> bool [S, W] or [S, H, W]. Raises ValueError if it does not fit kspace or is no mask."""
    slices, rows, columns = shape
    if told.shape not in ((columns,), (rows, columns), shape):
        raise ValueError(f"mask has shape {told.shape}; with this kspace give ({columns},) or ({rows}, {columns})")
    if told.dtype.kind not in "biuf" or not np.isin(told, (0, 1)).all():
        raise ValueError(f"mask ({told.dtype}) is not only 0 and 1; 1 is what was measured")
    mask = told.astype(bool)
    return mask if mask.ndim == 3 else np.broadcast_to(mask, (slices, *mask.shape)).copy()
