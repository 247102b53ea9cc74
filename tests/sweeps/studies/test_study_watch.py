"""The live board fits its terminal at every moment of a study and says what is true; plain lines are short."""

from __future__ import annotations

import io
import itertools
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.cells import cell_len
from rich.console import Console

from sweeps.pool import Progress
from sweeps.studies.plan import StudyPlan, Trial
from sweeps.studies.turns import TURN
from sweeps.studies.watch import LiveStudy, Pace, PlainStudy
from tests.sweeps.studies.synthetic_studies import REASONS, planned, scored, studied

SIZES = [(80, 24), (160, 50), (50, 12)]
MANY = (
    "algorithm=fl-mr,fl-mrcm,fl-mmd", "lr=log:0.0005:0.005", "alignment_weight=log:0.001:1", "optimizer=adam,sgd",
    "sources.acceleration=4,8", "target.snr=10:40", "local_epochs=1:4", "channels=4,8,16", "shift.contrast=0:1",
)  # fmt: skip
LONG = ("lr=log:0.0005:0.005", "alignment_weight=log:0.001:1", "alignment_schedule=linear,ganin", "local_epochs=1:4")


class Watched:
    """A live study, its terminal and a clock that the test moves."""

    def __init__(self, plan: StudyPlan, study: optuna.Study, width: int, height: int) -> None:
        self.plan, self.study, self.time = plan, study, 0.0
        self.size = width, height
        console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
        self.live = LiveStudy(plan, study, console, now=lambda: self.time)

    def text(self) -> str:
        """The frame, which fits."""
        with self.live.console.capture() as captured:
            self.live.console.print(self.live.renderable())
        lines = captured.get().splitlines()
        assert max(map(cell_len, lines)) <= self.size[0]
        assert len(lines) < self.size[1]
        return "\n".join(lines)

    def begin(self, turn: int) -> Trial:
        """Of those that run in the study."""
        values = next(trial.params for trial in self.study.trials if trial.user_attrs[TURN] == turn)
        job = self.plan.trial(turn, values)
        self.live.began(job)
        return job

    def round(self, job: Trial, round: int) -> None:
        values = tuple(value - 1 / round for value in scored(self.plan, job.turn, job.values))
        self.live.update(Progress(job, "round", round), values)

    def end(self, job: Trial, state: TrialState = TrialState.COMPLETE) -> None:
        number = next(trial.number for trial in self.study.trials if trial.user_attrs[TURN] == job.turn)
        values = scored(self.plan, job.turn, job.values) if state == TrialState.COMPLETE else None
        if state != TrialState.PRUNED:
            self.live.update(Progress(job, "done", self.plan.run.rounds), values or ())
        self.live.ended(self.study.tell(number, list(values) if values else None, state=state))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "study"


@cache
def large(objective: str) -> StudyPlan:
    """Of many parameters, whose ends take a second to check."""
    return planned(Path("somewhere/study"), MANY, objective=objective, trials=60, confirm=2)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("objective", ["target-psnr", "target-psnr,seconds", "mean-psnr,bytes,seconds"])
@pytest.mark.parametrize("running", [2, 40])
def test_it_fits_from_the_start_to_the_winners(width: int, height: int, objective: str, running: int) -> None:
    plan = large(objective)
    watched = Watched(plan, studied(plan, 12, failed=(3, 4), running=running), width, height)
    assert "starting Ray" in watched.text()
    assert "12 of 60 trials are stored" in watched.text()
    jobs = [watched.begin(turn) for turn in range(12, 12 + running)]
    assert "0/4" in watched.text()
    for job in jobs:
        for round in (1, 2, 3):
            watched.time += 1
            watched.round(job, round)
    text = watched.text()
    assert "12/60 trials" in text
    assert "left" in text or width < 80
    for job in jobs:
        watched.end(job)
        watched.text() if job.turn % 4 == 0 else None
    best = watched.study.trials[jobs[0].turn]
    tested = plan.trial(jobs[0].turn, best.params, tested=True)
    watched.live.began(tested)
    assert f"testing trial {tested.turn}" in watched.text()
    watched.live.update(Progress(tested, "done", 4), ())
    confirmation = plan.confirmations(jobs[0].turn, best.params)[0]
    watched.live.began(confirmation)
    watched.live.update(Progress(confirmation, "round", 2), ())
    text = watched.text()
    assert f"round 2/4  confirming trial {tested.turn}" in text
    assert "testing the winners" in text or width < 80


