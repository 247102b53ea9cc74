"""The tables of curves as text, a line a row and the head first: for Markdown and for the page."""

from __future__ import annotations

from engine.shift import MEASURES
from sites.intervals import spelled, written
from sweeps.curves.notes import in_six
from sweeps.curves.statistics import Curves
from sweeps.notes import DIGITS, MARKS, MISSING
from sweeps.scores import ZERO_FILLED, Metric


def score_lines(curves: Curves, metric: Metric) -> list[list[str]]:
    """A row a strength; of PSNR with what changed since the first, and what is gained over the zero-filled image."""
    paired = metric == "psnr"
    head = ["strength", "zero-filled"]
    for method in curves.methods:
        head += [method, *(["Δ", "gain"] if paired else [])]
    lines = [head]
    for name in curves.columns:
        line = [name, _cell(curves, metric, ZERO_FILLED, name)]
        for method in curves.methods:
            line.append(_cell(curves, metric, method, name))
            if paired:
                found = (curves.changes.get(method, {}).get(name), curves.gains.get(method, {}).get(name))
                line += ["" if each is None else written(each.mean, 2, signed=True) for each in found]
        lines.append(line)
    return lines


def _cell(curves: Curves, metric: Metric, method: str, name: str) -> str:
    entry = curves.cells[metric].get(method, {}).get(name)
    if entry is None:
        return MISSING
    return f"{spelled(entry.mean, entry.half_width, DIGITS[metric])} {MARKS[entry.verdict]}".rstrip()


def lead_lines(curves: Curves) -> list[list[str]]:
    """A row a strength, of the methods that are tested against the first."""
    lines = [["strength", *(head for method in curves.methods[1:] for head in (method, "p"))]]
    for name in curves.columns:
        line = [name]
        for method in curves.methods[1:]:
            lead, entry = curves.leads[method].get(name), curves.cells["psnr"].get(method, {}).get(name)
            p = None if entry is None else entry.p_adjusted
            line += [MISSING if lead is None else spelled(*lead, 2, signed=True), "" if p is None else f"{p:.2g}"]
        lines.append(line)
    return lines


def shift_lines(curves: Curves) -> list[list[str]]:
    """A row a measure and method."""
    lines = [["measure", "method", *curves.columns, "ρ loss", "ρ gain"]]
    for measure, by_method in curves.shifts.items():
        for method, by_strength in by_method.items():
            means = [by_strength.get(name) for name in curves.columns]
            values = [MISSING if each is None else in_six(each.estimate.mean) for each in means]
            rhos = [written(curves.rho(measure, method, cost), 2, signed=True) for cost in ("loss", "gain")]
            lines.append([MEASURES[measure].label, method, *values, *rhos])
    return lines
