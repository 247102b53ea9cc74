"""From a configuration to a stream of rounds: `for report in federate(config)`."""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.cluster import cluster, cpu_count, gpu_count
from engine.cohort import SiteFactory
from engine.config import Setting
from engine.console import Header, Watcher
from engine.driver import Driver, Facts, Outcome, Roles, Snapshot
from engine.placement import Machine, Plan, plan
from engine.types import Role, RoundReport, Scores, SiteInfo, SiteLike
from engine.weights import sha256
from sites.anatomy import Maps, load_maps
from sites.config import RunConfig, Scenario, SiteConfig
from sites.report import draw_figures
from sites.run_directory import RunDirectory, new_directory, open_run
from sites.scenario import load_scenario, take
from sites.sources.base import Source

if TYPE_CHECKING:
    from engine.remote import RemoteDriver

NOTE = "simulated institutions: real anatomy (ICBM152), simulated scanners; no patient data"


def federate(
    config: RunConfig,
    watcher: Watcher | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    began: float | None = None,
    extend: bool = False,
) -> Iterator[RoundReport]:
    """Run a federation, yielding each round as it ends; the run directory is written on the way.

    A directory that holds the same run goes on where it was; with `extend` the number of rounds may differ.
    sources: k-space of your own for some of the sites, by name; they must be picklable.
    began: `time.perf_counter()` of the command's start.
    Raises ValueError for a configuration or data that cannot be; TrainingStopped if training cannot go on.
    """
    began = time.perf_counter() if began is None else began
    sources = sources or {}
    config = _with_sources(resolve(config), sources)
    phase = watcher.phase if watcher else _ignore
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(open_run(config, extend))
        if run.complete:
            return
        driver, anatomy, placed = stack.enter_context(_driver(config, phase))
        phase(f"simulating {len(config.institutions)} institutions")
        factories = {
            site.name: BuildSite(site, config.matrix, config.seed, sources.get(site.name))
            for site in config.institutions
        }
        facts = driver.start(factories, anatomy.result(), run.snapshot)
        run.begin(placed.device)
        clock = [time.perf_counter() - began]
        if watcher:
            watcher.start(_header(config, run, placed), _infos(config, facts, placed), run.reports)
        for report, snapshot in driver.run(config.rounds, config.checkpoint_every):
            run.append(report, snapshot)
            clock.append(time.perf_counter() - began)
            if watcher:
                watcher.update(report)
            yield report
        phase("scoring the test patients")
        outcome = driver.finish(config.previews)
        summary = _summary(config, facts, outcome, run, [*clock, time.perf_counter() - began])
        run.finish(summary, facts.layout, outcome.previews)
    phase("drawing the figures")
    draw_figures(run.path)


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with every `auto` that a stored run must state replaced by what it means.

    Raises ValueError for an unknown scenario or target, an algorithm that needs more sites, or a missing GPU.
    """
    stored = Scenario(name=config.scenario, summary="", sites=config.institutions) if config.institutions else None
    scenario = stored or load_scenario(config.scenario)
    sites = scenario.sites if config.sites == "auto" else take(scenario, config.sites, config.seed).sites
    names = [site.name for site in sites]
    target = names[min(3, len(names) - 1)] if config.target == "auto" else config.target
    if target not in names:
        raise ValueError(f"target {target!r} is not a site; choose one of {', '.join(names)}")
    if config.algorithm.needs_target and len(names) < 2:
        raise ValueError(
            f"{config.algorithm_name} needs a source besides the target; use --algorithm fl-mr or more --sites"
        )
    if not config.target_trains and len(names) < 2:
        raise ValueError("target_trains is false and there is no other site to train; use more --sites")
    if config.placement.device == "cuda" and not config.ray_address and not gpu_count():
        raise ValueError("device is 'cuda' and this machine shows no GPU; take cpu, or auto")
    out = config.out or str(new_directory(config))
    return replace(config, institutions=tuple(sites), sites=len(names), target=target, out=out)


@dataclass(frozen=True)
class BuildSite:
    """Builds a site where it lives: an `engine.cohort.SiteFactory`. source: None simulates its patients."""

    config: SiteConfig
    matrix: int
    seed: int
    source: Source | None = None

    def __call__(self, maps: Maps, device: str) -> SiteLike:
        """The site with all its patients scanned. Raises ValueError for an impossible acquisition."""
        from sites.site import Site
        from sites.sources.atlas import AtlasSource

        source = self.source or AtlasSource(self.config, maps, self.matrix, self.seed)
        return Site(self.config, source, self.seed, device)


def _with_sources(config: RunConfig, sources: Mapping[str, Source]) -> RunConfig:
    """The configuration with its sites' sources named. Raises ValueError where one is missing or nobody's."""
    names = [site.name for site in config.institutions]
    for name in sources:
        if name not in names:
            raise ValueError(f"sources: {name!r} is not a site; choose one of {', '.join(names)}")
    named = {name: type(source).__name__ for name, source in sources.items()}
    for site in config.institutions:
        if site.source not in ("atlas", named.get(site.name)):
            raise ValueError(
                f"site {site.name!r}: source {site.source!r} lives in Python; give it to federate(sources=)"
            )
    sites = tuple(replace(site, source=named.get(site.name, site.source)) for site in config.institutions)
    return replace(config, institutions=sites)


@dataclass(frozen=True)
class Placed:
    """Where a federation runs. plan: None when all is in this process; machine: the part of it that is used."""

    device: str
    words: str
    plan: Plan | None = None
    machine: Machine | None = None

    def share(self, site: str) -> str:
        """A site's share in words."""
        return self.plan.share(site) if self.plan else "in turn"


