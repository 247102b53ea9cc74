"""What `run.py sweep` does once its options are parsed, and `resume` and `show` of its directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes

from sites.settings import FederationCommand, parse_federation
from sweeps.journal import stored_study
from sweeps.study import StudyPlan, SweepConfig
from sweeps.study_directory import STUDY, take_part, tidy, write_results
from sweeps.study_view import study_view
from sweeps.study_watch import watching
from sweeps.trials import run_study, unfinished


@dataclass(frozen=True, kw_only=True)
class SweepCommand(FederationCommand):
    """Search settings of a federation with Optuna: many federations, side by side.

    Trials are compared on validation patients; the test patients are scored once, at the end, for the winners. The
    same command goes on where it was stopped; two of them, at once, share the work. Without --search: the learning
    rate, the identifiers' and the alignment weight around what they are.
    """

    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""
    sweep: OmitArgPrefixes[SweepConfig] = field(default_factory=SweepConfig)


def sweep(argv: Sequence[str], _began: float) -> None:
    """Run what is missing of a study, and show it."""
    command = parse_federation(SweepCommand, argv, "sweep")
    complete(StudyPlan(command.sweep, command.run), command.live)


def stored_plan(path: Path) -> StudyPlan:
    """The study of a directory, which is its `out`. Raises ValueError, in one line."""
    command = parse_federation(SweepCommand, ["--config", str(path / STUDY.file)], "sweep")
    return StudyPlan(command.sweep, replace(command.run, out=str(path)))


def complete(plan: StudyPlan, live: bool) -> None:
    """Train what is missing, write and show the results."""
    with take_part(plan) as (study, worker):
        try:
            if unfinished(plan, study):
                with watching(plan, study, live) as watcher:
                    run_study(plan, study, worker, watcher)
        except (KeyboardInterrupt, BrokenPipeError):  # the second: whoever read our output is gone
            raise KeyboardInterrupt(f"; run.py resume {plan.out} goes on") from None
        finally:
            write_results(plan, study)
        if not unfinished(plan, study):
            tidy(plan)
    show_study(plan)


def show_study(plan: StudyPlan) -> None:
    """Draw what a study's directory holds."""
    console = Console()
    console.print(study_view(plan, stored_study(plan.out, plan.config.storage, plan.out.name)))
    console.print(Text(f"study: {plan.out}"), soft_wrap=True)
