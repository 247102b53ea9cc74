"""`run.py table` from outside: it fills, goes on, grows, and says what is wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

import run
from sites.run_directory import stored_config
from sweeps.pool import Progress, train_federations
from sweeps.tables.directory import finished
from sweeps.tables.files import read_patients
from sweeps.tables.parsing import PARSER
from sweeps.tables.plan import Federation, Plan, TableConfig
from tests.test_command_line import SMALL, command, wait_for

SCENARIO = """\
name = "pair"
summary = "Two small simulated institutions."
"""
SITE = """
[[site]]
name = "{name}"
tr = {tr}
train_patients = 2
val_patients = 1
test_patients = 2
slices = 4
center_fraction = 0.2
"""


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A table of two sites that trains in moments."""
    file = tmp_path / "pair.toml"
    file.write_text(SCENARIO + "".join(SITE.format(name=name, tr=tr) for name, tr in (("anna", 400), ("berta", 900))))
    rest = ["--out", str(tmp_path / "table"), "--rounds", "2", "--seeds", "2", "--no-live", *SMALL]
    return ["table", "--scenario", str(file), *rest]


def times(table: Path) -> dict[str, int]:
    """When each federation's summary was written."""
    return {str(path.parent): path.stat().st_mtime_ns for path in (table / "runs").rglob("summary.json")}


