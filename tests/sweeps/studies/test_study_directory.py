"""A study's directory: it may move, be called `.`, share a storage, and be read by others."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import run
from engine.algorithms import FlMr
from sites.config import RunConfig
from sweeps.studies.directory import study_name, take_part, write_results
from sweeps.studies.findings import Findings
from sweeps.studies.journal import settled
from sweeps.studies.parsing import stored_plan
from sweeps.studies.plan import StudyPlan, SweepConfig
from sweeps.studies.turns import TURN
from tests.sweeps.studies.synthetic_studies import finish, planned, studied


def stored(out: Path, **config: Any) -> Findings:
    """A finished study in its directory."""
    failed = config.pop("failed", ())
    plan = planned(out, **config)
    with take_part(plan) as (study, _):
        studied(plan, study=study, failed=failed)
        finish(plan, study)
        return write_results(plan, study)


@pytest.mark.parametrize("storage", ["", pytest.param("sqlite:///studies.db", marks=pytest.mark.slow)])
def test_a_study_moves_and_is_called_by_a_dot(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    of = stored(Path("study"), storage=storage)
    shutil.move("study", "elsewhere")
    said = f"trial {of.winners[0].turn}: target-psnr"
    for command in (["resume", "elsewhere"], ["show", "elsewhere"]):
        assert run.main(command) == 0
        assert said in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "elsewhere")
    for command in (["resume", "."], ["show", "."]):
        assert run.main(command) == 0
        assert said in capsys.readouterr().out
    assert not list((tmp_path / "elsewhere").glob("*.db"))  # the storage is where it was


def test_two_directories_of_one_name_in_one_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    one, other = (
        stored(tmp_path / where / "study", storage=url, trials=count) for where, count in (("a", 4), ("b", 6))
    )
    assert (len(one.rows), len(other.rows)) == (4, 6)
    names = [study_name(stored_plan(tmp_path / where / "study")) for where in ("a", "b")]
    assert len({*names}) == 2
    assert sorted(names) == sorted(optuna.get_all_study_names(url))
    assert all(name.startswith("study-") for name in names)


def test_another_storage_is_another_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored(Path("study"), trials=4)
    with pytest.raises(ValueError, match=r"holds another study: storage \(stored '', asked 'sqlite:.*choose another"):
        stored(Path("study"), trials=4, storage="sqlite:///studies.db")
    assert settled("sqlite:///studies.db") == f"sqlite:///{tmp_path}/studies.db"
    for url in ("", "sqlite:////studies.db", "sqlite:///:memory:", "postgresql://host/db"):
        assert settled(url) == url


def test_pickles_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^storage 'redis://host' cannot be used .*pickles"):
        planned(tmp_path / "study", storage="redis://host")


def test_texts_with_commas_go_on(tmp_path: Path) -> None:
    """A space of a file as of the command line."""
    file = tmp_path / "space.toml"
    file.write_text(
        '[search]\ntrain_sites = ["ixi,hpks,brats", "ixi,brats"]\nlr = {low = 1e-3, high = 1e-2, log = true}'
    )
    out = tmp_path / "study"
    plan = planned(out, (), space=str(file))
    with take_part(plan):
        pass
    again = stored_plan(out)
    assert again.space == plan.space
    assert again.space.parameters[0].ends == ("ixi,hpks,brats", "ixi,brats")
    assert tomllib.loads((out / "study.toml").read_text())["search"][0] == 'train_sites="ixi,hpks,brats","ixi,brats"'
    with take_part(again), take_part(planned(out, (), space=str(file))):
        pass


def test_a_study_keeps_the_scenario_that_it_began_with(tmp_path: Path) -> None:
    """Whatever becomes of its file: trials are compared on the same institutions."""
    file, out = tmp_path / "pair.toml", tmp_path / "study"
    text = 'name = "pair"\nsummary = "Two."\n[[site]]\nname = "a"\nacceleration = 4\n[[site]]\nname = "b"\n'
    file.write_text(text)

    def asked(where: Path = out) -> StudyPlan:
        run = RunConfig(scenario=str(file), rounds=1, out=str(where), algorithm=FlMr())
        return StudyPlan(SweepConfig(search=("lr=1e-3,2e-3",)), run)

    plan = asked()
    with take_part(plan):
        pass
    trial, repeated = plan.trial(0, {"lr": 1e-3}), plan.command(0, {"lr": 1e-3})
    assert f"--scenario {file}" in repeated
    assert stored_plan(out).command(0, {"lr": 1e-3}) == repeated
    file.write_text(text.replace("acceleration = 4", "acceleration = 8"))
    assert stored_plan(out).trial(0, {"lr": 1e-3}) == trial
    with (
        pytest.raises(ValueError, match="holds another study: the institutions; choose another --out"),
        take_part(asked()),
    ):
        pass
    assert asked(Path()).out != plan.out
    file.unlink()
    assert stored_plan(out).trial(0, {"lr": 1e-3}) == trial
    assert stored_plan(out).command(0, {"lr": 1e-3}).endswith(f"--config {out}/trials/0/config.toml")


def test_a_search_of_scenarios_keeps_none(tmp_path: Path) -> None:
    plan = planned(tmp_path / "study", ("scenario=cvpr21,contrast",))
    assert plan.run.institutions == ()
    names = [{s.name for s in plan.trial(0, {"scenario": each}).config.institutions} for each in ("cvpr21", "contrast")]
    assert names == [{"fastmri", "hpks", "ixi", "brats"}, {"north", "east", "south", "west"}]


def test_a_journal_that_is_lost_is_not_begun_again_beside_its_trials(tmp_path: Path) -> None:
    stored(tmp_path / "study", trials=4)
    journal = tmp_path / "study/study.journal"
    whole = journal.read_bytes()
    for left in (b"", None):
        journal.write_bytes(left) if left is not None else journal.unlink()
        with pytest.raises(
            ValueError, match=r"study.journal knows nothing of the trials that .*/trials holds; restore"
        ):
            stored(tmp_path / "study", trials=4)
    journal.write_bytes(whole)
    assert len(stored_plan(tmp_path / "study").config.search) > 0


def test_optuna_alone_reads_a_study(tmp_path: Path) -> None:
    """As optuna-dashboard does."""
    out = tmp_path / "study"
    stored(out, failed=(3,), seeds=2)
    kept = JournalStorage(JournalFileBackend(str(out / "study.journal")))
    (name,) = optuna.get_all_study_names(kept)
    study = optuna.load_study(study_name=name, storage=kept)
    assert study.metric_names == ["target-psnr"]
    assert [trial.user_attrs[TURN] for trial in study.trials] == list(range(12))
    assert [trial.state for trial in study.trials].count(TrialState.FAIL) == 1
    assert study.trials[3].user_attrs["reason"]
    assert study.best_trial.intermediate_values
