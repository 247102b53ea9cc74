"""`run.py sweep` from outside: it searches, prunes, goes on, confirms, and says what is wrong."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

import run
from sweeps.studies.journal import stored_study
from sweeps.studies.turns import TURN, by_turn
from tests.sweeps.tables.test_table_command import SCENARIO, SITE
from tests.test_command_line import SMALL, command, wait_for

SEARCH = ("--search", "lr=log:1e-3:1e-2", "alignment_weight=log:1e-3:1e-1")


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A study of two sites that trains in moments."""
    file = tmp_path / "pair.toml"
    file.write_text(SCENARIO + "".join(SITE.format(name=name, tr=tr) for name, tr in (("anna", 400), ("berta", 900))))
    rest = ["--out", str(tmp_path / "study"), "--rounds", "3", "--trials", "4", "--no-live", *SMALL]
    return ["sweep", "--scenario", str(file), *rest]


def summary(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "summary.json").read_text())
    return found


def study_of(path: Path) -> optuna.Study:
    return stored_study(path)


def told(path: Path) -> dict[int, tuple[dict[str, Any], float | None]]:
    """Each turn's parameters and value."""
    return {turn: (trial.params, trial.value) for turn, trial in by_turn(study_of(path)).items()}


def test_a_study_searches_and_tests_its_winner_alone(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    assert run.main([*options, *SEARCH]) == 0
    capsys.readouterr()
    found = summary(study)
    assert found["trials"] == {"complete": 4, "pruned": 0, "fail": 0, "running": 0, "interrupted": 0}
    assert found["rounds"] == 4 * 3
    (winner,) = found["winners"]
    values = told(study)
    assert winner["turn"] == max(values, key=lambda turn: values[turn][1] or 0)
    rounds = [
        json.loads(line) for line in (study / "trials" / str(winner["turn"]) / "rounds.jsonl").read_text().splitlines()
    ]
    assert winner["values"] == [rounds[-1]["sites"]["berta"]["psnr"]]  # of validation patients
    tested = [path.parent.name for path in (study / "trials").glob("*/summary.json")]
    assert tested == [str(winner["turn"])]  # nobody else's test patients were looked at
    assert winner["searched"]["psnr"]["count"] == 2
    assert not (study / "shelf").exists()
    drawn = [path.parent.name for path in (study / "trials").glob("*/report.html")]
    assert drawn == [str(winner["turn"])]  # a run as any, with pictures
    assert f'href="trials/{winner["turn"]}/report.html"' in (study / "report.html").read_text()

    again = shlex.split(winner["command"])
    assert again[:2] == ["python", "run.py"]
    assert run.main([*again[2:], "--out", str(tmp_path / "again"), "--workers", "0", "--no-live"]) == 0
    assert summary(tmp_path / "again")["weights_sha256"] == winner["sha"]

    before = (study / "study.journal").read_bytes()
    assert run.main([*options, *SEARCH]) == 0  # at once, from what is stored
    assert (study / "study.journal").read_bytes() == before
    assert run.main(["resume", str(study)]) == 0
    assert run.main(["show", str(study)]) == 0
    assert winner["command"].split(" ")[-1] in capsys.readouterr().out
    assert run.main([*options, *SEARCH, "--lr", "0.5"]) == 2
    assert "lr (stored 0.002, asked 0.5)" in capsys.readouterr().err
    assert run.main(["resume", str(study), "--rounds", "9"]) == 2


@pytest.mark.slow
def test_alone_it_repeats_itself_and_grows_alike(options: list[str], tmp_path: Path) -> None:
    """With `--parallel 1`: whether in one go or interrupted after some trials."""
    one, other = tmp_path / "one", tmp_path / "other"
    assert run.main([*options, *SEARCH, "--parallel", "1", "--out", str(one)]) == 0
    for trials in ("2", "4"):
        assert run.main([*options, *SEARCH, "--parallel", "1", "--out", str(other), "--trials", trials]) == 0
    assert told(one) == told(other)


@pytest.mark.slow
def test_killed_and_called_again_every_trial_is_there_once(options: list[str], tmp_path: Path) -> None:
    study = tmp_path / "study"
    longer = [*options, *SEARCH, "--rounds", "12", "--trials", "6", "--parallel", "2"]
    process = subprocess.Popen(command(*longer), stdout=subprocess.DEVNULL, start_new_session=True)

    def done() -> dict[int, float]:
        if not (study / "study.journal").exists():
            return {}
        return {turn: value for turn, (_, value) in told(study).items() if value is not None}

    wait_for(lambda: len(done()) > 1, process)
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = done()
    assert 2 <= len(before) < 6
    assert run.main(longer) == 0
    assert {turn: done()[turn] for turn in before} == before
    complete = study_of(study).get_trials(states=(TrialState.COMPLETE,))
    assert sorted(trial.user_attrs[TURN] for trial in complete) == list(range(6))
    assert summary(study)["trials"]["complete"] == 6
    deadline = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [pid for pid in family if psutil.pid_exists(pid)]
    assert not list(Path("/tmp").glob(f"fedmr-{process.pid}-*"))


@pytest.mark.slow
def test_two_processes_share_a_study(options: list[str], tmp_path: Path) -> None:
    both = [*options, *SEARCH, "--trials", "6", "--parallel", "1"]
    processes = [subprocess.Popen(command(*both), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=180) for process in processes] == [0, 0]
    complete = study_of(tmp_path / "study").get_trials(states=(TrialState.COMPLETE,))
    assert sorted(trial.user_attrs[TURN] for trial in complete) == list(range(6))
    assert len({trial.user_attrs["worker"] for trial in complete}) == 2
    (winner,) = summary(tmp_path / "study")["winners"]
    assert winner["searched"] is not None
    tested = [path.parent.name for path in (tmp_path / "study/trials").glob("*/summary.json")]
    assert tested == [str(winner["turn"])]  # who was done first waited for the other


@pytest.mark.slow
def test_a_trial_whose_process_is_killed_is_tried_again(options: list[str], tmp_path: Path) -> None:
    """As the system kills for memory: with fewer beside it, from its beginning, to the same value."""
    longer = [*options, *SEARCH, "--rounds", "20", "--trials", "2", "--parallel", "2"]
    process = subprocess.Popen(command(*longer), stdout=subprocess.DEVNULL)
    trials = tmp_path / "study/trials"
    wait_for(lambda: len(list(trials.glob("*/rounds.jsonl"))) == 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if "FederationWorker" in " ".join(child.cmdline())).kill()
    assert process.wait(timeout=180) == 0
    killed = told(tmp_path / "study")
    assert run.main([*longer, "--out", str(tmp_path / "again")]) == 0
    assert killed == told(tmp_path / "again")
    assert summary(tmp_path / "study")["trials"]["complete"] == 2


@pytest.mark.slow
def test_pruned_trials_stop_early(options: list[str], tmp_path: Path) -> None:
    wide = ["--search", "lr=1e-6,3e-3", "--sampler", "grid", "--pruner", "median", "--parallel", "1"]
    assert run.main([*options, *wide, "--rounds", "6", "--trials", "2"]) == 0  # the grid ends
    assert summary(tmp_path / "study")["trials"]["complete"] == 2
    many = ["--search", "lr=log:1e-7:1e-2", "--pruner", "median", "--parallel", "1", "--out", str(tmp_path / "pruned")]
    assert run.main([*options, *many, "--rounds", "6", "--trials", "10"]) == 0
    found = summary(tmp_path / "pruned")
    assert found["trials"]["pruned"] > 0
    assert found["trials"]["complete"] + found["trials"]["pruned"] == 10
    assert found["rounds"] < 10 * 6
    for trial in study_of(tmp_path / "pruned").get_trials(states=(TrialState.PRUNED,)):
        lines = (tmp_path / "pruned/trials" / str(trial.user_attrs[TURN]) / "rounds.jsonl").read_text().splitlines()
        assert len(lines) == trial.user_attrs["rounds"] < 6


@pytest.mark.slow
def test_a_failed_trial_does_not_end_the_study(options: list[str], tmp_path: Path) -> None:
    assert run.main([*options, "--search", "lr=1e-3,1e30", "--sampler", "grid"]) == 0
    found = summary(tmp_path / "study")
    assert (found["trials"]["complete"], found["trials"]["fail"]) == (1, 1)
    assert "not finite" in found["failed"][0]["reason"]


@pytest.mark.slow
def test_a_method_is_measured_against_another_and_confirmed(options: list[str], tmp_path: Path) -> None:
    more = ["--search", "alignment_weight=0,0.1", "--sampler", "grid", "--against", "fl-mr"]
    assert run.main([*options, *more, "--seeds", "2", "--confirm", "2"]) == 0
    values = told(tmp_path / "study")
    by_weight = {params["alignment_weight"]: value for params, value in values.values()}
    assert by_weight[0] == 0  # FL-MRCM without alignment is FL-MR, bit for bit
    assert by_weight[0.1] != 0
    (winner,) = summary(tmp_path / "study")["winners"]
    assert winner["searched"]["seeds"] == [0, 1]
    assert winner["confirmed"]["seeds"] == [2, 3]
    assert winner["confirmed"]["against"]["count"] == 2 * 2


@pytest.mark.slow
def test_several_objectives_leave_a_front(options: list[str], tmp_path: Path) -> None:
    more = ["--search", "channels=2,3", "lr=log:1e-3:1e-2", "--objective", "target-psnr,bytes"]
    assert run.main([*options, *more]) == 0
    found = summary(tmp_path / "study")
    assert [each["name"] for each in found["objectives"]] == ["target-psnr", "bytes"]
    assert found["winners"]
    assert all(len(winner["values"]) == 2 and winner["searched"] for winner in found["winners"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--search", "learning=1:2"], "learning"),
        (["--search", "lr=3:1"], "lr"),
        (["--objective", "psnr"], "objective 'psnr' is unknown"),
        (["--objective", "gain,bytes", "--pruner", "median"], "pruner"),
        (["--trials", "0"], "trials is 0"),
        (["--against", "fl-what"], "fl-what"),
        (["--against", "fl-mr,moon"], "name one method"),
        (["--parallel", "99"], "parallel is 99"),
        (["--sampler", "grid"], "grid"),
        (["--storage", "nosql://x"], "storage"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([*options, *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert not list((tmp_path / "study").glob("trials/*"))
