"""Placement as arithmetic: all sites once, no GPU over 1, and refusal of what cannot fit, before Ray is asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from engine.placement import GRAIN, Machine, Placement, Plan, auto_share, balance, floor_share, plan


def named(count: int, slices: Sequence[int] = (64,)) -> list[tuple[str, int]]:
    return [(f"site-{i:02d}", slices[i % len(slices)]) for i in range(count)]


def check(placed: Plan, sites: Sequence[tuple[str, int]], machine: Machine) -> None:
    """What holds for every plan. Resources are compared in Ray's grains."""
    assert sorted(name for worker in placed.workers for name in worker.sites) == sorted(name for name, _ in sites)
    assert all(worker.sites and worker.cpu > 0 for worker in placed.workers)
    assert 1 <= placed.at_once <= len(placed.workers)
    for index, bundle in enumerate(placed.bundles):
        inside = [w for w in placed.workers if w.bundle == index]
        assert inside
        for kind, worker_share in (("GPU", "gpu"), ("CPU", "cpu")):
            held = sum(round(getattr(w, worker_share) * GRAIN) for w in inside)
            assert held == round(bundle.get(kind, 0) * GRAIN)
        assert bundle.get("GPU", 0) <= 1
    assert sum(round(b["CPU"] * GRAIN) for b in placed.bundles) <= machine.cpus * GRAIN
    assert len([b for b in placed.bundles if b.get("GPU")]) <= machine.gpus
    for name, _ in sites:
        assert placed.share(name)


# ---- GPUs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gpus", range(5))
@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("cpus", [1, 2, 8])
def test_every_small_federation(count: int, gpus: int, cpus: int) -> None:
    machine = Machine(cpus=cpus, gpus=gpus)
    placed = plan(named(count), machine, Placement())
    check(placed, named(count), machine)
    if gpus:
        share = math.floor(GRAIN / math.ceil(count / gpus)) / GRAIN
        assert auto_share(count, gpus) == share
        assert {w.gpu for w in placed.workers} == {share}
        assert len(placed.workers) == placed.at_once == count
        assert placed.share("site-00") == f"{share:.4g} GPU"
        assert len(placed.bundles) == math.ceil(count / math.floor(1 / share))
    else:
        assert {w.gpu for w in placed.workers} == {0.0}
        assert len(placed.workers) == placed.at_once == min(count, cpus)


def test_shares_of_the_issue() -> None:
    """4 sites on 2 GPUs take half each; thirds are rounded down."""
    assert [auto_share(*n) for n in ((4, 2), (3, 1), (1, 4), (7, 2), (64, 3))] == [0.5, 0.3333, 1.0, 0.25, 0.0454]
    assert floor_share(0.1 + 0.2) == 0.3
    assert floor_share(0.99999) == 0.9999


@pytest.mark.parametrize("together", [1, 2, 3, "auto"])
@pytest.mark.parametrize("gpus", range(1, 5))
@pytest.mark.parametrize("count", range(1, 10))
def test_an_automatic_share_always_fits(count: int, gpus: int, together: Any) -> None:
    machine = Machine(cpus=4, gpus=gpus)
    placed = plan(named(count), machine, Placement(sites_per_worker=together))
    check(placed, named(count), machine)
    if together != "auto":
        assert len(placed.workers) == math.ceil(count / together)
        assert max(len(w.sites) for w in placed.workers) <= together
        assert {w.gpu for w in placed.workers} == {auto_share(len(placed.workers), gpus)}


tenths = st.lists(st.integers(1, 11).map(lambda n: n / 10), min_size=1, max_size=6)


def fits(pieces: Sequence[float], gpus: int) -> bool:
    """By trying every assignment."""
    grains = [round(piece * GRAIN) for piece in pieces]
    for where in itertools.product(range(gpus), repeat=len(grains)):
        load = [0] * gpus
        for piece, gpu in zip(grains, where, strict=True):
            load[gpu] += piece
        if max(load) <= GRAIN:
            return True
    return False


@given(tenths, st.integers(1, 3))
@example([0.5, 0.4, 0.3, 0.3, 0.3, 0.2], 2)  # first fit, largest first, does not find it
@example([0.6, 0.6, 0.6], 2)  # 1.8 of 2 GPUs, and yet it cannot be
def test_mixed_shares_are_placed_or_refused_exactly(shares: list[float], gpus: int) -> None:
    sites, machine = named(len(shares)), Machine(cpus=4, gpus=gpus)
    asked = {name: share for (name, _), share in zip(sites, shares, strict=True)}
    if not fits(shares, gpus):
        with pytest.raises(ValueError, match=r"do not fit on \d GPU\(s\); lower gpus in the scenario"):
            plan(sites, machine, Placement(), asked)
        return
    placed = plan(sites, machine, Placement(), asked)
    check(placed, sites, machine)
    assert {w.sites[0]: w.gpu for w in placed.workers} == asked


