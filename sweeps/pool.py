"""Federations side by side on Ray: persistent worker processes, each of which trains one whole job at a time.

A federation computes the same bits wherever it runs, so that the cheapest place is one process: no round waits for
its slowest site, and a job that has begun waits for no other's resources. A worker keeps what it has built
(`sites.launch.Workshop`): its next federation finds its sites ready.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from engine.cluster import cluster, cpu_count, gpu_count, memory_bytes
from engine.cohort import cap_memory
from engine.console import Header
from engine.placement import Machine, auto_share
from engine.types import RoundReport, Scores, SiteInfo, TrainingStopped
from sites.anatomy import Maps, load_maps_apart
from sites.config import ATLAS, RunConfig
from sites.federation import federate
from sites.launch import Workshop

Auto = Literal["auto"]
TRIES = 2  # of a job whose process dies


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker trains at a time: one federation, or several in step, round by round.

    name: its own among those of a pool; config, beside: resolved, in one process (workers 0), of as many rounds
    tested: whether the test patients are scored at the end; else it is left after its last round, to be gone on with
    """

    name: str
    config: RunConfig
    beside: tuple[RunConfig, ...] = ()
    tested: bool = True

    @property
    def configs(self) -> tuple[RunConfig, ...]:
        """All its federations."""
        return (self.config, *self.beside)

    @property
    def work(self) -> float:
        """Training slices in all rounds."""
        return sum(map(_work, self.configs))


def _work(config: RunConfig) -> float:
    sites = [site for site in config.institutions if site.name in config.training]
    return config.rounds * config.train.local_epochs * float(sum(site.train_patients * site.slices for site in sites))


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """Where federations run side by side."""

    parallel: int | Auto = "auto"
    """How many at once; auto: one a core, or one a GPU, as far as there is memory."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: on the GPUs if there are any."""
    threads: int = 1
    """CPU threads a federation computes with."""
    ray_address: str = ""
    """Of a running Ray cluster; empty: a Ray of its own on this machine."""


@dataclass(frozen=True)
class Round:
    """A round of each of a job's federations; zero_filled: of each, the zero-filled validation images by site."""

    reports: tuple[RoundReport, ...]
    zero_filled: tuple[Mapping[str, Scores], ...]


@dataclass(frozen=True)
class Progress(Generic[J]):
    """What has become of a job: a round done, all done, or why it stopped.

    result: of a round; error: of a job that failed, None if its process died
    """

    federation: J
    kind: Literal["round", "done", "failed"]
    round: int = 0
    reason: str = ""
    result: Round | None = None
    error: BaseException | None = None


class FederationWorker:
    """The Ray actor."""

    def __init__(self, gpu: float, shelf: Path | None) -> None:
        import sites.site  # noqa: F401  torch comes with it, which takes a second: while the anatomy is on its way

        cap_memory(gpu)
        self._shelf = shelf
        self._workshop: Workshop | None = None
        self._streams: list[Iterator[RoundReport]] = []

    def begin(self, job: Job, maps: Maps | None) -> None:
        """Take up a job's federations where their run directories are; what was not left is.

        maps: the same every time.
        """
        self.leave()
        self._workshop = self._workshop or Workshop(maps, self._shelf)
        self._job, self._round = job, 0
        self._starts = [_Start() for _ in job.configs]
        self._streams = [
            federate(replace(config, ray_address=""), start, figures=False, workshop=self._workshop)
            for config, start in zip(job.configs, self._starts, strict=True)
        ]  # `auto` is what this machine has

    def advance(self) -> Round | None:
        """The next round of all of them; None when they are done."""
        if not self._job.tested and self._round == self._job.config.rounds:
            self.leave()
            return None
        reports = [next(stream, None) for stream in self._streams]
        there = tuple(report for report in reports if report is not None)
        if not there:
            return None
        self._round = there[0].round
        return Round(there, tuple(start.zero_filled for start in self._starts))

    def leave(self) -> None:
        """Close the run directories as they are."""
        for stream in self._streams:
            stream.close()  # type: ignore[attr-defined]
        self._streams = []


