"""What is shown of a study fits any terminal and equals what was found, however far the study has come."""

from __future__ import annotations

import math
import shlex
from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from sites.intervals import written
from sweeps.studies.findings import Findings, best_so_far, findings
from sweeps.studies.front_view import stairs
from sweeps.studies.importance import importances
from sweeps.studies.objectives import OBJECTIVES, objectives
from sweeps.studies.space import Choice, Number
from sweeps.studies.view import study_view
from sweeps.studies.winners import Estimate
from sweeps.studies.words import command_lines, range_text, value_text, wrapped
from sweeps.terminal_plots import Axis, Layer, Mark, plot
from tests.sweeps.studies.synthetic_studies import REASONS, SEARCH, SHA, finish, found, leave, planned, studied

CONDITIONAL = ("algorithm=fl-mr,fl-mrcm", "lr=log:0.0005:0.005", "alignment_weight=log:0.001:1")
CHOICES = ("optimizer=adam,sgd", "channels=2,4,8")
KINDS: dict[str, dict[str, Any]] = {
    "one objective": {"failed": (3, 4), "pruned": (5,)},
    "against, confirmed": {"against": "fl-mr", "seeds": 2, "confirm": 3},
    "a front": {"objective": "target-psnr,seconds", "failed": (3,)},
    "a front, against, confirmed": {"objective": "target-psnr,bytes", "against": "fl-mr", "confirm": 2},
    "three objectives": {"objective": "target-psnr,seconds,bytes"},
    "conditional": {"search": CONDITIONAL},
    "choices only": {"search": CHOICES},
    "one trial": {"trials": 1},
    "nothing yet": {"ended": 0},
    "nothing complete": {"ended": 2, "failed": (0,), "pruned": (1,), "running": 1},
    "unfinished": {"ended": 6, "running": 2, "tested": False},
}


def drawn(of: Findings, width: int = 80) -> str:
    console = Console(width=width, record=True, file=StringIO(), legacy_windows=False)
    console.print(study_view(of), crop=False)
    return console.export_text()


def told(text: str) -> str:
    """In one line."""
    return " ".join(text.split())


def number(estimate: Estimate, digits: int, signed: bool = False) -> str:
    return f"{estimate.mean:{'+' if signed else ''}.{digits}f} ± {estimate.half_width:.{digits}f}"


@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    of = found(Path("study"), **KINDS[kind])
    for width in (45, 80, 120, 160):
        lines = drawn(of, width).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert not [line for line in lines if line[:1].strip()]  # each line is set in by one: none has wrapped
    assert ("resume" in drawn(of)) == (not of.finished)


def test_the_winner_is_told_with_its_intervals(tmp_path: Path) -> None:
    of = found(tmp_path / "study", against="fl-mr", seeds=2, confirm=3)
    (winner,) = of.winners
    text, rows = drawn(of), dict[str, str]()
    for line in text.splitlines():
        rows.setdefault(line[:26].strip(), line[26:])
    value = written(winner.values[0], 3, signed=True)
    assert f"trial {winner.turn}: target-psnr {value} dB over fl-mr on validation patients" in text
    assert rows["test patients at brats"].split("   ")[1:] == ["searched: seeds 0 and 1", "confirmed: seeds 2 to 4 "]
    searched, confirmed = winner.searched, winner.confirmed
    assert searched
    assert confirmed
    assert (searched.psnr.count, confirmed.psnr.count) == (4 * 2, 4 * 3)
    for title, name, digits in (("PSNR, dB", "psnr", 2), ("SSIM", "ssim", 3)):
        for tested in (searched, confirmed):
            assert number(getattr(tested, name), digits) in rows[title]
    for tested in (searched, confirmed):
        assert number(tested.gain, 2, signed=True) in rows["over zero-filled, dB"]
        assert tested.against is not None
        assert f"{number(tested.against, 2, signed=True)}  p = {tested.against.p:.2g}" in rows["over fl-mr, dB"]
        assert number(tested.sites["ixi"], 2) in rows["PSNR at ixi"]
    assert "4 patients × 2 seeds" in rows["units"]
    assert "4 patients × 3 seeds" in rows["units"]
    note = told(text)
    assert "Trials were compared on validation patients alone" in note
    assert "Test patients were scored once, at the end, for the winners only." in note
    assert "ixi: simulated here" in note


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_command_can_be_copied_as_it_stands(tmp_path: Path, width: int) -> None:
    of = found(tmp_path / "study", ended=5, trials=5)
    (winner,) = of.winners
    lines = drawn(of, width).splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("python run.py"))
    last = next(i for i in range(first, len(lines)) if not lines[i].endswith("\\"))
    joined = "\n".join(line[1:] for line in lines[first : last + 1]).replace("\\\n", "")
    assert shlex.split(joined) == shlex.split(winner.command)
    assert f"--lr {winner.params['lr']}" in winner.command
    if width >= 80:
        assert lines[last + 1].strip() == winner.sha == SHA


