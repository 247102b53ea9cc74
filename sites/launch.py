"""Where a federation runs: in this process, or in actors of a Ray of its own. Builds sites where they live."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cluster import OBJECT_STORE_BYTES, cluster, cpu_count, gpu_count
from engine.cohort import SiteFactory
from engine.config import Setting
from engine.driver import Driver, Facts, Roles, Snapshot
from engine.placement import Machine, Plan, plan
from engine.types import SiteLike
from sites.anatomy import Maps, load_maps, load_maps_apart
from sites.config import ATLAS, RunConfig, SiteConfig
from sites.sources.base import Source

if TYPE_CHECKING:
    from engine.remote import RemoteDriver
    from sites.site import Site


KEPT_BYTES = 250 * 10**6
"""Of simulated sites that a process keeps when other federations come; the last asked for stay."""
FUSED = "fused"  # the site that holds all training shards


class Workshop:
    """What the sites of one process are built in: the anatomy, and the sites built before.

    A simulated site is a function of its configuration, matrix and seed, one of files of all but the seed, which only
    its orders and masks come from: a second federation finds it ready.
    """

    def __init__(self, maps: Maps | None, shelf: Path | None = None, lazy: bool = False) -> None:
        """maps: None if no site is simulated. shelf: a folder for simulated k-space that other processes use too.

        lazy: whether simulated sites scan the patients of a split only when it is asked for.
        """
        self._maps = maps
        self._shelf = shelf
        self._lazy = lazy
        self._built: dict[tuple[BuildSite, str], Site] = {}
        self._of_files: dict[tuple[BuildSite, str], Site] = {}

    def site(self, build: BuildSite, device: str) -> Site:
        """The site with all its patients scanned or read. Raises ValueError for what cannot be acquired or used."""
        from sites.site import Site

        if build.source is not None:
            return Site(build.config, build.source, build.seed, device)
        if build.config.of_files:
            return self._site_of_files(build, device)
        key = replace(build, files=OfFiles()), device  # what concerns files alone makes no other site
        site = self._built.pop(key, None) or self._simulated(build, device)
        self._built[key] = site  # the last asked for comes last
        while len(self._built) > 1 and sum(kept.bytes for kept in self._built.values()) > KEPT_BYTES:
            self._built.pop(next(iter(self._built)))
        return site

    def _simulated(self, build: BuildSite, device: str) -> Site:
        from sites.site import Site
        from sites.sources.atlas import AtlasSource
        from sites.sources.shelved import ShelvedSource

        assert self._maps is not None
        source = AtlasSource(build.config, self._maps, build.matrix, build.seed)
        shelved = ShelvedSource(source, self._shelf) if self._shelf else source
        return Site(build.config, shelved, build.seed, device, lazy=self._lazy)

    def _site_of_files(self, build: BuildSite, device: str) -> Site:
        from sites.site import Site
        from sites.sources.files import FileSource

        key = replace(build, seed=0, files=replace(build.files, batch_size=1)), device
        if any(kept.matrix != build.matrix for kept, _ in self._of_files):
            self._of_files.clear()
        if key not in self._of_files:
            source = FileSource(build.config, build.matrix, build.files.skip_bad)
            memory = source.streamed_beyond(1e9 * build.files.memory_gb)
            self._of_files[key] = Site(build.config, source, build.seed, device, memory)
        site = self._of_files[key].with_seed(build.seed)
        if 0 < site.slices("train") < build.files.batch_size:
            raise ValueError(
                f"site {site.name!r} has {site.slices('train')} training slices in {build.config.path}, fewer than "
                f"a batch of {build.files.batch_size}; lower --batch-size, or give it more"
            )
        return site


@dataclass(frozen=True)
class OfFiles:
    """What concerns sites of files alone: see `RunConfig` for the first two, `TrainConfig` for the last."""

    skip_bad: bool = False
    memory_gb: float = 2.0
    batch_size: int = 1


@dataclass(frozen=True)
class BuildSite:
    """Builds a site where it lives: an `engine.cohort.SiteFactory`. source: one given in Python."""

    config: SiteConfig
    matrix: int
    seed: int
    source: Source | None = None
    files: OfFiles = OfFiles()

    def __call__(self, workshop: Workshop, device: str) -> SiteLike:
        """`Workshop.site`."""
        return workshop.site(self, device)


@dataclass(frozen=True)
class BuildFused:
    """Builds the one site that holds the training shards of all of these: an `engine.cohort.SiteFactory`."""

    parts: tuple[BuildSite, ...]

    def __call__(self, workshop: Workshop, device: str) -> SiteLike:
        """The site. Raises ValueError as its parts do."""
        from sites.site import FusedSite

        return FusedSite(FUSED, [workshop.site(part, device) for part in self.parts])


def factories(config: RunConfig, sources: Mapping[str, Source]) -> dict[str, SiteFactory]:
    """What builds each site of a resolved run. sources: k-space of one's own for some sites, by name."""
    files = OfFiles(config.skip_bad, config.memory_gb, config.train.batch_size)
    parts = {s.name: BuildSite(s, config.matrix, config.seed, sources.get(s.name), files) for s in config.institutions}
    fused = {FUSED: BuildFused(tuple(parts[name] for name in config.training))} if config.fused else {}
    return {**parts, **fused}


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
        self._driver = Driver(self._cohort, setting.algorithm, roles, shift_every, setting.seed)
        self.run, self.finish = self._driver.run, self._driver.finish

    def start(self, factories: Mapping[str, SiteFactory], shared: Any, snapshot: Snapshot | None) -> Facts:
        """Build the sites, then take up the snapshot."""
        self._cohort.build(factories, shared)
        return self._driver.start(snapshot)


