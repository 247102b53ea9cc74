"""What a machine has room for, and what a job takes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.config import ModelConfig, TrainConfig
from engine.placement import Machine, Placement
from engine.types import MemoryExhausted, RoundReport
from sites.anatomy import Maps
from sites.config import RunConfig, SiteConfig
from sites.federation import resolve
from sweeps.jobs import FederationWorker, Job, Round
from sweeps.pool import Pool
from sweeps.shares import PoolConfig, Room, demand

MACHINE = Machine(cpus=4)
GB = 10**9


def job(**settings: object) -> Job:
    config = resolve(replace(RunConfig(out="planned", placement=Placement(workers=0)), **settings))  # type: ignore[arg-type]
    return Job(name="a", config=config)


def test_memory_limits_how_many() -> None:
    assert Room(PoolConfig(), MACHINE).share(9).at_once == 4
    assert Room(PoolConfig(), MACHINE, 5 * GB, 2 * GB).share(9).at_once == 2
    assert Room(PoolConfig(parallel=2), MACHINE, 5 * GB, 2 * GB).share(9).memory == 2 * GB
    assert Room(PoolConfig(), MACHINE, None, 2 * GB).share(9).at_once == 4


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
        Room(PoolConfig(parallel=parallel), MACHINE, int(memory * GB), 2 * GB).share(9)
    assert all(word in str(error.value) for word in words)


def test_demand_grows_with_all_that_takes_memory() -> None:
    own = demand(job())
    assert 0.5 * GB < own < 1.2 * GB
    assert demand(job(model=ModelConfig(channels=32))) > own
    assert demand(job(matrix=256)) > own + 8 * 256 * 256 * 8 * 56
    assert demand(replace(job(), beside=(job().config,))) > own


class Actor:
    """A Ray actor of a fake: it says what it is told to say."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def remote(*_: object) -> object:
            self.calls.append(name)
            return self, len(self.calls)

        return SimpleNamespace(remote=remote)


class FakeRay:
    """As much of Ray as a pool calls. says: what each `advance` comes to, in order."""

    class exceptions:
        RayTaskError = type("RayTaskError", (Exception,), {"cause": None})
        RayActorError = type("RayActorError", (Exception,), {})
        OutOfMemoryError = type("OutOfMemoryError", (Exception,), {})

    def __init__(self, says: list[Any]) -> None:
        self.says = says
        self.killed: list[Actor] = []
        self.made: list[Actor] = []

    def put(self, value: object) -> object:
        return value

    def remote(self, _kind: object) -> Any:
        def options(num_gpus: float = 0, **_: object) -> Any:
            return SimpleNamespace(remote=lambda *_: self._actor(num_gpus))

        return SimpleNamespace(options=options)

    def _actor(self, share: float) -> Actor:
        self.made.append(Actor(share))
        return self.made[-1]

    def wait(self, references: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, _reference: object) -> Any:
        answer = self.says.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


def pool_of(fake: FakeRay, monkeypatch: pytest.MonkeyPatch, machine: Machine = MACHINE) -> Pool[Job]:
    monkeypatch.setitem(sys.modules, "ray", fake)
    return Pool(Room(PoolConfig(parallel=2), machine), 9, None, None)


def round_of(number: int) -> Round:
    return Round((RoundReport(round=number, sites={}, ledger={}, seconds={}),), ({},))


def memory_exhausted() -> Exception:
    error: Exception = FakeRay.exceptions.RayTaskError()
    error.cause = MemoryExhausted("a: the share of the GPU's memory is used up")  # type: ignore[attr-defined]
    return error


def test_a_job_that_dies_is_tried_once_more_with_fewer_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    died = FakeRay.exceptions.RayActorError()
    fake = FakeRay([died, round_of(1), None, died, died])
    pool = pool_of(fake, monkeypatch)
    first, second = (replace(job(), name=name) for name in ("a", "b"))
    pool.start(first)
    at_once = [pool.idle]
    progress = pool.wait()
    assert (progress.federation, progress.kind, progress.round) == (first, "round", 1)
    assert [*at_once, pool.idle] == [True, False]  # one at a time from here on
    assert pool.wait().kind == "done"
    pool.start(second)
    progress = pool.wait()
    assert (progress.federation, progress.kind) == (second, "failed")
    assert "died twice" in progress.reason
    assert not pool.running


def test_a_gpu_that_is_full_is_shared_by_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay([memory_exhausted(), None])
    pool = pool_of(fake, monkeypatch, Machine(cpus=4, gpus=1))
    assert [actor.share for actor in fake.made] == [0.5, 0.5]
    pool.start(job())
    assert pool.wait().kind == "done"
    assert len(fake.killed) == 2  # both of half a GPU
    assert fake.made[-1].share == 1


def test_a_job_that_is_stopped_frees_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay([round_of(1), None])
    pool = pool_of(fake, monkeypatch)
    first, second = (replace(job(), name=name) for name in ("a", "b"))
    pool.start(first)
    pool.stop(pool.wait().federation)
    assert pool.running == 0
    pool.start(second)
    assert pool.wait().federation is second
    (worker,) = [actor for actor in fake.made if actor.calls]
    assert worker.calls == ["begin", "advance", "leave", "begin", "advance"]


@pytest.mark.parametrize("beside", [0, 1])
def test_a_trial_begins_anew_whatever_an_earlier_try_left(maps: Maps, tmp_path: Path, beside: int) -> None:
    """Also where it was killed after its last checkpoint, of one of several federations."""
    small = {"train_patients": 1, "val_patients": 1, "test_patients": 1, "slices": 2}
    sites = tuple(SiteConfig(name=name, center_fraction=0.2, **small) for name in ("anna", "berta"))  # type: ignore[arg-type]
    settings = {
        "institutions": sites, "matrix": 16, "rounds": 2, "checkpoint_every": 2, "keep_checkpoints": 1,
        "shift_every": 0, "model": ModelConfig(channels=2, pool_layers=2), "train": TrainConfig(batch_size=2),
    }  # fmt: skip
    configs = [job(**settings, seed=seed, out=str(tmp_path / f"{seed}")).config for seed in range(1 + beside)]
    trial = Job(name="t", config=configs[0], beside=tuple(configs[1:]), tested=False)
    worker = FederationWorker(0, None)

    def trained() -> list[int]:
        worker.begin(trial, maps)
        rounds = []
        while (done := worker.advance()) is not None:
            assert len(done.reports) == len(configs)
            rounds.append(done.reports[0].round)
        return rounds

    assert trained() == [1, 2]
    assert not list(tmp_path.glob("*/summary.json"))
    worker.begin(trial, maps)
    worker.advance()
    worker.advance()  # its last checkpoint is there, and its process is killed
    assert trained() == [1, 2]
    assert not list(tmp_path.glob("*/summary.json"))  # nobody looked at the test patients
    worker.begin(replace(trial, tested=True), maps)
    assert worker.advance() is None
    assert len(list(tmp_path.glob("*/summary.json"))) == 1 + beside
