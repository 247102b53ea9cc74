"""A shift session: its branches, and what each command does to them. No terminal, nothing drawn.

Numbers depend on the commands alone: every round begins from a snapshot on disk and the settings of its branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, assert_never, get_args, get_type_hints

from engine.ledger import total
from engine.outcomes import Snapshot
from engine.shift import MEASURES
from engine.weights import sha256
from sites.anatomy import Maps
from sites.config import ATLAS, RunConfig, SiteConfig
from sites.federation import resolve
from sites.launch import Workshop
from sites.run_directory import SCRIPT
from sites.run_summary import warnings
from sites.scenario import load_scenario, scenarios
from sites.shifts import DIALS
from sites.studio import looks, rounds
from sites.studio.answers import Answer, Helped, Listed, Opened, Shown, Told
from sites.studio.bench import Bench, SiteView
from sites.studio.branch import Branch, Folders, scenario_toml
from sites.studio.lines import command_of
from sites.studio.words import (
    COMMANDS,
    Align,
    AnyCommand,
    Branches,
    Compare,
    Fork,
    Help,
    Look,
    Measure,
    Open,
    Quit,
    Rounds,
    Run,
    Save,
    Script,
    Set,
    Sites,
    Switch,
    Target,
    Turn,
)

OF_INSTITUTIONS = (
    "data", "contrast", "split", "site_settings", "only_train", "only_test", "sites", "target", "shift", "train_sites",
    "institutions",
)  # fmt: skip
"""Settings that another scenario has of its own."""


class Watch(Protocol):
    """Who is told what a command does meanwhile."""

    def phase(self, text: str) -> None:
        """What is being done."""
        ...

    def update(self, branch: Branch) -> None:
        """A round is done, the branch's last."""
        ...

    def stopping(self) -> bool:
        """Whether `run` shall stop after this round."""
        ...


