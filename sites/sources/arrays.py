"""Bare k-space: numpy's `.npy`, and BART's `.cfl` with its `.hdr` (mrirecon.github.io/bart).

numpy: complex [H, W], [S, H, W] or [S, C, H, W]; three axes are slices, rows, columns. BART: column-major complex64 of
16 dimensions; 0 is read-out and becomes rows, 1 is phase encoding and becomes columns (along which fastMRI, and we,
undersample), 2 or 13 is slices, 3 is coils, the others are 1. Zero frequency in the centre, as fastMRI has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.sources.base import KSpace
from sites.sources.checks import as_kspace, check_kspace, check_size, naming, one_line, reason
from sites.sources.measured import seems_complete
from sites.sources.names import contrast_of_path, patients_of, split_of
from sites.sources.recordings import Found, Problem, Recording

NAME = "arrays"
NPY, CFL, HDR = ".npy", ".cfl", ".hdr"
SLICES = (2, 13)  # BART's second phase encoding, and its own dimension for slices
AXES = "its first axis is taken as slices; where it is coils, run.py reconstruct --coils"
PLANES = "dimension 2 is taken as slices; if it is a third encoding, transform it first (bart fft -u -i 4)"


def find(files: Sequence[Path], root: Path) -> Found:
    """See `Reader.find`. Every `.npy`, `.cfl` and BART's `.hdr` without one is looked at."""
    paths = [path for path in files if path.suffix.lower() in (NPY, CFL) or _is_lone_header(path, files)]
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for path, patient in zip(paths, patients_of(paths, root), strict=True):
        try:
            with one_line():
                recordings.append(_recording(path, root, patient))
        except ValueError as error:
            problems.append(Problem(path=path, reason=str(error)))
    return recordings, problems


def read(recording: Recording) -> KSpace:
    """See `Reader.read`."""
    path = recording.paths[0]
    with naming(path):
        kspace = as_kspace(np.array(_open(path)))
        if kspace.shape != recording.shape:
            raise ValueError(f"kspace is {kspace.shape} now, and was {recording.shape}; the file has changed")
        return kspace


def _recording(path: Path, root: Path, patient: str) -> Recording:
    array = _open(path)
    shape = check_kspace(array.shape, array.dtype)
    slices = array.reshape(shape)  # of a memory map: nothing is read
    bart = path.suffix.lower() != NPY
    return Recording(
        patient=patient,
        contrast=contrast_of_path(path, root),
        reader=NAME,
        paths=(path.with_suffix(CFL), path.with_suffix(HDR)) if bart else (path,),
        shape=shape,
        kind="kspace",
        split=split_of(path, root),
        complete=seems_complete(*shape[:2], lambda index, coil: np.asarray(slices[index, coil])),
        notes=_notes(path, array.ndim),
    )


def _notes(path: Path, axes: int) -> tuple[str, ...]:
    if path.suffix.lower() == NPY:
        return (AXES,) if axes == 3 else ()
    return (PLANES,) if _dimensions(path)[SLICES[0]] > 1 else ()


def _open(path: Path) -> npt.NDArray[Any]:
    """A memory map. Raises ValueError if the file is shorter than it says."""
    if path.suffix.lower() != NPY:
        return _open_cfl(path)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
        if dtype.hasobject:
            raise ValueError("its objects are Python's")
        if 0 in shape:
            return np.empty(shape, dtype)
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        check_size(path.stat().st_size, array.offset + array.nbytes)  # type: ignore[attr-defined]
    except OSError:
        raise
    except Exception as error:  # a damaged header is evaluated as Python, and fails as such
        raise ValueError(f"it is no whole .npy file of numbers ({reason(error)})") from error
    return array


# ---- BART -----------------------------------------------------------------------------------------------


def _open_cfl(path: Path) -> npt.NDArray[Any]:
    """complex64 [S, C, H, W], a memory map."""
    dims = _dimensions(path)
    others = {i: n for i, n in enumerate(dims) if n > 1 and i not in (0, 1, 3, *SLICES)}
    if others or min(dims[i] for i in SLICES) > 1:
        raise ValueError(f"its dimensions are {dims}; beside read-out, phase, slices and coils (0 to 3) all must be 1")
    data, size = path.with_suffix(CFL), 8 * int(np.prod([float(n) for n in dims]))
    if not data.is_file():
        raise ValueError(f"{data.name} is not beside it; BART's k-space is both")
    if data.stat().st_size != size:
        raise ValueError(f"{data.name} has {data.stat().st_size} bytes, and {size} by its .hdr; copy both again")
    whole = np.memmap(data, dtype=np.complex64, mode="r", shape=dims, order="F")
    rows, columns, _, coils = dims[:4]
    slices = max(dims[i] for i in SLICES)
    array: npt.NDArray[Any] = whole.reshape((rows, columns, slices, coils) if dims[2] > 1 else
                                            (rows, columns, coils, slices), order="F")  # fmt: skip
    return array.transpose((2, 3, 0, 1) if dims[2] > 1 else (3, 2, 0, 1))


def _dimensions(path: Path) -> tuple[int, ...]:
    """16 numbers, at least 1. Raises ValueError if the header has none."""
    header = path.with_suffix(HDR)
    if not header.is_file():
        raise ValueError(f"{header.name} is not beside it; BART's k-space is both")
    lines = header.read_bytes()[:4096].decode("utf-8", "replace").splitlines()
    words = lines[1].split() if len(lines) > 1 and lines[0].strip() == "# Dimensions" else []
    if not 1 <= len(words) <= 16 or not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise ValueError(f"{header.name} does not begin with '# Dimensions' and up to 16 numbers above 0, as BART's do")
    return (*map(int, words), *[1] * (16 - len(words)))


def _is_lone_header(path: Path, files: Sequence[Path]) -> bool:
    """Whether it is BART's header, and its `.cfl` is not among the files; other formats have `.hdr` too."""
    if path.suffix.lower() != HDR or path.with_suffix(CFL) in set(files):
        return False
    with path.open("rb") as file:
        return file.read(12) == b"# Dimensions"
