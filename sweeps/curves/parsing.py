"""The command line of `run.py shift --sweep`, and a stored sweep's settings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes

from sites.config import Preset, RunConfig
from sites.settings import cli, file_options, option, preset_of, refuse_two_sources
from sweeps.curves.plan import OWN, RUN, CurvesConfig, CurvesPlan

HELP = """\
Sweep: what a shift of the target costs, and what methods give back. One dial of the target is turned through the
--sweep's strengths, and each of --methods is trained at each of them, --seeds times; the target gives no labels, unless
--target-trains. Shown are curves of its scores against the strength, the shift by several measures, and which of these
go with the loss. What is stored is not trained again: the same command goes on after an interruption, and one with
more strengths, --methods or --seeds trains only what is new; the curves show what that command names. {count}"""


@dataclass(frozen=True, kw_only=True)
class CurvesCommand:
    """Draw the target's scores against the strength of a shift, over many federations."""

    config: str = ""
    """TOML file with any of these options, for example a sweep's curves.toml; the command line wins."""
    preset: Preset | Literal["auto"] = "auto"
    """demo: minutes on a CPU; paper: Guo et al.'s sizes; auto: paper if there is a GPU, demo otherwise."""
    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""
    curves: OmitArgPrefixes[CurvesConfig] = field(default_factory=CurvesConfig)


def is_sweep(argv: Sequence[str]) -> bool:
    """Whether the command line of `shift` asks for a sweep: by --sweep, or a file that has one."""
    file = option(argv, "config", "")
    options = [*argv, *(file_options(Path(file))[0] if file else ())]
    return any(word.partition("=")[0] == "--sweep" for word in options)


def _named(argv: Sequence[str]) -> list[str]:
    """With the default sweep where `--sweep --help` names none."""
    if not {"--help", "-h"} & {*argv}:
        return [*argv]
    words = [*argv, "--"]
    bare = [i for i, word in enumerate(argv) if word == "--sweep" and words[i + 1].startswith("-")]
    return [each for i, word in enumerate(argv) for each in ([word, CurvesConfig.sweep] if i in bare else [word])]


def parse_curves(argv: Sequence[str]) -> CurvesCommand:
    """The command line of `shift --sweep`. Raises ValueError, in one line, for what cannot be understood."""
    argv = _named(argv)
    file = option(argv, "config", "")
    stored, sites = file_options(Path(file)) if file else ([], ())
    refuse_two_sources(file, sites, stored, argv)
    default = _default([*stored, *argv], sites)
    if stored:
        cli(CurvesCommand, stored, "shift", default=default, where=file)
    if {"--help", "-h"} & {*argv}:
        count = _count([*stored, *(word for word in argv if word not in ("--help", "-h"))], default)
        print(textwrap.fill(HELP.format(count=count), 80), end="\n\n")
    return cli(CurvesCommand, [*stored, *argv], "shift", default=default)


def read_curves(path: Path) -> CurvesConfig:
    """A sweep's curves.toml. Raises ValueError, in one line."""
    options, sites = file_options(path)
    return cli(CurvesCommand, options, "shift", default=_default(options, sites), where=str(path)).curves


def _count(options: Sequence[str], default: CurvesCommand) -> str:
    """How many federations these options take, in words; what is wrong with them does not keep help away."""
    try:
        plan = CurvesPlan(cli(CurvesCommand, options, "shift", default=default).curves)
    except ValueError as error:
        return f"(With the options given: {error}.)"
    return f"With the options given: {len(plan.federations)} federations of {plan.config.run.rounds} rounds."


def _default(options: Sequence[str], sites: tuple[Any, ...]) -> CurvesCommand:
    run = RunConfig.preset("paper", **OWN) if preset_of(options) == "paper" else RUN
    return CurvesCommand(curves=CurvesConfig(run=replace(run, institutions=sites)))
