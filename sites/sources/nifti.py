"""NIfTI: trees as IXI (brain-development.org), BraTS (2020, and its successors) and hospitals have them.

One magnitude volume a file, `.nii` or `.nii.gz`; names tell patient and contrast (see `sites.sources.names`), the
affine how it lies (see `sites.sources.geometry`). Segmentations and masks are passed over.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from sites.sources.checks import LARGEST, as_magnitude, check_openable, check_size, naming, one_line, quiet
from sites.sources.geometry import Plan, cut, plan
from sites.sources.names import contrast_of_path, is_label, patients_of, split_of
from sites.sources.recordings import Found, Image, Problem, Recording

NAME = "nifti"
SUFFIXES = (".nii", ".nii.gz")
SIZES = (348, 540)  # bytes of the headers of NIfTI-1 and 2


def find(files: Sequence[Path], root: Path) -> Found:
    """See `Reader.find`."""
    passed = set(labels(files))
    paths = [path for path in files if path.name.lower().endswith(SUFFIXES) and path not in passed]
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for path, patient in zip(paths, patients_of(paths, root), strict=True):
        try:
            with one_line(), quiet():
                check_openable(path)
                with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
                    _, planned = _checked(_header(file), None if _is_gzip(path) else path.stat().st_size)
        except ValueError as error:
            problems.append(Problem(path=path, reason=str(error)))
            continue
        slices, rows, columns = planned.shape
        recordings.append(
            Recording(
                patient=patient,
                contrast=contrast_of_path(path, root),
                reader=NAME,
                paths=(path,),
                shape=(slices, 1, rows, columns),
                kind="image",
                split=split_of(path, root),
                notes=planned.notes,
            )
        )
    return recordings, problems


def read(recording: Recording) -> Image:
    """See `Reader.read`. The whole of a `.gz` is read, so that its checksum counts."""
    (path,) = recording.paths
    with naming(path), quiet():
        check_openable(path)
        content = gzip.decompress(path.read_bytes()) if _is_gzip(path) else path.read_bytes()
        header = _header(BytesIO(content))
        shape, planned = _checked(header, len(content))
        if planned.shape != (recording.shape[0], *recording.shape[2:]):
            raise ValueError("the file has changed since it was found")
        volume = as_magnitude(np.asarray(header.data_from_fileobj(BytesIO(content))).reshape(shape))
        magnitude = as_magnitude(cut(volume, planned))
        return magnitude[magnitude.any(axis=(1, 2))]


def labels(files: Sequence[Path]) -> list[Path]:
    """The segmentations and masks, by their names, which `find` passes over."""
    return [path for path in files if path.name.lower().endswith(SUFFIXES) and is_label(path)]


# ---- the file -------------------------------------------------------------------------------------------


def _header(file: IO[bytes] | gzip.GzipFile) -> Any:
    """Of an open file, from its beginning. Raises ValueError, or what nibabel does, if it is none."""
    import nibabel

    start = file.read(4)
    size = next((n for n in (int.from_bytes(start, "little"), int.from_bytes(start, "big")) if n in SIZES), 0)
    if not size:  # nibabel would mend that
        raise ValueError("it does not begin as NIfTI does; is it whole, and is its header?")
    file.seek(0)
    return (nibabel.Nifti1Header if size == SIZES[0] else nibabel.Nifti2Header).from_fileobj(file)


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _checked(header: Any, size: int | None) -> tuple[tuple[int, int, int], Plan]:
    """The three sides of the volume and how to cut it. size: of the whole file, unpacked; None: not known yet.

    Raises ValueError if it is no single magnitude volume, or not of this size.
    """
    shape = tuple(int(side) for side in header.get_data_shape())
    dtype = header.get_data_dtype()
    if dtype.fields is not None:
        raise ValueError("it is a colour image (RGB); give the magnitude image it was made from")
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}; give real magnitudes")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise ValueError(f"it is {len(shape)}-D, of shape {shape}; give one 3-D volume a file (nibabel.four_to_three)")
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"its shape is {shape}; give a volume of rows, columns and slices")
    rows, columns, slices = (*shape, 1)[:3]
    if max(rows, columns) == 1 or math.prod((rows, columns, slices)) > LARGEST:
        raise ValueError(f"its shape is {shape}, which no scan has; is the header damaged?")
    if size is not None:
        check_size(size, int(header.get_data_offset()) + rows * columns * slices * dtype.itemsize)
    if int(header["qform_code"]) <= 0 and int(header["sform_code"]) <= 0:
        raise ValueError("nothing says how it lies (no sform, no qform); set it (nibabel: set_sform(affine, code=1))")
    return (rows, columns, slices), plan((rows, columns, slices), np.asarray(header.get_best_affine(), np.float64))
