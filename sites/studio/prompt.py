"""The line editor of a shift session: completion, history, a toolbar, and keys that turn dials."""

from __future__ import annotations

import contextlib
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass, replace

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from sites.shifts import DIALS, parse_shift
from sites.studio.branch import Branch
from sites.studio.lines import candidates, parse
from sites.studio.session import Session
from sites.studio.terminal import Terminal
from sites.studio.words import Turn

STEP = 0.1  # of a dial's strength, by key


@dataclass(frozen=True)
class Hand:
    """The dial that keys turn, and whose."""

    site: str
    dial: str

    @staticmethod
    def on(branch: Branch, site: str) -> Hand:
        """The first dial of a site that is turned, or the first there is."""
        return Hand(site, next(iter(parse_shift(branch.site(site).shift)), next(iter(DIALS))))

    def strength(self, branch: Branch) -> float:
        """How far it is turned."""
        return parse_shift(branch.site(self.site).shift).get(self.dial, 0.0)

    def turned(self, branch: Branch, step: float) -> str:
        """The command that turns it by a step; empty at its end."""
        now = self.strength(branch)
        then = round(min(1.0, max(0.0, now + step)), 3)
        return "" if then == now else Turn(self.site, self.dial, then).line

    def another_dial(self, step: int) -> Hand:
        """The next or the one before."""
        names = list(DIALS)
        return replace(self, dial=names[(names.index(self.dial) + step) % len(names)])

    def another_site(self, branch: Branch) -> Hand:
        """The next one's."""
        names = [site.name for site in branch.config.institutions]
        return Hand.on(branch, names[(names.index(self.site) + 1) % len(names)])


class Prompt:
    """Asks for lines, and has them carried out, until the session ends."""

    def __init__(self, session: Session, terminal: Terminal) -> None:
        self.session = session
        self.terminal = terminal
        self.hand = Hand.on(session.branch, session.branch.config.target)

    def interact(self) -> None:
        """Until `quit` or Ctrl-D; Ctrl-C leaves the line."""
        asking: PromptSession[str] = PromptSession(
            completer=Completing(self.session),
            complete_while_typing=False,
            bottom_toolbar=self.toolbar,
            key_bindings=self.keys(),
        )
        with _keys_wait():
            while True:
                try:
                    line = asking.prompt(f"{self.session.branch.name}:{self.session.branch.round}> ")
                except KeyboardInterrupt:
                    continue
                except EOFError:
                    return
                if self.terminal.carry_out(self.session, line) == "quit":
                    return
                self.follow(line)
                self.terminal.prepare(self.session)

    def follow(self, line: str) -> None:
        """The hand goes to the dial that was just turned, and stays with institutions that are there."""
        try:
            command = parse(line)
        except ValueError:
            return
        branch = self.session.branch
        names = [site.name for site in branch.config.institutions]
        if isinstance(command, Turn) and command.site in names and command.dial in DIALS:
            self.hand = Hand(command.site, command.dial)
        if self.hand.site not in names:
            self.hand = Hand.on(branch, branch.config.target)

    def toolbar(self) -> str:
        """Where the session is, and what the keys turn."""
        branch, hand = self.session.branch, self.hand
        config = branch.config
        weight = getattr(config.algorithm, "alignment_weight", None)
        aligned = "" if weight is None else " align off" if weight == 0 else f" align {weight:g}"
        where = f" {branch.name}:{branch.round}  ◎ {config.target}  {config.algorithm_name}{aligned}"
        ends = ["←" if hand.turned(branch, -STEP) else " ", "→" if hand.turned(branch, STEP) else " "]
        return f"{where}  {ends[0]} {hand.site} {hand.dial} {hand.strength(branch):g} {ends[1]}  ? help"

    def keys(self) -> KeyBindings:
        """Those of an empty line."""
        bindings = KeyBindings()
        empty = Condition(lambda: not get_app().current_buffer.text)

        def turn(buffer: Buffer, step: float) -> None:
            _enter(buffer, self.hand.turned(self.session.branch, step))

        @bindings.add("right", filter=empty)
        def _(event: KeyPressEvent) -> None:
            turn(event.current_buffer, STEP)

        @bindings.add("left", filter=empty)
        def _(event: KeyPressEvent) -> None:
            turn(event.current_buffer, -STEP)

        @bindings.add("]", filter=empty)
        def _(_event: KeyPressEvent) -> None:
            self.hand = self.hand.another_dial(1)

        @bindings.add("[", filter=empty)
        def _(_event: KeyPressEvent) -> None:
            self.hand = self.hand.another_dial(-1)

        @bindings.add("tab", filter=empty)
        def _(_event: KeyPressEvent) -> None:
            self.hand = self.hand.another_site(self.session.branch)

        @bindings.add("?", filter=empty)
        def _(event: KeyPressEvent) -> None:
            _enter(event.current_buffer, "help")

        return bindings


@contextlib.contextmanager
def _keys_wait() -> Iterator[None]:
    """What is pressed while a command is carried out is not shown there, but read by the next prompt."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _enter(buffer: Buffer, line: str) -> None:
    """As if it had been typed."""
    if line:
        buffer.text = line
        buffer.validate_and_handle()


class Completing(Completer):
    """Of what may be typed in a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterator[Completion]:
        """For the word before the cursor."""
        text = document.text_before_cursor
        begun = text.rsplit(" ", 1)[-1]
        for word in candidates(text, self._session.known):
            yield Completion(word, start_position=-len(begun))
