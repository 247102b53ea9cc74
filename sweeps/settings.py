"""What the commands of methods by seeds have in common: their command line, and what they decide of a federation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from engine.algorithms import FlMr
from sites.config import Preset, RunConfig, SiteConfig, flat_fields
from sites.settings import cli, explain, file_options, option, preset_of, refuse_two_sources, without_help

_ALONE = "runs each federation in one process (see --parallel)"
IN_ONE_PROCESS = {"workers": _ALONE, "sites_per_worker": _ALONE, "gpus_per_site": _ALONE}
"""Settings of a run that none of them leaves to the user, and what it does instead."""

GROWING = {
    "methods", "seeds", "parallel",
    "out", "ray_address", "checkpoint_every", "keep_checkpoints", "memory_gb",
}  # fmt: skip
"""Settings that add federations or say where they run: a directory goes on under others."""


def refuse_decided(given: RunConfig, default: RunConfig, decided: Mapping[str, str], noun: str) -> None:
    """Raises ValueError, in one line, for a setting that was given and would be overridden.

    decided: setting -> what the command does instead. With methods of its own it decides the algorithm too.
    """
    asked, usual = flat_fields(given), flat_fields(default)
    for name, instead in decided.items():
        if asked[name] != usual[name]:
            raise ValueError(f"{name} is {asked[name]!r}, and a {noun} {instead}; leave it out")
    if given.algorithm != FlMr():
        raise ValueError(f"a {noun}'s methods have their settings with them: --methods fl-mr:weighting=uniform")


@dataclass(frozen=True, kw_only=True)
class MethodsCommand:
    """A command of methods by seeds."""

    config: str = ""
    """TOML file with any of these options, for example what such a directory states; the command line wins."""
    preset: Preset | Literal["auto"] = "auto"
    """demo: minutes on a CPU; paper: Guo et al.'s sizes; auto: paper if there is a GPU, demo otherwise."""
    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""


C = TypeVar("C", bound=MethodsCommand)


@dataclass(frozen=True, kw_only=True)
class Parser(Generic[C]):
    """How such a command's line, and the file of its directory, are read."""

    name: str
    """Of the command."""
    start: Callable[[RunConfig], C]
    """The command whose federations start from these settings."""
    own: Mapping[str, Any]
    """Of RunConfig, where the command has defaults of its own."""
    demo: RunConfig
    """What federations start from; with `--preset paper` it is the paper's settings and `own`."""
    words: str
    """What help says first, a paragraph an empty line, with {count}."""
    count: Callable[[C], tuple[int, int]]
    """How many federations a command takes, and of how many rounds. Raises ValueError if it can take none."""

    def parse(self, argv: Sequence[str]) -> C:
        """The command line. Raises ValueError, in one line, for what cannot be understood."""
        file = option(argv, "config", "")
        stored, sites = file_options(Path(file)) if file else ([], ())
        refuse_two_sources(file, sites, stored, argv)
        default = self._default([*stored, *argv], sites)
        if stored:
            cli(type(default), stored, self.name, default=default, where=file)
        asked = without_help(argv)
        if len(asked) < len(argv):
            explain(self.words.format(count=self._count([*stored, *asked], default)))
        return cli(type(default), [*stored, *argv], self.name, default=default)

    def read(self, path: Path) -> C:
        """A stored directory's file. Raises ValueError, in one line."""
        options, sites = file_options(path)
        default = self._default(options, sites)
        return cli(type(default), options, self.name, default=default, where=str(path))

    def _default(self, options: Sequence[str], sites: tuple[SiteConfig, ...]) -> C:
        run = RunConfig.preset("paper", **self.own) if preset_of(options) == "paper" else self.demo
        return self.start(replace(run, institutions=sites))

    def _count(self, options: Sequence[str], default: C) -> str:
        """In words; what is wrong with the options does not keep help away."""
        try:
            federations, rounds = self.count(cli(type(default), options, self.name, default=default))
        except ValueError as error:
            return f"(With the options given: {error}.)"
        return f"With the options given: {federations} federations of {rounds} rounds."
