"""Simulated k-space made once for many processes: a file on a shelf, named after what decides its content."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np

from engine.checkpoint import atomically
from sites.sources.atlas import AtlasSource
from sites.sources.base import KSpace

BESIDE = {"description", "gpus", "mask", "acceleration", "center_fraction"}
"""Fields of a site that its fully sampled k-space does not depend on."""


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
        """complex64 [S, C, H, W], the bits of the source's; memory that processes share until they write to it."""
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
        stored: KSpace = np.load(file, mmap_mode="c")
        return stored

    def _digest(self) -> str:
        config = {name: value for name, value in asdict(self._source.config).items() if name not in BESIDE}
        content = json.dumps([config, self._source.matrix, self._source.seed], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]
