"""The directory of one run: its configuration, rounds, checkpoints, summary. One writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np
import tomli_w
from safetensors.numpy import load_file, save

from engine import checkpoint
from engine.checkpoint import write_atomically
from engine.driver import mean_private
from engine.ledger import total
from engine.outcomes import Facts, Outcome, Snapshot
from engine.records import encoded, report_from_json, report_to_json
from engine.types import RoundReport, Sample
from sites.config import RunConfig, SiteConfig, difference, flat, identity, stated

PACKAGES = ("torch", "ray", "numpy", "nilearn", "federated-mr")


@dataclass
class RunDirectory:
    """An open, locked run directory. reports and snapshot: what an earlier session left."""

    path: Path
    config: RunConfig
    reports: list[RoundReport] = field(default_factory=list)
    snapshot: Snapshot | None = None

    @property
    def rounds_file(self) -> Path:
        """One line a round."""
        return self.path / "rounds.jsonl"

    @property
    def complete(self) -> bool:
        """Whether all rounds are done and summed up."""
        return len(self.reports) == self.config.rounds and (self.path / "summary.json").exists()

    def begin(self, device: str, samples: Mapping[str, Sample]) -> None:
        """Write the configuration; cut the rounds back to the checkpoint. samples: of the initial network, if begun."""
        write_atomically(self.path / "config.toml", config_toml(self.config, device).encode())
        (self.path / "summary.json").unlink(missing_ok=True)
        lines = [json.dumps(report_to_json(report), allow_nan=False) + "\n" for report in self.reports]
        write_atomically(self.rounds_file, "".join(lines).encode())
        self._keep_latents("before", samples)

    def _keep_latents(self, when: str, samples: Mapping[str, Sample]) -> None:
        """`latents.safetensors`: {when}/{site} float32 [N, D] beside those of another time."""
        file = self.path / LATENTS
        kept = {key: z for key, z in (load_file(file) if file.exists() else {}).items() if not key.startswith(when)}
        kept |= {f"{when}/{site}": np.ascontiguousarray(sample.latents) for site, sample in samples.items()}
        if samples:
            write_atomically(file, save(kept))

    def append(self, report: RoundReport, snapshot: Snapshot | None) -> None:
        """A round is done: its line first, then the checkpoint that makes it count."""
        self.reports.append(report)
        with self.rounds_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report_to_json(report), allow_nan=False) + "\n")
            if snapshot is not None:  # a checkpoint must not survive a power cut that its round's line does not
                file.flush()
                os.fsync(file.fileno())
        if snapshot is not None:
            keep = self.config.keep_checkpoints or 1
            checkpoint.save(self.path / CHECKPOINT, snapshot, keep, identity(self.config))
            self.snapshot = replace(snapshot, sites={})  # what is needed of it from here on

    def finish(self, summary: Mapping[str, Any], facts: Facts, outcome: Outcome) -> dict[str, Any]:
        """Write the network by parameter names, the pictures, and last the summary, which is returned.

        Where sites keep weights for themselves, the network has their mean, and `personal/SITE.safetensors` each's.
        """
        assert self.snapshot is not None
        network = facts.layout.split(self.snapshot.server.weights)
        if outcome.private:
            network |= facts.private_layout.split(mean_private(outcome.private))
            (self.path / PERSONAL).mkdir(exist_ok=True)
        for site, kept in outcome.private.items():
            file = self.path / PERSONAL / f"{site}.safetensors"
            write_atomically(file, save(facts.private_layout.split(kept)))
        write_atomically(self.path / "weights.safetensors", save(network))
        if outcome.previews:
            pictures = {f"{p.site}/{kind}": getattr(p, kind) for p in outcome.previews for kind in PICTURES}
            write_atomically(self.path / "previews.safetensors", save(pictures))
        self._keep_latents("after", outcome.samples)
        complete = dict(summary) | {"ledger": total([r.ledger for r in self.reports] + [summary["ledger"]])}
        text = json.dumps(encoded(complete), indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / "summary.json", text.encode())
        if self.config.keep_checkpoints == 0:
            shutil.rmtree(self.path / CHECKPOINT)
        return complete


CHECKPOINT = "checkpoint"
SCRIPT = "script.txt"  # of a session of `run.py shift`, whose directory has a config.toml too
LATENTS = "latents.safetensors"  # of the validation patients, under the initial and the trained network
PERSONAL = "personal"  # the folder of the weights that sites keep for themselves
PICTURES = ("zero_filled", "reconstruction", "truth")


@contextlib.contextmanager
def open_run(config: RunConfig, extend: bool = False) -> Iterator[RunDirectory]:
    """Create the run directory, or take up the run it holds, under a lock. extend: its rounds may differ.

    Raises ValueError if it cannot be written, is in use, or holds something else or another run.
    """
    path = Path(config.out)
    created = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    with locked(path):
        try:
            yield _take_up(path, config, extend)
        finally:
            if not (path / "config.toml").exists():  # nothing came of it, or it is something else
                (path / ".lock").unlink(missing_ok=True)
                for folder in created:
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def _take_up(path: Path, config: RunConfig, extend: bool) -> RunDirectory:
    ours = (".lock", ".config.toml.tmp")  # the second if the first session was killed while it began
    held = [entry.name for entry in path.iterdir() if entry.name not in ours]
    if not held:
        return RunDirectory(path, config)
    stored = stored_config(path)
    differs = difference(replace(stored, rounds=config.rounds) if extend else stored, config)
    if differs:
        name = differs.split(" ")[0]
        mend = f"run.py resume {path} --rounds {config.rounds}" if name == "rounds" else "choose another --out"
        raise ValueError(f"{path} holds another run: {differs}; {mend}")
    checkpoints = checkpoint.saved(path / CHECKPOINT)
    snapshot = checkpoint.load(checkpoints[-1], identity(config)) if checkpoints else None
    finished = not checkpoints and (path / "summary.json").exists()
    done = snapshot.server.round if snapshot else stored.rounds if finished else 0
    if finished and done < config.rounds:
        raise ValueError(f"{path} kept no checkpoint to go on from (keep_checkpoints 0); start anew with another --out")
    if done > config.rounds:
        raise ValueError(f"{path} has done {done} rounds already; --rounds {config.rounds} cannot take them back")
    reports = read_rounds(path)[:done]
    if [report.round for report in reports] != list(range(1, done + 1)):
        missing = min(set(range(1, done + 1)) - {report.round for report in reports})
        raise ValueError(
            f"{path / 'rounds.jsonl'} lacks round {missing} of the {done} that were done; "
            "restore the file, or start anew with another --out"
        )
    return RunDirectory(path, config, reports, snapshot)


def stored_config(path: Path) -> RunConfig:
    """The configuration of a run directory. Raises ValueError if it holds none that can be read."""
    from sites.settings import read_config

    file = path / "config.toml"
    if not path.exists():
        raise ValueError(f"{path} does not exist; name the directory of a run, table, study or sweep of a shift")
    if not file.exists():
        raise ValueError(
            f"{path} holds no run (there is no config.toml); name a run directory (a table has its own in runs/)"
        )
    if (path / SCRIPT).exists():
        again = f"run.py shift --config {file} --script {path / SCRIPT} --stay"
        raise ValueError(f"{path} holds a session of run.py shift; {again} repeats it, and goes on")
    return read_config(file)


def read_rounds(path: Path) -> list[RoundReport]:
    """The whole lines of rounds.jsonl (a power cut may leave half a line at its end)."""
    file = path / "rounds.jsonl"
    reports = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            reports.append(report_from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            break
    return reports


def config_toml(config: RunConfig, device: str) -> str:
    """The complete resolved configuration; `run.py --config` of it repeats the run."""
    return settings_toml(flat(config), config.institutions, device)


def settings_toml(settings: Mapping[str, Any], institutions: Sequence[SiteConfig], device: str, **facts: str) -> str:
    """Settings, what a result depends on besides them (device, source, versions), and the sites.

    facts: further ones that are no settings.
    """
    environment = {"device": device, **facts, "commit": _commit(), **{name: version(name) for name in PACKAGES}}
    sites = [stated(site) for site in institutions]
    kept = {name: value for name, value in settings.items() if name != "out"}
    return tomli_w.dumps({**kept, "environment": environment, "site": sites})


def new_directory(config: RunConfig, what: str = "") -> Path:
    """runs/<UTC time>-<what, else the algorithm>-<scenario>, numbered if it exists."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scenario = Path(config.scenario).stem
    name = f"{now}-{what or config.algorithm_name}-{scenario}"
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path


@contextlib.contextmanager
def locked(path: Path, option: str = "--out") -> Iterator[None]:
    """Hold a directory, created if need be, as its one writer. option: what the user calls it.

    Raises ValueError if it cannot be written or is held.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (path / ".lock").open("w")
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be written ({error.strerror}); choose another directory") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"{path} is being written by another process; wait for it or choose another {option}"
            ) from error
        yield


def _commit() -> str:
    """The source's commit, with + for uncommitted changes; empty outside a git checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def version(package: str) -> str:
    """Of an installed package; empty if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
