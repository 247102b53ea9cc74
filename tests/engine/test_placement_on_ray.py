"""Placement as Ray carries it out, on logical GPUs: packing, and one federation waiting for another."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import ray
from ray.util import placement_group_table

import engine.cohort
from engine.cluster import cluster
from engine.cohort import RayCohort
from engine.placement import Machine, Placement, Plan, plan
from engine.remote import _refuse_impossible

MACHINE = Machine(cpus=8, gpus=4)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Ray with logical resources, whatever this machine has."""
    with cluster(machine=MACHINE) as found:
        assert found == MACHINE
        yield found


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """RayCohort's own groups and actors, but the actors only say where they are."""

    class Probe:
        def __init__(self, _setting: Any, gpu: float) -> None:
            self.gpu = gpu

        def call(self, _method: str, names: Sequence[str]) -> list[tuple[int, float, tuple[str, ...]]]:
            return [(os.getpid(), self.gpu, tuple(map(str, ray.get_gpu_ids())))] * len(names)

    monkeypatch.setattr(engine.cohort, "Worker", Probe)


def planned(sites: int, gpus: int) -> Plan:
    return plan([(f"site-{i}", 64) for i in range(sites)], Machine(cpus=MACHINE.cpus, gpus=gpus), Placement())


def start(placed: Plan) -> RayCohort:
    setting: Any = None
    return RayCohort(setting, placed)


def check_packing(placed: Plan) -> None:
    """Every worker a process of its own on one GPU, workers of a bundle on the same, no GPU over 1."""
    cohort = start(placed)
    try:
        names = [name for worker in placed.workers for name in worker.sites]
        answers = dict(zip(names, cohort.call("where", names), strict=True))
    finally:
        cohort.close()
    load: dict[str, float] = defaultdict(float)
    of_bundle: dict[int, set[str]] = defaultdict(set)
    for worker in placed.workers:
        assert len({answers[name] for name in worker.sites}) == 1
        _, share, gpus = answers[worker.sites[0]]
        assert share == worker.gpu
        assert len(gpus) == (1 if worker.gpu else 0)
        for gpu in gpus:
            load[gpu] += share
            of_bundle[worker.bundle].add(gpu)
    assert len({pid for pid, _, _ in answers.values()}) == len(placed.workers)
    assert all(total <= 1 + 1e-9 for total in load.values())
    assert all(len(gpus) == 1 for gpus in of_bundle.values())
    assert len(load) == len([bundle for bundle in placed.bundles if bundle.get("GPU")])


@pytest.mark.usefixtures("machine", "light")
@pytest.mark.parametrize(("sites", "gpus"), [(4, 2), (3, 1)])
def test_packing(sites: int, gpus: int) -> None:
    check_packing(planned(sites, gpus))


@pytest.mark.slow
@pytest.mark.usefixtures("machine", "light")
@pytest.mark.parametrize("gpus", range(5))
@pytest.mark.parametrize("sites", range(1, 10))
def test_packing_of_every_small_federation(sites: int, gpus: int) -> None:
    check_packing(planned(sites, gpus))


@pytest.mark.slow
@pytest.mark.usefixtures("machine", "light")
def test_packing_of_mixed_shares() -> None:
    shares = {f"site-{i}": share for i, share in enumerate([0.2, 0.5, 0.3, 0.4, 0.3, 0.3])}
    sites = [(name, 64) for name in shares]
    check_packing(plan(sites, Machine(cpus=MACHINE.cpus, gpus=2), Placement(), shares))


@pytest.mark.slow
@pytest.mark.usefixtures("machine", "light")
def test_a_federation_waits_for_room_and_starts_whole() -> None:
    """The first leaves 1.5 of 4 GPUs: not enough for the second, which must not take even one of them."""
    first, second = start(planned(5, 4)), None
    try:
        first.call("where", [f"site-{i}" for i in range(5)])
        second = start(planned(4, 4))
        calls = [worker.call.remote("where", ["?"]) for worker in second._workers]
        started, _ = ray.wait(calls, num_returns=1, timeout=1.5)
        assert started == []
        assert placement_group_table(second._group)["state"] == "PENDING"
        assert ray.available_resources()["GPU"] == pytest.approx(1.5)
        first.close()
        answers = ray.get(calls, timeout=60)
        assert sorted(gpus for ((_, _, gpus),) in answers) == [("0",), ("1",), ("2",), ("3",)]
    finally:
        for cohort in (first, second):
            if cohort is not None:
                cohort.close()


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("available", "message"),
    [
        (Machine(cpus=8, gpus=5), r"asks for 5 GPUs, the cluster has 4"),
        (Machine(cpus=20), r"asks for 12 CPUs, the cluster has 9"),  # one of them is the driver's
    ],
)
def test_more_than_the_cluster_has_is_refused_at_once(available: Machine, message: str) -> None:
    sites = [(f"site-{i}", 64) for i in range(5 if available.gpus else 12)]
    with pytest.raises(ValueError, match=message):
        _refuse_impossible(plan(sites, available, Placement()))
    _refuse_impossible(planned(9, 4))
