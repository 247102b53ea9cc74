"""Several processes on one study: whose a trial is, and what becomes of it when its process is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.studies.journal import JOURNAL
from sweeps.studies.objectives import objectives
from sweeps.studies.samplers import sampling
from sweeps.studies.turns import TURN, by_turn
from sweeps.studies.workers import WORKERS, Claim, at_work, claim, orphans, others, recover
from tests.sweeps.studies.studies import SPACE, outcome, study_of, work

ROOT = Path(__file__).parents[3]
DRAW = sampling("tpe", SPACE, objectives("target-psnr"), 0)


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


def lost(path: Path, trials: int = 1) -> list[Claim]:
    """Trials of a worker that is gone."""
    study = study_of(path)
    with at_work(path) as worker:
        claims = [claim(study, worker, SPACE, DRAW, 99) for _ in range(trials)]
    return [one for one in claims if one]


def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    straight = tmp_path / "straight"
    study = study_of(straight)
    with at_work(straight) as worker:
        work(study, worker, 20)
    killed = tmp_path / "killed"
    killed.mkdir()
    command = [sys.executable, "-m", "tests.sweeps.studies.studies", str(killed)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL
    again = study_of(killed)
    assert states(again) == [TrialState.COMPLETE] * 6 + [TrialState.RUNNING]
    with at_work(killed) as worker:
        assert recover(again, worker) == [6]
        assert recover(again, worker) == []
        work(again, worker, 20)
    assert states(again) == [TrialState.COMPLETE] * 6 + [TrialState.FAIL] + [TrialState.COMPLETE] * 14
    assert again.trials[7].params == again.trials[6].params
    assert outcome(again) == outcome(study)


def test_a_trial_that_died_while_it_was_drawn_is_drawn_again(tmp_path: Path) -> None:
    """As it would have been: with none of the values that it had, the same sampler draws them all."""
    straight, killed = study_of(tmp_path / "straight"), study_of(tmp_path / "killed")
    with at_work(tmp_path / "straight") as worker:
        work(straight, worker, 9)
    with at_work(tmp_path / "killed") as worker:
        work(killed, worker, 8)
        killed.sampler = DRAW(8)
        half = killed.ask()
        half.set_user_attr(TURN, 8)
        half.suggest_float("lr", 1e-4, 1e-2, log=True)
    with at_work(tmp_path / "killed") as worker:
        assert recover(killed, worker) == [8]
        work(killed, worker, 9)
    assert outcome(killed) == outcome(straight)


def test_the_trials_of_the_living_are_theirs(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    with at_work(tmp_path) as worker:
        mine = claim(study, worker, SPACE, DRAW, 99)
        assert mine
        other = study_of(tmp_path)
        with at_work(tmp_path) as colleague:
            assert recover(other, colleague) == []
            assert recover(study, worker) == []
            theirs = claim(other, colleague, SPACE, DRAW, 99)
            assert theirs
            assert (mine.turn, theirs.turn) == (0, 1)
            assert orphans(study, tmp_path) == frozenset()
        assert orphans(study, tmp_path) == {1}
        assert recover(study, worker) == [1]
        assert orphans(study, tmp_path) == {1}  # it waits
        assert states(study) == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
        repeated = claim(study, worker, SPACE, DRAW, 99)
        assert repeated
        assert (repeated.turn, repeated.values) == (1, theirs.values)
        assert orphans(study, tmp_path) == frozenset()
    assert orphans(study, tmp_path) == {0, 1}


def test_what_is_left_to_repeat_is_repeated_even_beyond_the_last_turn(tmp_path: Path) -> None:
    lost(tmp_path, 3)
    study = study_of(tmp_path)
    with at_work(tmp_path) as worker:
        assert recover(study, worker) == [0, 1, 2]
        work(study, worker, 3)
    assert states(study) == [TrialState.FAIL] * 3 + [TrialState.COMPLETE] * 3


def test_a_trial_that_is_lost_twice_keeps_its_turn(tmp_path: Path) -> None:
    (first,) = lost(tmp_path)
    with at_work(tmp_path) as worker:
        recover(study_of(tmp_path), worker)
    (second,) = lost(tmp_path)
    study = study_of(tmp_path)
    with at_work(tmp_path) as worker:
        assert recover(study, worker) == [0]
        third = claim(study, worker, SPACE, DRAW, 99)
    assert third
    assert (first.values, first.turn) == (second.values, second.turn) == (third.values, third.turn)
    assert by_turn(study)[0].number == 2


def test_those_who_look_after_the_dead_at_once_do_it_once(tmp_path: Path) -> None:
    lost(tmp_path, 4)

    def look(_: int) -> list[int]:
        study = study_of(tmp_path)
        with at_work(tmp_path) as worker:
            return recover(study, worker)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(look, range(4)))
    assert sorted(turn for turns in found for turn in turns) == [0, 1, 2, 3]
    assert states(study_of(tmp_path)) == [TrialState.FAIL] * 4 + [TrialState.WAITING] * 4


def test_who_dies_while_looking_after_the_dead_leaves_no_second_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(tmp_path)
    study = study_of(tmp_path)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, at_work(tmp_path) as worker:
        patch.setattr(study, "tell", die)  # enqueued, and not failed yet
        with pytest.raises(KeyboardInterrupt):
            recover(study, worker)
    with at_work(tmp_path) as worker:
        assert recover(study, worker) == []
    assert states(study) == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_without_a_worker_is_nobody_s(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    study.ask()  # and died before it said who
    with at_work(tmp_path) as worker:
        assert recover(study, worker) == []
        mine = claim(study, worker, SPACE, DRAW, 99)
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING]
    assert mine is not None
    assert mine.turn == 0


def test_a_trial_that_somebody_enqueued_has_a_turn_of_its_own(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    study.enqueue_trial({"lr": 1e-3, "algorithm": "fl-mr"})
    with at_work(tmp_path) as worker:
        mine = claim(study, worker, SPACE, DRAW, 99)
        assert mine
        assert (mine.turn, mine.values["lr"], mine.values["algorithm"]) == (0, 1e-3, "fl-mr")


def _work(path: Path) -> None:
    study = study_of(path)
    with at_work(path) as worker:
        work(study, worker, 24, "random")


def test_two_processes_share_the_turns(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    processes = [get_context("spawn").Process(target=_work, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(study.trials) == 24
    alone = study_of(tmp_path / "alone")
    with at_work(tmp_path / "alone") as worker:
        work(alone, worker, 24, "random")
    assert outcome(study) == outcome(alone)  # at random a trial's values are its turn's alone
    assert not [*(tmp_path / WORKERS).glob("*.lock")]
    assert (tmp_path / JOURNAL).exists()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"nowhere cannot be written \(No such file or directory\)"),
        at_work(tmp_path / "nowhere"),
    ):
        pass


def test_another_storage_of_optuna_s(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = study_of(tmp_path, storage=url)
    with at_work(tmp_path) as worker:
        claim(study, worker, SPACE, DRAW, 3)
    study = study_of(tmp_path, storage=url)
    with at_work(tmp_path) as worker:
        assert recover(study, worker) == [0]
        work(study, worker, 3)
    assert states(study) == [TrialState.FAIL] + [TrialState.COMPLETE] * 3


def test_others_are_those_that_live(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    with at_work(tmp_path) as mine:
        assert not others(mine)
        (tmp_path / "workers" / "gone-1.lock").touch()  # of one that was killed
        assert not others(mine)
        with at_work(tmp_path) as theirs:
            assert others(mine)
            assert others(theirs)
