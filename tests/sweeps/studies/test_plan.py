"""What a trial is: its own settings, target and rounds; what is meaningless is refused before anything starts."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from engine.algorithms import ALGORITHMS
from engine.types import RoundReport, Scores, SiteRound
from sites.config import RunConfig
from sweeps.jobs import Round
from sweeps.studies.fields import kinds
from sweeps.studies.plan import StudyPlan, SweepConfig
from sweeps.studies.space import owners
from tests.sites.test_files import hospital, write_kspace
from tests.sweeps.studies.synthetic_studies import found, planned

TWO: dict[str, tuple[Any, Any]] = {
    "algorithm": ("fl-mr", "fl-mmd"), "scenario": ("cvpr21", "contrast"), "contrast": ("T1", "T2"),
    "only_train": ("a", "b"), "only_test": ("a", "b"), "sites": (2, 6), "target": ("ixi", "brats"),
    "train_sites": ("ixi,hpks,brats", "ixi,brats"), "rounds": (3, 4), "matrix": (32, 64), "pool_layers": (2, 3),
    "lr_decay": (0.1, 0.5), "label_smoothing": (0.0, 0.1), "server_momentum": (0.1, 0.9), "adaptivity": (1e-3, 1e-2),
    "server_decay": (0.1, 0.9), "precision": ("fp32", "fp64"), "data": ("A", "B"),
}  # fmt: skip
"""Values of settings whose type does not tell two."""
BESIDE: dict[str, dict[str, Any]] = {
    "only_train": {"data": "C"}, "only_test": {"data": "C"}, "split": {"data": "C"},
    "contrast": {"data": "D"},
    "skip_bad": {"data": "C"},
}  # fmt: skip
"""What a setting needs to mean something."""


def two(name: str, kind: Any) -> tuple[Any, Any]:
    """Values of a setting."""
    if name in TWO:
        return TWO[name]
    if get_origin(kind) is Literal:
        return get_args(kind)[0], get_args(kind)[1]
    return {bool: (True, False), int: (1, 2)}.get(kind, (0.25, 0.5))


@pytest.fixture
def hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of real data, A, B, C and D; the last of two contrasts."""
    monkeypatch.chdir(tmp_path)
    for name in ("A/a", "A/b", "B/a", "B/b", "B/c", "C/a", "C/b", "C/c", "C/d"):
        hospital(tmp_path / name)
    for patient in range(12):
        write_kspace(tmp_path / f"D/{'ab'[patient % 2]}/p{patient}_{'T1' if patient < 6 else 'T2'}.h5")


@pytest.mark.usefixtures("hospitals")
@pytest.mark.parametrize("name", sorted(kinds()))
def test_two_values_of_a_setting_are_two_federations(name: str, tmp_path: Path) -> None:
    values = two(name, kinds()[name])
    method = next((each for each in ("fl-mr", "fl-mrcm", *ALGORITHMS) if each in owners(name)), "fl-mr")
    train = replace(RunConfig().train, optimizer="sgd")  # which every method can have
    beside = {**BESIDE.get(name, {}), "algorithm": ALGORITHMS[method](), "train": train}
    written = ",".join(f'"{value}"' if isinstance(value, str) else str(value).lower() for value in values)
    config = SweepConfig(search=(f"{name}={written}",), objective="seconds")
    plan = StudyPlan(config, RunConfig(out=str(tmp_path / "study"), **beside))
    first, second = (plan.trial(0, {name: value}).config for value in values)
    assert first != second
    assert replace(first, checkpoint_every=1) != replace(second, checkpoint_every=1)


def scored(psnr: float, names: tuple[str, ...]) -> tuple[RoundReport, dict[str, Scores]]:
    """A round in which every site has one dB more than the one before."""
    scores = {name: Scores(psnr=psnr + index, ssim=0.5, nmse=0.1) for index, name in enumerate(names)}
    sites = {name: SiteRound(metrics={}, scores=each) for name, each in scores.items()}
    return RoundReport(round=1, sites=sites, ledger={}, seconds={}), scores


def rounds_of(*reports: tuple[RoundReport, dict[str, Scores]]) -> list[Round]:
    return [Round(tuple(report for report, _ in reports), tuple(zero for _, zero in reports))]


