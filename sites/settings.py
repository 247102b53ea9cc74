"""Command line and TOML files become a RunConfig. One parser for both: a file's settings are read as options."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

import tyro
from tyro import _strings

from engine.algorithms import ALGORITHMS, FlMrcm
from engine.cluster import gpu_count
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from sites.config import ELSEWHERE, Preset, RunConfig
from sites.scenario import parse_sites

DEMO = ("--preset", "demo")
"""Options with which a run has the defaults of RunConfig."""
T = TypeVar("T")
C = TypeVar("C", bound="FederationCommand")
_unbroken = _strings.remove_single_line_breaks
# tyro takes an indented line of a docstring for a list's, and ends the line before it: it should have dedented first
_strings.remove_single_line_breaks = lambda helptext: _unbroken(_strings.dedent(helptext))
if TYPE_CHECKING:
    AlgorithmName = str
else:
    AlgorithmName = tyro.extras.literal_type_from_choices(ALGORITHMS)


@dataclass(frozen=True, kw_only=True)
class FederationCommand:
    """A command about one federation."""

    config: str = ""
    """TOML file with any of these options, for example a run directory's config.toml; the command line wins."""
    preset: Preset | Literal["auto"] = "auto"
    """demo: minutes on a CPU; paper: Guo et al.'s sizes; auto: paper if there is a GPU, demo otherwise."""
    algorithm: AlgorithmName = "fl-mrcm"
    """fl-mr: federated averaging; fl-mrcm: with latent features aligned to the target's. Each has options of its own:
    `run.py --algorithm fl-mr --help` shows them."""
    run: tyro.conf.OmitArgPrefixes[RunConfig] = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True)
class RunCommand(FederationCommand):
    """Train one federation of institutions and watch it live.

    They are real anatomy (ICBM152) scanned by simulated scanners; with --data, or a scenario file, real files.
    Results go to a run directory: scores, checkpoints, the network, figures.
    """

    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""


BOOLEANS = {
    item.name.replace("_", "-")
    for kind in (FederationCommand, RunCommand, RunConfig, ModelConfig, TrainConfig, Placement, *ALGORITHMS.values())
    for item in fields(kind)
    if item.type == "bool"
}


def parse_run(argv: Sequence[str]) -> RunCommand:
    """The command line of `run`. Raises ValueError, in one line, for what cannot be understood."""
    return parse_federation(RunCommand, argv, "run")


def parse_federation(kind: type[C], argv: Sequence[str], command: str, **defaults: Any) -> C:
    """The command line of a command about one federation. defaults: of RunConfig, where they are the command's own.

    Three passes: which file, then which algorithm and preset (they decide what other options exist), then all.
    Raises ValueError, in one line, for what cannot be understood.
    """
    file = option(argv, "config", "")
    stored, sites = file_options(Path(file)) if file else ([], ())
    refuse_two_sources(file, sites, stored, argv)
    if stored:
        _parse(kind, stored, sites, command, defaults, where=file)
    return _parse(kind, [*stored, *argv], sites, command, defaults)


def refuse_two_sources(file: str, sites: Sequence[Any], stored: Sequence[str], argv: Sequence[str]) -> None:
    """Raises ValueError for institutions from two places, of which one would be ignored.

    file, sites, stored: a configuration file, its [[site]] tables and its options; argv: the command line.
    """
    for name in ("scenario", "data"):
        if sites and option(argv, name, ""):
            raise ValueError(f"{file} brings its own [[site]] tables; give --{name}, or such a file, not both")
    options = [*stored, *argv]
    if not sites and option(options, "scenario", "") and option(options, "data", ""):
        raise ValueError(
            "--data takes the place of a scenario; to mix real and simulated institutions, give a scenario file whose "
            '[[site]] tables say source = "files" and path = "…"'
        )


def read_config(path: Path) -> RunConfig:
    """A run directory's config.toml. Raises ValueError, in one line."""
    options, sites = file_options(path)
    return _parse(RunCommand, options, sites, "run", where=str(path)).run


def preset_of(options: Sequence[str], default: str = "auto") -> Preset:
    """What `--preset` says, or the default if it says nothing; auto: paper if there is a GPU."""
    asked = option(options, "preset", default)
    return "paper" if asked == "paper" or (asked == "auto" and gpu_count() > 0) else "demo"


def _parse(
    kind: type[C],
    options: Sequence[str],
    sites: tuple[Any, ...],
    command: str,
    defaults: Mapping[str, Any] | None = None,
    where: str = "",
) -> C:
    algorithm = ALGORITHMS.get(option(options, "algorithm", "fl-mrcm"), FlMrcm)
    preset = preset_of(options, kind.preset)
    default = RunConfig.preset(preset, algorithm=algorithm(), institutions=sites, **(defaults or {}))
    return cli(kind, options, command, default=kind(run=default), where=where)


def cli(kind: Callable[..., T], options: Sequence[str], command: str, default: T | None = None, where: str = "") -> T:
    """Parse options with tyro; its box of an error becomes the one line of a ValueError.

    where: what the options come from, if it is not the command line: a file.
    """
    errors, help_text = io.StringIO(), _Drawn(sys.stdout)
    arguments: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(help_text):
            parsed: T = tyro.cli(kind, args=_booleans(options), prog=f"run.py {command}", **arguments)
            return parsed
    except SystemExit as end:
        if not end.code:
            print(_filled(help_text.getvalue()), end="")
            raise
        message = _one_line(errors.getvalue()) + _owner(options)
        told = f"{where}: {_of_a_file(message)}" if where else f"{message}; see run.py {command} --help"
        raise ValueError(told) from None


