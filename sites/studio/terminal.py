"""A shift session at a terminal, or at what stands in for one: a line is carried out, its answer is printed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Literal

from rich.console import Console
from rich.status import Status
from rich.text import Text

from engine.types import TrainingStopped
from sites.studio.branch import Branch
from sites.studio.lines import parse
from sites.studio.session import Session
from sites.studio.view import draw, round_line
from sites.studio.words import AnyCommand, Quit, Run

PATIENCE = 0.3  # seconds before a spinner appears
BESIDE = 3  # rows of the screen that an answer leaves: the command, the next prompt, the toolbar
Outcome = Literal["done", "failed", "quit"]


class Terminal:
    """Prints answers, and shows what is being done: the `Watch` of a session."""

    def __init__(self, console: Console, interactive: bool) -> None:
        """interactive: Ctrl-C stops a command; otherwise it ends the session."""
        self.console = console
        self._interactive = interactive
        self._stopping = False
        self._status: Status | None = None

    # ---- a watch ----------------------------------------------------------------------------------------

    def phase(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)

    def update(self, branch: Branch) -> None:
        self.console.print(round_line(branch))

    def stopping(self) -> bool:
        return self._stopping

    # ---- commands ---------------------------------------------------------------------------------------

    def carry_out(self, session: Session, line: str, where: str = "") -> Outcome:
        """A line as it was typed. What cannot be done is said in a line. where: what stands before that."""
        try:
            command = parse(line)
            if command is None:
                return "done"
            with self.working("working"), self._interruptible(command):
                answer = session.do(command)
        except (ValueError, TrainingStopped, OSError) as error:
            self.console.print(Text(f"{where}{error}", "red"))
            return "failed"
        if isinstance(command, Quit):
            return "quit"
        self.console.print(draw(answer, self.console.width, self.console.height - BESIDE))
        return "done"

    def prepare(self, session: Session) -> None:
        """While the answer is read, look at what the next one may need; Ctrl-C: not now."""
        with contextlib.suppress(KeyboardInterrupt), self.working("looking at the institutions"):
            session.prepare()

    def follow(self, session: Session, lines: Iterable[str]) -> tuple[list[int], bool]:
        """A script: each command is said and carried out, until `quit` or Ctrl-C.

        The numbers of the lines that failed, and whether it quit.
        """
        failed: list[int] = []
        for number, line in enumerate(lines, start=1):
            if not line.split("#")[0].strip():
                continue
            self.console.print(Text(f"> {line.strip()}", "bold"))
            outcome = self.carry_out(session, line, f"line {number}: ")
            failed += [number] * (outcome == "failed")
            if outcome == "quit" or self._stopping:
                return failed, outcome == "quit"
        return failed, False

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner, if it takes time and somebody watches."""
        if not self.console.is_terminal:
            yield
            return
        status = self._status = self.console.status(text)
        late = threading.Timer(PATIENCE, status.start)
        late.start()
        try:
            yield
        finally:
            late.cancel()
            late.join()
            status.stop()
            self._status = None

    @contextlib.contextmanager
    def _interruptible(self, command: AnyCommand) -> Iterator[None]:
        """Ctrl-C stops `run` after the round, and at once when it comes again; other commands at once.

        Raises ValueError, that it was interrupted.
        """
        if not self._interactive:
            yield
            return
        self._stopping = False

        def stop(_signal: int, _frame: FrameType | None) -> None:
            again, self._stopping = self._stopping, True
            if again or not isinstance(command, Run):
                raise KeyboardInterrupt
            self.phase("stopping after this round (Ctrl-C again: at once)")

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        except KeyboardInterrupt:
            raise ValueError("interrupted") from None
        finally:
            signal.signal(signal.SIGINT, before)
