"""The command line of `run.py table`, and a stored table's settings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes

from sites.config import Preset, RunConfig
from sites.settings import cli, file_options, option, preset_of, refuse_two_sources
from sweeps.tables.plan import OWN, RUN, Plan, TableConfig

HELP = """\
Train methods on targets and compare them: the tables of Guo et al., CVPR 2021.

Rows: zero-filled, Local (trained at the tested site alone), Cross (at another, mean of them), Fused (all shards in one
place), FL-MR, FL-MRCM, and further --methods. Two studies: within the collaboration, and leave one out. Rows have the
same patients, masks and, unless a method sets the network, initial weights. What is stored is not trained again: the
same command goes on after an interruption, and one with more --methods, --seeds or --targets trains only what is new;
the table shows what that command names.

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


def parse_table(argv: Sequence[str]) -> TableCommand:
    """The command line of `table`. Raises ValueError, in one line, for what cannot be understood."""
    file = option(argv, "config", "")
    stored, sites = file_options(Path(file)) if file else ([], ())
    refuse_two_sources(file, sites, stored, argv)
    default = _default([*stored, *argv], sites)
    if stored:
        cli(TableCommand, stored, "table", default=default, where=file)
    if "--help" in argv or "-h" in argv:
        count = _count([*stored, *(word for word in argv if word not in ("--help", "-h"))], default)
        print(*(textwrap.fill(part, 80) for part in HELP.format(count=count).split("\n\n")), sep="\n\n")
    return cli(TableCommand, [*stored, *argv], "table", default=default)


def read_table(path: Path) -> TableConfig:
    """A table's table.toml. Raises ValueError, in one line."""
    options, sites = file_options(path)
    return cli(TableCommand, options, "table", default=_default(options, sites), where=str(path)).table


def _count(options: Sequence[str], default: TableCommand) -> str:
    """How many federations these options take, in words; what is wrong with them does not keep help away."""
    try:
        planned = Plan(cli(TableCommand, options, "table", default=default).table)
    except ValueError as error:
        return f"(With the options given: {error}.)"
    return f"With the options given: {len(planned.federations)} federations of {planned.config.run.rounds} rounds."


def _default(options: Sequence[str], sites: tuple[Any, ...]) -> TableCommand:
    run = RunConfig.preset("paper", **OWN) if preset_of(options) == "paper" else RUN
    return TableCommand(table=TableConfig(run=replace(run, institutions=sites)))