def test_it_shows_what_is_known(out: Path) -> None:
    plan = planned(out, trials=9)
    study = studied(plan, 6, failed=(1,), pruned=(3,), running=3)
    watched = Watched(plan, study, 100, 30)
    first, second = watched.begin(6), watched.begin(7)
    watched.round(first, 1)
    watched.round(first, 2)
    text = watched.text()
    assert "4 complete, 1 pruned, 1 failed, 1 run in other processes" in text
    assert REASONS[1] in text
    best = study.best_trial
    assert f"best   trial {best.user_attrs[TURN]}  {best.value:.2f} dB  lr {best.params['lr']:.3g}" in text
    row = next(line for line in text.splitlines() if line.startswith(" ▸     6"))
    now = scored(plan, 6, first.values)[0] - 1 / 2
    assert "2/4" in row
    assert f"{now:.2f}" in row
    assert "▁█" in row
    assert next(line for line in text.splitlines() if line.startswith(" ▸     7")).split()[2:4] == ["0/4", "–"]
    watched.round(first, 1)  # its process died: it begins anew
    row = next(line for line in watched.text().splitlines() if line.startswith(" ▸     6"))
    assert "1/4" in row
    assert "█" not in row
    watched.end(first)
    watched.end(second, TrialState.PRUNED)
    text = watched.text()
    assert "▸" not in text
    assert "5 complete, 2 pruned, 1 failed, 1 run in other processes" in text


def test_a_trial_that_no_federation_can_be_made_of_ends_before_it_began(out: Path) -> None:
    plan = planned(out)
    study = studied(plan, 1, running=1)
    watched = Watched(plan, study, 80, 24)
    study.trials[1].user_attrs["reason"] = "x"
    watched.live.ended(study.tell(1, state=TrialState.FAIL))
    assert "1 complete, 1 failed" in watched.text()


def test_what_is_left_is_told_by_the_pace() -> None:
    time = itertools.count(0.0, 10.0)
    pace = Pace(lambda: next(time))
    assert pace.left(3, 10) is None
    pace.start(3)
    assert pace.left(3, 10) is None  # nothing is done yet
    pace.start(4)  # later jobs change nothing
    elapsed = 20.0  # since the first job began
    assert pace.left(5, 10) == pytest.approx(elapsed * (10 - 5) / (5 - 3))


@pytest.mark.parametrize("config", [{}, {"against": "fl-mr"}, {"objective": "target-psnr,bytes"}])
def test_plain_lines(out: Path, config: dict[str, Any]) -> None:
    plan = planned(out, LONG, trials=8, **config)
    pruned = (3,) if "objective" not in config else ()
    study = studied(plan, 8, failed=(1,), pruned=pruned)
    stream = io.StringIO()
    with PlainStudy(plan, studied(plan, 2), stream) as watcher:
        for trial in study.trials[2:]:
            watcher.began(plan.trial(trial.user_attrs[TURN], trial.params))
            watcher.ended(trial)
        watcher.ended(study.trials[1])
        watcher.began(plan.trial(2, study.trials[2].params, tested=True))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0] == "going on: 2 of 8 trials are stored"
    value = scored(plan, 2, study.trials[2].params)[0]
    told = f"{value:+.3f}".replace("-", "−") if "against" in config else f"{value:.2f}"
    assert lines[1].startswith(f"trial 2 complete: {told} dB")
    assert "3/8, 0:00" in lines[1]
    if pruned:
        assert lines[2].startswith("trial 3 pruned after 1 round: ")
    assert f"trial 1 failed: {REASONS[1]}" in lines[-2]
    assert lines[-1] == "testing trial 2"
