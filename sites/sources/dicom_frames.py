"""The frames of a DICOM file: where each lies, and what turns its numbers into intensities.

DICOM PS3.3: C.7.6.2 (position, orientation, spacing), C.7.6.16 (functional groups of enhanced multi-frame files). A
patient's name is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

PREFIX = b"DICM"  # after 128 bytes
PHASES = {"P", "PHASE", "R", "REAL", "I", "IMAGINARY", "PHASE MAP"}  # of ImageType: no magnitudes
UNLIKE = 1e-3  # a unit vector may differ by so much from one


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice. path, index: its file, and which of the file's frames it is; shape: rows, columns.

    series: what all frames of a volume have in common
    position: mm, of the first pixel, in DICOM's left, posterior, superior
    across, down: unit vectors along a row, towards higher columns, and down a column; spacing: mm between pixels so
    thickness: mm, or 0 if unknown; slope, intercept: intensity = slope × number + intercept
    """

    path: Path
    index: int
    series: tuple[str, ...]
    shape: tuple[int, int]
    position: Vector
    across: Vector
    down: Vector
    spacing: tuple[float, float]
    thickness: float
    slope: float
    intercept: float

    @property
    def height(self) -> float:
        """Along the normal of the slices, mm."""
        return float(self.position @ np.cross(self.across, self.down))


def header(path: Path) -> Any:
    """A pydicom Dataset without its pixels. Raises ValueError if it is no DICOM, or cannot be decoded here."""
    import pydicom

    with path.open("rb") as file:
        if file.read(132)[128:] != PREFIX:
            raise ValueError("it is no whole DICOM file (no DICM after 128 bytes); copy or convert it again")
    return pydicom.dcmread(path, stop_before_pixels=True)


def frames(dataset: Any, path: Path) -> list[Frame]:
    """All of a file's, of one series. Raises ValueError, or what pydicom raises, if it has none of use."""
    kind = {str(word).upper() for word in _values(dataset, "ImageType")}
    if kind & PHASES or "MOSAIC" in kind:
        raise ValueError(f"it is a {'mosaic' if 'MOSAIC' in kind else 'phase'} image; give magnitudes, a slice a frame")
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ValueError("it is a colour image; give the magnitude image it was made from")
    shape = int(_needed(dataset, "Rows")), int(_needed(dataset, "Columns"))
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    _check_size(dataset, path, count * shape[0] * shape[1])
    series = tuple(str(dataset.get(word, "")) for word in ("PatientID", "SeriesInstanceUID", "EchoTime"))
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    each = dataset.get("PerFrameFunctionalGroupsSequence") or [None] * count
    if len(each) != count or count < 1 or (count > 1 and each[0] is None):
        raise ValueError(f"it has {count} frames and says of {len(each)} where they lie; convert it to single slices")
    return [_frame((one, shared, dataset), path, index, series, shape) for index, one in enumerate(each)]


def _frame(
    groups: tuple[Any, Any, Any], path: Path, index: int, series: tuple[str, ...], shape: tuple[int, int]
) -> Frame:
    """groups: where to look: the frame's functional groups, those of all frames (or None), the dataset."""
    position = _vector(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    directions = _vector(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    down, across = _vector(groups, "PixelMeasuresSequence", "PixelSpacing", 2)  # between rows, between columns
    unit = np.array([[1, 0], [0, 1]])
    if np.abs(directions.reshape(2, 3) @ directions.reshape(2, 3).T - unit).max() > UNLIKE:
        raise ValueError("ImageOrientationPatient holds no two unit vectors at right angles; is the header damaged?")
    thickness = _group(groups, "PixelMeasuresSequence", "SliceThickness")
    slope = _group(groups, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _group(groups, "PixelValueTransformationSequence", "RescaleIntercept")
    return Frame(
        path=path,
        index=index,
        series=series,
        shape=shape,
        position=position,
        across=directions[:3],
        down=directions[3:],
        spacing=(float(across), float(down)),
        thickness=float(thickness or 0),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )


def _check_size(dataset: Any, path: Path, pixels: int) -> None:
    """Raises ValueError if the file is too short for its pixels, or if they are compressed in a way we cannot undo."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise ValueError("it has no transfer syntax, so that its pixels mean nothing; convert it again")
    if syntax.is_compressed and not syntax.is_deflated:
        try:
            decoder = get_decoder(syntax)
        except NotImplementedError:
            raise ValueError(f"pydicom cannot decode {syntax.name}; decompress it (dcmtk, gdcmconv --raw)") from None
        if not decoder.is_available:
            raise ValueError(
                f"{syntax.name} needs one more package: pip install pylibjpeg[all]; or decompress it (gdcmconv --raw)"
            )
    elif not syntax.is_deflated:
        needed, size = pixels * int(_needed(dataset, "BitsAllocated")) // 8, path.stat().st_size
        if pixels < 1 or size < needed:
            raise ValueError(f"it has {size} bytes, and its pixels alone need {needed}: it is not whole; copy it again")


def _group(groups: tuple[Any, Any, Any], sequence: str, word: str) -> Any:
    """A value of a frame: of its own group, of that of all frames, or of the dataset, None if there is none."""
    frame, shared, dataset = groups
    for group in (frame, shared):
        if group is not None and group.get(sequence) and word in group[sequence][0]:
            return group[sequence][0].get(word)
    return dataset.get(word)


def _vector(groups: tuple[Any, Any, Any], sequence: str, word: str, length: int) -> Vector:
    found = _group(groups, sequence, word)
    values = np.array([float(value) for value in found] if found is not None else [])
    if values.shape != (length,) or not np.isfinite(values).all():
        raise ValueError(f"{word} is {'missing' if found is None else 'damaged'}, so nothing says where it lies")
    return values


def _values(dataset: Any, word: str) -> list[Any]:
    found = dataset.get(word)
    return [] if found is None else [found] if isinstance(found, str) else list(found)


def _needed(dataset: Any, word: str) -> Any:
    if dataset.get(word) is None:
        raise ValueError(f"{word} is missing: it holds no image, or is not whole")
    return dataset.get(word)