@given(st.lists(st.text("abcß '\"$-", min_size=1, max_size=30), min_size=1, max_size=9), st.integers(20, 100))
def test_any_command_is_divided_between_words(words: list[str], width: int) -> None:
    lines = command_lines(shlex.join(["python", "run.py", *words]), width)
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == ["python", "run.py", *words]


def test_a_front_is_drawn_and_listed(tmp_path: Path) -> None:
    of = found(tmp_path / "study", objective="target-psnr,seconds", confirm=2)
    assert 1 < len(of.winners) < 12
    text = drawn(of)
    chart, _, table = text.partition("Pareto front")
    assert chart.count("●") == len(of.winners)
    assert "target-psnr, dB (more is better)" in chart
    assert "seconds, s (less is better)" in chart
    rows = [line.split() for line in table.splitlines() if line.split()[:1] in [[str(w.turn)] for w in of.winners]]
    assert [row[0] for row in rows] == [str(winner.turn) for winner in of.winners]
    for row, winner in zip(rows, of.winners, strict=True):
        assert row[1:3] == [f"{winner.values[0]:.2f}", f"{winner.values[1]:.1f}"]
        assert winner.searched is not None
        assert f"{winner.searched.psnr.mean:.2f}" in row
    assert table.count("new seeds 1 and 2") == 2 * len(of.winners)
    assert table.count("by seed, new seeds 1 and 2") == len(of.winners)
    assert "the sample is one seed" not in text
    assert "its t-interval over the 2 seeds" in " ".join(text.split())
    best = max(of.winners, key=lambda winner: winner.values[0])
    assert f"the best by target-psnr, trial {best.turn}, which" in table
    three = drawn(found(tmp_path / "three", objective="target-psnr,seconds,bytes"))
    assert "●" not in three
    assert [name in three for name in ("target-psnr", "seconds", "bytes", "Pareto front")] == [True] * 4


@pytest.mark.parametrize("one", ["target-psnr", "seconds"])
@pytest.mark.parametrize("other", ["mean-psnr", "bytes"])
@given(points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20, unique=True))
def test_the_border_is_that_of_what_the_front_dominates(one: str, other: str, points: list[tuple[int, int]]) -> None:
    signs = [1 if OBJECTIVES[name].direction == "maximize" else -1 for name in (one, other)]

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        """Whether a is at least as good in both."""
        return all(sign * (x - y) >= 0 for sign, x, y in zip(signs, a, b, strict=True))

    front = sorted((float(x), float(y)) for x, y in points if not any(beats(p, (x, y)) for p in points if p != (x, y)))
    border = stairs(OBJECTIVES[one], front)
    assert set(front) <= set(border)
    for x, y in border:  # on it something is as good; a little beyond it nothing is
        assert any(beats(point, (x, y)) for point in front)
        assert not any(beats(point, (x + 0.1 * signs[0], y + 0.1 * signs[1])) for point in front)


def test_failures_are_told_once_by_reason(tmp_path: Path) -> None:
    text = drawn(found(tmp_path / "study", failed=(1, 2, 3)), 120)
    assert f"trials 1, 3 failed: {REASONS[1]}" in text
    assert f"trial 2 failed: {REASONS[0]}" in text
    assert "12 of 12 trials: 9 complete, 3 failed, 48 rounds" in text


