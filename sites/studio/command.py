"""`run.py shift`: the command line of a shift session, and where its lines come from."""

from __future__ import annotations

import contextlib
import functools
import importlib
import shlex
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from engine.checkpoint import write_atomically
from engine.standings import byte_size
from sites.anatomy import load_maps_apart
from sites.config import Preset
from sites.federation import resolve
from sites.run_directory import SCRIPT, config_toml, locked, new_directory
from sites.settings import FederationCommand, option, parse_federation
from sites.studio.session import Session
from sites.studio.terminal import Terminal
from sites.studio.view import KEYS, draw

DEFAULT = "contrast"
CONFIG = "config.toml"
IN_VAIN = {
    "rounds": "type run 5",
    "checkpoint-every": "every round is kept",
    "keep-checkpoints": "every round is kept",
    "workers": "all is in this process",
    "sites-per-worker": "all is in this process",
    "gpus-per-site": "all is in this process",
    "ray-address": "all is in this process",
}
"""Options of a run that mean nothing here, and what is so instead."""


@dataclass(frozen=True, kw_only=True)
class ShiftCommand(FederationCommand):
    """Study domain shift in an interactive session.

    Choose a scenario, see its institutions, turn a dial of one and see at once what that does to images, scores and
    shift; train some rounds, branch, and compare the branches. Type help there.

    By default the target does not train. The session's directory keeps every round, and script.txt, which repeats it.
    """

    preset: Preset | Literal["auto"] = "demo"
    """demo: a turned dial answers within a second; paper: Guo et al.'s sizes; auto: paper if there is a GPU."""
    script: str = ""
    """File of commands to carry out, a line each (# begins a comment). Without it lines come from the terminal, or from
    whatever is piped in."""
    stay: bool = False
    """Go on at the terminal after the script."""


def shift(argv: Sequence[str], _began: float) -> None:
    """A session, to its end. Raises ValueError, too, if a command of a script failed."""
    command = parse_federation(ShiftCommand, argv, "shift", scenario=DEFAULT, target_trains=False)
    for name, mend in IN_VAIN.items():
        if option(argv, name, ""):
            raise ValueError(f"--{name} has no meaning in run.py shift: {mend}")
    lines: Iterable[str] = _script(command.script)
    goes_on = not command.script or command.stay
    typed = goes_on and sys.stdin.isatty() and sys.stdout.isatty()
    if goes_on and not typed:
        lines = chain(lines, sys.stdin)
    config = replace(command.run, out=command.run.out or str(new_directory(command.run, "shift")))
    resolve(config)  # what cannot be is refused before anything is written
    path = Path(config.out)
    with _open(path):
        threading.Thread(target=importlib.import_module, args=("engine.institution",)).start()  # torch, meanwhile
        terminal = Terminal(Console(highlight=False), typed)
        with terminal.working("starting"):
            session = Session(config, path, functools.cache(load_maps_apart), terminal)
        first = session.branch.config
        write_atomically(path / CONFIG, config_toml(first, first.placement.device).encode())
        failed = _hold(session, terminal, lines, typed)
        _take_leave(session, terminal.console)
    if failed:
        s = "s" * (len(failed) > 1)
        raise ValueError(f"{len(failed)} command{s} failed: line{s} {', '.join(map(str, failed))}")


def _hold(session: Session, terminal: Terminal, lines: Iterable[str], typed: bool) -> list[int]:
    """The session itself: the lines, then, if it is typed, the prompt. The numbers of the lines that failed."""
    console = terminal.console
    console.print(draw(session.opening, console.width, console.height))
    failed, over = terminal.follow(session, lines)
    if typed and not over:
        from sites.studio.prompt import Prompt

        target = session.branch.config.target
        console.print(Text(f"Type sites to see them, shift {target} snr 0.5 to turn a dial, run 5 to train, help."))
        console.print(Text(KEYS, "bright_black"))
        Prompt(session, terminal).interact()
    return failed


def _take_leave(session: Session, console: Console) -> None:
    crossed = ", ".join(f"{kind} {byte_size(count)}" for kind, count in session.crossed().items())
    console.print(Text(f"crossed while looking: {crossed}", "bright_black"))
    again = shlex.join(["--config", f"{session.path}/{CONFIG}", "--script", f"{session.path}/{SCRIPT}"])
    console.print(Text(f"session: {session.path}, repeated by\nrun.py shift {again}"), soft_wrap=True)


def _script(file: str) -> list[str]:
    if not file:
        return []
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--script {file}: {getattr(error, 'strerror', None) or error}; give a text file") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[None]:
    """A directory of its own. Raises ValueError if it holds something already."""
    held = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    if held:
        mend = f"; run.py shift --script {path / SCRIPT} repeats that session" if SCRIPT in held else ""
        raise ValueError(f"{path} holds something already ({held[0]}); choose another --out{mend}")
    created = not path.exists()
    with locked(path):
        try:
            yield
        finally:
            if not (path / CONFIG).exists():  # nothing came of it
                for name in (SCRIPT, ".lock"):
                    (path / name).unlink(missing_ok=True)
                if created:
                    path.rmdir()
