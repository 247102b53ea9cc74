"""The command line of `run.py shift --sweep`, and a stored sweep's settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from sites.settings import file_options, option, without_help
from sweeps.curves.plan import OWN, RUN, CurvesConfig, CurvesPlan
from sweeps.settings import MethodsCommand, Parser

WORDS = """\
Sweep: what a shift of the target costs, and what methods give back. One dial of the target is turned through the
--sweep's strengths, and each of --methods is trained at each of them, --seeds times; the target gives no labels, unless
--target-trains. Shown are curves of its scores against the strength, the shift by several measures, and which of these
go with the loss. What is stored is not trained again: the same command goes on after an interruption, and one with
more strengths, --methods or --seeds trains only what is new; the curves show what that command names. {count}"""


@dataclass(frozen=True, kw_only=True)
class CurvesCommand(MethodsCommand):
    """Draw the target's scores against the strength of a shift, over many federations."""

    curves: OmitArgPrefixes[CurvesConfig] = field(default_factory=CurvesConfig)


def _count(command: CurvesCommand) -> tuple[int, int]:
    plan = CurvesPlan(command.curves)
    return len(plan.federations), plan.config.run.rounds


PARSER = Parser(
    name="shift",
    start=lambda run: CurvesCommand(curves=CurvesConfig(run=run)),
    own=OWN,
    demo=RUN,
    words=WORDS,
    count=_count,
)


def is_sweep(argv: Sequence[str]) -> bool:
    """Whether the command line of `shift` asks for a sweep: by --sweep, or a file that has one."""
    file = option(argv, "config", "")
    options = [*argv, *(file_options(Path(file))[0] if file else ())]
    return any(word.partition("=")[0] == "--sweep" for word in options)


def with_sweep(argv: Sequence[str]) -> list[str]:
    """With the default sweep where `--sweep --help` names none."""
    if len(without_help(argv)) == len(argv):
        return [*argv]
    words = [*argv, "--"]
    bare = [i for i, word in enumerate(argv) if word == "--sweep" and words[i + 1].startswith("-")]
    return [each for i, word in enumerate(argv) for each in ([word, CurvesConfig.sweep] if i in bare else [word])]
