"""`python -m tests.shift_picture OUT.svg`: the README's picture of the shift console."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.algorithms import FlMrcm
from sites.anatomy import load_maps_apart
from sites.config import RunConfig
from sites.studio.lines import parse
from sites.studio.session import Session
from sites.studio.terminal import Terminal
from sites.studio.view import draw

SHOWN = ("shift west contrast 0.4", "compare more contrast")
BEFORE = ("run 6", "branch more 3", "shift west contrast 0.7", "run 3")


def main(out: Path) -> None:
    """A dial that is turned, and two branches that went on without and with it."""
    quiet = Terminal(Console(file=io.StringIO()), interactive=False)
    console = Console(
        record=True, width=100, height=34, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    config = RunConfig(scenario="contrast", target_trains=False, algorithm=FlMrcm())
    with tempfile.TemporaryDirectory() as folder:
        session = Session(config, Path(folder) / "session", load_maps_apart, quiet)
        quiet.follow(session, BEFORE)
        for line in SHOWN:
            command = parse(line)
            assert command is not None
            console.print(Text(f"> {line}", "bold"))
            console.print(draw(session.do(command), console.width, console.height))
    console.save_svg(str(out), title="python run.py shift")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
