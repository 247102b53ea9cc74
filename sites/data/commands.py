"""`run.py data`: look at, check and convert real data."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text
from tyro.conf import OmitArgPrefixes

from engine.columns import cut
from sites.commands import Command
from sites.data.inspection import Inspection
from sites.data.prepare import PrepareConfig
from sites.settings import cli

COMMANDS = """\
usage: run.py data {inspect,prepare} ...

Look at, check and convert real data: fastMRI and ISMRMRD HDF5, NIfTI, DICOM,
numpy and BART arrays. In a folder of data each sub-folder is an institution.

  inspect PATH     patients, contrasts, matrices, pictures, and every problem
  prepare SRC DST  k-space in DST/INSTITUTION/CONTRAST/{train,val,test}/, for
                   `run.py --data DST`

`run.py data COMMAND --help` explains a command.
"""


def data(argv: Sequence[str], began: float) -> None:
    """Hand on to `inspect` or `prepare`. Raises ValueError for another word."""
    known: dict[str, Command] = {"inspect": inspect, "prepare": prepare}
    if not argv or argv[0] in ("--help", "-h"):
        print(COMMANDS, end="")
    elif argv[0] in known:
        known[argv[0]](argv[1:], began)
    else:
        raise ValueError(f"data has no command {argv[0]!r}; choose one of {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class InspectCommand:
    """Say what a folder of data holds, and what is wrong with it.

    Each sub-folder is an institution. Every file is read; nothing is written.
    """

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A folder of institutions, or of one, or a file."""
    institution: str = ""
    """Everything belongs to one institution, of this name; empty: each sub-folder is one."""
    quick: bool = False
    """Headers, and the samples of one volume of each contrast only: what is damaged further in is not found."""
    all: bool = False
    """Every problem one by one, however many there are."""


def inspect(argv: Sequence[str], _began: float) -> None:
    """Show what is there. Raises ValueError if nothing can be used."""
    from sites.data import inspection
    from sites.data.view import InspectionView, headline

    command = cli(InspectCommand, argv, "data inspect")
    console = Console()
    with _progress(console) as advance_to:
        advance_to("reading headers", None)
        planned = inspection.plan(command.path, command.quick, command.institution)
        found = inspection.inspect(planned, advance_to("reading", planned.samples))
    if not found.groups:
        raise ValueError(_nothing(found, command.path))
    console.print(InspectionView(found, command.all))
    console.print(Text(), Text(" ").append_text(headline(found)), sep="\n", soft_wrap=True)


def _nothing(found: Inspection, path: Path) -> str:
    if not found.problems:
        return f"{path}: there is nothing to use"
    first = found.problems[0]
    more = f" (and {len(found.problems) - 1} more problems)" if len(found.problems) > 1 else ""
    return f"{first.path}: {first.reason}{more}; there is nothing to use"


@dataclass(frozen=True, kw_only=True)
class PrepareCommand:
    """Convert data to k-space that a federation reads fast: `run.py --data DST`.

    DST/INSTITUTION/CONTRAST/{train,val,test}/PATIENT.h5 and DST/manifest.json.

    The same command goes on after an interruption.
    """

    src: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """A folder of institutions, or of one, or a file."""
    dst: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DST")]
    """A new folder, or one that an interrupted conversion left."""
    settings: OmitArgPrefixes[PrepareConfig] = field(default_factory=PrepareConfig)
    skip_bad: bool = False
    """Leave out files that cannot be used, and list them; otherwise every file is checked before the first is written,
    which reads them twice."""


def prepare(argv: Sequence[str], began: float) -> None:
    """Convert, and show what came of it."""
    from sites.data import convert
    from sites.data.prepare import make_plan
    from sites.data.prepare_view import outcome_view
    from sites.data.prepared import check_destination

    command = cli(PrepareCommand, argv, "data prepare")
    console = Console()
    with _progress(console) as advance_to:
        advance_to("reading headers", None)
        plan = make_plan(command.src, command.dst, command.settings, command.skip_bad)
        check_destination(plan)
        try:
            if not command.skip_bad:
                convert.check_samples(plan, advance_to("checking", plan.samples))
            outcome = convert.convert(plan, command.skip_bad, advance_to("converting", plan.samples))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"; the same command goes on, {command.dst} keeps what is done") from None
    console.print(outcome_view(outcome, console.width, time.perf_counter() - began), soft_wrap=True)


Begin = Callable[[str, int | None], Callable[[int, str], None]]
"""Begins a stage of so many samples (None: unknown), and gives what advances it, naming a file."""


@contextmanager
def _progress(console: Console) -> Iterator[Begin]:
    """A bar, and Ctrl-C heeded after every file at the latest."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal, expand=True)
    with _interruptible() as check, bar:
        task = bar.add_task("", total=None)
        wide = max(24, console.width // 3)  # always the same: the bar must not jump

        def begin(stage: str, total: int | None) -> Callable[[int, str], None]:
            bar.reset(task, description=stage.ljust(wide), total=total)

            def advance(samples: int, name: str) -> None:
                check()
                bar.update(task, advance=samples, description=cut(Text(f"{stage} {name}"), wide).plain.ljust(wide))

            return advance

        yield begin


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Gives what raises KeyboardInterrupt after Ctrl-C, as the first may be lost in a weak reference of h5py."""
    asked: list[int] = []

    def remember(number: int, _frame: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return

    def lost(told: Any) -> None:
        if not isinstance(told.exc_value, KeyboardInterrupt):
            report(told)

    before, report = signal.signal(signal.SIGINT, remember), sys.unraisablehook
    sys.unraisablehook = lost
    try:
        yield check
    finally:
        sys.unraisablehook = report
        signal.signal(signal.SIGINT, before)
