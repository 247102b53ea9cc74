"""What all readers check, and how a library's complaint becomes one line."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.sources.base import KSpace
from sites.sources.recordings import Image

Array = npt.NDArray[Any]

LARGEST = 1 << 31
"""Samples of one recording that are believed; more come of a damaged header (or of a need we do not know yet)."""


SPARE = 0.02
"""Of a file's size: what is beyond the samples that its header tells, and is no sign that the header is wrong."""
LONGEST = 240
"""Signs of a library's complaint; some quote the whole header."""


def reason(error: BaseException) -> str:
    """A library's complaint in one line, without a path where the system's own words do."""
    if isinstance(error, OSError) and error.errno and os.strerror(error.errno) != f"Unknown error {error.errno}":
        return os.strerror(error.errno).lower()
    lines = str(error).strip().splitlines()
    return cut_short(lines[0]) if lines else f"{type(error).__name__}, without a word why"


def cut_short(line: str) -> str:
    """Of at most LONGEST signs, all of which can be printed; damaged headers hold anything."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in line)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def check_size(size: int, needed: int) -> None:
    """Raises ValueError if a file is too short for what its header tells, or so long that the header must be wrong."""
    if size < needed:
        raise ValueError(f"it has {size} bytes, and by its header {needed}: it is not whole; copy it again")
    if size > (1 + SPARE) * needed:
        raise ValueError(f"it has {size} bytes, and by its header only {needed}; is the header damaged?")


@contextmanager
def one_line() -> Iterator[None]:
    """Whatever goes wrong inside, a ValueError of one line comes out; what is damaged breaks libraries in many ways."""
    try:
        yield
    except ValueError as error:
        raise ValueError(reason(error)) from error
    except Exception as error:
        raise ValueError(f"it cannot be read ({reason(error)}); is it whole, and in the form its name says?") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """As `one_line`, and the line begins with the path."""
    try:
        with one_line():
            yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


_lock = threading.Lock()
_quiet = ExitStack()
_inside = 0


@contextmanager
def quiet() -> Iterator[None]:
    """nibabel and pydicom warn of what they mend in a header; we refuse or accept.

    Warnings belong to the whole process: the first thread inside silences them, the last restores them.
    """
    global _inside
    with _lock:
        if not _inside:
            _quiet.enter_context(_silence())
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _quiet.close()


@contextmanager
def _silence() -> Iterator[None]:
    logs = [logging.getLogger(name) for name in ("nibabel", "nibabel.global", "pydicom")]
    levels = [log.level for log in logs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for log in logs:
                log.setLevel(logging.CRITICAL)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def check_openable(path: Path) -> None:
    """Raises OSError in the system's words, which are shorter than HDF5's, or ValueError if it is empty."""
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError("it is empty (0 bytes); is it whole?")


def check_kspace(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int, int, int]:
    """The shape of an array in a file -> S, C, H, W. Raises ValueError if it is no k-space."""
    if dtype.kind != "c":
        raise ValueError(f"kspace is {dtype} of shape {shape}; give complex numbers")
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise ValueError(f"kspace has shape {shape}; give [H, W], [S, H, W] or [S, C, H, W]")
    if np.prod([float(side) for side in shape]) > LARGEST:
        raise ValueError(f"kspace has shape {shape}, more than memory is for; split it")
    *outer, height, width = shape
    slices, coils = [*outer, 1, 1][:2] if len(outer) else (1, 1)
    return slices, coils, height, width


def as_kspace(array: Array) -> KSpace:
    """Any array -> complex64 [S, C, H, W]. Raises ValueError if it is no k-space, is not finite, or zero everywhere."""
    shape = check_kspace(array.shape, array.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        kspace: KSpace = np.ascontiguousarray(array.reshape(shape), dtype=np.complex64)
    for index, part in enumerate(kspace):
        if not np.isfinite(part).all():
            raise ValueError(f"slice {index} of kspace (from 0) holds nan, inf or more than single precision can")
    if not kspace.any():
        raise ValueError("kspace is zero everywhere; give measured k-space")
    return kspace


UNDERSHOOT = 0.1  # of the largest intensity: interpolation leaves so much below zero


def as_magnitude(array: Array) -> Image:
    """Any real array -> float32, at least 0, contiguous. Raises ValueError if it is no magnitude.

    What interpolation left below zero becomes 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        image = np.asarray(array, dtype=np.float32)
    bad = image.size - int(np.isfinite(image).sum())
    if bad:
        raise ValueError(f"{bad} voxels are nan, inf or beyond single precision; replace them (numpy.nan_to_num)")
    low, high = float(image.min()), float(image.max())
    if low < -UNDERSHOOT * max(high, 0.0):
        raise ValueError(f"intensities go from {low:.4g} to {high:.4g}; give magnitudes, which are at least 0")
    if high <= 0:
        raise ValueError("the image is zero everywhere; give one with a signal")
    magnitude: Image = np.ascontiguousarray(np.maximum(image, 0))
    return magnitude