class InProcess:
    """`RemoteDriver`'s interface in the calling process, for debuggers and profilers."""

    def __init__(self, setting: Setting, roles: Roles, shift_every: int) -> None:
        from engine.cohort import LocalCohort

        self._cohort = LocalCohort(setting)
        self._driver = Driver(self._cohort, setting.algorithm, roles, shift_every)
        self.run, self.finish = self._driver.run, self._driver.finish

    def start(self, factories: Mapping[str, SiteFactory], shared: Any, snapshot: Snapshot | None) -> Facts:
        """Build the sites, then take up the snapshot."""
        self._cohort.build(factories, shared)
        return self._driver.start(snapshot)


@contextlib.contextmanager
def _driver(
    config: RunConfig, phase: Callable[[str], None]
) -> Iterator[tuple[RemoteDriver | InProcess, Future[Maps], Placed]]:
    """A driver, the anatomy on its way, and where all runs. The anatomy loads while Ray starts."""
    roles = _roles(config)
    with ThreadPoolExecutor(1) as pool:
        anatomy = pool.submit(load_maps)
        if config.placement.workers == 0:
            phase("starting in this process")
            device = "cuda" if gpu_count() and config.placement.device != "cpu" else "cpu"
            placed = Placed(device, f"{device}, one process")
            yield InProcess(_setting(config, device), roles, config.shift_every), anatomy, placed
            return
        phase("starting Ray")
        # one's own machine is planned before Ray starts: what cannot be placed is refused at once
        own = None if config.ray_address else _place(config, Machine(cpu_count(), gpu_count()))
        with cluster(config.ray_address, own.machine if own else None) as machine:
            from engine.remote import RemoteDriver

            placed = own or _place(config, machine)
            assert placed.plan is not None
            driver = RemoteDriver(_setting(config, placed.device), placed.plan, roles, config.shift_every)
            try:
                yield driver, anatomy, placed
            finally:
                driver.close()


def _place(config: RunConfig, machine: Machine) -> Placed:
    slices = [(s.name, s.train_patients * s.slices) for s in config.institutions]
    shares = {s.name: s.gpus for s in config.institutions if s.gpus is not None}
    placed = plan(slices, machine, config.placement, shares)
    device = "cuda" if any(worker.gpu for worker in placed.workers) else "cpu"
    what = f"{machine.gpus} GPU(s)" if device == "cuda" else f"{machine.cpus} CPU core(s)"
    used = Machine(math.ceil(sum(worker.cpu for worker in placed.workers)), machine.gpus)
    return Placed(device, f"{what}, {len(placed.workers)} worker(s)", placed, used)


def _setting(config: RunConfig, device: str) -> Setting:
    return Setting(
        algorithm=config.algorithm,
        model=config.model,
        train=config.train,
        seed=config.seed,
        target=config.target,
        device=device,
        threads=config.placement.threads,
    )


def _roles(config: RunConfig) -> Roles:
    names = sorted(site.name for site in config.institutions)
    sources = [name for name in names if config.target_trains or name != config.target]
    return Roles(everyone=tuple(names), sources=tuple(sources), target=config.target)


def role(config: RunConfig, site: str) -> Role:
    """What a site is in a resolved run."""
    if site != config.target:
        return "source"
    return "both" if config.target_trains else "target"


def _header(config: RunConfig, run: RunDirectory, placed: Placed) -> Header:
    return Header(
        scenario=config.scenario,
        note=NOTE,
        algorithm=config.algorithm_name,
        target=config.target,
        devices=placed.words,
        out=str(run.path),
        rounds=config.rounds,
    )


def _infos(config: RunConfig, facts: Facts, placed: Placed) -> list[SiteInfo]:
    return [
        SiteInfo(
            name=site.name,
            role=role(config, site.name),
            description=site.description or f"{site.field_strength:g} T {site.sequence.replace('_', ' ')}",
            train_slices=facts.train_slices[site.name],
            share=placed.share(site.name),
            zero_filled=facts.zero_filled[site.name],
        )
        for site in config.institutions
    ]


def _summary(
    config: RunConfig, facts: Facts, outcome: Outcome, run: RunDirectory, clock: Sequence[float]
) -> dict[str, Any]:
    """summary.json. clock: seconds at the first round's start, at each round's end of this session, and at the end."""
    assert run.snapshot is not None
    rounds = [after - before for before, after in itertools.pairwise(clock[:-1])]
    return {
        "algorithm": config.algorithm_name,
        "scenario": config.scenario,
        "target": config.target,
        "seed": config.seed,
        "rounds": config.rounds,
        "weights_sha256": sha256(run.snapshot.server.weights),
        "seconds": {
            "startup": round(clock[0], 3),
            "first_round": round(clock[1], 3),
            "median_round": round(statistics.median(rounds), 3) if rounds else 0.0,
            "total": round(clock[-1], 3),
        },
        "sites": [
            {
                "name": site.name,
                "role": role(config, site.name),
                "train_slices": facts.train_slices[site.name],
                "test": _scores(outcome.test[site.name]),
                "zero_filled": _scores(outcome.zero_filled[site.name]),
                "zero_filled_validation": _scores(facts.zero_filled[site.name]),
            }
            for site in config.institutions
        ],
        "ledger": dict(outcome.ledger),
    }


def _scores(scores: Scores) -> dict[str, float]:
    return asdict(scores)


def _ignore(_text: str) -> None:
    """Nobody watches."""
