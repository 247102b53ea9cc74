"""How many federations a machine has room for, and what each takes of it. Arithmetic, no Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.placement import Machine, auto_share
from sites.config import RunConfig
from sites.launch import KEPT_BYTES
from sweeps.jobs import Job

Auto = Literal["auto"]


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

    @staticmethod
    def of(parallel: int | Auto, run: RunConfig) -> PoolConfig:
        """For federations that have these settings in common."""
        where = run.placement
        return PoolConfig(parallel=parallel, device=where.device, threads=where.threads, ray_address=run.ray_address)


@dataclass(frozen=True)
class Share:
    """How many jobs at once, and what each takes. memory: bytes."""

    at_once: int
    cpus: float
    gpus: float
    memory: int = 0


@dataclass(frozen=True)
class Room:
    """What there is for jobs. memory: bytes, None: unknown; largest: bytes the largest job needs."""

    config: PoolConfig
    machine: Machine
    memory: int | None = None
    largest: int = 0

    def share(self, jobs: int) -> Share:
        """For so many jobs, or as many of them at once as fit.

        Raises ValueError for more at once than there are cores or memory for.
        """
        config, machine = self.config, self.machine
        on_gpus = machine.gpus > 0 and config.device != "cpu"
        cores = max(1, machine.cpus // config.threads)
        self.check(self.largest)
        room = cores if self.memory is None or not self.largest else min(cores, self.memory // self.largest)
        natural = min(machine.gpus if on_gpus else cores, room)
        wanted = natural if config.parallel == "auto" else config.parallel
        if wanted > cores:
            raise ValueError(f"parallel is {wanted} and there are cores for {cores}; take at most {cores}, or auto")
        if wanted > room:
            each, free = f"{self.largest / 1e9:.2g} GB", f"{(self.memory or 0) / 1e9:.2g} GB"
            raise ValueError(f"parallel is {wanted}, each needs about {each} and {free} are free; take at most {room}")
        at_once = max(1, min(wanted, jobs))
        gpus = auto_share(at_once, machine.gpus) if on_gpus else 0.0
        return Share(at_once, config.threads, gpus, self.largest)

    def check(self, bytes: int) -> None:
        """Raises ValueError for a job that is too large."""
        if self.memory is not None and bytes > self.memory:
            raise ValueError(
                f"a federation needs about {bytes / 1e9:.2g} GB of memory and a core, and {self.memory / 1e9:.2g} GB "
                "are free; take a smaller --batch-size, --channels or --matrix, or a larger machine"
            )


PROCESS_BYTES = 500 * 10**6 + KEPT_BYTES
"""A worker with torch, its code and allocator, and the sites it keeps of earlier jobs."""
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
