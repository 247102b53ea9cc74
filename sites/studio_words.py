"""What can be typed in a shift session: the commands, how a line becomes one, and what may follow a half-typed one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, get_args, get_type_hints

from sites.scenario import closest

Known = Mapping[str, Sequence[str]]
"""What there is of each kind that an argument may be: "site", "dial", "branch" …"""


def argument(what: str, **settings: Any) -> Any:
    """A command's argument. what: its kind, in lower case; the usage has it in upper case."""
    return field(metadata={"what": what}, **settings)


@dataclass(frozen=True)
class Command:
    """Abstract: something that can be typed. Its docstring is its help, the first line its summary."""

    word: ClassVar[str]

    @property
    def line(self) -> str:
        """As it would be typed."""
        words = [self.word]
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, tuple):
                words += value
            elif value not in (None, ""):
                words.append(str(value).removesuffix(".0") if isinstance(value, float) else str(value))
        return shlex.join(words)


@dataclass(frozen=True)
class Help(Command):
    """This list, or what a command does."""

    word = "help"
    command: str = argument("command", default="")


@dataclass(frozen=True)
class Open(Command):
    """Begin with a scenario, named or a file; alone: list them.

    Its first branch is named after it. The branches so far stay: `switch` goes back, `compare` compares.
    """

    word = "scenario"
    name: str = argument("scenario", default="")


@dataclass(frozen=True)
class Sites(Command):
    """All institutions, zero-filled and reconstructed.

    One slice of the first validation patient of each; scores are means over the validation patients.
    """

    word = "sites"


@dataclass(frozen=True)
class Look(Command):
    """One institution, larger: error, scores, settings.

    Without a name: the target.
    """

    word = "look"
    site: str = argument("site", default="")


@dataclass(frozen=True)
class Turn(Command):
    """Turn a dial of an institution: a domain shift.

    STRENGTH is from 0, the institution's own distribution, to 1, the full shift. Its patients stay the same. The new
    images, scores and shift show at once, under the network as it is; the next round trains with it.
    """

    word = "shift"
    site: str = argument("site")
    dial: str = argument("dial")
    strength: float = argument("strength")


@dataclass(frozen=True)
class Set(Command):
    """Set what describes an institution: tr, te, snr, acceleration, …

    Several at once where they depend on each other: set west sequence gradient_echo tr 10 te 4 flip_angle 15.

    Dials that were turned stay turned, and go from there.
    """

    word = "set"
    site: str = argument("site")
    field: str = argument("field")
    value: str = argument("value")
    more: tuple[str, ...] = argument("field value …", default=())


@dataclass(frozen=True)
class Target(Command):
    """Make another institution the target.

    The others are its sources, and are aligned with it; what each has learnt stays with it.
    """

    word = "target"
    site: str = argument("site")


@dataclass(frozen=True)
class Align(Command):
    """Switch alignment on or off, or set its weight.

    off is weight 0: identifiers and distances are still observed, the network trains as without. on is the weight it
    last had.
    """

    word = "align"
    how: str = argument("on|off|weight")


@dataclass(frozen=True)
class Run(Command):
    """Train so many rounds more; 1 if left out.

    Ctrl-C stops after the round that is under way, and what was done stays.
    """

    word = "run"
    rounds: int = argument("count", default=1)


@dataclass(frozen=True)
class Rounds(Command):
    """The rounds so far: PSNR and shift by institution.

    PSNR over validation patients; the gain is over the zero-filled image as it is now.
    """

    word = "rounds"


@dataclass(frozen=True)
class Measure(Command):
    """Shift to the target, and what chance would show.

    By one measure, or all. In brackets the middle 95 % of what is measured when patients are exchanged at random
    between the two; p is the part of those exchanges that lie as far apart.
    """

    word = "measure"
    measure: str = argument("measure", default="")


@dataclass(frozen=True)
class Fork(Command):
    """Go on elsewhere, from now or from an earlier round.

    From an earlier round, the branch has the settings that the round after it had: with nothing changed it repeats what
    this one did, to the last bit.
    """

    word = "branch"
    name: str = argument("name")
    round: int | None = argument("round", default=None)


@dataclass(frozen=True)
class Switch(Command):
    """Make another branch the current one."""

    word = "switch"
    name: str = argument("branch")


@dataclass(frozen=True)
class Branches(Command):
    """All branches: rounds, PSNR at the target, weights."""

    word = "branches"


@dataclass(frozen=True)
class Compare(Command):
    """Two branches side by side, with pictures.

    What differs in their settings, PSNR and shift, after the last round that both have done. Left out, the second is
    the current one.
    """

    word = "compare"
    first: str = argument("branch")
    second: str = argument("branch", default="")


@dataclass(frozen=True)
class Save(Command):
    """Write the institutions as they are: a scenario.

    FILE ends in .toml; `run.py --scenario FILE` and `scenario FILE` take it, its first line says with which options.
    """

    word = "save"
    file: str = argument("file")