def without_help(argv: Sequence[str]) -> list[str]:
    """The options besides those that ask for help: fewer, if one does."""
    return [word for word in argv if word not in ("--help", "-h")]


def explain(text: str) -> None:
    """Print what a command's help begins with: paragraphs, 80 columns wide."""
    print(*(textwrap.fill(part, 80) for part in text.split("\n\n")), sep="\n\n", end="\n\n")


def _of_a_file(message: str) -> str:
    """A message about a file's settings: of several that the command does not have, the names without the values."""
    before, _, after = message.partition("Unrecognized options: ")
    names = [word[2:].replace("-", "_") for word in after.partition(";")[0].split(", ") if word.startswith("--")]
    if before or len(names) < 2:
        return message
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"this command has no settings {listed}; take them out, or call the command that the file is of"


class _Drawn(io.StringIO):
    """Text for a stream: drawn as it would be there."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()


def _filled(text: str) -> str:
    """The parser's help, its paragraphs as wide as the terminal: it folds the text in its boxes only."""
    width = shutil.get_terminal_size().columns
    return "\n".join(
        textwrap.fill(line, width, break_on_hyphens=False) if line[:1].isalpha() else line for line in text.split("\n")
    )


def _owner(options: Sequence[str]) -> str:
    """Whose an option is that the chosen algorithm does not have."""
    chosen = {item.name for item in fields(ALGORITHMS.get(option(options, "algorithm", "fl-mrcm"), FlMrcm))}
    for name, kind in ALGORITHMS.items():
        others = {f"--{item.name.replace('_', '-')}" for item in fields(kind) if item.name not in chosen}
        if others & set(options):
            return f"; {min(others & set(options))} belongs to --algorithm {name}"
    return ""


def _one_line(box: str) -> str:
    """The first part of the parser's message, up to its first ruler, and its suggestion if it has one.

    The box is drawn in Unicode or, where the terminal knows none, left out: its lines are indented by two.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip(" │") for line in text.splitlines() if line.startswith(("│", "  "))]
    head: list[str] = []
    hint: list[str] = []
    part = head
    for line in lines:
        if line and set(line) <= {"─", "-"}:
            part = hint if part is head else []
        elif line and not line.startswith("Got errors"):
            part.append(line)
    head = [line for line in head if not line.startswith("- ")]
    message = " ".join(head).rstrip(".") or text.strip().splitlines()[0]
    message = re.sub(r"^Error parsing [\w. ]+: ", "", message)
    message = re.sub(r"invalid literal for int\(\) with base 10: (\S+)", r"\1 is no whole number", message)
    if hint and hint[0].startswith("Perhaps"):
        message += "; did you mean " + " or ".join(h.split(" ")[0] for h in hint if h.startswith("--")) + "?"
    return message


def file_options(path: Path) -> tuple[list[str], tuple[Any, ...]]:
    """A TOML file's settings as options, and its `[[site]]` tables. Raises ValueError, in one line."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}; give a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: broken TOML: {error}") from error
    try:
        sites = parse_sites(tables.pop("site", []), path.parent)
        tables.pop("environment", None)
        return as_options(tables), sites
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name as a command line has them. Raises ValueError for one that is no single value."""
    options: list[str] = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if flag in ("config", "help"):
            raise ValueError(f"{name} is for the command line only; take it out of the file")
        if isinstance(value, bool):
            options.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, (str, int, float)):
            dashed = str(value).startswith("-")
            options += [f"--{flag}={value}"] if dashed else [f"--{flag}", str(value)]
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            options += [f"--{flag}", *value] if value else []
        else:
            raise ValueError(f"{name} is {value!r}; settings are single values, institutions are [[site]] tables")
    return options


def as_command(
    settings: Mapping[str, Any], default: Mapping[str, Any], start: Sequence[str] = DEMO, always: Sequence[str] = ()
) -> list[str]:
    """The options with which `run.py` repeats a run: `start`, what is said always, and what differs from the default.

    settings: by name, as `flat` has them, default: those that the run has from `start` on. Where it runs and where its
    results go is left out. Raises ValueError for a setting that is no single value.
    """
    silent = {*always, *ELSEWHERE}
    differing = [name for name in default if name not in silent and settings.get(name, default[name]) != default[name]]
    return [*start, *as_options({name: settings[name] for name in (*always, *differing)})]


def _booleans(argv: Sequence[str]) -> list[str]:
    """`--target-trains false` as `--no-target-trains`, and `=true` likewise."""
    result: list[str] = []
    for argument in argv:
        flag, equals, value = argument.partition("=")
        if equals and flag.removeprefix("--") in BOOLEANS and value in ("true", "false"):
            result.append(flag if value == "true" else f"--no-{flag[2:]}")
        elif argument in ("true", "false") and result and result[-1].removeprefix("--") in BOOLEANS:
            result[-1] = result[-1] if argument == "true" else f"--no-{result[-1][2:]}"
        else:
            result.append(argument)
    return result


def option(options: Sequence[str], name: str, default: str) -> str:
    """The last value given for an option, before the others are known."""
    value = default
    for index, option in enumerate(options):
        if option == f"--{name}" and index + 1 < len(options):
            value = options[index + 1]
        elif option.startswith(f"--{name}="):
            value = option.split("=", 1)[1]
    return value
