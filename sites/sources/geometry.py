"""A volume as it lies in the patient -> slices as a radiologist looks at them.

Slices are axial. A scan of slices that are more than THICK times as thick as their pixels, in another plane, is cut
as it was acquired: coronal or sagittal. Oblique scans count as the plane they are closest to, and are not turned.

Radiological convention, as if one stood at the patient's feet, or in front, or at the left side:
    axial:    rows from anterior to posterior, columns from the patient's right to left, slices from feet to head
    coronal:  rows from superior to inferior,  columns from the patient's right to left, slices from back to front
    sagittal: rows from superior to inferior,  columns from anterior to posterior, slices from left to right
Pixels become square: where the voxel's sides in the plane differ, the k-space of the finer one is cropped, so that
nothing is squeezed and no sample is invented.

Legend: R, A, S axes towards right, anterior, superior; affines give these in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.sources.recordings import Image

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]

THICK = 2.0
SQUARE = 0.01  # sides of a pixel that differ by less are one
SHORTEST, LONGEST = 1e-3, 1e3  # sides of a voxel that are believed, mm
PLANES = {2: "axial", 1: "coronal", 0: "sagittal"}
_ROWS, _COLUMNS = {2: 1, 1: 2, 0: 2}, {2: 0, 1: 0, 0: 1}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a volume becomes slices.

    axes: of the volume, that become slices, rows, columns; reverse: which of these run the other way
    shape: [S, H, W] after all; plane: axial, coronal or sagittal
    """

    axes: tuple[int, int, int]
    reverse: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    plane: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What is out of the ordinary."""
        thick = f"slices are {self.plane}, as they were acquired: too thick to cut them axially"
        return () if self.plane == PLANES[2] else (thick,)


def plan(shape: tuple[int, int, int], affine: Affine) -> Plan:
    """shape: of the volume; affine: [4, 4], voxel -> R, A, S in mm. Raises ValueError if it is degenerate."""
    from nibabel.orientations import io_orientation

    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not ((sides > SHORTEST) & (sides < LONGEST)).all():
        raise ValueError(f"its affine gives voxels of {_by(sides)} mm; set the true one (nibabel: set_sform)")
    if abs(np.linalg.det(affine[:3, :3] / sides)) < SQUARE:
        raise ValueError("its affine is degenerate (two axes are one); set the true one (nibabel: set_sform)")
    turned = io_orientation(affine)  # of each axis: which of R, A, S, and whether along it
    axis = {int(towards): index for index, (towards, _) in enumerate(turned)}
    along = {int(towards): sign > 0 for towards, sign in turned}
    through = _through({towards: (shape[axis[towards]], float(sides[axis[towards]])) for towards in PLANES})
    order = (through, _ROWS[through], _COLUMNS[through])
    slices, rows, columns = (axis[towards] for towards in order)
    return Plan(
        axes=(slices, rows, columns),
        reverse=(not along[through], along[order[1]], along[order[2]]),
        shape=(shape[slices], *square((shape[rows], shape[columns]), (sides[rows], sides[columns]))),
        plane=PLANES[through],
    )


def cut(volume: Array, plan: Plan) -> Image:
    """Volume, real -> float32 [S, H, W], magnitudes if the volume's are."""
    steps = tuple(slice(None, None, -1 if back else 1) for back in plan.reverse)
    image = np.ascontiguousarray(volume.transpose(plan.axes)[steps], dtype=np.float32)
    for axis, length in zip((1, 2), plan.shape[1:], strict=True):
        image = _coarser(image, length, axis)
    return image


def _through(sides: dict[int, tuple[int, float]]) -> int:
    """Which of R, A, S the slices follow each other along. sides: of each, number and side of voxels, mm."""
    single = [towards for towards, (count, _) in sides.items() if count == 1]
    if len(single) == 1:
        return single[0]
    thickest = max(sides, key=lambda towards: (sides[towards][1], towards))
    finest = min(side for _, side in sides.values())
    return thickest if sides[thickest][1] > THICK * finest else 2


def square(counts: tuple[int, int], sides: tuple[float, float]) -> tuple[int, int]:
    """Rows and columns of square pixels, as coarse as the coarser of these sides."""
    coarse = max(sides)
    if coarse <= (1 + SQUARE) * min(sides):
        return counts
    rows, columns = (max(1, round(count * side / coarse)) for count, side in zip(counts, sides, strict=True))
    return rows, columns


def _coarser(image: Image, length: int, axis: int) -> Image:
    """The middle of k-space along one axis; the field of view and the intensities stay."""
    have = image.shape[axis]
    if length == have:
        return image
    kspace = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes=axis), axis=axis), axes=axis)
    start = have // 2 - length // 2
    kept = np.fft.ifftshift(np.take(kspace, range(start, start + length), axis=axis), axes=axis)
    coarse = np.fft.fftshift(np.fft.ifft(kept, axis=axis), axes=axis)
    return np.asarray(np.abs(coarse) * (length / have), dtype=np.float32)


def _by(sides: Affine) -> str:
    return " × ".join(f"{side:.3g}" for side in sides)
