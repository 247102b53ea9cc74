"""Real anatomy: the ICBM152 tissue maps, and subjects that are smooth random deformations of them.

Fonov et al., NeuroImage 2011; 54:313-327 (ICBM152 2009), as nilearn ships them. Coordinates are millimetres from
the head's centre: x to the right, y to the front, z up. Legend: S slices, N pixels a side.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]

FIELD_OF_VIEW = 220.0
"""Side of an image, mm."""
GREY_T1W, WHITE_T1W, CSF_T1W = 0.65, 0.87, 0.28
"""Median intensity of the T1-weighted template in nearly pure grey and white matter and in CSF."""
TEXTURE_SCALE = 1 / 400
"""Template intensity a step of the stored texture stands for."""
ATROPHY = 8.0
"""By how much CSF's weight against tissue grows under full atrophy: its volume about doubles."""
_CENTER = np.array([98, 116, 78])
"""The head's centre, voxels of the full maps."""
_LOWEST, _HIGHEST = -12.0, 56.0
"""The outermost slices, mm from the centre: from above the eyes to below the vertex."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The ICBM152 maps at 1 mm, packed for one trip through an object store (17 MB).

    tissues: uint8 [X, Y, Z, 4], the box of 197 × 233 × 189 voxels that holds the brain; grey matter, white matter and
        CSF as fractions of 255; last, 128 plus the T1-weighted template's deviation from what those fractions
        predict, in steps of TEXTURE_SCALE. C-contiguous.
    center: the head's centre, voxels of that box
    """

    tissues: npt.NDArray[np.uint8]
    center: tuple[int, int, int]

    def write(self, stream: IO[bytes]) -> None:
        """What `read_maps` reads."""
        np.save(stream, np.array(self.center))
        np.save(stream, self.tissues)


def read_maps(stream: IO[bytes]) -> Maps:
    """What `Maps.write` wrote."""
    x, y, z = np.load(stream, allow_pickle=False).tolist()
    return Maps(tissues=np.load(stream, allow_pickle=False), center=(x, y, z))


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One subject's slices, float32 [S, N, N] each: fractions of tissue, and what the fractions do not say.

    texture: T1-weighted intensity beyond what grey and white matter predict (deep nuclei, thalamus)
    """

    grey: Values
    white: Values
    csf: Values
    tumour: Values
    oedema: Values
    texture: Values


def load_maps_apart() -> Maps:
    """`load_maps` in a process of its own: nilearn's 135 MB end with it. Raises OSError, in one line."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-c",
        "import gc, sys; gc.disable(); from sites.anatomy import load_maps; load_maps().write(sys.stdout.buffer); "
        "gc.freeze()",  # nothing to collect in a process that ends: of nilearn's imports that takes half a second
    ]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    if done.returncode:
        why = [f"its process ended with status {done.returncode}", *done.stderr.decode(errors="replace").split("\n")]
        last = [line.strip() for line in why if line.strip()][-1]  # of a traceback: what it is about
        raise OSError(f"the anatomy could not be loaded ({last[:500]}); is nilearn installed whole?")
    return read_maps(io.BytesIO(done.stdout))


