"""The directory of a study: its settings, trials, workers' locks and results. Several processes may work on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import optuna

from engine.checkpoint import write_atomically
from engine.records import encoded
from sites.report.figures import REPORT
from sites.run_directory import settings_toml
from sweeps.directory import STUDY, Settings, fingerprint, refuse_another
from sweeps.studies.findings import Findings, findings
from sweeps.studies.journal import JOURNAL, NAME, open_study
from sweeps.studies.parsing import stored_plan
from sweeps.studies.plan import GROWING, StudyPlan
from sweeps.studies.report import write_report
from sweeps.studies.search import specs
from sweeps.studies.trials import unfinished
from sweeps.studies.words import NOTE
from sweeps.studies.workers import Worker, at_work

NAMED = "study_name"  # of study.toml's [environment]


@contextlib.contextmanager
def take_part(plan: StudyPlan) -> Iterator[tuple[optuna.Study, Worker]]:
    """Take part in the study of a directory, new or of the same settings.

    Raises ValueError if it cannot be written, or holds something else or another study.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        lock = (plan.out / ".lock").open("w")
    except OSError as error:
        raise ValueError(f"--out {plan.out} cannot be written ({error.strerror}); choose another directory") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # for as long as it takes to see what is there
        try:
            _write_settings(plan)
        except ValueError:
            if not STUDY.there(plan.out):
                (plan.out / ".lock").unlink()  # it is somebody else's
            raise
        study = open_study(plan.out, plan.objectives, plan.pruner, plan.config.storage, study_name(plan))
    with at_work(plan.out) as worker:
        yield study, worker


def _write_settings(plan: StudyPlan) -> None:
    asked = Settings(plan.settings, plan.run.institutions)

    def stored() -> Settings:
        there = stored_plan(plan.out)
        return Settings(there.settings, there.run.institutions)

    refuse_another(plan.out, STUDY, asked, stored, GROWING)
    facts = {NAMED: study_name(plan)} if plan.config.storage else {}
    text = settings_toml(asked.values, asked.institutions, plan.device, **facts)
    write_atomically(plan.out / STUDY.file, text.encode())


def study_name(plan: StudyPlan) -> str:
    """In its storage, which may hold many: by where its directory was first; of its own journal always the same."""
    if not plan.config.storage:
        return NAME
    stored = ""
    if STUDY.there(plan.out):
        tables = tomllib.loads((plan.out / STUDY.file).read_text(encoding="utf-8"))
        stored = tables.get("environment", {}).get(NAMED, "")
    here = plan.out.resolve()
    return stored or f"{here.name}-{fingerprint({'out': str(here)})}"


def summary(found: Findings) -> dict[str, Any]:
    """summary.json."""
    plan, counts = found.plan, found.counts
    return {
        "objectives": [{"name": each.name, "direction": each.direction, "unit": each.unit} for each in plan.objectives],
        "against": plan.config.against,
        "space": specs(plan.space),
        "finished": found.finished,
        "trials": {"fail" if state == "failed" else state: count for state, count in counts.items()},
        "rounds": sum(row.rounds for row in found.rows),
        "failed": [{"trial": row.turn, "reason": row.reason} for row in found.rows if row.reason],
        "winners": [asdict(winner) for winner in found.winners],
        "importances": [asdict(each) for each in found.importances if each],
        "warnings": list(found.warnings),
        "tested_before": list(found.tested_before),
        "note": NOTE,
    }


def write_results(plan: StudyPlan, study: optuna.Study) -> Findings:
    """summary.json, of what there is; if the study is finished its figures and report too, which take seconds."""
    finished = not unfinished(plan, study)
    found = findings(plan, study, importance=finished)
    text = json.dumps(encoded(summary(found)), indent=2, allow_nan=False, default=str) + "\n"
    write_atomically(plan.out / "summary.json", text.encode())
    if finished:
        write_report(found)
    return found


def report_is_new(plan: StudyPlan) -> bool:
    """Whether the report is younger than all that it tells of, as far as that is in the directory."""
    report = plan.out / REPORT
    files = [plan.out / STUDY.file, plan.out / JOURNAL, plan.out / "summary.json"]
    if not all(file.exists() for file in (report, *files)):
        return False
    return report.stat().st_mtime_ns > max(file.stat().st_mtime_ns for file in files)


def tidy(plan: StudyPlan) -> None:
    """Once nobody works on a study that is done: the shelf goes."""
    shutil.rmtree(plan.shelf, ignore_errors=True)
