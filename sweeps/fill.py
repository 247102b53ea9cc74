"""Training what is missing of many federations, and taking in what each leaves as it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from engine.types import TrainingStopped
from sweeps.pool import J, train_federations
from sweeps.shares import PoolConfig
from sweeps.watch import watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

R = TypeVar("R")


def fill(
    federations: Sequence[J],
    stored: dict[str, R | None],
    read: Callable[[J], R | None],
    pool: PoolConfig,
    out: Path,
    draw: Callable[[], RenderableType],
    live: bool,
) -> list[str]:
    """Train the federations that `stored` lacks, by name, and put there what each leaves; returns why some stopped.

    read: what a finished federation says; out: what `run.py resume` goes on with; draw: what `stored` shows so far.
    Raises KeyboardInterrupt, with how to go on, if interrupted; ValueError if a directory cannot be seen from here.
    """
    missing = [federation for federation in federations if stored[federation.name] is None]
    failures: list[str] = []
    if not missing:
        return failures
    try:
        with watcher(missing, len(federations) - len(missing), draw, live) as watching:
            for progress in train_federations(missing, pool):
                if progress.kind == "done":
                    stored[progress.federation.name] = _taken_in(progress.federation, read)
                if progress.kind == "failed":
                    failures.append(f"{progress.federation.name} ({progress.reason})")
                watching.update(progress)
    except (KeyboardInterrupt, BrokenPipeError):  # the second: whoever read our output is gone
        raise KeyboardInterrupt(f"; run.py resume {out} goes on") from None
    return failures


def _taken_in(federation: J, read: Callable[[J], R | None]) -> R:
    """What a federation that has just ended says. Raises ValueError if its directory cannot be seen from here."""
    found = read(federation)
    if found is None:
        raise ValueError(f"{federation.config.out} is not to be seen here; a cluster's machines must share --out")
    return found


def missing_words(stored: Mapping[str, object], out: Path) -> str:
    """What to do about federations that are not done; empty if all are."""
    missing = list(stored.values()).count(None)
    return f"{missing} of {len(stored)} federations are missing: run.py resume {out} goes on" if missing else ""


def refuse_failures(failures: Sequence[str], federations: Sequence[object]) -> None:
    """Raises TrainingStopped if any federation stopped."""
    if failures:
        told = "; ".join(failures)
        raise TrainingStopped(f"{len(failures)} of {len(federations)} federations stopped: {told}")
