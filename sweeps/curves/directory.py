"""The directory of a sweep: its settings, the run directories of its federations, the curves as files and figure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from engine.checkpoint import write_atomically
from sites.config import flat_fields
from sites.report.figures import REPORT
from sites.run_directory import read_rounds
from sweeps.curves.figure import write_figure
from sweeps.curves.files import write_files
from sweeps.curves.page import curves_page
from sweeps.curves.parsing import PARSER
from sweeps.curves.plan import GROWING, CurvesConfig, CurvesPlan, Federation, parse_sweep, read_point
from sweeps.curves.scores import Point
from sweeps.curves.statistics import Curves, summarize_curves
from sweeps.directory import Kind, Settings, finished_summary, open_directory, stored_warnings

CURVES = Kind("shift sweep", "curves.toml")


def open_curves(plan: CurvesPlan) -> AbstractContextManager[None]:
    """Hold the sweep's directory, new or of the same sweep, as its one writer; its settings are written.

    Raises ValueError if it is in use, or holds something else or another sweep.
    """
    device = plan.federations[0].config.placement.device

    def stored() -> Settings:
        there = stored_curves(plan.out)
        if (dial := parse_sweep(there.sweep)[0]) != plan.dial:
            raise ValueError(
                f"{plan.out} holds another shift sweep: of {dial}, asked {plan.dial}; choose another --out"
            )
        return _settings(there)

    return open_directory(plan.out, CURVES, _settings(plan.config), stored, GROWING, device)


def _settings(config: CurvesConfig) -> Settings:
    return Settings(flat_fields(config), config.run.institutions)


def stored_curves(path: Path) -> CurvesConfig:
    """The settings of a sweep's directory, which is its `out`. Raises ValueError if it holds none that can be read."""
    if not CURVES.there(path):
        raise ValueError(f"{path} holds no {CURVES.noun} (there is no {CURVES.file}); name the directory of one")
    config = PARSER.read(path / CURVES.file).curves
    return replace(config, run=replace(config.run, out=str(path)))


def finished(federation: Federation) -> Point | None:
    """What a stored federation says; None if it is not there, or not done.

    Raises ValueError if its directory is damaged or holds another run.
    """
    summary = finished_summary(federation.config)
    if summary is None:
        return None
    path = Path(federation.config.out)
    rounds = read_rounds(path)
    if not rounds or rounds[-1].round != federation.config.rounds:
        raise ValueError(f"{path / 'rounds.jsonl'} lacks round {federation.config.rounds}; delete that directory")
    return read_point(federation, summary, rounds[-1])


def curves_of(plan: CurvesPlan, points: Sequence[Point]) -> Curves:
    """What the points that there are say of the whole plan."""
    labels = [method.label for method in plan.methods]
    return summarize_curves(points, plan.dial, plan.target, labels, plan.strengths)


def curves_warnings(plan: CurvesPlan) -> list[str]:
    """What the finished federations say must be known of the sites' data, each once."""
    return stored_warnings(federation.config for federation in plan.federations)


def write_curves(plan: CurvesPlan, points: Sequence[Point]) -> None:
    """curves.csv, shift.csv, curves.md, the figure and report.html, of what there is."""
    curves, warnings = curves_of(plan, points), curves_warnings(plan)
    write_files(plan.out, points, curves, warnings)
    write_figure(plan.out / "figures" / "curves.png", curves, warnings)
    write_atomically(plan.out / REPORT, curves_page(plan, curves, warnings).encode())
