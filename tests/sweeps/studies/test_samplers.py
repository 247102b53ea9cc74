"""Samplers and pruners: repeatable by seed, going on after an interruption as if there had been none, refusals."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.studies.objectives import objectives
from sweeps.studies.samplers import POPULATION, PrunerName, SamplerName, most_trials, pruner, sampling
from sweeps.studies.space import Choice, Number, Space
from sweeps.studies.workers import at_work, claim, recover
from tests.sweeps.studies.studies import FINITE, NUMBERS, SPACE, outcome, psnr, study_of, work

ONE, TWO = objectives("target-psnr"), objectives("target-psnr,seconds")
CASES: dict[SamplerName, tuple[Space, str]] = {
    "tpe": (SPACE, "target-psnr"),
    "random": (SPACE, "target-psnr"),
    "grid": (FINITE, "target-psnr"),
    "cma-es": (NUMBERS, "target-psnr"),
    "nsga2": (SPACE, "target-psnr,seconds"),
}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna syncs the disk at every line of a journal: most of the time that these studies take."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def ran(path: Path, name: SamplerName, seed: int, trials: int, stop_at: int | None = None) -> list[Any]:
    """The trials of a study by turn. stop_at: the turn whose worker loses its trial; another one goes on."""
    space, names = CASES[name]
    study = study_of(path, names)

    def lose(turn: int) -> None:
        if turn == stop_at:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if stop_at is not None:
            with pytest.raises(KeyboardInterrupt), at_work(path) as worker:
                work(study, worker, trials, name, space, seed, before_tell=lose)
            study = study_of(path, names)
        with at_work(path) as worker:
            assert recover(study, worker) == ([] if stop_at is None else [stop_at])
            work(study, worker, trials, name, space, seed)
    assert len(outcome(study)) == trials
    return outcome(study)


@pytest.mark.parametrize("name", [name for name in get_args(SamplerName) if name != "auto"])
def test_the_same_seed_the_same_trials(name: SamplerName, tmp_path: Path) -> None:
    trials = 16 if name == "grid" else POPULATION + 6
    first = ran(tmp_path / "a", name, seed=3, trials=trials)
    assert ran(tmp_path / "b", name, seed=3, trials=trials) == first
    assert ran(tmp_path / "c", name, seed=4, trials=trials) != first


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "cma-es", "nsga2"])
@pytest.mark.parametrize("stop_at", [0, 13])
def test_an_interruption_leaves_no_trace_in_what_is_tried(name: SamplerName, stop_at: int, tmp_path: Path) -> None:
    trials = 16 if name == "grid" else POPULATION + 6
    assert ran(tmp_path / "a", name, 3, trials, stop_at) == ran(tmp_path / "b", name, 3, trials)


def test_tpe_learns(tmp_path: Path) -> None:
    values = [values[0] for _, _, values in ran(tmp_path, "tpe", seed=0, trials=40)]
    assert sum(values[20:]) / 20 > sum(values[:10]) / 10 + 0.3


def test_cma_es_learns_and_leaves_nothing_that_is_not_readable(tmp_path: Path) -> None:
    found = ran(tmp_path, "cma-es", seed=0, trials=60)
    values = [values[0] for _, _, values in found]
    assert sum(values[40:]) / 20 > sum(values[:20]) / 20 + 0.2
    assert {params["local_epochs"] for _, params, _ in found} == {1, 2, 3, 4}  # its ends too
    assert all(params["snr"] * 2 % 1 == 0 for _, params, _ in found)
    lines = [json.loads(line) for line in (tmp_path / "study.journal").read_text().splitlines()]
    assert lines
    assert not [line for line in lines if "cma" in json.dumps(line.get("system_attr", {}))]


def test_cma_es_tells_a_generation_in_the_order_of_turns(tmp_path: Path) -> None:
    """Whoever was done first, and whatever failed: what is drawn next is the same."""
    drawn = []
    for order in ((0, 1, 2, 3, 4, 5, 6, 7), (7, 3, 5, 1, 0, 2, 6, 4)):
        study = study_of(tmp_path / str(order[0]))
        draw = sampling("cma-es", NUMBERS, ONE, 0)
        with at_work(tmp_path / str(order[0])) as worker:
            claims = [claim(study, worker, NUMBERS, draw, 99) for _ in order]
            for turn in order:
                one = claims[turn]
                assert one
                if turn == 2:
                    study.tell(one.trial, state=TrialState.FAIL)
                else:
                    study.tell(one.trial, psnr(one.values))
            following = claim(study, worker, NUMBERS, draw, 99)
        assert following
        drawn.append(following.values)
    assert drawn[0] == drawn[1]


def test_hyperband_s_brackets_are_by_turn(tmp_path: Path) -> None:
    """In any directory, and whatever number a repeated trial has."""
    study = study_of(tmp_path / "study", prune="hyperband")
    draw = sampling("random", SPACE, ONE, 0)
    with at_work(tmp_path / "study") as worker:
        first = claim(study, worker, SPACE, draw, 99)
    study = study_of(tmp_path / "study", prune="hyperband")
    with at_work(tmp_path / "study") as worker:
        assert recover(study, worker) == [0]
        again = claim(study, worker, SPACE, draw, 99)
        others = [claim(study, worker, SPACE, draw, 99) for _ in range(20)]
        assert first
        assert again
        again.trial.report(1.0, 1)
        again.trial.should_prune()  # it is then that there are brackets
    hyperband: Any = study.pruner
    trials = study.trials
    assert (again.turn, again.trial.number) == (0, 1)
    assert hyperband._get_bracket_id(study, trials[0]) == hyperband._get_bracket_id(study, trials[1])
    brackets = [hyperband._get_bracket_id(study, trials[one.trial.number]) for one in others if one]
    assert len({*brackets}) > 1
    elsewhere = optuna.create_study(study_name="elsewhere")
    assert [hyperband._get_bracket_id(elsewhere, trials[one.trial.number]) for one in others if one] == brackets


def test_a_setting_of_one_method_is_suggested_for_it_alone(tmp_path: Path) -> None:
    for _, params, _ in ran(tmp_path, "tpe", seed=0, trials=25):
        assert ("alignment_weight" in params) == (params["algorithm"] == "fl-mrcm")


def test_a_grid_is_every_combination_once(tmp_path: Path) -> None:
    assert most_trials("grid", FINITE) == 4 + 4 * 3
    assert most_trials("tpe", FINITE) is None
    found = [params for _, params, _ in ran(tmp_path, "grid", seed=0, trials=16)]
    assert sorted(map(repr, (sorted(row.items()) for row in found))) == sorted(
        map(repr, (sorted(row.items()) for row in FINITE.grid()))
    )


def test_no_turn_beyond_the_last(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    draw = sampling("random", SPACE, ONE, 0)
    with at_work(tmp_path) as worker:
        claims = [claim(study, worker, SPACE, draw, 3) for _ in range(4)]
    assert [one.turn if one else None for one in claims] == [0, 1, 2, None]


def test_auto_is_by_the_number_of_objectives() -> None:
    assert type(sampling("auto", SPACE, ONE, 0)(0)).__name__ == "TPESampler"
    assert type(sampling("auto", SPACE, TWO, 0)(0)).__name__ == "NSGAIISampler"


@pytest.mark.parametrize(
    ("name", "space", "names", "words"),
    [
        ("grid", SPACE, "target-psnr", "lr has a range without a step; list them, lr=A,B,C, or give a step"),
        ("cma-es", SPACE, "target-psnr", "cma-es is for numbers, and algorithm is a choice; take --sampler tpe"),
        ("cma-es", NUMBERS, "target-psnr,bytes", "cma-es is for one objective, and there are 2"),
        ("cma-es", Space(NUMBERS.parameters[:1]), "target-psnr", "for two parameters or more"),
    ],
)
def test_where_a_sampler_does_not_fit(name: SamplerName, space: Space, names: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        sampling(name, space, objectives(names), 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in get_args(PrunerName) if name != "none"])
def test_several_objectives_are_not_pruned(name: PrunerName) -> None:
    with pytest.raises(ValueError, match=f"pruner is '{name}', and of 2 objectives none decides alone; take none"):
        pruner(name, 20, TWO)
    pruner("none", 20, TWO)


@pytest.mark.parametrize("name", get_args(PrunerName))
def test_pruners_end_the_worse_trials_early_and_repeatably(name: PrunerName, tmp_path: Path) -> None:
    ends = []
    for path in (tmp_path / "a", tmp_path / "b"):
        study = study_of(path, prune=name)
        with at_work(path) as worker:
            work(study, worker, 30, "random", rounds=9)
        ends.append(outcome(study))
    assert ends[0] == ends[1]
    scores = {
        state: [psnr(params) for found, params, _ in ends[0] if found == state]
        for state in (TrialState.PRUNED, TrialState.COMPLETE)
    }
    assert bool(scores[TrialState.PRUNED]) == (name != "none")
    if name != "none":
        assert max(scores[TrialState.COMPLETE]) > max(scores[TrialState.PRUNED])


def test_a_run_of_one_round_can_have_a_pruner() -> None:
    for name in get_args(PrunerName):
        pruner(name, 1, ONE)


def test_no_choice_is_no_parameter() -> None:
    with pytest.raises(ValueError, match="one value is no choice"):
        Choice(name="lr", values=(0.1,))
    with pytest.raises(ValueError, match="'a' stands twice"):
        Choice(name="x", values=("a", "a", "b"))
    with pytest.raises(ValueError, match="low is 2; take a number below high, 1"):
        Number(name="x", low=2, high=1)
