"""The real command line, from outside: what a user types and what is there afterwards."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest

import run
from tests.bench import tree_pss

ROOT = Path(__file__).parent.parent
TINY = """\
name = "tiny"
summary = "Three small simulated institutions."
"""
SITE = """
[[site]]
name = "{name}"
tr = {tr}
train_patients = 2
val_patients = 1
test_patients = 1
slices = 4
center_fraction = 0.2
"""
THIN = """name = "thin"
summary = "One validation slice."
site = [{name = "anna", val_patients = 1, slices = 1}, {name = "berta"}]
"""
SMALL = ["--channels", "2", "--pool-layers", "2", "--matrix", "16", "--batch-size", "4", "--preset", "demo"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A scenario file of three sites that trains in moments."""
    file = tmp_path / "tiny.toml"
    sites = (SITE.format(name=name, tr=tr) for name, tr in (("anna", 400), ("berta", 700), ("clara", 1500)))
    file.write_text(TINY + "".join(sites))
    return file


def command(*arguments: object) -> list[str]:
    """`python run.py ...` as a user types it."""
    return [sys.executable, str(ROOT / "run.py"), *map(str, arguments)]


def call(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout)


def small(tiny: Path, out: Path, *more: object) -> tuple[object, ...]:
    """Options of a small run."""
    return ("--scenario", tiny, "--out", out, *SMALL, *more)


def summary(out: Path) -> dict[str, Any]:
    """A finished run's summary."""
    read: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return read


def round_lines(out: Path) -> list[Any]:
    """rounds.jsonl without what differs from run to run: what took how long."""
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "speed")} for line in lines]


# ---- a run, from start to end -------------------------------------------------------------------------------


def test_a_run_leaves_what_it_promises_and_every_placement_gives_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    actors, here = tmp_path / "actors", tmp_path / "here"
    done = call(*small(tiny, actors, "--rounds", 2))
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout  # not a terminal: plain lines
    assert "simulat" in done.stdout
    assert run.main([*map(str, small(tiny, here, "--rounds", 2, "--workers", 0))]) == 0
    result, other = summary(actors), summary(here)
    assert result["weights_sha256"] == other["weights_sha256"]
    assert round_lines(actors) == round_lines(here)
    assert set(result) == {
        "algorithm", "scenario", "target", "seed", "rounds", "weights_sha256", "seconds", "sites", "ledger", "warnings",
    }  # fmt: skip
    assert set(result["seconds"]) == {"startup", "first_round", "median_round", "total"}
    assert [site["role"] for site in result["sites"]] == ["source", "source", "both"]
    assert result["sites"][0].keys() == {
        "name", "role", "train_slices", "test", "zero_filled", "zero_filled_validation", "test_patients", "speed",
    }  # fmt: skip
    assert result["ledger"] == other["ledger"]
    assert set(result["ledger"]) == {"weights", "latents", "intensities", "scores", "state", "previews"}
    left = {path.name for path in actors.iterdir()}
    assert left == {
        ".lock", "config.toml", "rounds.jsonl", "summary.json", "checkpoint", "figures",
        "weights.safetensors", "previews.safetensors", "latents.safetensors", "report.html",
    }  # fmt: skip
    assert {"curves.png", "reconstructions.png", "alignment.png"} <= {p.name for p in (actors / "figures").iterdir()}

    shown = call("show", actors)
    assert shown.returncode == 0, shown.stderr
    assert (actors / "report.html").exists()
    assert f"report: {actors / 'report.html'}" in shown.stdout
    assert all(name in shown.stdout for name in ("anna", "berta", "clara", result["weights_sha256"][:12]))

    repeated = tmp_path / "repeated"
    assert run.main(["--config", str(actors / "config.toml"), "--out", str(repeated), "--workers", "0"]) == 0
    assert summary(repeated)["weights_sha256"] == result["weights_sha256"]