def load_maps() -> Maps:
    """Read the maps from nilearn's wheel; takes seconds and imports nilearn."""
    from nilearn import datasets

    def read(name: str) -> Values:
        image = getattr(datasets, f"load_mni152_{name}")(resolution=1)
        return np.asarray(image.dataobj, dtype=np.float32)

    grey, white = read("gm_template"), read("wm_template")
    csf = (read("brain_mask") - grey - white).clip(0, 1)
    texture = read("template") - (GREY_T1W * grey + WHITE_T1W * white + CSF_T1W * csf)
    datasets.load_mni152_template.cache_clear()  # 35 MB that nilearn would keep
    steps = np.where(grey + white > 0.5, texture / TEXTURE_SCALE, 0)
    brain = grey + white + csf > 0
    low = [int(np.flatnonzero(brain.any(axis=others))[0]) for others in ((1, 2), (0, 2), (0, 1))]
    high = [int(np.flatnonzero(brain.any(axis=others))[-1]) + 1 for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    channels = (255 * grey[box], 255 * white[box], 255 * csf[box], 128 + steps[box])
    packed = np.stack([channel.round().clip(0, 255).astype(np.uint8) for channel in channels], axis=-1)
    x, y, z = (_CENTER - low).tolist()
    return Maps(tissues=np.ascontiguousarray(packed), center=(x, y, z))


def subject(
    maps: Maps,
    slices: int,
    pixels: int,
    shape: np.random.Generator,
    lesion: np.random.Generator | None,
    head_size: float = 1.0,
    atrophy: float = 0.0,
) -> Anatomy:
    """Axial slices of a head drawn from `shape`, with a tumour drawn from `lesion` if there is one.

    head_size: scale of the head, and of the slices' distances, which are planned on it; atrophy: 0 to 1, `_atrophied`.
    Rows run from front to back, columns from left to right; the same draws give the same head at any resolution.
    """
    x, y, z = grid(slices, pixels)
    z *= np.float32(head_size)
    points = _deformed(x, y, z, shape, head_size) + np.array(maps.center, dtype=np.float32)[:, None, None, None]
    grey, white, csf, texture = _sample(maps, points, atrophy)
    tumour = oedema = np.zeros_like(grey)
    if lesion is not None:
        tumour, oedema = _glioma(x, y, z, lesion)
        brain = grey + white + csf
        tumour *= brain
        oedema *= white + np.float32(0.5) * grey
        oedema *= 1 - tumour
        rest = 1 - tumour - oedema
        grey, white, csf = grey * rest, white * rest, csf * rest
    return Anatomy(grey=grey, white=white, csf=csf, tumour=tumour, oedema=oedema, texture=texture)


def grid(slices: int, pixels: int) -> tuple[Values, Values, Values]:
    """Coordinates of columns x [N], rows y [N] and slices z [S], mm from the head's centre."""
    across = ((np.arange(pixels) - pixels // 2) * (FIELD_OF_VIEW / pixels)).astype(np.float32)
    middle = np.full(1, (_LOWEST + _HIGHEST) / 2)
    height = np.linspace(_LOWEST, _HIGHEST, slices) if slices > 1 else middle
    return across, -across, height.astype(np.float32)


def smooth_field(x: Values, y: Values, z: Values, knots: int, random: np.random.Generator) -> Values:
    """A smooth random field, float32 [S, N, N]: a cubic B-spline of knots³ normal draws over the head's box."""
    field: Values = smooth_fields(x, y, z, knots, 1, random)[0]
    return field


def smooth_fields(x: Values, y: Values, z: Values, knots: int, count: int, random: np.random.Generator) -> Values:
    """Several such fields, float32 [count, S, N, N]."""
    coefficients = random.standard_normal((count, knots, knots, knots), dtype=np.float32)
    along_z, along_y, along_x = (_spline(t, knots, 125.0) for t in (z, y, x))
    field = np.einsum("nijk,si->nsjk", coefficients, along_z)  # einsum: BLAS would start threads for so little
    field = np.einsum("nsjk,yj->nsyk", field, along_y)
    result: Values = np.einsum("nsyk,xk->nsyx", field, along_x)
    return result


def _spline(t: Values, knots: int, extent: float) -> Values:
    """Uniform cubic B-spline basis [len(t), knots] over -extent … extent."""
    u = (np.clip(t, -extent, extent) / extent + 1) / 2 * (knots - 3)
    d = np.abs(u[:, None] - (np.arange(knots) - 1))
    near, far = 2 / 3 - d**2 + d**3 / 2, (2 - d).clip(0) ** 3 / 6
    basis: Values = np.where(d < 1, near, far).astype(np.float32)
    return basis


def _deformed(x: Values, y: Values, z: Values, random: np.random.Generator, head_size: float) -> Values:
    """Where in the maps each pixel lies: mm from the head's centre, float32 [3, S, N, N]."""
    size = 1 + 0.04 * random.standard_normal() + 0.02 * random.standard_normal(3)
    tilt = np.deg2rad(3.0) * random.standard_normal(3)
    shift = 2.5 * random.standard_normal(3)
    matrix = (_rotation(tilt) / (head_size * size.clip(0.88, 1.12))[:, None]).astype(np.float32)
    displacement = smooth_fields(x, y, z, 8, 3, random)
    displacement *= np.float32(7.0)
    position = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]))
    moved: Values = np.einsum("ij,jsyx->isyx", matrix, position)
    moved += displacement
    moved += shift.astype(np.float32)[:, None, None, None]
    return moved


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation matrix from angles about x, y, z, radians."""
    (a, b, c), (s, t, u) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, a, -s], [0, s, a]])
    about_y = np.array([[b, 0, t], [0, 1, 0], [-t, 0, b]])
    about_z = np.array([[c, -u, 0], [u, c, 0], [0, 0, 1]])
    turned: npt.NDArray[np.float64] = about_z @ about_y @ about_x
    return turned


def _sample(maps: Maps, points: Values, atrophy: float) -> tuple[Values, Values, Values, Values]:
    """Trilinear values of the maps at points [3, S, N, N]; nothing outside.

    The maps are averages of 152 heads; squaring the fractions (with that of no tissue) and making them sum to one
    again gives back boundaries about as sharp as one head's.
    """
    size = np.array(maps.tissues.shape[:3])
    flat = points.reshape(3, -1)
    inside = np.flatnonzero(((flat >= 0) & (flat < (size - 1)[:, None])).all(axis=0))
    chosen = flat[:, inside]
    base = chosen.astype(np.int32)
    part = chosen - base.astype(np.float32)
    packed = maps.tissues.reshape(-1, 4).view(np.uint32)[:, 0]  # a voxel's four values in one read
    strides = (int(size[1] * size[2]), int(size[2]))
    index = base[0] * strides[0] + base[1] * strides[1] + base[2]
    total = np.zeros((len(inside), 4), dtype=np.float32)
    along_x, along_y, along_z = ((1 - p, p) for p in part)
    for i, j, k in np.ndindex(2, 2, 2):
        weight = along_x[i] * along_y[j] * along_z[k]
        corner = packed[index + (i * strides[0] + j * strides[1] + k)]
        total += weight[:, None] * corner.view(np.uint8).reshape(-1, 4)
    fractions = total[:, :3] * np.float32(1 / 255)
    squares = fractions**2
    nothing = (1 - fractions.sum(axis=1)).clip(0) ** 2
    if atrophy:
        squares = _atrophied(squares, atrophy)
    sharp = squares / (squares.sum(axis=1) + nothing)[:, None]
    texture = (total[:, 3] - 128) * np.float32(TEXTURE_SCALE)
    result = np.zeros((4, flat.shape[1]), dtype=np.float32)
    result[:3, inside] = sharp.T
    result[3, inside] = texture
    grey, white, csf, deviation = result.reshape(4, *points.shape[1:])
    return grey, white, csf, deviation


def _atrophied(weights: Values, atrophy: float) -> Values:
    """Weights of grey matter, white matter and CSF [n, 3] with CSF's grown: where it borders on tissue it takes over.

    Their sum stays, and so does the head's outline.
    """
    grown = weights * np.array([1, 1, 1 + ATROPHY * atrophy], dtype=np.float32)
    scale = weights.sum(axis=1) / np.maximum(grown.sum(axis=1), np.finfo(np.float32).tiny)
    aged: Values = grown * scale[:, None]
    return aged


def _glioma(x: Values, y: Values, z: Values, random: np.random.Generator) -> tuple[Values, Values]:
    """A tumour and the oedema around it as fractions of the pixel, float32 [S, N, N] each, not clipped to the brain.

    A ball whose radius is modulated by a smooth field, in the white matter of either hemisphere.
    """
    side = random.choice([-1.0, 1.0])
    center = (side * random.uniform(18, 38), random.uniform(-45, 40), random.uniform(0, 40))
    radius, margin = random.uniform(9, 17), random.uniform(6, 14)
    wobble = 1 + np.float32(0.45) * smooth_field(x, y, z, 12, random)
    squared = (
        (x - np.float32(center[0]))[None, None, :] ** 2
        + (y - np.float32(center[1]))[None, :, None] ** 2
        + (z - np.float32(center[2]))[:, None, None] ** 2
    )
    distance = np.sqrt(squared) * wobble
    tumour = ((np.float32(radius) - distance) / 2 + np.float32(0.5)).clip(0, 1)
    oedema = ((np.float32(radius + margin) - distance) / 4 + np.float32(0.5)).clip(0, 1)
    return tumour, oedema
