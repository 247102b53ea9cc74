"""Federations side by side on Ray: persistent worker processes, each of which trains one whole job at a time.

A federation computes the same bits wherever it runs, so that the cheapest place is one process: no round waits for
its slowest site, and a job that has begun waits for no other's resources. A worker keeps what it has built
(`sites.launch.Workshop`): its next federation finds its sites ready.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from engine.cluster import cluster, cpu_count, gpu_count, memory_bytes
from engine.placement import Machine
from engine.types import MemoryExhausted, TrainingStopped
from sites.anatomy import Maps, load_maps_apart
from sites.config import ATLAS
from sweeps.jobs import FederationWorker, Job, Round
from sweeps.shares import PoolConfig, Room, Share, demand

TRIES = 2  # of a job whose process dies, or whose GPU's memory is used up
J = TypeVar("J", bound=Job)


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


def train_federations(jobs: Sequence[J], config: PoolConfig) -> Iterator[Progress[J]]:
    """Train jobs in their order, as many at once as fit; yields what happens, as it does.

    Raises ValueError for what cannot be trained at all (a directory of something else, an impossible scan).
    """
    with open_pool(config, len(jobs), max(map(demand, jobs), default=0), any(map(is_simulated, jobs))) as pool:
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
    config: PoolConfig, jobs: int, largest: int, simulated: bool, shelf: Path | None = None
) -> Iterator[Pool[Any]]:
    """Workers on a Ray of one's own or a running one. jobs: how many there will be; largest: bytes one may need.

    simulated: whether the anatomy is needed; shelf: see `Workshop`. Raises ValueError for what the machine has no room
    for, if it is one's own before anything starts.
    """
    own = None if config.ray_address else Machine(cpu_count(), gpu_count())
    room = Room(config, own, memory_bytes(), largest) if own else None
    if room:
        room.share(jobs)
    with ThreadPoolExecutor(1) as loader:
        maps = loader.submit(load_maps_apart) if simulated else None
        with cluster(config.ray_address, own) as machine:
            yield Pool(room or Room(config, machine, _cluster_memory(largest), largest), jobs, maps, shelf)


def _cluster_memory(each: int) -> int:
    """Bytes of a running cluster's nodes, as far as whole jobs fill them."""
    import ray

    free = [int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]]
    return sum(bytes // each * each for bytes in free) if each else sum(free)


@dataclass(frozen=True)
class _Worker:
    """An actor, and its share of the machine."""

    actor: Any
    share: Share


@dataclass
class _Running(Generic[J]):
    """A job and its worker. paused: its last round has been told, the next one is not asked for yet."""

    job: J
    worker: _Worker
    paused: bool = False


class Pool(Generic[J]):
    """Workers, and the jobs they are at. Ask `idle` before `start`."""

    def __init__(self, room: Room, jobs: int, maps: Future[Maps] | None, shelf: Path | None) -> None:
        """room: of the machine; jobs: how many there will be. Raises ValueError if one of them has no room."""
        import ray

        self.room = room
        self._ray, self._shelf = ray, shelf
        self._share = room.share(jobs)
        self._running: dict[Any, _Running[J]] = {}  # by what is awaited
        self._tries: dict[str, int] = {}
        self._again: deque[J] = deque()
        self._idle = [self._worker() for _ in range(self._share.at_once)]
        self._maps = ray.put(maps.result() if maps else None)  # meanwhile the workers import torch

    @property
    def running(self) -> int:
        """Jobs that are not done."""
        return len(self._running) + len(self._again)

    @property
    def idle(self) -> bool:
        """Whether another job can begin."""
        return self.running < self._share.at_once

    def start(self, job: J) -> None:
        """Begin a job, on a worker that is idle."""
        worker = self._idle.pop() if self._idle else self._worker()
        worker.actor.begin.remote(job, self._maps)
        self._running[worker.actor.advance.remote()] = _Running(job, worker)

    def stop(self, job: J) -> None:
        """Leave a job whose round has just been told: its worker is free for another at once."""
        reference, running = next((r, one) for r, one in self._running.items() if one.job is job)
        del self._running[reference]
        running.worker.actor.leave.remote()
        self._release(running.worker)

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
            self._release(running.worker)
            if isinstance(cause, MemoryExhausted):
                return self._once_more(job, str(cause))
            return self._ended(Progress(job, "failed", reason=str(cause), error=cause))
        except (errors.RayActorError, errors.OutOfMemoryError):
            return self._once_more(job, "its process died twice; is there enough memory? try a smaller --parallel")
        if result is None:
            self._release(running.worker)
            return self._ended(Progress(job, "done", job.config.rounds))
        running.paused = True
        self._running[reference] = running
        return Progress(job, "round", result.reports[0].round, result=result)

    def _go_on(self) -> None:
        while self._again and len(self._running) < self._share.at_once:
            self.start(self._again.popleft())
        for reference in [r for r, running in self._running.items() if running.paused]:
            running = self._running.pop(reference)
            running.paused = False
            self._running[running.worker.actor.advance.remote()] = running

    def _once_more(self, job: J, reason: str) -> Progress[J]:
        """A job that ran out of memory, as a rule: from its beginning, with fewer beside it, each of a larger share."""
        self._tries[job.name] = self._tries.get(job.name, 1) + 1
        self._share = self.room.share(max(1, self._share.at_once - 1))
        for worker in [worker for worker in self._idle if worker.share != self._share]:
            self._idle.remove(worker)
            self._ray.kill(worker.actor)
        if self._tries[job.name] > TRIES:
            return self._ended(Progress(job, "failed", reason=reason))
        self._again.append(job)
        return self.wait()

    def _ended(self, progress: Progress[J]) -> Progress[J]:
        self._tries.pop(progress.federation.name, None)
        return progress

    def _release(self, worker: _Worker) -> None:
        """For the next job, unless shares have changed since it was made."""
        if worker.share == self._share:
            self._idle.append(worker)
        else:
            self._ray.kill(worker.actor)

    def _worker(self) -> _Worker:
        share = self._share
        memory = {"memory": share.memory} if self.room.config.ray_address and share.memory else {}
        actor = self._ray.remote(FederationWorker).options(num_cpus=share.cpus, num_gpus=share.gpus, **memory)
        return _Worker(actor.remote(share.gpus, self._shelf), share)
