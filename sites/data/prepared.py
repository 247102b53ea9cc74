"""A prepared folder: its manifest, its lock, and what an earlier session left in it.

`manifest.json` holds settings and plan before the first file is written, so that an interrupted conversion goes on only
to the same end; every file says what it is made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint import write_atomically
from engine.types import Split
from sites.data.prepare import Item, Plan
from sites.run_directory import locked, version
from sites.sources.recordings import Problem

MANIFEST = "manifest.json"
PACKAGES = ("federated-mr", "numpy", "h5py", "nibabel")


class Unreadable(ValueError):
    """A source file cannot be read, as opposed to everything else that may go wrong."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A written file: what the manifest says of it.

    shape: S, C, H, W; empty: slices without any signal that were left out; sources: sha256 by path below SRC
    before: whether an earlier session wrote it
    """

    file: str
    institution: str
    patient: str
    contrast: str
    split: Split
    shape: tuple[int, ...]
    synthesised: bool
    empty: int
    sources: Mapping[str, str]
    before: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a plan."""

    plan: Plan
    files: tuple[Converted, ...]
    skipped: tuple[Problem, ...]
    bytes: int


# ---- whose it is ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def taken(plan: Plan) -> Iterator[Path]:
    """DST, locked, and found empty or holding this very conversion. Raises ValueError otherwise."""
    created = not plan.dst.exists()
    with locked(plan.dst, "DST"):
        try:
            check_destination(plan)
            for left in plan.dst.rglob(".*.h5.tmp"):  # of a session that was killed
                left.unlink()
            yield plan.dst
        finally:
            if not (plan.dst / MANIFEST).exists():  # it is something else, or nothing came of it
                (plan.dst / ".lock").unlink(missing_ok=True)
                if created:
                    with contextlib.suppress(OSError):
                        plan.dst.rmdir()


def check_destination(plan: Plan) -> None:
    """Raises ValueError if DST holds something else, or a conversion of other sources, settings or patients."""
    dst = plan.dst
    if dst.resolve().is_relative_to(plan.src.resolve()):
        raise ValueError(f"{dst} is inside {plan.src}, which would then be read as a source; choose a DST beside it")
    if dst.exists() and not dst.is_dir():
        raise ValueError(f"{dst} is a file; choose another DST")
    ours = (".lock", f".{MANIFEST}.tmp")
    if not dst.exists() or not [each for each in dst.iterdir() if each.name not in ours]:
        return
    file = dst / MANIFEST
    if not file.exists():
        raise ValueError(f"{dst} is not empty and holds no {MANIFEST}, so it is something else; choose another DST")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        settings, planned = dict(stored["settings"]), dict(stored["planned"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read ({error}); choose another DST") from error
    now = _settings(plan)
    for name in now:
        if settings.get(name) != now[name]:
            raise ValueError(
                f"{dst} was prepared with {name} {settings.get(name)!r}, now it is {now[name]!r}; choose another DST"
            )
    if planned != (wanted := _planned(plan)):
        raise ValueError(
            f"{dst} was prepared when {plan.src} held other files ({_difference(planned, wanted)}), "
            "and who is trained on depends on them; choose another DST"
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A source file that is new or gone."""
    old, new = ({str(file) for files in each.values() for file in files} for each in (before, now))
    if old == new:
        return "or other headers"
    return f"{min(new - old)} is new" if new - old else f"{min(old - new)} is gone, or bad"


def _settings(plan: Plan) -> dict[str, Any]:
    return {"src": str(plan.src.resolve()), **asdict(plan.config)}


def _planned(plan: Plan) -> dict[str, list[str]]:
    """Source files by the file that is made of them."""
    return {item.out: [_below(plan.src, path) for path in item.recording.paths] for item in plan.items}


# ---- what is in it --------------------------------------------------------------------------------------


def write_manifest(plan: Plan, outcome: Outcome | None) -> None:
    """What is planned, and once it is done what came of it."""
    content: dict[str, Any] = {
        "complete": outcome is not None,
        "settings": _settings(plan),
        "versions": {name: version(name) for name in PACKAGES},
        "planned": _planned(plan),
        "files": [],
        "skipped": [],
    }
    if outcome is not None:
        content["files"] = [_entry(each) for each in outcome.files]
        content["skipped"] = [{"file": _below(plan.src, each.path), "reason": each.reason} for each in outcome.skipped]
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_atomically(plan.dst / MANIFEST, text.encode())
    except OSError as error:
        raise OSError(f"{plan.dst / MANIFEST} cannot be written ({error.strerror or error})") from error


def finished(plan: Plan, item: Item) -> Converted | None:
    """What an earlier session made of the same sources, if it is there; a damaged file is not."""
    import h5py

    out = plan.dst / item.out
    if not out.exists():
        return None
    try:
        with h5py.File(out, "r") as file:
            shape = file["kspace"].shape
            sources = json.loads(file.attrs["source_sha256"])
            synthesised, empty = bool(file.attrs["synthesised"]), int(file.attrs["empty_slices"])
        if sources != hashes(plan, item):
            return None
    except (OSError, KeyError, ValueError, TypeError):
        return None
    return Converted(
        file=item.out,
        institution=item.institution,
        patient=item.patient,
        contrast=item.recording.contrast,
        split=item.split,
        shape=shape if len(shape) == 4 else (shape[0], 1, *shape[1:]),
        synthesised=synthesised,
        empty=empty,
        sources=sources,
        before=True,
    )


def hashes(plan: Plan, item: Item) -> dict[str, str]:
    """sha256 of every source file, by its path below SRC. Raises Unreadable if one is gone."""
    return {_below(plan.src, path): sha256(path) for path in item.recording.paths}


def sha256(path: Path) -> str:
    """Of a file's content. Raises Unreadable if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unreadable(f"{path}: it cannot be read ({error.strerror or error})") from error


def _below(root: Path, path: Path) -> str:
    """The path below a folder; the name, if root is a file, perhaps one of several that belong together."""
    inside = path.is_relative_to(root) and path != root
    return path.relative_to(root).as_posix() if inside else path.name


def _entry(file: Converted) -> dict[str, Any]:
    entry = asdict(file)
    del entry["before"]
    return entry
