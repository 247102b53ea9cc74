"""What a machine has room for, and what a job takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.config import ModelConfig
from engine.placement import Machine, Placement
from sites.config import RunConfig
from sites.federation import resolve
from sweeps.pool import Job, PoolConfig, demand, share

MACHINE = Machine(cpus=4)
GB = 10**9


def job(**settings: object) -> Job:
    config = resolve(replace(RunConfig(out="planned", placement=Placement(workers=0)), **settings))  # type: ignore[arg-type]
    return Job(name="a", config=config)


def test_memory_limits_how_many() -> None:
    assert share(PoolConfig(), MACHINE, 9).at_once == 4
    assert share(PoolConfig(), MACHINE, 9, demand=2 * GB, memory=5 * GB).at_once == 2
    assert share(PoolConfig(parallel=2), MACHINE, 9, demand=2 * GB, memory=5 * GB).memory == 2 * GB
    assert share(PoolConfig(), MACHINE, 9, demand=2 * GB, memory=None).at_once == 4


@pytest.mark.parametrize(
    ("parallel", "memory", "words"),
    [
        ("auto", 1.5, ["needs about 2 GB", "1.5 GB are free", "smaller --batch-size"]),
        (3, 5, ["parallel is 3", "each needs about 2 GB", "take at most 2"]),
        (9, 50, ["parallel is 9", "cores for 4"]),
    ],
)
def test_too_much_is_refused_in_one_line(parallel: int, memory: float, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        share(PoolConfig(parallel=parallel), MACHINE, 9, demand=2 * GB, memory=int(memory * GB))
    assert all(word in str(error.value) for word in words)


def test_demand_grows_with_all_that_takes_memory() -> None:
    own = demand(job())
    assert 0.4 * GB < own < 1 * GB
    assert demand(job(model=ModelConfig(channels=32))) > own
    assert demand(job(matrix=256)) > own + 8 * 256 * 256 * 8 * 56
    assert demand(replace(job(), beside=(job().config,))) > own
