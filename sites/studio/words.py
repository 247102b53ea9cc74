"""What can be typed in a shift session: a command a class; its docstring is its help."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_args


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
    """Begin with a scenario, by name or file; or list them.

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
    """Turn a dial of a site: a domain shift.

    STRENGTH is from 0, the institution's own distribution, to 1, the full shift. Its patients stay the same. The new
    images, scores and shift show at once, under the network as it is; the next round trains with it. It may be written
    SITE:DIAL=STRENGTH, too, or DIAL=STRENGTH for the target's.
    """

    word = "shift"
    site: str = argument("site")
    dial: str = argument("dial")
    strength: float = argument("strength")


@dataclass(frozen=True)
class Set(Command):
    """Set tr, te, snr or what else describes a site.

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

    By one measure, or all. From chance to: the middle 95 % of what is measured when patients are exchanged at random
    between the two sites; p is the part of those exchanges that lie as far apart.
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