def test_who_won_before_the_study_went_on_is_told(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", trials=12)
    early = studied(plan, 3)
    finish(plan, early)
    before = early.best_trial.number
    study = studied(plan)
    assert study.best_trial.number != before
    finish(plan, study)
    of = findings(plan, study)
    assert of.tested_before == (before,)
    assert f"(and for those before the study went on: {before})" in told(drawn(of))
    assert "went on" not in told(drawn(found(tmp_path / "other")))


def test_an_unfinished_study_says_what_is_missing(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", confirm=1)
    study = studied(plan)
    assert "not scored yet" in drawn(findings(plan, study))
    (winner,) = [trial for trial in study.trials if trial.number == study.best_trial.number]
    leave(plan.trial(winner.number, winner.params, tested=True))
    half = findings(plan, study)
    assert not half.finished
    assert "confirmed:" not in drawn(half)
    finish(plan, study)
    done = findings(plan, study)
    assert done.finished
    assert "confirmed: seed 1" in drawn(done)
    assert "no trial is complete yet" in drawn(found(tmp_path / "none", ended=0))


# ---- importances ----------------------------------------------------------------------------------------


def test_importances_find_what_matters_and_repeat_themselves(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", SEARCH, trials=30)
    study = studied(plan)
    (first,), (again,) = (importances(study, plan.objectives, plan.space, 7) for _ in range(2))
    assert first is not None
    assert first == again
    assert next(iter(first.parts)) == "lr"
    assert first.parts["lr"] > 0.5
    assert math.isclose(sum(first.parts.values()), 1)
    assert (first.trials, first.left_out) == (30, ())


def test_importances_are_of_what_all_trials_have(tmp_path: Path) -> None:
    of = found(tmp_path / "study", search=CONDITIONAL, trials=14)
    assert any("alignment_weight" in row.params for row in of.rows)
    assert not all("alignment_weight" in row.params for row in of.rows)
    (importance,) = of.importances
    assert importance is not None
    assert {*importance.parts} == {"algorithm", "lr"}
    assert importance.left_out == ("alignment_weight",)
    assert "left out, for not every trial has them: alignment_weight" in drawn(of)


@pytest.mark.parametrize(
    ("search", "trials", "value"),
    [(SEARCH, 3, None), (SEARCH, 8, 1.0), (SEARCH, 8, 1e-17), (SEARCH[:1], 8, None)],
    ids=["few", "equal", "equal but for rounding", "one parameter"],
)
def test_importances_are_not_made_up(tmp_path: Path, search: tuple[str, ...], trials: int, value: float | None) -> None:
    plan = planned(tmp_path / "study", search, trials=trials)
    study = optuna.create_study(direction="maximize")
    for trial in studied(plan).trials:
        if value is not None:
            trial.values = [1 + (value if trial.number else 0) if value < 1 else value]
        study.add_trial(trial)
    assert importances(study, plan.objectives, plan.space, 0) == (None,)


# ---- words and plots ------------------------------------------------------------------------------------


def test_values_are_told_in_their_units() -> None:
    psnr, ssim, seconds, count = objectives("target-psnr,mean-ssim,seconds,bytes")
    assert [value_text(psnr, 24.567), value_text(psnr, 0.0251, "fl-mr")] == ["24.57", "+0.025"]
    assert value_text(psnr, -1e-7, "fl-mr") == "0.000"
    assert [value_text(ssim, 0.65432), value_text(seconds, 12.34)] == ["0.6543", "12.3"]
    assert [value_text(count, 2.5e6), value_text(count, -2.5e6, "fl-mr")] == ["2.5 MB", "−2.5 MB"]
    assert value_text(psnr, math.nan) == "–"


def test_ranges_are_told_as_they_are_drawn() -> None:
    assert range_text(Number(name="lr", low=1e-4, high=0.01, log=True)) == "0.0001 to 0.01, logarithmic"
    assert range_text(Number(name="snr", low=10, high=40, step=2.5)) == "10 to 40 in steps of 2.5"
    assert range_text(Number(name="rounds", low=1, high=3, whole=True)) == "1 to 3"
    assert range_text(Choice(name="fused", values=(True, False))) == "true, false"


@given(st.lists(st.text("ab-c ", min_size=1, max_size=12).map(str.strip).filter(bool), min_size=1), st.integers(20, 90))
def test_lists_are_divided_between_their_parts(parts: list[str], width: int) -> None:
    lines = wrapped(parts, width, "lead: ")
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("lead: ")
    assert all(line.startswith(" " * 6) for line in lines[1:])
    assert " ".join(line[6:].strip() for line in lines).split() == ", ".join(parts).split()
    assert len(wrapped(parts, width, "lead: ", most=2)) <= 2


def test_the_best_so_far_waits_for_a_complete_trial(tmp_path: Path) -> None:
    of = found(tmp_path / "study", failed=(0,), pruned=(1,))
    best = best_so_far(of.rows, of.objectives[0])
    assert [math.isnan(value) for value in best[:3]] == [True, True, False]
    assert best[2:] == sorted(best[2:])
    assert best[-1] == of.winners[0].values[0]
    assert best_so_far(of.rows, OBJECTIVES["seconds"])[-1] == min(
        row.values[0] for row in of.rows if row.state == "complete"
    )


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=30),
    st.integers(20, 100),
    st.integers(6, 30),
)
def test_any_plot_fits_and_shows_its_marks(points: list[tuple[float, float]], width: int, height: int) -> None:
    x, y = (
        Axis.over(name, [point[k] for point in points], lambda value: f"{value:.3g}") for k, name in enumerate("xy")
    )
    mark = Mark(points[0], "●", "", " 17")
    lines = plot(x, y, [Layer(points, "", joined=True)], [mark], width, height)
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width
    text = "\n".join(line.plain for line in lines)
    assert text.count("●") == 1


def test_a_plot_is_the_right_way_up() -> None:
    axis = Axis("", 0, 1, str)
    lines = plot(axis, axis, [], [Mark((0, 1), "a", ""), Mark((1, 0), "b", ""), Mark((1, 1), "c", "", "17")], 40, 9)
    assert lines[1].plain.rstrip().endswith("17c")  # a label that finds no room to the right
    assert "│ a" in lines[1].plain
    assert lines[-3].plain.rstrip().endswith("b")
