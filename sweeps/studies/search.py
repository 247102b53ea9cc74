"""How a search space is written: `NAME=LOW:HIGH[:STEP]`, `NAME=log:LOW:HIGH`, `NAME=A,B,C`, or a TOML file's [search].

A text with a comma stands in quotes, `train_sites="ixi,hpks",brats`; a quote in it is doubled.

[search]
alignment_weight = {low = 1e-3, high = 1.0, log = true}
algorithm = ["fl-mr", "fl-mrcm"]
"hpks.snr" = {low = 10, high = 40}
"""

from __future__ import annotations

import itertools
import re
import tomllib
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from engine.validation import closest
from sites.config import RunConfig
from sites.federation import resolve
from sites.overrides import SOURCES, TARGET, from_text, to_text
from sweeps.studies.fields import SHIFT, applied, kind
from sweeps.studies.space import ALGORITHM, Choice, Number, Parameter, Space, Values, owners

AROUND = {"alignment_weight": (0.1, 100.0), "identifier_lr": (0.1, 10.0), "lr": (0.25, 2.5)}
"""The space if none is given: these settings, from and to so many times what the run has, by their logarithms."""
ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,]*?))\s*(?=,|$)')  # of a list of texts: with quotes, or without
RANGE = ("low", "high", "step", "log")  # the keys of a range in TOML


def parse_space(
    specs: Sequence[str], file: Path | None, base: RunConfig, check: Callable[[RunConfig], None] = lambda _: None
) -> Space:
    """The space of specs, which win, and of a file; about the run itself if there is neither.

    base: the run that trials change, not resolved; check: raises ValueError for a resolved run that is no trial.
    Raises ValueError, in one line that names the parameter, for what cannot be read, or what a run at its ends, or at
    the ends of any two, would refuse.
    """
    found = {parameter.name: parameter for parameter in (_read(file) if file else ())}
    given = [_parsed(spec) for spec in specs]
    for name in (parameter.name for parameter in given):
        if sum(parameter.name == name for parameter in given) > 1:
            raise ValueError(f"search: {name!r} stands twice; name it once")
    found |= {parameter.name: parameter for parameter in given}
    space = Space(tuple(found.values())) if found else around(base)
    _check_owners(space, base)
    _check_places(space, base)
    _check_corners(space, base, check)
    return space


def around(base: RunConfig) -> Space:
    """`AROUND` a run's own values. Raises ValueError if it has none of them above 0."""
    own = {**vars(base.train), **vars(base.algorithm)}
    return Space(
        tuple(
            Number(name=name, low=own[name] * low, high=own[name] * high, log=True)
            for name, (low, high) in AROUND.items()
            if own.get(name)
        )
    )


# ---- reading --------------------------------------------------------------------------------------------------


def _parsed(spec: str) -> Parameter:
    name, equals, text = spec.partition("=")
    try:
        if not equals or not name.strip() or not text.strip():
            raise ValueError("write NAME=LOW:HIGH, NAME=LOW:HIGH:STEP, NAME=log:LOW:HIGH or NAME=A,B,C")
        name = _plain(name.strip())
        kinds = _kinds(kind(name))
        parts = [part.strip() for part in text.split(":")] if '"' not in text else [text]
        if parts[0] == "log" or (len(parts) > 1 and {int, float} & {*kinds}):
            log = parts[0] == "log"
            ends = parts[1:] if log else parts
            if len(ends) not in ((2,) if log else (2, 3)):
                raise ValueError("write log:LOW:HIGH" if log else "write LOW:HIGH or LOW:HIGH:STEP")
            return _number(name, {**dict(zip(("low", "high", "step"), ends, strict=False)), "log": log})
        if len(parts) > 1 and bool in kinds:
            raise ValueError(f"it is true or false; write {name}=true,false")
        return _choice(name, _texts(text))
    except ValueError as error:
        raise ValueError(f"search: {spec!r}: {error}") from error


def _texts(text: str) -> list[str]:
    """Those between commas, which are not in quotes."""
    found, at = [], 0
    while at <= len(text):
        item = ITEM.match(text, at)
        assert item is not None  # for one without quotes is anything
        quoted, plain = item.groups()
        found.append(plain if quoted is None else quoted.replace('""', '"'))
        at = item.end() + 1
    return found


def specs(space: Space) -> list[str]:
    """A space as `--search` writes it, from which it is read again."""
    found = []
    for each in space.parameters:
        if isinstance(each, Choice):
            told = ",".join(map(_quoted, map(to_text, each.values)))
        else:
            ends = ":".join(map(to_text, (each.low, each.high, *([] if each.step is None else [each.step]))))
            told = f"log:{ends}" if each.log else ends
        found.append(f"{each.name}={told}")
    return found


def _quoted(text: str) -> str:
    """In quotes, where it would be read as something else without."""
    if text and text == text.strip() and not {*text} & {*',":'}:
        return text
    return '"' + text.replace('"', '""') + '"'


