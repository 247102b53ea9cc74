"""Commands about many federations, and `resume` and `show` of whatever a directory holds."""

from __future__ import annotations

from collections.abc import Sequence

from sites import commands
from sites.settings import cli, without_help
from sites.studio import command as studio
from sweeps.curves.commands import curves, resume_curves, show_curves
from sweeps.curves.directory import CURVES
from sweeps.curves.parsing import is_sweep
from sweeps.directory import STUDY
from sweeps.tables.commands import resume_table, show_table
from sweeps.tables.commands import table as table
from sweeps.tables.directory import TABLE

BOTH = """\
run.py shift: domain shift, from none (0) to the full shift (1)

  run.py shift                            a console: turn dials by hand, train,
                                          branch, compare
  run.py shift --sweep contrast=0:1:0.25  curves over many federations
                                          (`run.py shift --sweep --help`)

`run.py scenarios` lists the dials.
"""


def shift(argv: Sequence[str], began: float) -> None:
    """Turn dials: by hand in the interactive console, or one through strengths over many federations."""
    if is_sweep(argv):
        return curves(argv)
    if len(without_help(argv)) < len(argv):
        print(BOTH)
    return studio.shift(argv, began)


def resume(argv: Sequence[str], began: float) -> None:
    """Go on with a stored run, table, study or sweep of a shift."""
    command = cli(commands.ResumeCommand, argv, "resume")
    kind = next((kind for kind in (TABLE, STUDY, CURVES) if kind.there(command.directory)), None)
    if kind is None:
        return commands.resume(argv, began)
    if command.rounds is not None:
        raise ValueError(
            f"{command.directory} is a {kind.noun}, whose rounds are settled; take another --out for others"
        )
    if kind is CURVES:
        return resume_curves(command.directory, command.live)
    if kind is STUDY:
        from sweeps.studies import commands as studies

        return studies.resume(command.directory, command.live)
    return resume_table(command.directory, command.live)


def show(argv: Sequence[str], began: float) -> None:
    """Draw a stored run, table, study or sweep of a shift."""
    command = cli(commands.ShowCommand, argv, "show")
    if CURVES.there(command.directory):
        return show_curves(command.directory)
    if STUDY.there(command.directory):
        from sweeps.studies import commands as studies

        return studies.show(command.directory)
    if TABLE.there(command.directory):
        return show_table(command.directory)
    return commands.show(argv, began)


def sweep(argv: Sequence[str], began: float) -> None:
    """Search settings; Optuna takes a second to import, which no other command must wait for."""
    from sweeps.studies import commands as studies

    studies.sweep(argv, began)