def test_a_trial_is_judged_at_its_own_target(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", ("target=ixi,hpks", "lr=log:1e-3:1e-2"))
    names = tuple(site.name for site in plan.trial(0, {"target": "ixi", "lr": 0.002}).config.institutions)
    rounds = rounds_of(scored(20, names))
    for target in ("ixi", "hpks"):
        trial = plan.trial(0, {"target": target, "lr": 0.002})
        assert plan.judged(trial, rounds) == (20 + names.index(target),)
    assert plan.target == ""


def test_fewer_sites_have_another_target(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", ("sites=2:6",))
    for count in (2, 6):
        trial = plan.trial(0, {"sites": count})
        names = tuple(site.name for site in trial.config.institutions)
        assert len(names) == count
        assert plan.judged(trial, rounds_of(scored(20, names))) == (20 + names.index(trial.config.target),)


def test_a_study_against_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^against is 'fl-mrcm', which every trial is itself; name another method"):
        planned(tmp_path / "study", ("lr=1e-3,2e-3",), against="fl-mrcm")


@pytest.mark.parametrize(
    "search",
    [("alignment_weight=0.01,0.1",), ("algorithm=fl-mrcm,fl-mr",), ("lr=1e-3,2e-3", "identifier_lr=1e-3:1e-2")],
)
def test_it_may_be_searched_around_what_it_is_measured_against(search: tuple[str, ...], tmp_path: Path) -> None:
    assert planned(tmp_path / "study", search, against="fl-mrcm").config.against


def test_the_objectives_of_each_seed(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", seeds=2, against="fl-mr", objective="target-psnr,mean-psnr")
    trial = plan.trial(0, {"lr": 0.002, "alignment_weight": 0.1, "optimizer": "adam"})
    names = tuple(site.name for site in trial.config.institutions)
    rounds = rounds_of(*(scored(psnr, names) for psnr in (25, 26, 24, 22)))  # two seeds, then fl-mr's
    assert plan.by_seed(trial, rounds) == [(1, 1), (4, 4)]
    assert plan.judged(trial, rounds) == (2.5, 2.5)


def test_a_trial_s_rounds_are_its_own(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", ("rounds=4:16",), rounds=9)
    for rounds in (4, 16):
        config = plan.trial(0, {"rounds": rounds}).config
        assert (config.rounds, config.checkpoint_every, plan.rounds({"rounds": rounds})) == (rounds, rounds, rounds)
    assert planned(tmp_path / "study", rounds=9).trial(0, {"lr": 0.002}).config.checkpoint_every == 9
    with pytest.raises(ValueError, match=r"^search: rounds: a pruner compares trials of as many rounds; take --pruner"):
        planned(tmp_path / "study", ("rounds=4:16",), pruner="median")


@pytest.mark.usefixtures("hospitals")
def test_an_objective_has_patients_at_the_ends_of_the_space(tmp_path: Path) -> None:
    run = RunConfig(data="C", only_train="b", out=str(tmp_path / "study"), target="c")
    with pytest.raises(ValueError, match=r"^search: target=b: objective target-psnr is of the target's validation"):
        StudyPlan(SweepConfig(search=("target=a,b,c",)), run)
    assert StudyPlan(SweepConfig(search=("target=a,c",)), replace(run, target="b")).target == ""


def test_a_front_of_trials_with_sites_and_targets_of_their_own(tmp_path: Path) -> None:
    of = found(tmp_path / "study", search=("target=ixi,hpks", "sites=3:6"), objective="target-psnr,seconds", confirm=2)
    assert len(of.winners) > 1
    for winner in of.winners:
        assert winner.searched is not None
        assert winner.confirmed is not None
        assert winner.searched.target == winner.confirmed.target == winner.params["target"]
        assert winner.searched.sites[winner.params["target"]] == winner.searched.psnr


def test_intervals_over_seeds_are_of_the_means_of_their_patients(tmp_path: Path) -> None:
    (winner,) = found(tmp_path / "study", confirm=3).winners
    assert winner.searched is not None
    assert winner.searched.by_seed is None  # of one seed there is none
    assert winner.confirmed is not None
    by_seed = winner.confirmed.by_seed
    assert by_seed is not None
    assert by_seed.psnr.count == 3
    assert by_seed.psnr.mean == pytest.approx(winner.confirmed.psnr.mean)
    assert by_seed.psnr.half_width != pytest.approx(winner.confirmed.psnr.half_width)
    assert {field.name for field in dataclasses.fields(by_seed)} < {
        field.name for field in dataclasses.fields(winner.confirmed)
    }
