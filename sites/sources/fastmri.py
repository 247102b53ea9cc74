"""fastMRI's HDF5 (Zbontar et al., arXiv 1811.08839), and the FL-MRCM layout `DATASET/{T1,T2}/{train,val,test}/*.h5`.

`kspace`, complex [S, H, W] of one coil or [S, C, H, W]; perhaps `mask`, of what was measured; `ismrmrd_header`;
attributes `acquisition` and `patient_id`; `data prepare` adds `field_strength` (tesla), `scanner`,
`synthesised` and `readout` (see `Recording`). A file with a reconstruction only (`reconstruction_rss`,
`reconstruction_esc`; float [S, H, W]) is an image. fastMRI's own target is the central part of the image that k-space
gives: of our target, then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.sources.base import KSpace
from sites.sources.checks import as_kspace, as_magnitude, check_kspace, naming, one_line
from sites.sources.geometry import SQUARE
from sites.sources.hdf5 import SUFFIXES, Header, acquisitions, elements, header, number, opened, text
from sites.sources.measured import seems_complete
from sites.sources.names import contrast_of, contrast_of_path, patients_of, safe, split_of
from sites.sources.recordings import Found, Image, Kind, Problem, Recording

NAME = "fastmri"
PIXELS = "by the header pixels are {:.3g} × {:.3g} mm; they are taken to be square, as in fastMRI's own images"
IMAGES = ("reconstruction_rss", "reconstruction_esc")


def find(files: Sequence[Path], root: Path) -> Found:
    """See `Reader.find`. ISMRMRD's own files are left to their reader."""
    paths = [path for path in files if path.suffix.lower() in SUFFIXES]
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for path, patient in zip(paths, patients_of(paths, root), strict=True):
        try:
            with one_line(), opened(path) as file:
                if acquisitions(file) is None:
                    recordings.append(_recording(file, path, root, patient))
        except ValueError as error:
            problems.append(Problem(path=path, reason=str(error)))
    return recordings, problems


def read(recording: Recording) -> KSpace | Image:
    """See `Reader.read`. K-space is as the file has it: what its mask leaves out is not taken away."""
    (path,) = recording.paths
    with naming(path), opened(path) as file:
        name, dataset = _dataset(file)
        array = dataset[()]
        if (recording.kind == "kspace") != (name == "kspace") or math.prod(array.shape) != math.prod(recording.shape):
            raise ValueError(f"{name} is {array.shape} now, and was {recording.shape}; the file has changed")
        if name == "kspace":
            return as_kspace(array)
        image = as_magnitude(array if array.ndim == 3 else array[np.newaxis])
        return image[image.any(axis=(1, 2))]


def read_mask(recording: Recording) -> npt.NDArray[Any] | None:
    """The file's own mask as it is, if it has one. Raises ValueError if it cannot be read."""
    (path,) = recording.paths
    with naming(path), opened(path) as file:
        return np.asarray(file["mask"][()]) if "mask" in file else None


def _recording(file: Any, path: Path, root: Path, patient: str) -> Recording:
    name, dataset = _dataset(file)
    kind: Kind = "kspace" if name == "kspace" else "image"
    shape = check_kspace(dataset.shape, dataset.dtype) if kind == "kspace" else _image_shape(dataset)
    told = _header(file)
    attributes = {key: text(file.attrs[key]) for key in ("acquisition", "patient_id", "scanner") if key in file.attrs}
    contrast = contrast_of(attributes.get("acquisition", "")) or contrast_of_path(path, root)
    strength = number(file.attrs["field_strength"]) if "field_strength" in file.attrs else told.field_strength
    own = attributes.get("patient_id")
    return Recording(
        patient=safe(own) if own else patient,
        contrast=contrast or contrast_of(told.protocol),
        reader=NAME,
        paths=(path,),
        shape=shape,
        kind=kind,
        split=split_of(path, root),
        complete=kind == "image" or _complete(dataset, shape),
        field_strength=strength,
        scanner=attributes.get("scanner") or told.scanner,
        notes=_notes(told, shape) if kind == "kspace" else (),
        readout=_readout(file, told, shape) if kind == "kspace" else 0,
        synthesised=bool(np.any(file.attrs.get("synthesised", False))),
    )


def _dataset(file: Any) -> tuple[str, Any]:
    """k-space, or else an image, by its name. Raises ValueError if there is neither."""
    import h5py

    for name in ("kspace", *IMAGES):
        if isinstance(file.get(name), h5py.Dataset):
            return name, file[name]
    held = ", ".join(sorted(file)[:6]) or "nothing"
    raise ValueError(f"there is no dataset kspace (it holds {held}); name it so, as fastMRI does")


def _complete(dataset: Any, shape: tuple[int, int, int, int]) -> bool:
    """Only the slices and coils that are looked at are read."""
    outer = dataset.ndim - 2
    return seems_complete(*shape[:2], lambda *index: np.asarray(dataset[index[:outer]]))


def _readout(file: Any, told: Header, shape: tuple[int, int, int, int]) -> int:
    """See `Recording`; a header counts that is of this matrix."""
    stored = number(file.attrs.get("readout")) or 0
    return round(stored if 0 < stored <= shape[2] else told.part * shape[2] * (shape[2] == told.matrix[0]))


def _notes(told: Header, shape: tuple[int, int, int, int]) -> tuple[str, ...]:
    short, long = sorted(told.pixel)
    uneven = (*map(float, shape[2:]),) == told.matrix and long > (1 + SQUARE) * short
    return (PIXELS.format(*told.pixel),) if uneven else ()


def _image_shape(dataset: Any) -> tuple[int, int, int, int]:
    if dataset.dtype.kind not in "fiu" or dataset.ndim not in (2, 3) or 0 in dataset.shape:
        raise ValueError(f"{dataset.name[1:]} is {dataset.dtype} of shape {dataset.shape}; give real [S, H, W]")
    slices, rows, columns = dataset.shape if dataset.ndim == 3 else (1, *dataset.shape)
    return int(slices), 1, int(rows), int(columns)


def _header(file: Any) -> Header:
    """What the header says; nothing if there is none, or it is damaged: only the samples are needed."""
    try:
        return header(elements(text(file["ismrmrd_header"][()]))) if "ismrmrd_header" in file else Header()
    except ValueError:
        return Header()
