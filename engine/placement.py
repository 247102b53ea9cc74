"""Where institutions compute: which actor, which processor, which GPU. Pure arithmetic, no Ray, no torch.

An institution is its own state and random streams; placement changes how fast a federation runs, never its numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.validation import require

Auto = Literal["auto"]
GRAIN = 10_000  # Ray counts resources in steps of 1e-4
SEARCH = 10_000  # steps, well under a second


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a federation uses the machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; auto: on the GPUs if there are any."""
    workers: int | Auto = "auto"
    """Institutions that compute at once; auto: what the GPUs hold, or one a core; 0: all in this process."""
    sites_per_worker: int | Auto = "auto"
    """Institutions that share a worker process; auto: one while there are slots, several beyond. Same bits."""
    gpus_per_site: float | Auto = "auto"
    """Share of a GPU an institution gets, also its memory cap; auto: 1 / ceil(sites / GPUs)."""
    threads: int = 1
    """CPU threads an institution computes with; part of what makes a run repeatable."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that no machine can meet."""
        share, workers, together = self.gpus_per_site, self.workers, self.sites_per_worker
        rules = (
            ("workers", workers == "auto" or workers >= 0, "at least 0, or auto"),
            ("sites_per_worker", together == "auto" or together >= 1, "at least 1, or auto"),
            ("gpus_per_site", share == "auto" or 0 < share <= 1, "above 0 and at most 1, or auto"),
            ("threads", self.threads >= 1, "at least 1"),
        )
        require(self, rules)


@dataclass(frozen=True)
class Machine:
    """What there is to place on."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class WorkerPlan:
    """One worker process. bundle: index into the plan's bundles; gpu: its share of that bundle's GPU."""

    sites: tuple[str, ...]
    bundle: int
    cpu: float
    gpu: float


@dataclass(frozen=True)
class Plan:
    """Worker processes and the resource bundles (of one placement group) they live in. at_once: how many compute."""

    workers: tuple[WorkerPlan, ...]
    bundles: tuple[Mapping[str, float], ...]
    at_once: int

    def share(self, site: str) -> str:
        """A site's share in words."""
        worker = next(w for w in self.workers if site in w.sites)
        amount, kind = (worker.gpu, "GPU") if worker.gpu else (worker.cpu, "CPU")
        return f"{amount / len(worker.sites):.4g} {kind}"


def plan(
    sites: Sequence[tuple[str, int]],
    machine: Machine,
    placement: Placement,
    shares: Mapping[str, float] | None = None,
) -> Plan:
    """Place sites, given as (name, training slices), on a machine.

    shares: shares of a GPU that single sites ask for. Raises ValueError if the whole cannot be placed.
    """
    use_gpus = placement.device == "cuda" or (placement.device == "auto" and machine.gpus > 0)
    if use_gpus and not machine.gpus:
        raise ValueError("device = cuda: this machine shows no GPU; use --device cpu")
    if use_gpus:
        return _on_gpus(sites, machine, placement, shares or {})
    return _on_cpus(sites, machine, placement)


