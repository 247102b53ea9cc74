"""A run directory, read back: what was set, every round, the summary, the pictures and the latents."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import decoded
from engine.types import RoundReport
from sites.config import SiteConfig
from sites.run_directory import LATENTS, PICTURES, read_rounds
from sites.scenario import parse_sites

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """config.toml. settings: by the names of the command line; environment: device, commit, versions."""

    text: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    institutions: tuple[SiteConfig, ...] = ()


@dataclass(frozen=True)
class Run:
    """What a run directory holds. summary: empty while the run is unfinished; names: the target first.

    previews: [H, W] by `{site}/{kind}`; latents: [N, D] by `before/{site}` and `after/{site}`
    """

    path: Path
    title: str
    target: str | None
    names: tuple[str, ...]
    rounds: tuple[RoundReport, ...]
    summary: Mapping[str, Any]
    previews: Mapping[str, Image]
    latents: Mapping[str, Image]
    stored: Stored

    @property
    def warnings(self) -> tuple[str, ...]:
        """What every report must say of the data; nothing while the run is unfinished."""
        return tuple(self.summary.get("warnings", ()))

    @property
    def pictured(self) -> tuple[str, ...]:
        """The sites whose pictures are there, the target first."""
        sites = {key.rsplit("/", 1)[0] for key in self.previews}
        whole = [name for name in sites if all(f"{name}/{kind}" in self.previews for kind in PICTURES)]
        return tuple(sorted(whole, key=lambda name: (name != self.target, name)))


def read_run(run_dir: Path) -> Run:
    """Raises ValueError, in one line, if a file of the directory is damaged."""
    rounds = tuple(read_rounds(run_dir))
    summary = read_json(run_dir / "summary.json")
    stored = read_stored(run_dir)
    about = {**stored.settings, **summary}
    target = about.get("target")
    scored = [site["name"] for site in summary.get("sites", ())]
    names = sorted(rounds[-1].sites if rounds else scored, key=lambda name: name != target)
    scenario = str(about.get("scenario", ""))
    scenario = Path(scenario).name if scenario.endswith(".toml") else scenario
    title = f"{about['algorithm']} on {scenario}" if {"algorithm", "scenario"} <= about.keys() else run_dir.name
    return Run(
        path=run_dir,
        title=title,
        target=target,
        names=tuple(names),
        rounds=rounds,
        summary=summary,
        previews=read_previews(run_dir),
        latents=read_latents(run_dir),
        stored=stored,
    )


def read_stored(run_dir: Path) -> Stored:
    """config.toml as it stands, whatever algorithms and sources were given in Python; empty if there is none.

    Raises ValueError if it is damaged.
    """
    file = run_dir / "config.toml"
    if not file.exists():
        return Stored()
    try:
        text = file.read_text(encoding="utf-8")
        settings = tomllib.loads(text)
        sites, environment = parse_sites(settings.pop("site", []), run_dir), settings.pop("environment", {})
    except ValueError as error:  # of UTF-8, TOML and a site alike
        raise ValueError(f"{file} is damaged ({error}); restore it") from error
    return Stored(text, settings, environment, sites)


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
    return _arrays(run_dir / "previews.safetensors")


def read_latents(run_dir: Path) -> dict[str, Image]:
    """The validation patients' latents; empty if there are none. Raises ValueError if the file is damaged."""
    latents = _arrays(run_dir / LATENTS)
    if any(z.ndim != 2 for z in latents.values()) or len({z.shape[1:] for z in latents.values()}) > 1:
        raise ValueError(f"{run_dir / LATENTS} is damaged (latents are not rows of one length); delete it")
    return latents


def _arrays(file: Path) -> dict[str, Image]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(file) if file.exists() else {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete it") from error
