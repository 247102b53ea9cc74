"""Institutions in Ray actors give the same bits as in one process, whoever answers first and whoever dies."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.algorithms import Adcol, Algorithm, FedMri, FedOpt, FlMmd, FlMrcm, Moon
from engine.cluster import cluster
from engine.outcomes import Roles, Snapshot
from engine.placement import Machine, Placement, plan
from engine.remote import RemoteDriver
from engine.types import RoundReport, TrainingStopped
from tests.arrays import ArrayFactory, ArraySite, random_arrays
from tests.engine.federations import NAMES, driver, rounds, setting

TOLD = setting(FlMrcm(alignment_weight=0.1), "dora", optimizer="adam", lr=1e-3)
ARRAYS = random_arrays(NAMES, slices=10, size=16)
ROLES = Roles(everyone=tuple(NAMES), sources=tuple(NAMES), target="dora")


@pytest.fixture(scope="module", autouse=True)
def ray_cluster() -> Iterator[Machine]:
    """A Ray of two CPUs for this module."""
    with cluster() as machine:
        yield machine


@pytest.fixture(scope="module")
def local() -> tuple[list[RoundReport], Snapshot]:
    """Three rounds in this process."""
    federation = driver(TOLD, NAMES, ARRAYS, shift_every=1)
    items = list(federation.run(3))
    assert items[-1][1] is not None
    return [report for report, _ in items], items[-1][1]


@contextlib.contextmanager
def remote(
    told: Any = TOLD, factories: Any = None, snapshot: Snapshot | None = None, **placement: Any
) -> Iterator[RemoteDriver]:
    """A started RemoteDriver of four sites on two CPUs."""
    placed = plan([(name, 10) for name in NAMES], Machine(cpus=2), Placement(device="cpu", **placement))
    factories = factories or {name: ArrayFactory(name, depth=5) for name in NAMES}
    with contextlib.closing(RemoteDriver(told, placed, ROLES, shift_every=1)) as federation:
        federation.start(factories, ARRAYS, snapshot)
        yield federation


@pytest.mark.parametrize(
    "placement",
    [
        {},
        {"workers": 1},
        pytest.param({"sites_per_worker": 1}, marks=pytest.mark.slow),
        pytest.param({"sites_per_worker": 3}, marks=pytest.mark.slow),
    ],
)
def test_actors_equal_one_process(local: tuple[list[RoundReport], Snapshot], placement: dict[str, Any]) -> None:
    with remote(**placement) as federation:
        items = list(federation.run(3))
    reports, snapshot = local
    assert items[-1][1] is not None
    assert np.array_equal(items[-1][1].server.weights, snapshot.server.weights)
    assert all(np.array_equal(items[-1][1].sites[name], snapshot.sites[name]) for name in snapshot.sites)
    assert [r.sites for r, _ in items] == [r.sites for r in reports]
    assert [r.ledger for r, _ in items] == [r.ledger for r in reports]


@pytest.mark.parametrize(
    "algorithm",
    [Adcol(), *(pytest.param(kind, marks=pytest.mark.slow) for kind in (FedMri(), Moon(), FlMmd(), FedOpt()))],
)
def test_actors_equal_one_process_whatever_the_method(algorithm: Algorithm) -> None:
    """Also where the server learns by itself, and where weights and memories stay at the sites."""
    told = setting(algorithm, "dora", optimizer="adam", lr=1e-3)
    here = list(driver(told, NAMES, ARRAYS, shift_every=1).run(2))
    with remote(told) as federation:
        there = list(federation.run(2))
    assert here[-1][1] is not None
    assert there[-1][1] is not None
    assert np.array_equal(there[-1][1].server.weights, here[-1][1].server.weights)
    assert [r.sites for r, _ in there] == [r.sites for r, _ in here]
    assert [r.ledger for r, _ in there] == [r.ledger for r, _ in here]


@pytest.mark.slow
@pytest.mark.parametrize("snapshot_every", [1, 3])
def test_a_killed_worker_changes_nothing(local: tuple[list[RoundReport], Snapshot], snapshot_every: int) -> None:
    """A worker shoots itself in round 2; the run goes back to its snapshot and reports every round once."""
    flag = f"/tmp/fedmr-test-{os.getpid()}-{time.monotonic_ns()}"
    factories: dict[str, Any] = {name: ArrayFactory(name, depth=5) for name in NAMES}
    factories["berta"] = Suicidal(flag)
    with remote(factories=factories) as federation:
        items = list(federation.run(3, snapshot_every))
    assert items[-1][1] is not None
    assert os.path.exists(flag)
    os.unlink(flag)
    assert [r.round for r, _ in items] == [1, 2, 3]
    assert np.array_equal(items[-1][1].server.weights, local[1].server.weights)
    assert [r.sites for r, _ in items] == [r.sites for r in local[0]]
    without_state = [{kind: b for kind, b in r.ledger.items() if kind != "state"} for r in (*local[0],)]
    assert [{kind: b for kind, b in r.ledger.items() if kind != "state"} for r, _ in items] == without_state


class Suicidal:
    """Builds a site whose process is killed at the start of round 2, once."""

    def __init__(self, flag: str) -> None:
        self.flag = flag

    def __call__(self, arrays: Any, device: str) -> ArraySite:
        site = ArrayFactory("berta", depth=5)(arrays, device)
        train_batches = site.train_batches

        def deadly(round: int, epoch: int, batch_size: int) -> Any:
            if round == 1 and not os.path.exists(self.flag):
                open(self.flag, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return train_batches(round, epoch, batch_size)

        site.train_batches = deadly  # type: ignore[method-assign]
        return site


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted(local: tuple[list[RoundReport], Snapshot]) -> None:
    first = driver(TOLD, NAMES, ARRAYS, shift_every=1)
    snapshot = list(first.run(1))[-1][1]
    with remote(snapshot=snapshot) as federation:
        stream = federation.run(3)
        assert next(stream)[0].round == 2  # streamed as it ends
        items = list(stream)
    assert items[-1][1] is not None
    assert np.array_equal(items[-1][1].server.weights, local[1].server.weights)


def test_what_stops_training_comes_out_as_raised() -> None:
    told = setting(FlMrcm(), "dora", lr=1e30)
    with remote(told) as federation, pytest.raises(TrainingStopped, match=r"site \w+, round 1"):
        list(federation.run(1))


def test_data_a_site_cannot_be_built_from_comes_out_as_raised() -> None:
    factories: dict[str, Any] = {name: ArrayFactory(name) for name in NAMES}
    factories["anna"] = Unbuildable()
    with pytest.raises(ValueError, match="anna has no patients"), remote(factories=factories):
        pass


class Unbuildable:
    """A factory without data."""

    def __call__(self, _arrays: Any, _device: str) -> ArraySite:
        raise ValueError("anna has no patients")


def test_local_reports_do_not_depend_on_what_ran_before(local: tuple[list[RoundReport], Snapshot]) -> None:
    again = driver(TOLD, NAMES[::-1], ARRAYS, shift_every=1)
    assert [r.sites for r in rounds(again, 3)] == [r.sites for r in local[0]]
