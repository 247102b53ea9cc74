"""A snapshot as one safetensors file: never pickle, written to a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors
import safetensors.numpy

from engine.outcomes import Snapshot
from engine.types import Array, ServerState

Keep = int | Literal["all"]


def save(directory: Path, snapshot: Snapshot, keep: Keep = 2, run: str = "") -> Path:
    """Write `round-NNNNN.safetensors` and drop all but the newest `keep`."""
    directory.mkdir(exist_ok=True)
    tensors = {"weights": snapshot.server.weights}
    tensors |= {f"server/{name}": array for name, array in snapshot.server.extra.items()}
    tensors |= {f"site/{name}": state for name, state in snapshot.sites.items()}
    tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}  # safetensors garbles views
    round = str(snapshot.server.round)
    metadata = {"round": round, "run": run, "sha256": _fingerprint(round, tensors)}
    path = directory / f"round-{round:>05}.safetensors"
    with atomically(path) as temporary:
        safetensors.numpy.save_file(tensors, temporary, metadata=metadata)
    if keep != "all":
        for old in saved(directory)[:-keep]:
            old.unlink()
    return path


def saved(directory: Path) -> list[Path]:
    """The checkpoints of a directory, oldest first."""
    rounds = {p: re.fullmatch(r"round-(\d+)", p.stem) for p in directory.glob("round-*.safetensors")}
    return sorted((p for p, match in rounds.items() if match), key=lambda p: int(p.stem.removeprefix("round-")))


def load(path: Path, run: str = "") -> Snapshot:
    """Read a snapshot of the run that `save` was told.

    Raises ValueError, in one line, for a file that is damaged, of another run, or something else.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"checkpoint {path} cannot be read ({error}); delete it to go on from the one before"
        ) from error
    if "round" not in metadata or "weights" not in tensors:
        raise ValueError(f"checkpoint {path} is not one of this program; delete it to go on from the one before")
    if metadata.get("run") != run:
        raise ValueError(f"checkpoint {path} belongs to another run, or config.toml was changed since; restore that")
    if metadata.get("sha256") != _fingerprint(metadata["round"], tensors):
        raise ValueError(f"checkpoint {path} is damaged; delete it to go on from the one before")
    extra = {key.removeprefix("server/"): a for key, a in tensors.items() if key.startswith("server/")}
    sites = {key.removeprefix("site/"): a for key, a in tensors.items() if key.startswith("site/")}
    return Snapshot(
        server=ServerState(round=int(metadata["round"]), weights=tensors["weights"], extra=extra), sites=sites
    )


@contextlib.contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """A temporary name to write to: the whole content comes under its name, or what was there before stays."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # also after a power cut
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """The whole content under its name, or what was there before."""
    with atomically(path) as temporary:
        temporary.write_bytes(content)


def _fingerprint(round: str, tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(round.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
