"""How a line that was typed in a shift session becomes a command, and what may follow a half-typed one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from engine.validation import closest
from sites.dials import DIALS
from sites.overrides import TARGET
from sites.studio.words import COMMANDS, AnyCommand, Command, Set, Turn

Known = Mapping[str, Sequence[str]]
"""What there is of each kind that an argument may be: "site", "dial", "branch" …"""


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
    return kind(*_arguments(kind, _apart(kind, words[1:])))


def command_of(word: str) -> type[AnyCommand]:
    """The command of a name or of a beginning that only one has. Raises ValueError."""
    found = [name for name in COMMANDS if name.startswith(word.lower())]
    if word.lower() in COMMANDS:
        found = [word.lower()]
    if len(found) == 1:
        return COMMANDS[found[0]]
    if found:
        raise ValueError(f"{word!r} can be {' or '.join(found)}; write more of it")
    raise ValueError(f"there is no command {word!r}; {closest(word.lower(), COMMANDS)}")


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


def _apart(kind: type[Command], words: Sequence[str]) -> list[str]:
    """Words that may be written as options are: SITE:DIAL=STRENGTH, the target's DIAL=STRENGTH, FIELD=VALUE."""
    if kind is Turn:
        parts = [part for word in words for part in re.split("[:=]", word) if part]
        return [TARGET, *parts] if len(parts) == 2 and parts[0] in DIALS else parts
    if kind is Set:
        return [part for word in words for part in word.split("=", 1) if part]
    return [*words]


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
