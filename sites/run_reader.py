"""A run directory, read back: `rounds.jsonl`, `summary.json` and `previews.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import decoded
from engine.types import RoundReport
from sites.run_directory import read_rounds

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """What a run directory holds. summary: empty while the run is unfinished; names: the target first."""

    title: str
    target: str | None
    names: tuple[str, ...]
    rounds: tuple[RoundReport, ...]
    summary: Mapping[str, Any]
    previews: Mapping[str, Image]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What every report must say of the data; nothing while the run is unfinished."""
        return tuple(self.summary.get("warnings", ()))


def read_run(run_dir: Path) -> Run:
    """Raises ValueError, in one line, if a file of the directory is damaged."""
    rounds = tuple(read_rounds(run_dir))
    summary = read_json(run_dir / "summary.json")
    target = summary.get("target")
    names = sorted(rounds[-1].sites if rounds else (), key=lambda name: name != target)
    title = f"{summary['algorithm']} on {summary['scenario']}" if summary else run_dir.name
    return Run(title, target, tuple(names), rounds, summary, read_previews(run_dir))


def read_json(file: Path) -> dict[str, Any]:
    """A summary.json, its numbers as numbers; empty if there is none. Raises ValueError if it is damaged."""
    if not file.exists():
        return {}
    try:
        summary: dict[str, Any] = decoded(json.loads(file.read_text(encoding="utf-8")))
        if not {"algorithm", "scenario", "target", "sites"} <= summary.keys():
            raise ValueError("entries are missing")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete it and `run.py resume` the run") from error
    return summary


def read_previews(run_dir: Path) -> dict[str, Image]:
    """The pictures by `{site}/{kind}`; empty if there are none. Raises ValueError if the file is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = run_dir / "previews.safetensors"
    try:
        return load_file(file) if file.exists() else {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete it") from error
