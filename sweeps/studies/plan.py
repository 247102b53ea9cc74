"""A study: what is searched, what for, and the federations that a trial, a winner and its confirmation take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from engine.validation import require
from sites.config import RunConfig, flat
from sites.federation import resolve
from sites.scenario import load_scenario
from sweeps.directory import fingerprint
from sweeps.jobs import Job, Round
from sweeps.methods import Method, chosen_methods
from sweeps.shares import Auto, PoolConfig, demand
from sweeps.studies.fields import applied, command
from sweeps.studies.journal import settled
from sweeps.studies.objectives import Objective, check, objectives, value
from sweeps.studies.samplers import PrunerName, SamplerName, most_trials, pruner, sampling
from sweeps.studies.search import parse_space, specs
from sweeps.studies.space import Space, Values


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """What is searched, what for, and how."""

    search: tuple[str, ...] = ()
    """What to search, each NAME=LOW:HIGH[:STEP], NAME=log:LOW:HIGH or NAME=A,B,C. NAME is any option of the
    federation, SITE.FIELD of an institution (also target.FIELD, sources.FIELD), shift.DIAL of the target or
    shift.SITE.DIAL. Settings of one algorithm count where it is chosen. Left out, with --space too: see above."""
    space: str = ""
    """TOML file with a [search] table: lr = {low = 1e-4, high = 1e-2, log = true}, algorithm = ["fl-mr", "fl-mrcm"]."""
    objective: str = "target-psnr"
    """What to search for, on validation patients after the last round: target-psnr, target-ssim, target-gain,
    mean-psnr, mean-ssim, worst-psnr, gain, seconds, bytes; several by commas: the Pareto front."""
    against: str = ""
    """A method, as in a table, for example fl-mr: the objective is what a trial gains over it, trained on the same
    federation with the same settings."""
    trials: int = 20
    """Trials in all, those of earlier sessions included."""
    seeds: int = 1
    """Federations a trial, with seeds one after the other: it is judged, and pruned, by their mean."""
    confirm: int = 0
    """Train the winners (and --against) again on so many seeds that the search has not seen, for the report."""
    sampler: SamplerName = "auto"
    """auto: tpe, for several objectives nsga2."""
    pruner: PrunerName = "none"
    """Stop trials early that do worse than others did: median, halving (successive halving) or hyperband."""
    storage: str = ""
    """An Optuna storage URL, for example sqlite:///study.db; empty: study.journal in the study's directory."""
    parallel: int | Auto = "auto"
    """Trials side by side, each in one process; auto: one a core, or one a GPU, as far as there is memory."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that no study can have."""
        require(
            self,
            [
                ("trials", self.trials >= 1, "at least 1"),
                ("seeds", self.seeds >= 1, "at least 1"),
                ("confirm", self.confirm >= 0, "at least 0"),
                ("parallel", self.parallel == "auto" or self.parallel >= 1, "at least 1, or auto"),
            ],
        )


GROWING = {
    "trials", "confirm", "parallel", "out", "ray_address", "checkpoint_every", "keep_checkpoints",
    "shift_every", "workers", "sites_per_worker", "gpus_per_site", "memory_gb", "live",
}  # fmt: skip
"""Settings under which a study's directory goes on."""
ROUNDS = "rounds"  # the setting
FORCED: Mapping[str, Any] = {"keep_checkpoints": 1, "shift_every": 0}
"""Of the federation: a trial is gone on with only to score its test patients."""


@dataclass(frozen=True, kw_only=True)
class Trial(Job):
    """A trial's federations: those of its seeds, then those of the method it is measured against."""

    turn: int
    values: Values


@dataclass(frozen=True, kw_only=True)
class Confirmation(Job):
    """A winner and the method it is measured against, on a seed that the search has not seen."""

    turn: int
    seed: int


