"""Federations side by side on Ray: persistent worker processes, each of which trains one whole federation at a time.

A federation computes the same bits wherever it runs, so that the cheapest place is one process: no round waits for
its slowest site. A worker keeps what it has built (`sites.launch.Workshop`): its next federation finds its sites ready.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from engine.cluster import cluster, cpu_count, gpu_count
from engine.cohort import cap_memory
from engine.placement import Machine, auto_share
from engine.types import TrainingStopped
from sites.anatomy import Maps, load_maps_apart
from sites.config import ATLAS, RunConfig
from sites.federation import federate
from sites.launch import Workshop

Auto = Literal["auto"]
TRIES = 2  # of a federation whose process dies


@dataclass(frozen=True, kw_only=True)
class Job:
    """One federation to train. name: its own among those of a pool; config: resolved, in one process (workers 0)."""

    name: str
    config: RunConfig

    @property
    def work(self) -> float:
        """Training slices in all rounds."""
        sites = [site for site in self.config.institutions if site.name in self.config.training]
        return self.config.rounds * float(sum(site.train_patients * site.slices for site in sites))


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """Where federations run side by side."""

    parallel: int | Auto = "auto"
    """How many at once; auto: one a core, or one a GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: on the GPUs if there are any."""
    threads: int = 1
    """CPU threads a federation computes with."""
    ray_address: str = ""
    """Of a running Ray cluster; empty: a Ray of its own on this machine."""


@dataclass(frozen=True)
class Progress(Generic[J]):
    """What has become of a federation: a round done, all done, or why it stopped."""

    federation: J
    kind: Literal["round", "done", "failed"]
    round: int = 0
    reason: str = ""


class FederationWorker:
    """The Ray actor."""

    def __init__(self, maps: Maps | None, gpu: float) -> None:
        cap_memory(gpu)
        self._workshop = Workshop(maps)

    def train(self, config: RunConfig) -> Iterator[int]:
        """Train a federation into its run directory, from where that is; yields the rounds as they end."""
        here = replace(config, ray_address="")  # `auto` is what this machine has
        for report in federate(here, figures=False, workshop=self._workshop):
            yield report.round


@dataclass(frozen=True)
class Share:
    """How many federations at once, and what each takes."""

    at_once: int
    cpus: float
    gpus: float


def share(config: PoolConfig, machine: Machine, federations: int) -> Share:
    """Of a machine. Raises ValueError for more at once than it has cores for."""
    on_gpus = machine.gpus > 0 and config.device != "cpu"
    most = max(1, machine.cpus // config.threads)
    natural = machine.gpus if on_gpus else most
    wanted = natural if config.parallel == "auto" else config.parallel
    if wanted > most:
        raise ValueError(f"parallel is {wanted} and there are cores for {most}; take at most {most}, or auto")
    at_once = max(1, min(wanted, federations))
    return Share(at_once, config.threads, auto_share(at_once, machine.gpus) if on_gpus else 0.0)


def train_federations(federations: Sequence[J], config: PoolConfig) -> Iterator[Progress[J]]:
    """Train federations, as many at once as fit; yields what happens, as it does.

    Raises ValueError for what cannot be trained at all (a directory of something else, an impossible scan).
    """
    own = None if config.ray_address else Machine(cpu_count(), gpu_count())
    if own:
        share(config, own, len(federations))  # refused before anything starts
    with ThreadPoolExecutor(1) as loader:
        simulated = any(site.source == ATLAS for federation in federations for site in federation.config.institutions)
        maps = loader.submit(load_maps_apart) if simulated else None
        with cluster(config.ray_address, own) as machine:
            pool = _Pool[J](share(config, own or machine, len(federations)), maps.result() if maps else None)
            yield from pool.train(federations)


class _Pool(Generic[J]):
    """The workers of one call, and which federation each trains."""

    def __init__(self, share: Share, maps: Maps | None) -> None:
        import ray

        self._ray, self._share = ray, share
        self._maps = ray.put(maps)
        self._running: dict[Any, tuple[Any, J]] = {}  # by the stream of its rounds
        self._tries: dict[str, int] = {}

    def train(self, federations: Sequence[J]) -> Iterator[Progress[J]]:
        """All of them, in their order."""
        pending = deque(federations)
        idle = [self._worker() for _ in range(self._share.at_once)]
        while pending or self._running:
            while pending and idle:
                worker, federation = idle.pop(0), pending.popleft()
                stream = worker.train.options(num_returns="streaming").remote(federation.config)
                self._running[stream] = worker, federation
            (stream,), _ = self._ray.wait(list(self._running), num_returns=1)
            worker, federation = self._running[stream]
            progress, alive = self._next(stream, federation)
            if progress is None:
                pending.appendleft(federation)
            else:
                yield progress
            if progress is None or progress.kind != "round":
                del self._running[stream]
                idle.append(worker if alive else self._worker())

    def _worker(self) -> Any:
        actor = self._ray.remote(FederationWorker)
        return actor.options(num_cpus=self._share.cpus, num_gpus=self._share.gpus).remote(self._maps, self._share.gpus)

    def _next(self, stream: Any, federation: J) -> tuple[Progress[J] | None, bool]:
        """What a stream says next, None if the federation is to be tried again; and whether its worker lives."""
        errors = self._ray.exceptions
        try:
            return Progress(federation, "round", self._ray.get(next(stream))), True
        except StopIteration:
            return Progress(federation, "done", federation.config.rounds), True
        except errors.RayTaskError as error:
            if isinstance(error.cause, TrainingStopped):
                return Progress(federation, "failed", reason=str(error.cause)), True
            raise error.cause or error from error
        except (errors.RayActorError, errors.OutOfMemoryError):
            self._tries[federation.name] = self._tries.get(federation.name, 1) + 1
            if self._tries[federation.name] <= TRIES:
                return None, False
            reason = "its process died twice; is there enough memory? try a smaller --parallel"
            return Progress(federation, "failed", reason=reason), False
