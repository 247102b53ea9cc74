"""The run directory: one writer, one run, and after an interruption exactly what its checkpoint covers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine import checkpoint
from engine.algorithms import FlMr
from engine.config import ModelConfig, TrainConfig
from engine.outcomes import Facts, Outcome, Snapshot
from engine.placement import Placement
from engine.types import Preview, RoundReport, Scores, ServerState, SiteRound
from engine.weights import Layout
from sites import run_directory
from sites.config import RunConfig, SiteConfig, difference
from sites.run_directory import new_directory, open_run, read_rounds, stored_config

FACTS = Facts(
    train_slices={},
    zero_filled={},
    layout=Layout.of({"a": (2,), "b": (1, 2)}),
    private_layout=Layout.of({"c": (2,)}),
)
PICTURES = {name: np.zeros((2, 2), np.float32) for name in run_directory.PICTURES}
OUTCOME = Outcome(test={}, zero_filled={}, private={}, previews=[Preview(site="a", **PICTURES)], ledger={})


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A resolved run of three rounds."""
    sites = (SiteConfig(name="a"), SiteConfig(name="b", snr=20.0))
    return RunConfig(rounds=3, target="b", sites=2, institutions=sites, out=str(tmp_path / "run"))


def report(round: int) -> RoundReport:
    scores = Scores(psnr=20.0 + round, ssim=0.5, nmse=0.1)
    sites = {"a": SiteRound(metrics={"loss": 1 / round}, scores=scores)}
    return RoundReport(round=round, sites=sites, ledger={"weights": 8 * round}, seconds={"train": 1.0})


def snapshot(round: int) -> Snapshot:
    return Snapshot(server=ServerState(round=round, weights=np.full(4, round, np.float32)))


def train(config: RunConfig, last: int, finish: bool = False) -> None:
    """Rounds up to number `last`, from wherever the directory is, a checkpoint as often as it says."""
    with open_run(config) as run:
        run.begin("cpu", {})
        for round in range(len(run.reports) + 1, last + 1):
            due = round % config.checkpoint_every == 0 or round == config.rounds
            run.append(report(round), snapshot(round) if due else None)
        if finish:
            run.finish({"rounds": last, "ledger": {"scores": 1}}, FACTS, OUTCOME)


def refusal(config: RunConfig) -> str:
    with pytest.raises(ValueError, match=re.escape(config.out)) as caught, open_run(config):
        raise AssertionError("it was opened")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- a run ----------------------------------------------------------------------------------------------


