"""A run directory, read back: `rounds.jsonl`, `summary.json` and `previews.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import report_from_json
from engine.types import RoundReport

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


def read_run(run_dir: Path) -> Run:
    """Raises FileNotFoundError if the directory holds no `rounds.jsonl`."""
    from safetensors.numpy import load_file

    lines = (run_dir / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    rounds = tuple(report_from_json(json.loads(line)) for line in lines)
    summary_file, previews_file = run_dir / "summary.json", run_dir / "previews.safetensors"
    summary = json.loads(summary_file.read_text(encoding="utf-8")) if summary_file.exists() else {}
    previews = load_file(previews_file) if previews_file.exists() else {}
    target = summary.get("target")
    names = sorted(rounds[-1].sites if rounds else (), key=lambda name: name != target)
    title = f"{summary['algorithm']} on {summary['scenario']}" if summary else run_dir.name
    return Run(title, target, tuple(names), rounds, summary, previews)
