"""What `run.py table` does once its options are parsed, and `resume` and `show` of its directory."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes

from engine.config import ModelConfig, TrainConfig
from engine.types import TrainingStopped
from sites import commands
from sites.config import PAPER, Preset
from sites.settings import cli, file_options, option, preset_of, refuse_both
from sweeps.pool import train_cells
from sweeps.scores import PatientScore
from sweeps.statistics import summarize
from sweeps.table import Plan, TableConfig
from sweeps.table_directory import finished, is_table, open_table, stored_table, stored_warnings, write_table
from sweeps.table_view import table_view
from sweeps.table_watch import watcher

HELP = """\
Train methods on targets and compare them: the tables of Guo et al., CVPR 2021.

Rows: zero-filled, Local (trained at the tested site alone), Cross (at another, mean of them), Fused (all shards in one
place), FL-MR, FL-MRCM, and further --methods. Two studies: within the collaboration, and leave one out. Every row has
the same patients, masks and initial weights. What is stored is not trained again: the same command goes on after an
interruption, and more --methods, --seeds or --targets add to what is there.

A seed of N sites takes N federations that train at one site; within, 1 fused and 1 a method (N for one that aligns
with a target); leave-one-out, N fused and N a method. {count}"""


@dataclass(frozen=True, kw_only=True)
class TableCommand:
    """Train methods on targets and compare them."""

    config: str = ""
    """TOML file with any of these options, for example a table's table.toml; the command line wins."""
    preset: Preset | Literal["auto"] = "auto"
    """demo: minutes on a CPU; paper: Guo et al.'s sizes; auto: paper if there is a GPU, demo otherwise."""
    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""
    table: OmitArgPrefixes[TableConfig] = field(default_factory=TableConfig)


def table(argv: Sequence[str], _began: float) -> None:
    """Train what is missing of a table, and show it."""
    command = parse_table(argv)
    _complete(Plan(command.table), command.live)


def resume(argv: Sequence[str], began: float) -> None:
    """Go on with a stored run or table."""
    directory = _directory(argv)
    if directory is None:
        return commands.resume(argv, began)
    command = cli(commands.ResumeCommand, argv, "resume")
    if command.rounds is not None:
        raise ValueError(f"{directory} is a table, whose rounds are settled; give another --out to `run.py table`")
    return _complete(Plan(stored_table(directory)), command.live)


def show(argv: Sequence[str], began: float) -> None:
    """Draw a stored run or table."""
    directory = _directory(argv)
    if directory is None:
        return commands.show(argv, began)
    cli(commands.ShowCommand, argv, "show")
    plan = Plan(stored_table(directory))
    return _show(plan, {cell.name: finished(cell) for cell in plan.cells})


def parse_table(argv: Sequence[str]) -> TableCommand:
    """The command line of `table`. Raises ValueError, in one line, for what cannot be understood."""
    file = option(argv, "config", "")
    stored, sites = file_options(Path(file)) if file else ([], ())
    if not sites:
        refuse_both([*stored, *argv])
    default = _default([*stored, *argv], sites)
    if stored:
        cli(TableCommand, stored, "table", default=default, where=file)
    if "--help" in argv or "-h" in argv:
        asked = [word for word in argv if word not in ("--help", "-h")]
        planned = Plan(cli(TableCommand, [*stored, *asked], "table", default=default).table)
        count = f"With the options given: {len(planned.cells)} federations of {planned.config.rounds} rounds."
        print(*(textwrap.fill(part, 80) for part in HELP.format(count=count).split("\n\n")), sep="\n\n")
    return cli(TableCommand, [*stored, *argv], "table", default=default)


def read_table(path: Path) -> TableConfig:
    """A table's table.toml. Raises ValueError, in one line."""
    options, sites = file_options(path)
    return cli(TableCommand, options, "table", default=_default(options, sites), where=str(path)).table


def _default(options: Sequence[str], sites: tuple[Any, ...]) -> TableCommand:
    settings: dict[str, Any] = {"institutions": sites}
    if preset_of(options) == "paper":
        settings |= {**PAPER["run"], "model": ModelConfig(**PAPER["model"]), "train": TrainConfig(**PAPER["train"])}
    return TableCommand(table=TableConfig(**settings))


def _directory(argv: Sequence[str]) -> Path | None:
    """The table that is named, if it is one."""
    named = next((Path(word) for word in argv if not word.startswith("-")), None)
    return named if named and is_table(named) else None


def _complete(plan: Plan, live: bool) -> None:
    """Train what is missing, write and show the table. Raises TrainingStopped if a federation did not end."""
    failures: list[str] = []
    with open_table(plan):
        stored = {cell.name: finished(cell) for cell in plan.cells}
        missing = [cell for cell in plan.cells if stored[cell.name] is None]
        try:
            if missing:
                with watcher(plan, missing, _scores(stored), live) as watching:
                    for progress in train_cells(missing, plan.config):
                        if progress.kind == "done":
                            stored[progress.cell.name] = finished(progress.cell)
                        if progress.kind == "failed":
                            failures.append(f"{progress.cell.name} ({progress.reason})")
                        watching.update(progress, _scores(stored))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"; run.py resume {plan.out} goes on") from None
        write_table(plan, _scores(stored))
    _show(plan, stored)
    if failures:
        raise TrainingStopped(f"{len(failures)} of {len(plan.cells)} federations stopped: {'; '.join(failures)}")


Stored = dict[str, list[PatientScore] | None]  # by federation, in the plan's order; None: not done


def _scores(stored: Stored) -> list[PatientScore]:
    return [score for scores in stored.values() if scores for score in scores]


def _show(plan: Plan, stored: Stored) -> None:
    console, missing = Console(), list(stored.values()).count(None)
    console.print(table_view(summarize(_scores(stored), plan.layout), warnings=stored_warnings(plan)))
    if missing:
        console.print(Text(f"{missing} of {len(plan.cells)} federations are missing: run.py resume {plan.out} goes on"))
    console.print(
        Text(" table.md, table.tex, table.csv, patients.csv and figures/train_test.png are in", "bright_black")
    )
    console.print(Text(f"table: {plan.out}"), soft_wrap=True)