class StudyPlan:
    """A study that can be. Raises ValueError, in one line, for what cannot."""

    def __init__(self, config: SweepConfig, run: RunConfig) -> None:
        """run: the federation, but for what is searched."""
        self.config, self.run = replace(config, storage=settled(config.storage)), run
        placement = replace(run.placement, workers=0)
        self._base = replace(run, out="planned", placement=placement, **FORCED)
        self.objectives = objectives(config.objective)
        # told by the space's ends: without its values there may be no run
        self.device, self._targets, self._differs = "", set[str](), False
        file = Path(config.space) if config.space else None
        self.space = parse_space(config.search, file, self._base, self._check)
        self._keep_sites()
        if config.pruner != "none" and ROUNDS in {each.name for each in self.space.parameters}:
            raise ValueError(f"search: {ROUNDS}: a pruner compares trials of as many rounds; take --pruner none")
        limit = most_trials(config.sampler, self.space)
        self.trials = config.trials if limit is None else min(config.trials, limit)  # a grid ends
        self.sampling = sampling(config.sampler, self.space, self.objectives, run.seed)
        self.pruner = pruner(config.pruner, run.rounds, self.objectives)
        if config.against and not self._differs:
            raise ValueError(
                f"against is {config.against!r}, which every trial is itself; name another method, or search what "
                "makes the difference"
            )
        self.out = Path(run.out or self._default_directory())

    def _keep_sites(self) -> None:
        """The scenario as it is now, unless trials have their own: it may be another by the time of the next trial."""
        searched = {each.name for each in self.space.parameters}
        if not (self.run.institutions or self.run.data or searched & {"scenario", "data"}):
            sites = load_scenario(self.run.scenario).sites
            self.run, self._base = replace(self.run, institutions=sites), replace(self._base, institutions=sites)

    @property
    def settings(self) -> dict[str, Any]:
        """By the names they have on the command line; the space as it is written there."""
        return {**asdict(self.config), "space": "", "search": specs(self.space), **flat(self.run)}

    @cached_property
    def pool(self) -> PoolConfig:
        """Where trials run."""
        return PoolConfig.of(self.config.parallel, self.run)

    @property
    def demand(self) -> int:
        """Bytes of memory that the largest trial takes about."""
        return demand(self.trial(0, self._largest()))

    @property
    def shelf(self) -> Path:
        """Where simulated k-space is kept that trials share, until the study is done."""
        return (self.out / "shelf").absolute()

    def _largest(self) -> Values:
        """Each parameter where it takes most memory, one after the other."""
        values = corners(self.space)[0]
        for each in self.space.parameters:
            values[each.name] = max(each.ends, key=lambda end: self._demand({**values, each.name: end}))
        return values

    def _demand(self, values: Values) -> int:
        """Of a trial of these values; 0 if there is none."""
        try:
            return demand(self.trial(0, values))
        except ValueError:
            return 0

    @property
    def target(self) -> str:
        """The name of the one that all trials have; empty if they have their own."""
        return next(iter(self._targets)) if len(self._targets) == 1 else ""

    def rounds(self, values: Values) -> int:
        """Of a trial with these values."""
        return int(values.get(ROUNDS, self.run.rounds))

    def directory(self, turn: int) -> Path:
        """Of a trial."""
        return (self.out / "trials" / str(turn)).absolute()

    def first_run(self, turn: int) -> Path:
        """The run directory of a trial's first federation."""
        return self._run_of(self.directory(turn), self.run.seed)

    def _run_of(self, folder: Path, seed: int) -> Path:
        alone = self.config.seeds == 1 and not self.config.against and folder.parent.name == "trials"
        return folder if alone else folder / f"seed-{seed}"

    def trial(self, turn: int, values: Values, tested: bool = False) -> Trial:
        """A trial's federations, to its last round; tested: with their test patients scored, in the same directories.

        Raises ValueError for values that make no federation.
        """
        first = self.run.seed
        configs = [*self._federations(values, range(first, first + self.config.seeds), self.directory(turn))]
        return Trial(
            name=f"trial {turn}", config=configs[0], beside=tuple(configs[1:]), tested=tested, turn=turn,
            values=values,
        )  # fmt: skip

    def confirmations(self, turn: int, values: Values) -> list[Confirmation]:
        """A winner again, on the seeds after those of the search."""
        first = self.run.seed + self.config.seeds
        found = []
        for seed in range(first, first + self.config.confirm):
            configs = [*self._federations(values, [seed], self.out.absolute() / "confirmed" / str(turn))]
            name = f"trial {turn}, seed {seed}"
            found.append(Confirmation(name=name, config=configs[0], beside=tuple(configs[1:]), turn=turn, seed=seed))
        return found

    def command(self, turn: int, values: Values) -> str:
        """The command line that repeats a trial's first federation."""
        run = replace(self.run, institutions=()) if self._is_of_scenario else self.run
        try:
            options = command(applied(run, values))
        except ValueError:  # institutions of a file, which no option names
            options = ["--config", str(self.first_run(turn) / "config.toml")]
        return shlex.join(["python", "run.py", *options])

    @cached_property
    def _is_of_scenario(self) -> bool:
        """Whether the scenario that the run names has its very institutions."""
        try:
            return load_scenario(self.run.scenario).sites == self.run.institutions
        except ValueError:  # it has gone
            return False

    def judged(self, trial: Trial, rounds: Sequence[Round]) -> tuple[float, ...]:
        """The objectives of a trial's rounds, the mean over its seeds."""
        return tuple(map(fmean, zip(*self.by_seed(trial, rounds), strict=True)))

    def by_seed(self, trial: Trial, rounds: Sequence[Round]) -> list[tuple[float, ...]]:
        """The objectives of each seed, less those of the method to compare with; at the trial's own target."""

        def one(index: int, objective: Objective) -> float:
            reports = [round.reports[index] for round in rounds]
            return value(objective, reports, rounds[-1].zero_filled[index], trial.configs[index].target)

        seeds, against = self.config.seeds, bool(self.config.against)
        return [
            tuple(one(seed, each) - (one(seeds + seed, each) if against else 0.0) for each in self.objectives)
            for seed in range(seeds)
        ]

    def _check(self, resolved: RunConfig) -> None:
        """Raises ValueError for a trial without patients that an objective asks for."""
        for objective in self.objectives:
            check(objective, resolved)
        if self.config.against and not self._differs:
            other = self._other(resolved)
            self._differs = other is None or other.of(resolved) != resolved
        self._targets.add(resolved.target)
        self.device = resolved.placement.device

    def _federations(self, values: Values, seeds: Sequence[int], folder: Path) -> Iterator[RunConfig]:
        """By seed; then those it is measured against, by seed."""
        chosen = applied(replace(self._base, checkpoint_every=self.rounds(values)), values)
        for seed in seeds:
            yield resolve(replace(chosen, seed=seed, out=str(self._run_of(folder, seed))))
        other = self._other(chosen)
        for seed in seeds if other else ():
            assert other is not None
            out = folder / f"seed-{seed}-{other.slug}"
            yield resolve(replace(other.of(chosen), seed=seed, out=str(out)))

    def _other(self, chosen: RunConfig) -> Method | None:
        """The method to compare with, if there is one, under a trial's training and network."""
        found = chosen_methods(self.config.against, chosen.train, chosen.model)
        if len(found) > 1:
            raise ValueError(f"against is {self.config.against!r}; name one method")
        return found[0] if found else None

    def _default_directory(self) -> Path:
        identity = {name: value for name, value in self.settings.items() if name not in GROWING}
        identity["institutions"] = [asdict(site) for site in self.run.institutions]
        return Path("runs") / f"sweep-{Path(self.run.scenario).stem}-{fingerprint(identity)}"


def corners(space: Space) -> list[Values]:
    """All parameters at their first, then all at their last ends."""
    return [{each.name: each.ends[end] for each in space.parameters} for end in (0, -1)]