@contextlib.contextmanager
def launch(
    config: RunConfig, phase: Callable[[str], None], workshop: Workshop | None = None
) -> Iterator[tuple[RemoteDriver | InProcess, Future[Workshop], Placed]]:
    """A driver of a resolved run, the workshop on its way unless there is one, and where all runs.

    The anatomy, if a site is simulated, loads while Ray starts. Raises ValueError for what cannot be placed.
    """
    roles = roles_of(config)
    with ThreadPoolExecutor(1) as pool:
        simulated = any(site.source == ATLAS for site in config.institutions)
        here = config.placement.workers == 0
        load = (load_maps if here else load_maps_apart) if simulated else _no_maps
        anatomy = pool.submit(lambda: workshop or Workshop(load()))
        if here:
            phase("starting in this process")
            device = config.placement.device
            placed = Placed(device, f"{device}, one process")
            yield InProcess(setting_of(config, device), roles, config.shift_every), anatomy, placed
            return
        phase("starting Ray")
        # one's own machine is planned before Ray starts: what cannot be placed is refused at once
        own = None if config.ray_address else _place(config, Machine(cpu_count(), gpu_count()))
        with cluster(config.ray_address, own.machine if own else None, _store_bytes(config)) as machine:
            from engine.remote import RemoteDriver

            placed = own or _place(config, machine)
            assert placed.plan is not None
            driver = RemoteDriver(setting_of(config, placed.device), placed.plan, roles, config.shift_every)
            try:
                yield driver, anatomy, placed
            finally:
                driver.close()


def _place(config: RunConfig, machine: Machine) -> Placed:
    slices = [(s.name, s.train_patients * s.slices) for s in config.institutions]
    if config.fused:
        slices.append((FUSED, sum(count for name, count in slices if name in config.training)))
    shares = {s.name: s.gpus for s in config.institutions if s.gpus is not None}
    placed = plan(slices, machine, config.placement, shares)
    device = "cuda" if any(worker.gpu for worker in placed.workers) else "cpu"
    what = f"{machine.gpus} GPU(s)" if device == "cuda" else f"{machine.cpus} CPU core(s)"
    used = Machine(math.ceil(sum(worker.cpu for worker in placed.workers)), machine.gpus)
    return Placed(device, f"{what}, {len(placed.workers)} worker(s)", placed, used)


def _store_bytes(config: RunConfig) -> int:
    """Room for each site's update and two generations of its state; the paper's U-Net has 7.8 million weights."""
    weights = 4 * 7.8e6 * (config.model.channels / 32) ** 2 * 4.0 ** (config.model.pool_layers - 4)
    weights *= max(1, config.model.cascades)
    return max(OBJECT_STORE_BYTES, int(8 * len(config.institutions) * weights))


def setting_of(config: RunConfig, device: str) -> Setting:
    """What every institution of a resolved run is told."""
    return Setting(
        algorithm=config.algorithm,
        model=config.model,
        train=config.train,
        seed=config.seed,
        target=config.target,
        device=device,
        threads=config.placement.threads,
    )


def roles_of(config: RunConfig) -> Roles:
    """Who does what in a resolved run."""
    everyone = tuple(sorted(site.name for site in config.institutions))
    roles = Roles(
        everyone=everyone,
        sources=config.training,
        target=config.target,
        unscored=tuple(sorted(site.name for site in config.institutions if not site.val_patients)),
        untested=tuple(sorted(site.name for site in config.institutions if not site.test_patients)),
    )
    return replace(roles, sources=(FUSED,), parts={FUSED: config.training}) if config.fused else roles


def _no_maps() -> None:
    """Every site brings its own images."""