def _read(file: Path) -> Iterator[Parameter]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or error}; give a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: broken TOML: {error}") from error
    search = tables.pop("search", None)
    if tables or not isinstance(search, dict):
        other = f"{min(tables)!r} is beside it; settings of all trials are options" if tables else "it is missing"
        raise ValueError(f"{file}: a space is one table, [search]; {other}")
    if not search:
        raise ValueError(f"{file}: [search] is empty; name a setting in it, or leave the file out")
    for name, value in _entries(search):
        try:
            kind(_plain(name))
            if isinstance(value, dict):
                yield _number(_plain(name), value)
            elif isinstance(value, list):
                yield _choice(_plain(name), value)
            else:
                raise ValueError(f"it is {value!r}; write {{low = …, high = …}} or a list of values")
        except ValueError as error:
            raise ValueError(f"{file}: [search] {name}: {error}") from error


def _entries(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; `hpks.snr` without quotes is a table in a table."""
    for name, value in table.items():
        if isinstance(value, dict) and value and all(isinstance(each, (dict, list)) for each in value.values()):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _plain(name: str) -> str:
    """As Python spells it; sites and dials have dashes of their own."""
    return name if "." in name else name.removeprefix("--").replace("-", "_")


def _number(name: str, given: Mapping[str, Any]) -> Number:
    """A range; its numbers are texts of a command line, or TOML's own."""
    kinds = _kinds(kind(name))
    whole = float not in kinds
    if not {int, float} & {*kinds}:
        raise ValueError(f"it is no number; list its values, {name}=A,B,C")
    for key in given:
        if key not in RANGE:
            raise ValueError(f"{key!r} is no key of a range; {closest(key, RANGE)}")
    if "low" not in given or "high" not in given:
        raise ValueError("a range has a low and a high; write both")
    if not isinstance(given.get("log", False), bool):
        raise ValueError(f"log is {given['log']!r}; write true or false")
    numbers = {key: from_text(to_text(given[key]), int if whole else float) for key in RANGE[:3] if key in given}
    return Number(name=name, whole=whole, log=given.get("log", False), **numbers)


def _choice(name: str, values: Sequence[Any]) -> Choice:
    return Choice(name=name, values=tuple(from_text(to_text(value), kind(name)) for value in values))


def _kinds(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


# ---- checking -------------------------------------------------------------------------------------------------


def _check_owners(space: Space, base: RunConfig) -> None:
    """Raises ValueError for a setting that no method in play has."""
    playing = {name or base.algorithm_name for name in space.algorithms}
    for parameter in space.parameters:
        if not playing & owners(parameter.name):
            having = ", ".join(sorted(owners(parameter.name)))
            raise ValueError(
                f"search: {parameter.name} is no setting of {', '.join(sorted(playing))}; it is one of {having}: take "
                f"such an --algorithm, or search {ALGORITHM} too"
            )


def _check_places(space: Space, base: RunConfig) -> None:
    """Raises ValueError for a search of institutions that would find the same ones in every trial."""
    searched = {parameter.name for parameter in space.parameters}
    for name in ("scenario", "data"):
        if name in searched and base.institutions:
            raise ValueError(f"search: {name}: the run has sites of its own, [[site]]; start from options without them")
    if "scenario" in searched and ("data" in searched or base.data):
        raise ValueError("search: scenario: data takes the place of a scenario; take one of the two out")


def _check_corners(space: Space, base: RunConfig, check: Callable[[RunConfig], None]) -> None:
    """Raises ValueError, as a run would, for ends of parameters that no run can have."""
    base = replace(base, out="planned")
    for algorithm in space.algorithms:
        parameters = [each for each in space.of(algorithm) if each.name != ALGORITHM]
        first: Values = {each.name: each.ends[0] for each in parameters}
        first |= {ALGORITHM: algorithm} if algorithm else {}
        for ends in _pairs(parameters):
            try:
                check(resolve(applied(base, first | ends)))
            except ValueError as error:
                if str(error) == _refusal(base, check):
                    raise
                blamed = _blamed(first | ends, ends, str(error))
                raise ValueError(f"search: {blamed}: {error}") from error


def _pairs(parameters: Sequence[Parameter]) -> Iterator[Values]:
    """The ends of no parameter, of each, and of any two, the simplest first."""
    for count in range(min(2, len(parameters)) + 1):
        for chosen in itertools.combinations(parameters, count):
            names = [each.name for each in chosen]
            for ends in itertools.product(*(each.ends for each in chosen)):
                yield dict(zip(names, ends, strict=True))


def _refusal(config: RunConfig, check: Callable[[RunConfig], None]) -> str:
    """Why there is no such run; empty if there is."""
    try:
        check(resolve(config))
    except ValueError as error:
        return str(error)
    return ""


def _blamed(values: Values, varied: Values, message: str) -> str:
    """Those of a trial's values that a message is about: by what it names, else what was varied, else all."""
    said = {*re.findall(r"[\w-]+", message)}
    named = {name: value for name, value in values.items() if value in said or _named(name, message, said)}
    return ", ".join(f"{name}={to_text(value)}" for name, value in (named or varied or values).items())


def _named(name: str, message: str, said: Collection[str]) -> bool:
    """Whether a message says a parameter's field, and its site if it is a site's."""
    who, _, field = name.removeprefix(f"{SHIFT}.").rpartition(".")
    return field in said and (who in ("", TARGET, SOURCES) or who in message)