@pytest.mark.slow
def test_a_table_fills_is_kept_and_grows(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table"
    assert run.main(options) == 0
    printed = capsys.readouterr().out
    first = times(table)
    assert len(first) == 2 * (2 + 1 + 1 + 2 + 2 * 3)
    for words in ("within", "leave one out", "Zero-filled", "Local", "Cross", "Fused", "FL-MR", "FL-MRCM", "anna"):
        assert words in printed
    assert "…" not in printed  # every federation is there
    for name in ("table.csv", "table.md", "table.tex", "patients.csv", "table.toml", "figures/train_test.png"):
        assert (table / name).stat().st_size > 100
    assert not list(table.rglob("checkpoint"))
    zero_filled: dict[int, set[str]] = {}  # the same patients under the same masks in every federation of a seed
    for path in (table / "runs").rglob("summary.json"):
        summary = json.loads(path.read_text())
        scores = json.dumps([[p["zero_filled"] for p in site["test_patients"]] for site in summary["sites"]])
        zero_filled.setdefault(summary["seed"], set()).add(scores)
    assert [len(zero_filled[seed]) for seed in (0, 1)] == [1, 1]
    assert zero_filled[0] != zero_filled[1]
    patients = read_patients(table / "patients.csv")

    assert run.main(options) == 0  # at once, from what is stored
    assert capsys.readouterr().out.splitlines()[-1].startswith("table: ")
    assert times(table) == first
    assert read_patients(table / "patients.csv") == patients

    assert run.main([*options, "--methods", "fed-prox:mu=0.1", "--studies", "within"]) == 0
    grown = times(table)
    assert {name: grown[name] for name in first} == first
    assert sorted(Path(name).name for name in grown.keys() - first.keys()) == ["fed-prox+mu=0.1"] * 2
    capsys.readouterr()
    assert run.main(["show", str(table)]) == 0
    assert "fed-prox:mu=0.1" in capsys.readouterr().out
    assert run.main([*options, "--lr", "0.5"]) == 2
    assert "lr (stored 0.002, asked 0.5)" in capsys.readouterr().err
    assert run.main(["resume", str(table), "--rounds", "9"]) == 2
    assert "rounds are settled" in capsys.readouterr().err
    assert run.main(["resume", str(table)]) == 0


@pytest.mark.slow
def test_one_federation_of_the_table_is_the_run_of_its_configuration(options: list[str], tmp_path: Path) -> None:
    """In whatever process, after whatever other federation: the bits of `run.py --config`."""
    assert run.main([*options, "--seeds", "1", "--studies", "leave-one-out", "--targets", "anna"]) == 0
    for name in ("without-anna-fl-mrcm", "without-anna-fused", "only-berta"):
        there, again = tmp_path / "table/runs/seed-0" / name, tmp_path / name
        assert run.main(["--config", str(there / "config.toml"), "--out", str(again), "--no-live"]) == 0
        shas = [json.loads((path / "summary.json").read_text())["weights_sha256"] for path in (there, again)]
        assert shas[0] == shas[1]


@pytest.mark.slow
def test_killed_and_called_again_trains_no_finished_federation_twice(options: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table"
    process = subprocess.Popen(command(*options, "--rounds", "8"), stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: len(times(table)) > 1, process)
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = times(table)
    assert len(before) < 24
    assert run.main([*options, "--rounds", "8"]) == 0
    after = times(table)
    assert len(after) == 24
    assert {name: after[name] for name in before} == before
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [pid for pid in family if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(options: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(*options, "--rounds", "200"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(list((tmp_path / "table").rglob("rounds.jsonl"))) > 0, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == f"run.py: interrupted; run.py resume {tmp_path / 'table'} goes on"


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_federation_trained_again(options: list[str]) -> None:
    plan = Plan(PARSER.parse([*options[1:], "--seeds", "1", "--rounds", "30"]).table)
    killed, ended = False, list[Progress[Federation]]()
    for progress in train_federations(plan.federations, plan.config.pool):
        ended += [progress] if progress.kind != "round" else []
        if progress.kind == "round" and not killed:
            workers = [
                p for p in psutil.Process().children(recursive=True) if "FederationWorker" in " ".join(p.cmdline())
            ]
            workers[0].kill()
            killed = True
    assert sorted(p.federation.name for p in ended) == sorted(federation.name for federation in plan.federations)
    assert {p.kind for p in ended} == {"done"}
    assert all(finished(federation) for federation in plan.federations)


@pytest.mark.slow
def test_a_federation_that_stops_is_told_and_the_others_go_on(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--seeds", "1", "--studies", "within", "--targets", "anna", "--methods", "fed-prox:lr=1e30"]
    assert run.main([*options, *few]) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.strip().splitlines()
    assert "1 of 6 federations stopped: seed-0/fed-prox+lr=1e30 (site" in line
    assert "not finite" in line
    assert re.search(r"FL-MRCM +\d", printed.out)
    assert "1 of 6 federations are missing" in printed.out
    assert len(times(tmp_path / "table")) == 5


def test_help_counts_the_federations(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main([*options, "--help"])
    assert "With the options given: 24 federations of 2 rounds" in " ".join(capsys.readouterr().out.split())


def test_help_is_there_for_what_cannot_be_too(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main([*options, "--methods", "fedavg", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "'fedavg' is unknown" in printed
    assert "--methods" in printed


def test_a_stored_table_and_a_scenario_are_not_both_asked_for(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "stored.toml"
    stored.write_text(SITE.format(name="anna", tr=400))
    assert run.main([*options, "--config", str(stored)]) == 2
    assert "not both" in capsys.readouterr().err


def test_settings_are_stored_and_read_back(options: list[str], tmp_path: Path) -> None:
    given = [*options[1:], "--methods", "fed-prox,fl-mmd", "--targets", "anna", "--no-residual"]
    plan = Plan(PARSER.parse(given).table)
    from sweeps.tables.directory import open_table

    with open_table(plan):
        pass
    stored = PARSER.read(tmp_path / "table/table.toml").table
    assert TableConfig.__dataclass_fields__.keys() >= {"methods", "targets"}
    assert (stored.methods, stored.targets, stored.run.model) == ("fed-prox,fl-mmd", "anna", plan.config.run.model)
    assert stored.run.institutions == plan.config.run.institutions
    assert not stored.run.model.residual


def test_a_directory_of_something_else_is_left_alone(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table/thesis.txt").write_text("mine")
    assert run.main(options) == 2
    assert "holds something else (thesis.txt)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "table").iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_the_cells_directories_are_runs(options: list[str], tmp_path: Path) -> None:
    """`show` and `reconstruct` work on each."""
    assert run.main([*options, "--seeds", "1", "--studies", "within", "--targets", "berta"]) == 0
    federation = tmp_path / "table/runs/seed-0/only-anna"
    assert stored_config(federation).train_sites == "anna"
    assert run.main(["show", str(federation)]) == 0
    assert run.main(["reconstruct", str(federation), "berta", str(tmp_path / "b.npy")]) == 0
