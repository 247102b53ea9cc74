"""Simulated k-space made once for many processes: a file on a shelf, named after what decides its content.

That is each patient's own configuration, shifts applied, but for its undersampling; and the code that simulates.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from engine.checkpoint import atomically
from sites import anatomy, physics
from sites.shifts import shifted
from sites.sources import atlas
from sites.sources.atlas import AtlasSource
from sites.sources.base import KSpace

BESIDE = {"description", "gpus", "mask", "acceleration", "center_fraction"}
"""Fields of a site that its fully sampled k-space does not depend on."""
SHELF_BYTES = 4 * 10**9
"""A shelf holds; what was asked for longest ago goes first."""


class ShelvedSource:
    """A `sites.sources.base.Source`: an institution's patients, simulated by the first process that asks for them."""

    def __init__(self, source: AtlasSource, shelf: Path) -> None:
        """shelf: a folder, made if need be, that all processes see."""
        self._source = source
        self._shelf = shelf

    def patients(self) -> Sequence[str]:
        """The source's own."""
        return self._source.patients()

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, H, W], the bits of the source's."""
        volume: KSpace = self._whole[list(self.patients()).index(patient)]
        return volume

    @cached_property
    def _whole(self) -> KSpace:
        """[patients, S, C, H, W]: read, or made and written while the others wait."""
        self._shelf.mkdir(parents=True, exist_ok=True)
        file = self._shelf / f"{self._digest()}.npy"
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                whole = np.stack([self._source.kspace(patient) for patient in self.patients()])
                with atomically(file) as partial, partial.open("wb") as stream:
                    np.save(stream, whole)
                _make_room(self._shelf, file)
            os.utime(file, ns=(time.time_ns(),) * 2)  # finer than the system's own clock of files
            stored: KSpace = np.load(file, mmap_mode="c")
        return stored

    def _digest(self) -> str:
        config = self._source.config
        patients = [asdict(shifted(config, index)) for index in range(len(self.patients()))]
        content = [[{n: v for n, v in each.items() if n not in BESIDE} for each in patients], *self._where, _code()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def _where(self) -> tuple[int, int]:
        return self._source.matrix, self._source.seed


@cache
def _code() -> str:
    """Of what simulates."""
    sources = (Path(module.__file__ or "").read_bytes() for module in (anatomy, physics, atlas))
    return hashlib.sha256(b"".join(sources)).hexdigest()


def _make_room(shelf: Path, new: Path) -> None:
    """Files that others have mapped stay theirs after they are gone from the shelf."""
    files = sorted(shelf.glob("*.npy"), key=lambda file: file.stat().st_mtime)
    total = sum(file.stat().st_size for file in files)
    for file in files:
        if total <= SHELF_BYTES or file == new:
            break
        total -= file.stat().st_size
        file.unlink(missing_ok=True)