def test_a_whole_run(config: RunConfig) -> None:
    train(config, 3, finish=True)
    path = Path(config.out)
    assert {p.name for p in path.iterdir()} == {
        ".lock", "config.toml", "rounds.jsonl", "summary.json", "checkpoint", "weights.safetensors",
        "previews.safetensors",
    }  # fmt: skip
    assert [json.loads(line)["round"] for line in (path / "rounds.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert [p.stem for p in checkpoint.saved(path / "checkpoint")] == ["round-00002", "round-00003"]
    summary = json.loads((path / "summary.json").read_text())
    assert summary == {"rounds": 3, "ledger": {"scores": 1, "weights": 8 + 16 + 24}}
    weights = load_file(path / "weights.safetensors")
    assert {name: array.shape for name, array in weights.items()} == {"a": (2,), "b": (1, 2)}
    assert set(load_file(path / "previews.safetensors")) == {"a/zero_filled", "a/reconstruction", "a/truth"}
    with open_run(config) as run:
        assert run.complete
        assert run.reports == [report(round) for round in (1, 2, 3)]


def test_the_stored_configuration(config: RunConfig) -> None:
    train(config, 1)
    file = Path(config.out) / "config.toml"
    stored = tomllib.loads(file.read_text())
    assert stored["environment"]["device"] == "cpu"
    assert {"torch", "ray", "numpy", "commit"} <= set(stored["environment"])
    assert stored_config(Path(config.out)) == replace(config, out="")
    assert "out" not in stored  # a copied directory is the same run


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("done", [1, 4, 5])
def test_resume_cuts_the_rounds_back_to_the_checkpoint(config: RunConfig, done: int, every: int) -> None:
    config = replace(config, rounds=7, checkpoint_every=every)
    train(config, done)
    covered = done // every * every
    with open_run(config) as run:
        assert not run.complete
        assert run.reports == [report(round) for round in range(1, covered + 1)]
        if covered:
            assert run.snapshot is not None
            assert run.snapshot.server.round == covered
            assert run.snapshot.server.weights.tolist() == [covered] * 4
        else:
            assert run.snapshot is None
        assert len(read_rounds(run.path)) == done  # nothing is cut before the run really goes on
        run.begin("cpu", {})
        assert read_rounds(run.path) == run.reports
    train(config, 7, finish=True)
    assert read_rounds(Path(config.out)) == [report(round) for round in range(1, 8)]


@pytest.mark.parametrize("half", ['{"round": 3, "si', "{", "\x00\x00\x00", '{"round": 3}\n'])
def test_half_a_line_at_the_end(config: RunConfig, half: str) -> None:
    """After a power cut, or a kill between a round's line and its checkpoint."""
    train(config, 2)
    with (Path(config.out) / "rounds.jsonl").open("a") as file:
        file.write(half)
    assert read_rounds(Path(config.out)) == [report(1), report(2)]
    train(config, 3, finish=True)
    lines = (Path(config.out) / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2, 3]


def test_a_longer_run_goes_on_only_if_asked(config: RunConfig) -> None:
    train(config, 3, finish=True)
    longer = replace(config, rounds=5)
    message = refusal(longer)
    assert "rounds (stored 3, asked 5)" in message
    assert f"run.py resume {config.out} --rounds 5" in message


def test_a_damaged_checkpoint_is_refused(config: RunConfig) -> None:
    train(config, 2)
    newest = checkpoint.saved(Path(config.out) / "checkpoint")[-1]
    newest.write_bytes(newest.read_bytes()[:-3])
    assert "delete it to go on from the one before" in refusal(config)
    newest.unlink()
    with open_run(config) as run:
        assert run.reports == [report(1)]


# ---- which run it is ------------------------------------------------------------------------------------

OTHERS: dict[str, Any] = {
    "rounds": {"rounds": 4},
    "seed": {"seed": 1},
    "matrix": {"matrix": 128},
    "target": {"target": "a"},
    "target_trains": {"target_trains": False},
    "lr": {"train": TrainConfig(lr=0.5)},
    "precision": {"train": TrainConfig(precision="bf16")},
    "channels": {"model": ModelConfig(channels=16)},
    "algorithm": {"algorithm": FlMr()},
    "device": {"placement": Placement(device="cpu")},
    "threads": {"placement": Placement(threads=2)},
    "the institutions": {"institutions": (SiteConfig(name="a"), SiteConfig(name="b"))},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_configuration_is_refused_by_name(config: RunConfig, name: str) -> None:
    train(config, 1)
    other = replace(config, **OTHERS[name])
    assert f"holds another run: {name}" in refusal(other)
    assert difference(other, config)
    with open_run(config) as run:
        assert run.reports == [report(1)]


def test_settings_that_do_not_matter(config: RunConfig) -> None:
    train(config, 1)
    elsewhere = replace(
        config,
        ray_address="10.0.0.1:6379",
        keep_checkpoints="all",
        checkpoint_every=2,
        placement=Placement(workers=1, sites_per_worker=2, gpus_per_site=0.5),
    )
    assert difference(config, elsewhere) == ""
    with open_run(elsewhere) as run:
        assert run.reports == [report(1)]


# ---- who may write --------------------------------------------------------------------------------------


def test_a_second_writer_is_refused(config: RunConfig) -> None:
    with open_run(config):
        assert "is being written by another process" in refusal(config)
        assert (Path(config.out) / ".lock").exists()
    with open_run(config):
        pass


def test_another_processs_lock_counts_until_it_dies(config: RunConfig) -> None:
    Path(config.out).mkdir()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); "
    with subprocess.Popen(
        [sys.executable, "-c", hold + "sys.stdin.read()", f"{config.out}/.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert "is being written by another process" in refusal(config)
        other.kill()
    with open_run(config) as run:
        assert run.reports == []


def test_a_directory_of_something_else_is_refused_and_left_alone(config: RunConfig) -> None:
    path = Path(config.out)
    path.mkdir()
    (path / "thesis.txt").write_text("chapter 1")
    assert "holds no run" in refusal(config)
    assert [p.name for p in path.iterdir()] == ["thesis.txt"]


def test_a_broken_configuration_is_refused(config: RunConfig) -> None:
    train(config, 1)
    (Path(config.out) / "config.toml").write_text("rounds = ")
    assert "broken TOML" in refusal(config)
    assert read_rounds(Path(config.out)) == [report(1)]


@pytest.mark.parametrize("out", ["file", "file/below", "a" * 300])
def test_a_place_that_cannot_be_written(tmp_path: Path, config: RunConfig, out: str) -> None:
    (tmp_path / "file").write_text("here already")
    with (
        pytest.raises(ValueError, match="choose another directory"),
        open_run(replace(config, out=f"{tmp_path}/{out}")),
    ):
        raise AssertionError("it was opened")


def test_a_start_that_fails_leaves_nothing(config: RunConfig) -> None:
    with pytest.raises(RuntimeError, match="no room"), open_run(config):
        raise RuntimeError("no room")
    assert not Path(config.out).exists()
    Path(config.out).mkdir()  # the user's own, empty
    with pytest.raises(RuntimeError, match="no room"), open_run(config):
        raise RuntimeError("no room")
    assert list(Path(config.out).iterdir()) == []


def test_a_kill_while_beginning_is_no_obstacle(config: RunConfig) -> None:
    Path(config.out).mkdir()
    (Path(config.out) / ".lock").touch()
    (Path(config.out) / ".config.toml.tmp").write_text("rou")
    with open_run(config) as run:
        assert run.reports == []
        run.begin("cpu", {})
    assert stored_config(Path(config.out)) == replace(config, out="")


def test_a_failure_later_keeps_the_run(config: RunConfig) -> None:
    def interrupted() -> Iterator[None]:
        with open_run(config) as run:
            run.begin("cpu", {})
            run.append(report(1), snapshot(1))
            yield

    interrupted().__next__()  # the generator is dropped
    with open_run(config) as run:
        assert run.reports == [report(1)]


# ---- names ----------------------------------------------------------------------------------------------


class Noon(datetime):
    """Always the same second."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        assert tz is UTC
        return datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)


def test_new_directories_have_names_of_their_own(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_directory, "datetime", Noon)
    name = "20260102T120005Z-fl-mrcm-cvpr21"
    for expected in (name, f"{name}-2", f"{name}-3"):
        path = new_directory(config)
        assert path == Path("runs") / expected
        path.mkdir(parents=True)
    other = replace(config, scenario="somewhere/my hospitals.toml", algorithm=FlMr())
    assert new_directory(other) == Path("runs/20260102T120005Z-fl-mr-my hospitals")
