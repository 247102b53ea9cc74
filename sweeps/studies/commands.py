"""What `run.py sweep` does once its options are parsed, and `resume` and `show` of its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sites.settings import explain, parse_federation, without_help
from sweeps.studies.directory import report_is_new, study_name, take_part, tidy, write_results
from sweeps.studies.findings import Findings, findings
from sweeps.studies.journal import stored_study
from sweeps.studies.parsing import SweepCommand, stored_plan
from sweeps.studies.plan import StudyPlan
from sweeps.studies.report import import_heavy, write_report
from sweeps.studies.search import specs
from sweeps.studies.trials import WINNERS, run_study, unfinished
from sweeps.studies.view import study_view
from sweeps.studies.watch import watching
from sweeps.studies.words import rounds_text
from sweeps.studies.workers import one_at_a_time, others

HELP = """\
Search settings of a federation with Optuna: many federations, side by side.

A trial is a federation with values of its own (with --seeds N: N federations, judged by their mean). Trials are
compared on validation patients; the test patients are scored once, at the end, for the winners. What is stored is not
trained again: the same command goes on after an interruption, and one with more --trials searches on; the same command
in several terminals shares the work.

--search NAME=LOW:HIGH, NAME=LOW:HIGH:STEP, NAME=log:LOW:HIGH or NAME=A,B,C, several after each other: any option of
`run.py`, a site's setting (hpks.snr, target.acceleration, sources.tr), a shift's strength (shift.contrast,
shift.ixi.snr). With algorithm=A,B among them, settings that only some methods have are searched in the trials of those.
A text with a comma stands in quotes: 'train_sites="ixi,hpks",brats'.

--space FILE: the same as a TOML file with a table [search]; where both name a setting, --search wins.

--against METHOD: the objective is what a trial gains over this method, trained on the same federation with the same
settings; the report has the paired difference on the test patients.

--confirm N: the winners, and --against, are trained again on N seeds that the search has not seen, for a number without
the luck of the search.

{given}"""
EXAMPLES = """\
Examples:
  python run.py sweep --trials 30 --pruner median --search lr=log:1e-4:1e-2 \\
    alignment_weight=log:1e-3:1 --against fl-mr --confirm 3
  python run.py sweep --algorithm fl-mr --search channels=4,8,16 \\
    hpks.acceleration=4,8 --objective target-psnr,bytes
"""


def sweep(argv: Sequence[str], _began: float) -> None:
    """Run what is missing of a study, and show it."""
    asked = without_help(argv)
    if len(asked) < len(argv):
        explain(HELP.format(given=_given(asked)))
        print(EXAMPLES)
    command = parse_federation(SweepCommand, argv, "sweep")
    complete(StudyPlan(command.sweep, command.run), command.live)


def resume(path: Path, live: bool) -> None:
    """Go on with the study of a directory."""
    complete(stored_plan(path), live)


def show(path: Path) -> None:
    """Draw what the directory of a study holds; its report is brought up to date, if that is possible."""
    plan = stored_plan(path)
    found = findings(plan, stored_study(plan.out, plan.config.storage, study_name(plan)))
    _show(found)
    if not report_is_new(plan):
        try:
            write_report(found)
        except OSError as error:
            Console().print(Text(f"report.html is not up to date: {error}", "yellow"), soft_wrap=True)


def complete(plan: StudyPlan, live: bool) -> None:
    """Train what is missing, write and show the results."""
    with take_part(plan) as (study, worker):
        try:
            if unfinished(plan, study):
                with watching(plan, study, live) as watcher:
                    run_study(plan, study, worker, watcher, import_heavy)
        except (KeyboardInterrupt, BrokenPipeError):  # the second: whoever read our output is gone
            raise KeyboardInterrupt(f"; run.py resume {plan.out} goes on") from None
        finally:
            with one_at_a_time(plan.out, WINNERS):
                found = write_results(plan, study)
        if found.finished and not others(worker):
            tidy(plan)
    _show(found)


def _show(found: Findings) -> None:
    console, out = Console(), found.plan.out
    console.print(study_view(found), crop=False)
    console.print(Text(" (summary.json, report.html, figures/*.png, trials/N/)", "bright_black"))
    console.print(Text(f"study: {out}"), soft_wrap=True)


def _given(options: Sequence[str]) -> str:
    """What these options search, in words; what is wrong with them does not keep help away."""
    try:
        command = parse_federation(SweepCommand, options, "sweep")
        plan = StudyPlan(command.sweep, command.run)
    except ValueError as error:
        return f"(With the options given: {error}.)"
    left_out = "" if command.sweep.search or command.sweep.space else " (the default, around the run's own values)"
    searched = f"{plan.trials} trials of {rounds_text(plan)}, searching {' '.join(specs(plan.space))}{left_out}"
    return f"With the options given: {searched}."