def test_a_shifted_run_repeats_from_its_stored_configuration(tiny: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    shift = "contrast=0.5,anna:mask=0.5"
    assert run.main([*map(str, small(tiny, first, "--rounds", 1, "--workers", 0, "--shift", shift))]) == 0
    stored = tomllib.loads((first / "config.toml").read_text())
    assert stored["shift"] == ""
    assert [site["shift"] for site in stored["site"]] == ["mask=0.5", "", "contrast=0.5"]
    assert run.main(["--config", str(first / "config.toml"), "--out", str(again), "--workers", "0"]) == 0
    assert summary(again)["weights_sha256"] == summary(first)["weights_sha256"]


def test_resume_extends_a_run_as_if_it_had_never_stopped(tiny: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run.main([*map(str, small(tiny, whole, "--rounds", 3, "--workers", 0))]) == 0
    assert run.main([*map(str, small(tiny, parts, "--rounds", 1, "--workers", 0))]) == 0
    assert run.main(["resume", str(parts), "--rounds", "3"]) == 0
    assert summary(parts)["weights_sha256"] == summary(whole)["weights_sha256"]
    assert round_lines(parts) == round_lines(whole)


def test_the_same_command_on_a_finished_directory_returns_at_once(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*map(str, small(tiny, tmp_path / "out", "--rounds", 1, "--workers", 0))]
    assert run.main(options) == 0
    written = (tmp_path / "out/summary.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run.main(options) == 0
    assert (tmp_path / "out/summary.json").stat().st_mtime_ns == written
    assert "anna" in capsys.readouterr().out


def test_a_network_is_applied_to_a_patient_and_to_what_was_written(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main([*map(str, small(tiny, out, "--rounds", 1, "--workers", 0))]) == 0
    expected = summary(out)["sites"][1]["test_patients"][0]

    def reconstruct(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        status = run.main(["reconstruct", str(out), *map(str, arguments)])
        printed = capsys.readouterr()
        assert len(printed.err.strip().splitlines()) == (status != 0), printed.err
        assert max(map(len, printed.out.splitlines()), default=0) <= 80
        return status, " ".join((printed.out + printed.err).split())

    psnr = f"PSNR {expected['zero_filled']['psnr']:.2f}→{expected['test']['psnr']:.2f} dB"
    for file, written in (("berta", "a.h5"), ("berta/berta-003", "b.npy"), (tmp_path / "a.h5", "c.png")):
        status, words = reconstruct(file, tmp_path / written)
        assert status == 0
        assert psnr in words
        assert (tmp_path / written).stat().st_size > 1000
    status, words = reconstruct("berta", tmp_path / "a.h5")
    assert (status, "--overwrite" in words) == (2, True)
    assert reconstruct("berta", tmp_path / "a.h5", "--overwrite", "--site", "anna")[0] == 0
    (tmp_path / "junk.h5").write_bytes(b"junk")
    for file in ("nobody", "berta/berta-009", tmp_path / "junk.h5"):
        status, words = reconstruct(file, tmp_path / "d.h5")
        assert status == 2
        assert str(file).rpartition("/")[2] in words
    (out / "weights.safetensors").unlink()
    status, words = reconstruct("berta", tmp_path / "d.h5")
    assert (status, f"run.py resume {out}" in words) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "tiny.toml", "a.h5", "b.npy", "c.png", "junk.h5"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_equals_uninterrupted(tiny: Path, tmp_path: Path, workers: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ("--rounds", 24, "--checkpoint-every", 2)
    assert call(*small(tiny, whole, *options, "--workers", 0)).returncode == 0
    process = subprocess.Popen(command(*small(tiny, killed, *options, "--workers", workers)), stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list((killed / "checkpoint").glob("round-*"))) > 0, process)
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    assert call("resume", killed).returncode == 0
    assert summary(killed)["weights_sha256"] == summary(whole)["weights_sha256"]
    assert round_lines(killed) == round_lines(whole)
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [pid for pid in family if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_ctrl_c_leaves_a_resumable_run_and_no_process(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(*small(tiny, out, "--rounds", 500)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(list((out / "checkpoint").glob("round-*"))) > 0, process)
    family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume" in errors
    assert "Traceback" not in errors
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [pid for pid in family if psutil.pid_exists(pid)]
    done = len((out / "rounds.jsonl").read_text().splitlines())
    assert call("resume", out, "--rounds", done + 2).returncode == 0


def wait_for(condition: Any, process: subprocess.Popen[Any]) -> None:
    """Until it holds; fails if the process ends first."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.02)


# ---- bad input ----------------------------------------------------------------------------------------------

BAD = {
    "unknown scenario": (["--scenario", "cvpr12"], "cvpr21"),
    "missing scenario file": (["--scenario", "nowhere.toml"], "nowhere.toml"),
    "unknown target": (["--target", "nyu"], "fastmri"),
    "negative rounds": (["--rounds", "-3"], "rounds"),
    "no rounds": (["--rounds", "0"], "at least 1"),
    "no sites": (["--sites", "0"], "sites"),
    "sites not a number": (["--sites", "four"], "four"),
    "one site with alignment": (["--sites", "1"], "fl-mr"),
    "negative learning rate": (["--lr", "-1"], "lr"),
    "misspelt option": (["--alignment-wieght", "1"], "--alignment-weight"),
    "another algorithm's option": (["--algorithm", "fl-mr", "--alignment-weight", "1"], "alignment"),
    "unknown algorithm": (["--algorithm", "fedavg"], "fl-mr"),
    "no cluster at the address": (["--ray-address", "127.0.0.1:1"], "127.0.0.1:1"),
    "unwritable directory": (["--out", "/proc/nothing/here"], "/proc/nothing/here"),
    "missing configuration": (["--config", "nowhere.toml"], "nowhere.toml"),
    "matrix too small for the network": (["--matrix", "16"], "matrix"),
    "no GPU": (["--device", "cuda", "--workers", "0"], "cuda"),
    "one slice and a latent shift": (["--scenario", "thin.toml"], "shift"),
    "unknown command": (["train"], "train"),
    "resume of nothing": (["resume", "nowhere"], "nowhere"),
    "show of nothing": (["show", "nowhere"], "nowhere"),
    "reconstruct of nothing": (["reconstruct", "nowhere", "a.h5", "b.png"], "nowhere"),
    "reconstruct into what is not written": (["reconstruct", "nowhere", "a.h5", "b.nii"], ".h5, .npy, .png"),
    "reconstruct without OUT": (["reconstruct", "nowhere", "a.h5"], "OUT"),
    "resume without a directory": (["resume"], "directory"),
    "table of an unknown method": (["table", "--methods", "fedavg"], "fl-mrcm"),
    "table of a method that means nothing": (["table", "--methods", "fed-bn"], "--norm batch"),
    "table of an unknown target": (["table", "--targets", "nyu"], "fastmri"),
    "table of no seeds": (["table", "--seeds", "0"], "seeds"),
    "table with an option of run": (["table", "--algorithm", "fl-mr"], "algorithm"),
    "table of one site": (["table", "--sites", "1"], "sites"),
    "FedBN without weights to keep": (["--algorithm", "fed-bn"], "--norm batch"),
    "SCAFFOLD with Adam": (["--algorithm", "scaffold"], "--optimizer sgd"),
    "unknown training site": (["--train-sites", "nyu"], "fastmri"),
    "alignment of the target alone": (["--train-sites", "brats"], "fl-mr"),
    "no such folder of data": (["--data", "nowhere"], "nowhere"),
    "data and a scenario": (["--data", "nowhere", "--scenario", "cvpr21"], "[[site]]"),
    "a contrast of no files": (["--contrast", "T1"], "contrast"),
    "a table of no data": (["table", "--data", "nowhere"], "nowhere"),
    "no memory": (["--memory-gb", "-1"], "memory_gb"),
    "unrolled without its path": (["--cascades", "2", "--no-residual"], "residual"),
}


@pytest.mark.parametrize(("arguments", "named"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_helpful_line(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "thin.toml" in arguments:
        (tmp_path / "thin.toml").write_text(THIN)
    assert run.main(arguments) == 2
    (tmp_path / "thin.toml").unlink(missing_ok=True)
    printed = capsys.readouterr()
    assert len(printed.err.strip().splitlines()) == 1, printed.err
    assert named.lower() in printed.err.lower()
    assert "Traceback" not in printed.err
    assert not list(tmp_path.iterdir())  # nothing half-written


@pytest.mark.parametrize(
    "text", ["rounds = ", "rounds = [1]", "round = 3", "[[site]]\nname = 3", "\x00", "rounds = 'x'"]
)
def test_a_broken_file_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text(text)
    for option in ("--config", "--scenario"):
        assert run.main([option, "broken.toml"]) == 2
        error = capsys.readouterr().err
        assert "broken.toml" in error
        assert len(error.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.toml"]


def test_a_damaged_or_foreign_checkpoint_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main([*map(str, small(tiny, out, "--rounds", 2, "--workers", 0))]) == 0
    other = tmp_path / "other"
    options = [*map(str, small(tiny, other, "--rounds", 2, "--workers", 0)), "--channels", "3"]
    assert run.main(options) == 0
    newest = sorted((out / "checkpoint").iterdir())[-1]
    good = newest.read_bytes()
    foreign = sorted((other / "checkpoint").iterdir())[-1].read_bytes()
    for content in (good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1]), b"hello", foreign):
        newest.write_bytes(content)
        capsys.readouterr()
        assert run.main(["resume", str(out), "--rounds", "3"]) == 2
        error = capsys.readouterr().err
        assert "checkpoint" in error
        assert len(error.strip().splitlines()) == 1, error
    newest.write_bytes(good)
    assert run.main(["resume", str(out), "--rounds", "3"]) == 0


def test_another_run_in_the_directory_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main([*map(str, small(tiny, out, "--rounds", 1, "--workers", 0))]) == 0
    capsys.readouterr()
    assert run.main([*map(str, small(tiny, out, "--rounds", 1, "--workers", 0, "--lr", 0.5))]) == 2
    assert "lr (stored 0.002, asked 0.5)" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_every_precision_trains(precision: str, tiny: Path, tmp_path: Path) -> None:
    options = small(tiny, tmp_path / "out", "--rounds", 1, "--workers", 0, "--precision", precision)
    assert run.main([*map(str, options)]) == 0


def test_a_run_directory_that_was_meddled_with(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run.main([*map(str, small(tiny, out, "--rounds", 2, "--workers", 0))]) == 0

    def refused(*arguments: object) -> str:
        capsys.readouterr()
        assert run.main([*map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1, error
        return error

    assert "not both" in refused("--config", out / "config.toml", "--scenario", "cvpr21")
    lines = (out / "rounds.jsonl").read_text()
    (out / "rounds.jsonl").write_text(lines.splitlines()[0] + "\n")
    assert "lacks round 2" in refused("resume", out, "--rounds", 3)
    (out / "rounds.jsonl").write_text(lines)
    summary_text = (out / "summary.json").read_text()
    (out / "summary.json").write_text("{")
    assert "summary.json is damaged" in refused("show", out)
    (out / "summary.json").unlink()
    assert run.main(["show", str(out)]) == 0
    assert "unfinished" in capsys.readouterr().out
    (out / "summary.json").write_text(summary_text)
    (out / "previews.safetensors").write_bytes(b"not a safetensors file")
    assert "previews.safetensors is damaged" in refused("show", out)


COMMANDS = ("", "run", "resume", "show", "scenarios", "reconstruct", "table", "sweep", "shift", "shift --sweep", "data")


@pytest.mark.parametrize("command", [*COMMANDS, "data inspect", "data prepare"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    if command == "data":
        assert run.main(["data", "--help"]) == 0
    else:
        with pytest.raises(SystemExit) as end:
            run.main([*command.split(), "--help"])
        assert not end.value.code
    printed = capsys.readouterr().out
    assert "usage" in printed
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    texts = [line.rstrip(" │") if re.match("│ {12,}", line) else "" for line in lines]
    for line, following in itertools.pairwise(texts):  # no line ends before it is full
        assert not line or not following or len(line) + 1 + len(following.split()[1]) > 78, following


def test_scenarios_are_explained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run.main(["scenarios"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("cvpr21", "simulat", "fastmri", "hpks", "ixi", "brats"))
    assert all(word in printed for word in ("bad-site", "shift quality=1", "--shift DIAL=STRENGTH", "contrast-flair"))
    assert max(len(line) for line in printed.splitlines() if "/" not in line) <= 80
    assert run.main(["scenarios", "contrast"]) == 0
    assert "tr 500 → 6000" in capsys.readouterr().out
    assert run.main(["scenarios", "contrats"]) == 2
    assert "did you mean 'contrast'?" in capsys.readouterr().err


# ---- the bars of the main job -------------------------------------------------------------------------------


def watched(arguments: list[str], timeout: float) -> tuple[float, int]:
    """Seconds and peak memory (PSS over all processes) of a command that must succeed."""
    started = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=dict(os.environ))
    peak = 0
    while process.poll() is None:
        assert time.monotonic() - started < timeout
        peak = max(peak, tree_pss(process.pid))
        time.sleep(1)
    assert process.returncode == 0
    return time.monotonic() - started, peak


@pytest.mark.slow
def test_the_main_command_gains_what_it_should(tmp_path: Path) -> None:
    """Every site at least 1.5 dB over zero-filled, 3 dB in the mean, SSIM up; within 2 GB."""
    _, peak = watched(command("--sites", 4, "--out", tmp_path / "out"), 600)
    sites = summary(tmp_path / "out")["sites"]
    gains = [site["test"]["psnr"] - site["zero_filled"]["psnr"] for site in sites]
    assert min(gains) >= 1.5
    assert sum(gains) / len(gains) >= 3
    assert all(site["test"]["ssim"] > site["zero_filled"]["ssim"] for site in sites)
    assert peak <= 2e9


@pytest.mark.slow
def test_sixty_four_sites_on_two_cores(tmp_path: Path) -> None:
    _, peak = watched(command("--sites", 64, "--rounds", 2, "--out", tmp_path / "out"), 600)
    assert len(summary(tmp_path / "out")["sites"]) == 64
    assert peak <= 3e9