class Session:
    """Branches of federations, one of them the current one.

    A command that fails changes nothing, but for the rounds that were done before training had to stop.
    """

    def __init__(self, config: RunConfig, path: Path, maps: Callable[[], Maps], watch: Watch) -> None:
        """config: the first scenario and its settings; path: the session's directory; maps: gives the anatomy.

        Raises ValueError as `sites.federation.resolve`, or for a site that cannot be.
        """
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        (path / SCRIPT).touch()
        self.watch = watch
        self.branches: dict[str, Branch] = {}
        self.folders = Folders(path / "branches")
        self._base = replace(config, out=str(path))
        self._maps = maps
        self.workshop = Workshop(None)
        self._crossed: dict[str, int] = {}
        self._bench: Bench | None = None
        self._current = ""
        self.opening = self._begin(self._base)

    @property
    def branch(self) -> Branch:
        """The current one."""
        return self.branches[self._current]

    @property
    def known(self) -> Mapping[str, Sequence[str]]:
        """What may be typed, by kind: see `sites.studio.lines.Known`."""
        sites, types = self.branch.config.institutions, get_type_hints(SiteConfig)
        settable = list(dict.fromkeys(name for site in sites for name in looks.settable(site)))
        values = {f"value of {name}": [str(value) for value in get_args(types[name])] for name in settable}
        return values | {
            "command": list(COMMANDS),
            "scenario": scenarios(),
            "site": [site.name for site in sites],
            "dial": list(DIALS),
            "field": settable,
            "on|off|weight": ["on", "off"],
            "measure": list(MEASURES),
            "branch": list(self.branches),
        }

    def do(self, command: AnyCommand) -> Answer:
        """Carry out a command. Raises ValueError, in one line, TrainingStopped or OSError if it cannot be done."""
        answer = self._do(command)
        if not isinstance(command, (Help, Quit, Run)):  # `run` writes down what was done, perhaps less than asked for
            self.record(command)
        return answer

    def _do(self, command: AnyCommand) -> Answer:
        branch = self.branch
        match command:
            case Help():
                return Helped(command=command_of(command.command) if command.command else None)
            case Open():
                return self._open(command.name)
            case Sites():
                return Shown(branch=branch, views=self.views())
            case Look():
                return looks.look(self, command.site or branch.config.target)
            case Turn():
                return looks.turn(self, command)
            case Set():
                return looks.set_fields(self, command)
            case Measure():
                return looks.measure(self, command.measure)
            case Target():
                return rounds.target(self, command.site)
            case Align():
                return rounds.align(self, command.how)
            case Run():
                return rounds.run(self, command.rounds)
            case Rounds():
                return rounds.curves(self)
            case Fork():
                return rounds.fork(self, command)
            case Switch():
                return rounds.switch(self, command.name)
            case Branches():
                return rounds.tree(self)
            case Compare():
                return rounds.compare(self, command.first, command.second or self._current)
            case Save():
                return rounds.save(command.file, scenario_toml(branch))
            case Script():
                return rounds.write(command.file, self.script)
            case Quit():
                return Told(lines=[])
            case _:
                assert_never(command)

    def prepare(self) -> None:
        """Look at every institution, so that the next dial that is turned is compared with what is known."""
        target = looks.seen_target(self)
        for view in self.views():
            if target is not None and view.site.name != target.site.name:
                self.bench().shift_values(view, target)

    # ---- scenarios --------------------------------------------------------------------------------------

    def _open(self, name: str) -> Answer:
        if not name:
            return Listed(scenarios={name: load_scenario(name).summary for name in scenarios()})
        fresh = RunConfig()
        changes: dict[str, Any] = {field: getattr(fresh, field) for field in OF_INSTITUTIONS}
        return self._begin(replace(self._base, scenario=name, **changes))

    def _begin(self, base: RunConfig) -> Opened:
        """A scenario's first branch, with its anatomy and a workshop of its own."""
        config = resolve(base)
        summary = "" if base.data or base.institutions else load_scenario(base.scenario).summary
        simulated = any(site.source == ATLAS for site in config.institutions)
        self.watch.phase("preparing the anatomy")
        workshop = Workshop(self._maps() if simulated else None, lazy=True)
        self.watch.phase(f"building {len(config.institutions)} institutions")
        bench = Bench(config, None, workshop)
        views = [bench.view(site) for site in config.institutions if site.name in bench.scored]
        stem = Path(config.scenario).stem
        names = (stem, *(f"{stem}-{number}" for number in range(2, len(self.branches) + 2)))
        name = next(name for name in names if name not in self.branches)
        self.add(Branch(name=name, history=((0, config),), weights=(sha256(bench.weights),)))
        self.workshop = workshop
        self.go_to(self.branches[name], bench)
        return Opened(branch=self.branch, summary=summary, warnings=warnings(config, bench.notes), views=views)

    # ---- what the commands are made of ------------------------------------------------------------------

    def bench(self) -> Bench:
        """The current branch, to look at: its network as it is."""
        if self._bench is None:
            self.watch.phase("building the institutions")
            self._bench = Bench(self.branch.config, self.snapshot(self.branch, self.branch.round), self.workshop)
        return self._bench

    def view(self, site: SiteConfig) -> SiteView:
        """An institution, as it is configured there, through the network as it is. Raises ValueError."""
        return self.bench().view(site)

    def views(self) -> list[SiteView]:
        """Every institution of the current branch that has validation patients."""
        scored = self.bench().scored
        return [self.view(site) for site in self.branch.config.institutions if site.name in scored]

    def snapshot(self, branch: Branch, round: int) -> Snapshot | None:
        """What a branch can go on from after a round; None: the beginning. Raises ValueError if it is damaged."""
        return self.folders.snapshot(self.branches, branch, round)

    def add(self, branch: Branch) -> None:
        """A new branch. Raises ValueError if its name is taken or no name."""
        if branch.name in self.branches:
            raise ValueError(f"there is a branch {branch.name!r} already; take another name")
        self.folders.begin(branch)
        self.branches[branch.name] = branch

    def update(self, branch: Branch) -> None:
        """A branch has other settings, or one round more."""
        self.branches[branch.name] = branch

    def go_to(self, branch: Branch, bench: Bench | None) -> None:
        """Make a branch the current one. bench: one at its network as it is; None: when it is needed."""
        if self._bench is not None:
            self._crossed = total([self._crossed, self._bench.close_ledger()])
        self._current, self._bench = branch.name, bench

    def record(self, command: AnyCommand) -> None:
        """Write a command down that was done."""
        with (self.path / SCRIPT).open("a", encoding="utf-8") as file:
            file.write(command.line + "\n")

    @property
    def script(self) -> str:
        """The commands so far, a line each."""
        return (self.path / SCRIPT).read_text(encoding="utf-8")

    def crossed(self) -> dict[str, int]:
        """Bytes by kind that have crossed the sites' boundaries while they were looked at."""
        self.go_to(self.branch, self._bench)
        return self._crossed