def _on_cpus(sites: Sequence[tuple[str, int]], machine: Machine, placement: Placement) -> Plan:
    slots = max(1, machine.cpus // placement.threads)
    at_once = min(slots if placement.workers == "auto" else max(1, placement.workers), slots, len(sites))
    groups = _groups(sites, placement, at_once)
    cpu = floor_share(min(placement.threads, machine.cpus / len(groups)))
    workers = tuple(WorkerPlan(group, index, cpu, 0.0) for index, group in enumerate(groups))
    return Plan(workers, tuple({"CPU": cpu} for _ in groups), min(at_once, len(groups)))


def _on_gpus(
    sites: Sequence[tuple[str, int]], machine: Machine, placement: Placement, shares: Mapping[str, float]
) -> Plan:
    """One actor an institution, several where a worker is to hold several."""
    automatic = placement.gpus_per_site == "auto"
    groups = _groups(sites, placement, len(sites))
    demand = _gpu_demand(groups, len(sites), machine.gpus, placement, shares)
    largest_first = sorted(groups, key=lambda g: (-demand[g], g))
    packed = _pack([round(demand[group] * GRAIN) for group in largest_first], machine.gpus)
    if packed is None:
        mend = "lower gpus in the scenario" if automatic else "use --gpus-per-site auto"
        raise ValueError(
            f"the sites' shares ({sum(demand.values()):.4g} GPUs in pieces of up to {max(demand.values()):.4g}) do "
            f"not fit on {machine.gpus} GPU(s); {mend}"
        )
    where = dict(zip(largest_first, packed, strict=True))
    used = sorted(set(where.values()))
    cpu = floor_share(min(1.0, machine.cpus / len(groups)))
    workers = tuple(WorkerPlan(group, used.index(where[group]), cpu, demand[group]) for group in groups)
    bundles = tuple(_bundle([w for w in workers if w.bundle == index]) for index in range(len(used)))
    slots = len(workers) if placement.workers == "auto" else max(1, placement.workers)
    return Plan(workers, bundles, min(slots, len(workers)))


def _gpu_demand(
    groups: Sequence[tuple[str, ...]], sites: int, gpus: int, placement: Placement, shares: Mapping[str, float]
) -> dict[tuple[str, ...], float]:
    """What each worker process takes of a GPU: its sites' shares together; auto: an equal part."""
    default = auto_share(sites, gpus) if placement.gpus_per_site == "auto" else placement.gpus_per_site
    equal = auto_share(len(groups), gpus)
    return {
        group: equal
        if placement.gpus_per_site == "auto" and not any(site in shares for site in group)
        else floor_share(sum(shares.get(site, default) for site in group))
        for group in groups
    }


def _pack(needs: Sequence[int], gpus: int) -> list[int] | None:
    """The GPU of each need, given largest first in grains; None if they do not fit.

    First fit, then other ways, up to SEARCH steps: first fit alone refuses .5 .4 .3 .3 .3 .2 on two GPUs.
    """
    free, where = [GRAIN] * gpus, list[int]()
    steps = itertools.count()

    def place() -> bool:
        if len(where) == len(needs):
            return True
        need, tried = needs[len(where)], set[int]()
        for gpu, left in enumerate(free):
            if left < need or left in tried or next(steps) >= SEARCH:
                continue
            tried.add(left)
            free[gpu] -= need
            where.append(gpu)
            if place():
                return True
            where.pop()
            free[gpu] += need
        return False

    return where if sum(needs) <= GRAIN * gpus and place() else None


def _groups(sites: Sequence[tuple[str, int]], placement: Placement, slots: int) -> list[tuple[str, ...]]:
    """The institutions of each worker process."""
    if placement.sites_per_worker == "auto":
        return balance(sites, slots)
    together = placement.sites_per_worker
    return balance(sites, math.ceil(len(sites) / together), together)


def _bundle(workers: Sequence[WorkerPlan]) -> dict[str, float]:
    """What the workers on one GPU hold together, added in whole grains."""
    return {
        "GPU": sum(round(w.gpu * GRAIN) for w in workers) / GRAIN,
        "CPU": sum(round(w.cpu * GRAIN) for w in workers) / GRAIN,
    }


def auto_share(sites: int, gpus: int) -> float:
    """1 / ceil(sites / GPUs), rounded down to 1e-4: 4 sites on 2 GPUs take half each."""
    return floor_share(1 / math.ceil(sites / gpus))


def floor_share(share: float) -> float:
    """Rounded down to Ray's grain of 1e-4."""
    return math.floor(share * GRAIN + 1e-6) / GRAIN


def balance(sites: Sequence[tuple[str, int]], count: int, most: int | None = None) -> list[tuple[str, ...]]:
    """Sites in `count` groups of about the same number of training slices, at most `most` sites a group.

    Largest first into the lightest group; the result does not depend on the order given.
    """
    groups: list[list[str]] = [[] for _ in range(count)]
    load = [0] * count
    for name, slices in sorted(sites, key=lambda s: (-s[1], s[0])):
        open_groups = [g for g in range(count) if most is None or len(groups[g]) < most]
        lightest = min(open_groups, key=lambda g: (load[g], len(groups[g]), g))
        groups[lightest].append(name)
        load[lightest] += slices
    return [tuple(sorted(group)) for group in groups if group]
