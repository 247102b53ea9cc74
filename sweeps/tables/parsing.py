"""The command line of `run.py table`, and a stored table's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from tyro.conf import OmitArgPrefixes

from sweeps.settings import MethodsCommand, Parser
from sweeps.tables.plan import OWN, RUN, Plan, TableConfig

WORDS = """\
Train methods on targets and compare them: the tables of Guo et al., CVPR 2021.

Rows: zero-filled, Local (trained at the tested site alone), Cross (at another, mean of them), Fused (all shards in one
place), FL-MR, FL-MRCM, and further --methods. Two studies: within the collaboration, and leave one out. Rows have the
same patients, masks and, unless a method sets the network, initial weights. What is stored is not trained again: the
same command goes on after an interruption, and one with more --methods, --seeds or --targets trains only what is new;
the table shows what that command names.

A seed of N sites takes N federations that train at one site; within, 1 fused and 1 a method (N for one that aligns
with a target); leave-one-out, N fused and N a method. {count}"""


@dataclass(frozen=True, kw_only=True)
class TableCommand(MethodsCommand):
    """Train methods on targets and compare them."""

    table: OmitArgPrefixes[TableConfig] = field(default_factory=TableConfig)


def _count(command: TableCommand) -> tuple[int, int]:
    plan = Plan(command.table)
    return len(plan.federations), plan.config.run.rounds


PARSER = Parser(
    name="table",
    start=lambda run: TableCommand(table=TableConfig(run=run)),
    own=OWN,
    demo=RUN,
    words=WORDS,
    count=_count,
)