@given(st.integers(1, 9), st.integers(1, 4), st.floats(0.01, 1))
def test_one_share_for_all_is_placed_or_refused_exactly(count: int, gpus: int, share: float) -> None:
    machine, placement = Machine(cpus=4, gpus=gpus), Placement(gpus_per_site=share)
    if count > gpus * (GRAIN // round(floor_share(share) * GRAIN)):
        with pytest.raises(ValueError, match="use --gpus-per-site auto"):
            plan(named(count), machine, placement)
        return
    placed = plan(named(count), machine, placement)
    check(placed, named(count), machine)
    assert {w.gpu for w in placed.workers} == {floor_share(share)}


def test_one_sites_share_and_the_others_automatic() -> None:
    placed = plan(named(3), Machine(cpus=4, gpus=2), Placement(), {"site-01": 1.0})
    assert {w.sites[0]: w.gpu for w in placed.workers} == {"site-00": 0.5, "site-01": 1.0, "site-02": 0.5}
    assert [b["GPU"] for b in placed.bundles] == [1.0, 1.0]


def test_many_pieces_that_do_not_fit_are_refused_at_once() -> None:
    shares = {f"site-{i:02d}": 0.34 for i in range(64)}  # two a GPU: 32 GPUs' worth, in sum only 21.8
    with pytest.raises(ValueError, match="do not fit on 31 GPU"):
        plan(named(64), Machine(cpus=8, gpus=31), Placement(), shares)


def test_gpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="this machine shows no GPU; use --device cpu"):
        plan(named(2), Machine(cpus=4), Placement(device="cuda"))


def test_a_cpu_run_leaves_the_gpus_alone() -> None:
    placed = plan(named(4), Machine(cpus=4, gpus=2), Placement(device="cpu"), {"site-00": 0.5})
    assert {w.gpu for w in placed.workers} == {0.0}
    assert all("GPU" not in bundle for bundle in placed.bundles)


# ---- CPUs and workers -----------------------------------------------------------------------------------


@given(
    st.integers(1, 70),
    st.integers(1, 16),
    st.just("auto") | st.integers(1, 12),
    st.just("auto") | st.integers(1, 9),
    st.integers(1, 4),
)
def test_cpu_plans(count: int, cpus: int, workers: Any, together: Any, threads: int) -> None:
    machine = Machine(cpus=cpus)
    placement = Placement(workers=workers, sites_per_worker=together, threads=threads)
    placed = plan(named(count, (64, 8, 32)), machine, placement)
    check(placed, named(count), machine)
    assert {w.gpu for w in placed.workers} == {0.0}
    if workers != "auto":
        assert placed.at_once <= workers
    if threads <= cpus:
        assert placed.at_once * threads <= cpus
    if together != "auto":
        assert len(placed.workers) == math.ceil(count / together)
        assert max(len(w.sites) for w in placed.workers) <= together
    elif workers == "auto":
        assert len(placed.workers) == min(count, max(1, cpus // threads))


@pytest.mark.parametrize("gpus", [0, 2])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_bound_how_many_compute(workers: int, gpus: int) -> None:
    placed = plan(named(4), Machine(cpus=4, gpus=gpus), Placement(workers=workers))
    assert placed.at_once == workers


def test_shares_in_words() -> None:
    assert plan(named(2), Machine(cpus=2), Placement()).share("site-01") == "1 CPU"
    assert plan(named(8), Machine(cpus=2), Placement()).share("site-01") == "0.25 CPU"
    assert plan(named(4), Machine(cpus=2, gpus=1), Placement(sites_per_worker=2)).share("site-01") == "0.25 GPU"


# ---- balance --------------------------------------------------------------------------------------------

site_lists = st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(0, 200), min_size=1, max_size=12)


@given(site_lists, st.integers(1, 6), st.randoms())
def test_balance_is_fair_and_blind_to_the_order(slices: Mapping[str, int], count: int, random: Any) -> None:
    sites = list(slices.items())
    groups = balance(sites, count)
    random.shuffle(sites)
    assert balance(sites, count) == groups
    assert sorted(itertools.chain(*groups)) == sorted(slices)
    assert len(groups) == min(count, len(sites))
    loads = [sum(slices[name] for name in group) for group in groups]
    assert max(loads) - min(loads) <= max(slices.values())  # a greedy assignment is at most one site apart
    assert all(list(group) == sorted(group) for group in groups)


@given(site_lists, st.integers(1, 5))
def test_balance_keeps_groups_small_if_told(slices: Mapping[str, int], most: int) -> None:
    groups = balance(list(slices.items()), math.ceil(len(slices) / most), most)
    assert max(map(len, groups)) <= most
    assert sorted(itertools.chain(*groups)) == sorted(slices)


def test_balance_by_hand() -> None:
    assert balance([("a", 5), ("b", 4), ("c", 3), ("d", 3), ("e", 1)], 2) == [("a", "d"), ("b", "c", "e")]


# ---- settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": -1}, "workers is -1; take at least 0, or auto"),
        ({"sites_per_worker": 0}, "sites_per_worker is 0; take at least 1, or auto"),
        ({"gpus_per_site": 0.0}, "gpus_per_site is 0.0; take above 0 and at most 1, or auto"),
        ({"gpus_per_site": 1.5}, "gpus_per_site is 1.5; take above 0 and at most 1, or auto"),
        ({"threads": 0}, "threads is 0; take at least 1"),
    ],
)
def test_settings_that_no_machine_can_meet(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Placement(**settings)


@given(st.floats(0, 1))
def test_shares_are_rounded_down_to_rays_grain(share: float) -> None:
    assume(share >= 1 / GRAIN)
    rounded = floor_share(share)
    assert share - 1 / GRAIN < rounded <= share + 1e-9
    assert round(rounded * GRAIN) == pytest.approx(rounded * GRAIN, abs=1e-9)