@dataclass(frozen=True)
class Script(Command):
    """Write the commands so far.

    `run.py shift --script FILE` repeats them, if the other options are the same.
    """

    word = "script"
    file: str = argument("file")


@dataclass(frozen=True)
class Quit(Command):
    """End the session; Ctrl-D does, too."""

    word = "quit"


AnyCommand = (
    Help | Open | Sites | Look | Turn | Set | Target | Align | Run | Rounds | Measure
    | Fork | Switch | Branches | Compare | Save | Script | Quit
)  # fmt: skip
COMMANDS: Mapping[str, type[AnyCommand]] = {kind.word: kind for kind in get_args(AnyCommand)}
"""By what is typed, in the order of the help."""


# ---- reading ------------------------------------------------------------------------------------------------


def parse(line: str) -> AnyCommand | None:
    """What a line says; None if it is empty or a comment (#).

    A command may be cut short where that leaves one. Raises ValueError, in one line, for what cannot be understood.
    """
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise ValueError(f"{line.strip()!r} cannot be read: {error}") from error
    if not words:
        return None
    kind = command_of(words[0])
    return kind(*_arguments(kind, words[1:]))


def command_of(word: str) -> type[AnyCommand]:
    """The command of a name or of a beginning that only one has. Raises ValueError."""
    found = [name for name in COMMANDS if name.startswith(word.lower())]
    if word.lower() in COMMANDS:
        found = [word.lower()]
    if len(found) == 1:
        return COMMANDS[found[0]]
    if found:
        raise ValueError(f"{word!r} can be {' or '.join(found)}; write more of it")
    raise ValueError(f"there is no command {word!r}; {closest(word.lower(), COMMANDS) or 'help lists them'}")


def usage(kind: type[Command]) -> str:
    """The command and its arguments; those in brackets may be left out."""
    words = [kind.word]
    for item in fields(kind):
        what = str(item.metadata["what"]).upper()
        what = what.replace("ON|OFF", "on|off")
        words.append(what if _required(item) else f"[{what}]")
    return " ".join(words)


def summary(kind: type[Command]) -> str:
    """The first line of its help."""
    return explanation(kind)[0]


def explanation(kind: type[Command]) -> list[str]:
    """Its help, a paragraph each."""
    return [" ".join(part.split()) for part in (kind.__doc__ or "").split("\n\n")]


def _arguments(kind: type[Command], words: Sequence[str]) -> list[Any]:
    types = get_type_hints(kind)
    items = fields(kind)
    values: list[Any] = []
    for number, item in enumerate(items):
        if types[item.name] == tuple[str, ...]:
            return [*values, tuple(words[number:])]
        if number < len(words):
            values.append(_value(kind, item, types[item.name], words[number]))
        elif _required(item):
            raise ValueError(f"{kind.word} needs {str(item.metadata['what']).upper()}: {usage(kind)}")
    if len(words) > len(items):
        raise ValueError(f"{kind.word}: {words[len(items)]!r} is too much; it is {usage(kind)}")
    return values


def _value(kind: type[Command], item: Field[Any], wanted: Any, word: str) -> Any:
    if wanted is str:
        return word
    number, noun = (float, "a number") if wanted is float else (int, "a whole number")
    try:
        return number(word)
    except ValueError:
        raise ValueError(f"{kind.word}: {item.metadata['what']} is {word!r}; give {noun}") from None


def _required(item: Field[Any]) -> bool:
    return item.default is MISSING


# ---- completing ---------------------------------------------------------------------------------------------


def candidates(text: str, known: Known) -> list[str]:
    """What the last, perhaps empty, word of a half-typed line may become. known: what there is of each kind."""
    before, begun = text.split(" ")[:-1], text.split(" ")[-1]
    kind = _expected([word for word in before if word])
    choices = list(known.get(kind, ()))
    if kind in ("file", "scenario"):
        choices += [path for path in _paths(begun) if kind == "file" or path.endswith((".toml", "/"))]
    return [choice for choice in choices if choice.startswith(begun)]


def _expected(before: Sequence[str]) -> str:
    """The kind of what follows those words; of a field's value, the values it may have."""
    if not before:
        return "command"
    try:
        kind = command_of(before[0])
    except ValueError:
        return ""
    position = len(before) - 1
    if kind is Set and position >= 1:
        return "field" if position % 2 else f"value of {before[-1]}"
    items = [str(item.metadata["what"]) for item in fields(kind)]
    return items[position] if position < len(items) else ""


def _paths(begun: str) -> list[str]:
    """Files and folders of that beginning; a folder ends in a slash."""
    folder = begun[: begun.rfind("/") + 1]
    try:
        found = sorted(Path(folder or ".").iterdir())
    except OSError:
        return []
    return [f"{folder}{path.name}{'/' if path.is_dir() else ''}" for path in found if not path.name.startswith(".")]
