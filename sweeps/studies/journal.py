"""Where a study is kept: Optuna's journal in the sweep's directory, or another storage of Optuna's.

A journal is a line of JSON an operation. Processes that write it hold a lock that ends with them, and cut what a power
cut left of a last line: Optuna alone would append to it, and read no further.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.storages.journal._file import BaseJournalFileLock

from sweeps.studies.objectives import Objective
from sweeps.studies.samplers import quietly

JOURNAL = "study.journal"
NAME = "sweep"
BLOCK = 4096  # bytes read at once, from the end


class JournalLock(BaseJournalFileLock):
    """Held while a process appends to a journal, which ends with a whole line as long as it is."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._held: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for it."""
        self._held = self._journal.open("r+b")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        _cut_torn_line(self._held)
        return True

    def release(self) -> None:
        """Let others write."""
        assert self._held is not None
        self._held.close()
        self._held = None


def open_study(
    directory: Path,
    objectives: Sequence[Objective],
    pruner: BasePruner,
    storage: str = "",
    name: str = NAME,
) -> optuna.Study:
    """The study of a sweep's directory, which exists; made if it is not there. Optuna keeps quiet from here on.

    storage: a URL of Optuna's, for example sqlite:///sweeps.db, of several studies by name; empty: the directory's
    journal. Raises ValueError, in one line, for a storage that cannot be used or has lost the study, or for a study of
    other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = _other(storage) if storage else _journal(directory / JOURNAL)
    if name in optuna.get_all_study_names(kept):
        study = optuna.load_study(study_name=name, storage=kept, pruner=pruner)
    elif next((directory / "trials").glob("*"), None):
        raise ValueError(
            f"{storage or directory / JOURNAL} knows nothing of the trials that {directory / 'trials'} holds; restore "
            "it, or choose another --out"
        )
    else:
        directions = [each.direction for each in objectives]
        study = optuna.create_study(
            study_name=name, storage=kept, directions=directions, pruner=pruner, load_if_exists=True
        )
    asked = [each.name for each in objectives]
    stored = study.metric_names or asked
    if stored != asked:
        raise ValueError(
            f"{storage or directory / JOURNAL} holds a study of {', '.join(stored)}, asked is one of "
            f"{', '.join(asked)}; choose another directory"
        )
    if study.metric_names is None:
        quietly(lambda: study.set_metric_names(asked))
    return study


def stored_study(directory: Path, storage: str = "", name: str = NAME) -> optuna.Study:
    """A study to look at: nothing is written. Raises ValueError, in one line, if there is none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = directory / JOURNAL
    if not storage and not path.exists():
        raise ValueError(f"{directory} holds no study (there is no {JOURNAL}); name a sweep's directory")
    kept = _other(storage) if storage else _read(path)
    if name not in optuna.get_all_study_names(kept):
        raise ValueError(f"{storage or path} holds no study named {name!r}; name a sweep's directory")
    return optuna.load_study(study_name=name, storage=kept)


def settled(url: str) -> str:
    """A storage's URL wherever a command is called from: a file of SQLite by its whole path.

    Raises ValueError for one that would hold pickles.
    """
    if url.startswith("redis"):
        raise ValueError(f"storage {url!r} cannot be used (Redis' snapshots are pickles); give one of Optuna's URLs")
    scheme, slashes, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not slashes or path.startswith((":memory:", "file:")):
        return url
    return f"{scheme}:///{Path(path).absolute()}"


def _journal(path: Path) -> BaseStorage:
    path.touch()
    lock = JournalLock(path)
    lock.acquire()  # and cut, so that it can be read
    lock.release()
    return _read(path)


def _read(path: Path) -> BaseStorage:
    try:
        return JournalStorage(JournalFileBackend(str(path), JournalLock(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); restore it, or delete it") from error


def _other(url: str) -> BaseStorage:
    url = settled(url)
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # SQLAlchemy's, a driver's, alembic's
        reason = str(error).splitlines()[0]
        raise ValueError(f"storage {url!r} cannot be used ({reason}); give one of Optuna's URLs") from error


def _cut_torn_line(file: IO[bytes]) -> None:
    """Cut what follows the last end of a line."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - BLOCK)
        file.seek(start)
        line_end = file.read(end - start).rfind(b"\n") + 1
        end = start + line_end
        if line_end:
            break
    if end < size:
        file.truncate(end)
