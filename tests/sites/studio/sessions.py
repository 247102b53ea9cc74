"""Small shift sessions for tests: two or three simulated institutions, a tiny network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.algorithms import FlMrcm
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from sites.anatomy import Maps
from sites.config import RunConfig, SiteConfig
from sites.studio.answers import Answer
from sites.studio.branch import Branch
from sites.studio.lines import parse
from sites.studio.session import Session
from sites.studio.view import draw

FEW: dict[str, Any] = {"train_patients": 2, "val_patients": 2, "test_patients": 1, "slices": 3, "center_fraction": 0.2}
SITES = tuple(
    SiteConfig(name=name, tr=tr, description=f"TR {tr}", **FEW) for name, tr in (("anna", 400.0), ("berta", 900.0))
)
THREE = (*SITES, SiteConfig(name="clara", tr=1500.0, **FEW))
TINY: dict[str, Any] = {
    "scenario": "tiny", "matrix": 32, "model": ModelConfig(channels=2, pool_layers=2), "target_trains": False,
    "train": TrainConfig(batch_size=4), "placement": Placement(workers=0),
}  # fmt: skip


def config(sites: Sequence[SiteConfig] = THREE, **settings: Any) -> RunConfig:
    """FL-MRCM, aligned strongly enough to be felt in a round."""
    given: dict[str, Any] = {"algorithm": FlMrcm(alignment_weight=0.5), **TINY, **settings}
    return RunConfig(institutions=tuple(sites), **given)


class Silent:
    """A watch that nobody looks at. stop_after: rounds after which it stops a run."""

    def __init__(self, stop_after: int = 0) -> None:
        self.rounds: list[int] = []
        self.phases: list[str] = []
        self._stop_after = stop_after

    def phase(self, text: str) -> None:
        """Kept."""
        self.phases.append(text)

    def update(self, branch: Branch) -> None:
        """Kept."""
        self.rounds.append(branch.round)

    def stopping(self) -> bool:
        """After so many rounds."""
        return bool(self._stop_after) and len(self.rounds) >= self._stop_after


def session(path: Path, maps: Maps, run: RunConfig | None = None, watch: Silent | None = None) -> Session:
    """A session of three institutions, clara the target."""
    return Session(run or config(), path, lambda: maps, watch or Silent())


def do(on: Session, *lines: str) -> Answer:
    """Carry out lines; the last one's answer."""
    answers = []
    for line in lines:
        command = parse(line)
        assert command is not None
        answers.append(on.do(command))
    return answers[-1]


def drawn(answer: Answer, width: int = 80, rows: int = 21) -> str:
    """An answer as plain text."""
    console = Console(width=width, height=rows + 3, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(draw(answer, width, rows))
    return capture.get()
