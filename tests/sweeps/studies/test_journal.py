"""Where a study is kept: whole after a power cut, refused where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.studies.journal import JOURNAL, JournalLock, stored_study
from sweeps.studies.workers import at_work
from tests.sweeps.studies.studies import study_of, work


def worked(path: Path, trials: int) -> None:
    study = study_of(path)
    with at_work(path) as worker:
        work(study, worker, trials, "random")


@pytest.mark.parametrize("torn", [b'{"op_code":', b"\0" * 9000, b'{"op_code":6,"worker_id":"x","trial_id":0}'])
def test_a_torn_last_line_is_cut(torn: bytes, tmp_path: Path) -> None:
    worked(tmp_path, 3)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    assert len(study_of(tmp_path).trials) == 3
    assert journal.read_bytes() == whole
    worked(tmp_path, 5)
    assert len(study_of(tmp_path).trials) == 5


def test_a_line_that_another_process_leaves_torn_is_cut_before_the_next(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    with at_work(tmp_path) as worker:
        work(study, worker, 2, "random")
        with (tmp_path / JOURNAL).open("ab") as file:
            file.write(b'{"op_code":')
        work(study, worker, 4, "random")
    assert len(study_of(tmp_path).trials) == 4


def test_a_journal_that_begins_torn(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b'{"op_co')
    worked(tmp_path, 2)
    assert len(study_of(tmp_path).trials) == 2


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=40).map(lambda some: some * 400) | st.binary())
def test_whatever_follows_the_last_line_s_end_is_cut(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    journal = tmp_path_factory.mktemp("journal") / JOURNAL
    journal.write_bytes(data)
    lock = JournalLock(journal)
    lock.acquire()
    lock.release()
    assert journal.read_bytes() == data[: data.rfind(b"\n") + 1]


def test_a_journal_that_is_damaged_is_refused_in_one_line(tmp_path: Path) -> None:
    worked(tmp_path, 1)
    journal = tmp_path / JOURNAL
    journal.write_bytes(b"not json\n" + journal.read_bytes())
    with pytest.raises(ValueError, match=r"study\.journal is damaged \(.*\); restore it, or delete it") as refused:
        study_of(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_study_of_other_objectives_is_refused(tmp_path: Path) -> None:
    worked(tmp_path, 1)
    for names in ("target-psnr,seconds", "gain"):
        with pytest.raises(ValueError, match="holds a study of target-psnr, asked is one of "):
            study_of(tmp_path, names)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/at/all.db", "postgres://host/db", "redis://host"])
def test_a_storage_that_cannot_be_used_is_refused_in_one_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"storage '.*' cannot be used \(.*\); give one of Optuna's URLs") as refused:
        study_of(tmp_path, storage=url)
    assert "\n" not in str(refused.value)


def test_who_only_looks_writes_nothing(tmp_path: Path) -> None:
    worked(tmp_path, 3)
    journal = tmp_path / JOURNAL
    with journal.open("ab") as file:
        file.write(b"torn")
    before = journal.read_bytes()
    study = stored_study(tmp_path)
    assert len(study.trials) == 3
    assert study.metric_names == ["target-psnr"]
    assert journal.read_bytes() == before


def test_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no study \(there is no study.journal\); name a sweep's directory"):
        stored_study(tmp_path)
    (tmp_path / JOURNAL).touch()
    with pytest.raises(ValueError, match="holds no study named 'sweep'"):
        stored_study(tmp_path)
