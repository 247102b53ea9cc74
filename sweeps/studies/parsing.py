"""The options of `run.py sweep`, and a stored study's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from sites.settings import FederationCommand, parse_federation
from sweeps.directory import STUDY
from sweeps.studies.plan import StudyPlan, SweepConfig


@dataclass(frozen=True, kw_only=True)
class SweepCommand(FederationCommand):
    """Search settings with Optuna: watched live, summed up in report.html."""

    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""
    sweep: OmitArgPrefixes[SweepConfig] = field(default_factory=SweepConfig)


def stored_plan(path: Path) -> StudyPlan:
    """The study of a directory, which is its `out`. Raises ValueError, in one line."""
    command = parse_federation(SweepCommand, ["--config", str(path / STUDY.file)], "sweep")
    return StudyPlan(command.sweep, replace(command.run, out=str(path)))
