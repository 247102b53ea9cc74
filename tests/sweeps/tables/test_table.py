"""Which federations a table takes, and that every entry is filled by the right ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from engine.algorithms import FedProx, FlMr
from engine.config import ModelConfig
from engine.placement import Machine, Placement
from sites.config import SiteConfig
from sweeps.scores import ZERO_FILLED, PatientScore
from sweeps.shares import PoolConfig, Room
from sweeps.tables.plan import GROWING, RUN, Federation, Plan, TableConfig, read_scores

SITES = tuple(SiteConfig(name=name, train_patients=n) for name, n in (("a", 2), ("b", 4), ("c", 3)))
ALL = ("a", "b", "c")
OWN_SETTINGS = {item.name for item in fields(TableConfig)} - {"run"}


def plan(**settings: Any) -> Plan:
    """Of settings of the table, and of those that all its federations have."""
    given: dict[str, Any] = {"institutions": SITES, "seeds": 2, "rounds": 3, "out": "/nowhere", **settings}
    own = {name: given.pop(name) for name in OWN_SETTINGS & given.keys()}
    return Plan(TableConfig(**own, run=replace(RUN, **given)))


def federations(**settings: Any) -> dict[str, Federation]:
    return {federation.name: federation for federation in plan(**settings).federations}


def test_how_many_federations_it_takes() -> None:
    """A seed of 3 sites: 3 alone; within 1 fused, 1 FL-MR, 3 FL-MRCM; leave-one-out 3 of each."""
    assert len(federations()) == 2 * (3 + 1 + 1 + 3 + 3 * 3)
    assert len(federations(studies="within", seeds=1)) == 3 + 1 + 1 + 3
    assert len(federations(studies="leave-one-out", seeds=1)) == 3 + 9
    assert len(federations(methods="fed-prox,fl-mmd", seeds=1)) == 17 + (1 + 3) + (3 + 3)
    assert len(federations(targets="b", seeds=1)) == 3 + 1 + 1 + 1 + 3


def test_who_trains_in_which() -> None:
    planned = federations()
    alone, fused, left = (planned[f"seed-1/{name}"].config for name in ("only-b", "fused", "without-b-fl-mrcm"))
    assert (alone.training, alone.target, alone.fused, alone.algorithm) == (("b",), "b", False, FlMr())
    assert (fused.training, fused.fused, fused.seed) == (ALL, True, 1)
    assert (left.training, left.target, left.algorithm_name) == (("a", "c"), "b", "fl-mrcm")
    assert planned["seed-0/fl-mrcm-to-c"].config.target == "c"
    assert planned["seed-0/fl-mrcm-to-c"].config.training == ALL
    assert planned["seed-0/without-a-fused"].config.training == ("b", "c")


@pytest.mark.parametrize("studies", ["both", "within", "leave-one-out"])
@pytest.mark.parametrize("targets", ["", "b", "a,c"])
def test_every_entry_is_filled_once_a_seed_and_patient(studies: Any, targets: str) -> None:
    """But for Cross: by each of the other sites once."""
    planned = plan(studies=studies, targets=targets, methods="fed-prox,adcol")
    scores = [score for federation in planned.federations for score in read_scores(federation, summary())]
    count = Counter((s.study, s.row, s.column, s.seed, s.patient) for s in scores)
    expected = {
        (study, row, site, seed, patient): 2 if row == "Cross" else 1
        for study, layout in planned.layout.items()
        for row in layout.rows
        for site in layout.sites
        for seed in (0, 1)
        for patient in (0, 1)
    }
    assert count == expected
    assert all(s.psnr == (10 if s.row == ZERO_FILLED else 20) + s.patient for s in scores)
    crossed = {(s.trained_at, s.column) for s in scores if s.row == "Cross"}
    assert crossed == {(site, other) for site in ALL for other in planned.targets if site != other}


def summary() -> dict[str, Any]:
    """As a federation of the three sites with two test patients each leaves it."""

    def patient(number: int) -> dict[str, Any]:
        return {
            kind: {"psnr": base + number, "ssim": 0.5, "nmse": 0.1}
            for kind, base in (("test", 20), ("zero_filled", 10))
        }

    return {"sites": [{"name": name, "test_patients": [patient(0), patient(1)]} for name in ALL]}


def test_all_federations_of_a_seed_are_paired() -> None:
    """Patients, masks and initial weights are functions of seed, matrix, institutions and network: equal in all."""
    planned = [federation.config for federation in plan(methods="fed-prox:lr=0.1").federations]
    for seed in (0, 1):
        own = [config for config in planned if config.seed == seed]
        assert len({(c.matrix, c.institutions, c.model, c.rounds, c.scenario) for c in own}) == 1
    assert {c.config.train.lr for c in plan(methods="fed-prox:lr=0.1").federations} == {2e-3, 0.1}


def test_directories_are_distinct_and_the_longest_come_first() -> None:
    planned = plan(methods="fed-prox:mu=0.1,fed-prox:mu=1").federations
    assert len({federation.config.out for federation in planned}) == len(planned)
    assert all(federation.config.out == f"/nowhere/runs/{federation.name}" for federation in planned)
    first = [federation.work for federation in planned if federation.config.seed == 0]
    assert first == sorted(first, reverse=True)
    assert first[0] == 3 * 9 * 8  # rounds x patients x slices
    seeds = [federation.config.seed for federation in planned]
    assert seeds == sorted(seeds)


def test_the_default_directory_is_the_settings() -> None:
    def default(**settings: Any) -> Path:
        return plan(out="", **settings).out

    assert default() == default(seeds=5, methods="fed-prox", targets="a", studies="within", parallel=1)
    others = [default(rounds=4), default(seed=1), default(matrix=32), default(model=ModelConfig(channels=4))]
    assert len({default(), *others}) == 5
    assert {"rounds", "seed", "matrix"}.isdisjoint(GROWING)


def test_every_federation_has_the_shifts_and_settings_of_sites() -> None:
    planned = plan(shift="b:contrast=0.5", site_settings="c.snr=9", seeds=1)
    for federation in planned.federations:
        found = {site.name: site for site in federation.config.institutions}
        assert (found["a"].shift, found["b"].shift, found["c"].snr) == ("", "contrast=0.5", 9)
    assert planned.out == Path("/nowhere")
    assert plan(shift="b:contrast=0.5", out="").out != plan(out="").out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"targets": "d"}, "targets: 'd' is not a site; choose among a, b, c"),
        ({"institutions": SITES[:1]}, "one site compares nothing"),
        ({"seeds": 0}, "seeds is 0; take at least 1"),
        ({"parallel": 0}, "parallel is 0"),
        ({"methods": "fed-bn"}, "norm is 'instance'"),
        ({"rounds": 0}, "rounds is 0; take at least 1"),
        ({"placement": Placement(device="cuda")}, "no GPU"),
        ({"placement": Placement(workers=2)}, "workers is 2, and a table runs each federation in one process"),
        ({"target": "a"}, "target is 'a', and a table takes each of --targets in turn; leave it out"),
        ({"target_trains": False}, "target_trains is False, and a table has a study of each"),
        ({"algorithm": FedProx()}, "a table's methods have their settings with them"),
        ({"shift": "contrast=0.5"}, "a table has many targets; name the site: SITE:contrast=0.5"),
        ({"shift": "d:contrast=0.5"}, "'d' is not a site"),
        ({"site_settings": "sources.snr=9"}, "'sources.snr', and a table has many targets; name the site"),
    ],
)
def test_what_cannot_be_planned_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan(**settings)


def test_shares_of_the_machine() -> None:
    config = PoolConfig()
    assert Room(config, Machine(cpus=2)).share(40) == Room(PoolConfig(parallel=2), Machine(cpus=2)).share(40)
    assert Room(config, Machine(cpus=8)).share(3).at_once == 3
    assert Room(PoolConfig(threads=4), Machine(cpus=8)).share(9) == Room(
        PoolConfig(threads=4, parallel=2), Machine(8)
    ).share(9)
    on_gpus = Room(config, Machine(cpus=16, gpus=2)).share(40)
    assert (on_gpus.at_once, on_gpus.gpus) == (2, 1.0)
    assert Room(PoolConfig(parallel=4), Machine(cpus=16, gpus=2)).share(40).gpus == 0.5
    assert Room(PoolConfig(device="cpu"), Machine(cpus=16, gpus=2)).share(40).gpus == 0
    with pytest.raises(ValueError, match="parallel is 4 and there are cores for 2; take at most 2"):
        Room(PoolConfig(parallel=4), Machine(cpus=2)).share(40)


def test_scores_know_where_their_network_trained() -> None:
    (alone,) = (federation for federation in plan(seeds=1).federations if federation.name == "seed-0/only-a")
    trained: list[PatientScore] = [s for s in read_scores(alone, summary()) if s.row in ("Local", "Cross")]
    assert {s.trained_at for s in trained} == {"a"}
    assert {(s.row, s.column) for s in trained} == {("Local", "a"), ("Cross", "b"), ("Cross", "c")}
