"""A directory of many federations: its settings, one writer, and whether a federation below it is done."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.checkpoint import write_atomically
from sites.config import ELSEWHERE, RunConfig, SiteConfig, difference, first_difference, flat
from sites.run_directory import locked, settings_toml, stored_config
from sites.run_reader import read_json, read_stored


@dataclass(frozen=True)
class Kind:
    """What such a directory is called, and the file that makes it one."""

    noun: str
    file: str

    def there(self, path: Path) -> bool:
        """Whether a directory is of this kind."""
        return (path / self.file).exists()


STUDY = Kind("study", "study.toml")
"""Here, for to look whether there is one must not take Optuna's import."""


@dataclass(frozen=True)
class Settings:
    """What a directory's file states: settings by name, and the sites."""

    values: Mapping[str, Any]
    institutions: tuple[SiteConfig, ...]


@contextlib.contextmanager
def open_directory(
    path: Path, kind: Kind, asked: Settings, stored: Callable[[], Settings], growing: Collection[str], device: str
) -> Iterator[None]:
    """Hold a directory, new or of the same settings, as its one writer; the settings are written.

    stored: reads what the directory has; growing: names of settings that may differ. Raises ValueError if it is in
    use, or holds something else or other settings.
    """
    with locked(path):
        try:
            refuse_another(path, kind, asked, stored, growing)
        except ValueError:
            if not kind.there(path):
                (path / ".lock").unlink()  # it is somebody else's
            raise
        write_atomically(path / kind.file, settings_toml(asked.values, asked.institutions, device).encode())
        yield


def refuse_another(
    path: Path, kind: Kind, asked: Settings, stored: Callable[[], Settings], growing: Collection[str]
) -> None:
    ours = (".lock", f".{kind.file}.tmp")  # the second if the first session was killed while it began
    held = [entry.name for entry in path.iterdir() if entry.name not in ours]
    if held and not kind.there(path):
        raise ValueError(f"{path} holds something else ({held[0]}); choose another --out")
    if held:
        there = stored()
        differs = first_difference(there.values, asked.values, growing)
        if there.institutions != asked.institutions:
            differs = differs or "the institutions"
        if differs:
            raise ValueError(f"{path} holds another {kind.noun}: {differs}; choose another --out")


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Eight characters that the settings decide."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def finished_summary(asked: RunConfig) -> dict[str, Any] | None:
    """The summary.json of a stored federation; None if it is not there, or not done.

    Raises ValueError if its directory is damaged or holds another run.
    """
    path = Path(asked.out)
    summary = read_json(path / "summary.json")
    if not summary or _states(path, asked):
        return summary or None
    stored = stored_config(path)
    if asked.ray_address:  # the device is that of the machine it ran on
        asked = replace(asked, placement=replace(asked.placement, device=stored.placement.device))
    differs = difference(stored, asked)
    if differs:
        raise ValueError(f"{path} holds another run: {differs}; choose another --out")
    return summary


def _states(path: Path, asked: RunConfig) -> bool:
    """Whether a directory's config.toml says the same, word by word; to parse it takes a hundred times as long."""
    stored = read_stored(path)
    return stored.institutions == asked.institutions and not first_difference(flat(asked), stored.settings, ELSEWHERE)


def stored_warnings(configs: Iterable[RunConfig]) -> list[str]:
    """What the finished federations say must be known of the sites' data, each once."""
    summaries = (read_json(Path(config.out) / "summary.json") for config in configs)
    return list(dict.fromkeys(text for summary in summaries for text in summary.get("warnings", ())))