class _Start:
    """An `engine.console.Watcher` that only remembers the zero-filled scores."""

    def __init__(self) -> None:
        self.zero_filled: Mapping[str, Scores] = {}

    def __enter__(self) -> _Start:
        return self

    def __exit__(self, *_: object) -> None: ...

    def phase(self, text: str) -> None: ...

    def start(self, header: Header, sites: Sequence[SiteInfo], reports: Sequence[RoundReport] = ()) -> None:  # noqa: ARG002
        self.zero_filled = {site.name: site.zero_filled for site in sites}

    def update(self, report: RoundReport) -> None: ...

    def message(self, text: str) -> None: ...


# ---- what a machine has room for --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """How many jobs at once, and what each takes. memory: bytes."""

    at_once: int
    cpus: float
    gpus: float
    memory: int = 0


def share(config: PoolConfig, machine: Machine, jobs: int, demand: int = 0, memory: int | None = None) -> Share:
    """Of a machine. demand: bytes the largest job needs; memory: bytes there are, None: unknown.

    Raises ValueError for more at once than it has cores or memory for.
    """
    on_gpus = machine.gpus > 0 and config.device != "cpu"
    cores = max(1, machine.cpus // config.threads)
    natural = machine.gpus if on_gpus else cores
    if memory is not None and demand > memory:
        raise ValueError(
            f"a federation needs about {demand / 1e9:.2g} GB of memory and a core, and {memory / 1e9:.2g} GB are free; "
            "take a smaller --batch-size, --channels or --matrix, or a larger machine"
        )
    room = cores if memory is None or not demand else min(cores, memory // demand)
    wanted = min(natural, room) if config.parallel == "auto" else config.parallel
    if wanted > cores:
        raise ValueError(f"parallel is {wanted} and there are cores for {cores}; take at most {cores}, or auto")
    if wanted > room:
        free, each = f"{(memory or 0) / 1e9:.2g} GB", f"{demand / 1e9:.2g} GB"
        raise ValueError(f"parallel is {wanted}, each needs about {each} and {free} are free; take at most {room}")
    at_once = max(1, min(wanted, jobs))
    return Share(at_once, config.threads, auto_share(at_once, machine.gpus) if on_gpus else 0.0, demand)


PROCESS_BYTES = 500 * 10**6
"""A worker with torch, its code and allocator."""
ACTIVATIONS = 40
"""Of the network's first layer: what training keeps of all layers, in copies of that."""


def demand(job: Job) -> int:
    """Bytes of memory a job takes about: the process, k-space, weights and their states at each site, activations."""
    total = float(PROCESS_BYTES)
    for config in job.configs:
        pixels = config.matrix**2
        kspace = sum(8 * pixels * s.coils * s.slices * sum(s.counts.values()) for s in config.institutions)
        weights = 4 * 7.8e6 * (config.model.channels / 32) ** 2 * 4.0 ** (config.model.pool_layers - 4)
        weights *= max(1, config.model.cascades)
        activations = 4 * pixels * config.model.channels * config.train.batch_size * max(1, config.model.cascades)
        total += kspace + weights * (4 + 4 * len(config.institutions)) + ACTIVATIONS * activations
    return int(total)


# ---- the pool ---------------------------------------------------------------------------------------------------


def train_federations(jobs: Sequence[J], config: PoolConfig) -> Iterator[Progress[J]]:
    """Train jobs in their order, as many at once as fit; yields what happens, as it does.

    Raises ValueError for what cannot be trained at all (a directory of something else, an impossible scan).
    """
    simulated = any(is_simulated(job) for job in jobs)
    largest = max(map(demand, jobs), default=0)
    with open_pool(config, len(jobs), largest, simulated) as pool:
        pending = deque(jobs)
        while pending or pool.running:
            while pending and pool.idle:
                pool.start(pending.popleft())
            progress = pool.wait()
            if progress.error is not None and not isinstance(progress.error, TrainingStopped):
                raise progress.error
            yield progress


def is_simulated(job: Job) -> bool:
    """Whether an institution's patients are simulated."""
    return any(site.source == ATLAS for config in job.configs for site in config.institutions)


@contextlib.contextmanager
def open_pool(
    config: PoolConfig,
    jobs: int,
    largest: int,
    simulated: bool,
    shelf: Path | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[Pool[Any]]:
    """Workers on a Ray of one's own or a running one. jobs: how many there will be; largest: bytes one may need.

    simulated: whether the anatomy is needed; shelf: see `Workshop`; meanwhile: done while Ray starts.
    Raises ValueError for what the machine has no room for.
    """
    own = None if config.ray_address else Machine(cpu_count(), gpu_count())
    if own:
        share(config, own, jobs, largest, memory_bytes())  # refused before anything starts
    with ThreadPoolExecutor(2) as loader:
        maps = loader.submit(load_maps_apart) if simulated else None
        waiting = loader.submit(meanwhile)
        with cluster(config.ray_address, own) as machine:
            memory = memory_bytes() if own else None
            shared = share(config, own or machine, jobs, largest, memory)
            waiting.result()
            yield Pool(shared, maps, shelf)


@dataclass
class _Running(Generic[J]):
    """A job and its worker. paused: its last round has been told, the next one is not asked for yet."""

    job: J
    worker: Any
    paused: bool = False


@dataclass
class Pool(Generic[J]):
    """Workers, and the jobs they are at. Ask `idle` before `start`."""

    share: Share
    maps: Future[Maps] | None
    shelf: Path | None = None
    _running: dict[Any, _Running[J]] = field(default_factory=dict)  # by what is awaited
    _tries: dict[str, int] = field(default_factory=dict)
    _again: deque[J] = field(default_factory=deque)
    _idle: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        import ray

        self._ray = ray
        self._room = self.share.at_once
        self._idle += [self._worker() for _ in range(self._room)]
        self._maps = ray.put(self.maps.result() if self.maps else None)

    @property
    def running(self) -> int:
        """Jobs that are not done."""
        return len(self._running) + len(self._again)

    @property
    def idle(self) -> bool:
        """Whether another job can begin."""
        return self.running < self._room

    def start(self, job: J) -> None:
        """Begin a job, on a worker that is idle."""
        worker = self._idle.pop() if self._idle else self._worker()
        worker.begin.remote(job, self._maps)
        self._running[worker.advance.remote()] = _Running(job, worker)

    def stop(self, job: J) -> None:
        """Leave a job whose round has just been told: its worker is free for another at once."""
        reference, running = next((r, one) for r, one in self._running.items() if one.job is job)
        del self._running[reference]
        running.worker.leave.remote()
        self._idle.append(running.worker)

    def wait(self) -> Progress[J]:
        """The next that happens to any job. After a round the next is asked for when this is called again."""
        self._go_on()
        (reference,), _ = self._ray.wait(list(self._running), num_returns=1)
        running = self._running.pop(reference)
        errors, job = self._ray.exceptions, running.job
        try:
            result: Round | None = self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause or error
            self._idle.append(running.worker)
            return Progress(job, "failed", reason=str(cause), error=cause)
        except (errors.RayActorError, errors.OutOfMemoryError):
            return self._died(job)
        if result is None:
            self._idle.append(running.worker)
            return Progress(job, "done", job.config.rounds)
        running.paused = True
        self._running[reference] = running
        return Progress(job, "round", result.reports[0].round, result=result)

    def _go_on(self) -> None:
        while self._again and len(self._running) < self._room:
            self.start(self._again.popleft())
        for reference in [r for r, running in self._running.items() if running.paused]:
            running = self._running.pop(reference)
            running.paused = False
            self._running[running.worker.advance.remote()] = running

    def _died(self, job: J) -> Progress[J]:
        """Its process was killed, for memory as a rule: once more, with fewer beside it."""
        self._tries[job.name] = self._tries.get(job.name, 1) + 1
        self._room = max(1, self._room - 1)
        if self._tries[job.name] <= TRIES:
            self._again.append(job)
            return self.wait()
        reason = "its process died twice; is there enough memory? try a smaller --parallel"
        return Progress(job, "failed", reason=reason)

    def _worker(self) -> Any:
        actor = self._ray.remote(FederationWorker)
        options = actor.options(num_cpus=self.share.cpus, num_gpus=self.share.gpus)
        return options.remote(self.share.gpus, self.shelf)
