"""Curves as files: curves.csv (a line a test patient), shift.csv (a line a source and measure), curves.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from engine.checkpoint import write_atomically
from engine.shift import MEASURES
from sweeps.curve_notes import curve_footnotes, heading, saturations, signed, spelled, three_digits
from sweeps.curve_scores import SCORE_FIELDS, SHIFT_FIELDS, Point
from sweeps.curve_statistics import Curves
from sweeps.notes import DIGITS, MARKS, TITLES
from sweeps.scores import METRICS, ZERO_FILLED, Metric
from sweeps.table_files import csv_text, markdown_text

MISSING = "…"


def write_files(directory: Path, points: Sequence[Point], curves: Curves, warnings: Sequence[str] = ()) -> list[Path]:
    """All three into a directory that exists; their paths. warnings: of the sites' data."""
    contents = {
        "curves.csv": csv_text(SCORE_FIELDS, (astuple(score) for point in points for score in point.scores)),
        "shift.csv": csv_text(SHIFT_FIELDS, (astuple(shift) for point in points for shift in point.shifts)),
        "curves.md": curves_markdown(curves, warnings),
    }
    for name, content in contents.items():
        write_atomically(directory / name, content.encode())
    return [directory / name for name in contents]


def curves_markdown(curves: Curves, warnings: Sequence[str] = ()) -> str:
    """GitHub's tables: the scores, a table a metric, and the shift."""
    title = heading(curves)
    parts = [f"# {markdown_text(title[0].upper() + title[1:])}\n", "![Curves](figures/curves.png)\n"]
    parts += [f"{TITLES[metric]}:\n\n{_table(_score_lines(curves, metric))}" for metric in METRICS]
    if len(curves.methods) > 1:
        name = markdown_text(curves.methods[0])
        parts.append(f"PSNR minus {name}'s, dB, paired, and p of the test, corrected:\n\n{_table(_lead_lines(curves))}")
    if curves.shifts:
        parts.append(f"Shift of {markdown_text(curves.target)} against the sources:\n\n{_table(_shift_lines(curves))}")
    parts += [markdown_text(note) + "\n" for note in [*saturations(curves), *curve_footnotes(curves, warnings)]]
    return "\n".join(parts)


def _table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head."""
    head, *rows = ([markdown_text(cell) for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---", *["---:"] * (len(head) - 1)], *rows])


def _score_lines(curves: Curves, metric: Metric) -> list[list[str]]:
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
                line += ["" if each is None else signed(each.mean, 2) for each in found]
        lines.append(line)
    return lines


def _cell(curves: Curves, metric: Metric, method: str, name: str) -> str:
    entry = curves.cells[metric].get(method, {}).get(name)
    if entry is None:
        return MISSING
    return f"{spelled((entry.mean, entry.half_width), DIGITS[metric])} {MARKS[entry.verdict]}".rstrip()


def _lead_lines(curves: Curves) -> list[list[str]]:
    """A row a strength, of the methods that are tested against the first."""
    lines = [["strength", *(head for method in curves.methods[1:] for head in (method, "p"))]]
    for name in curves.columns:
        line = [name]
        for method in curves.methods[1:]:
            lead, entry = curves.leads[method].get(name), curves.cells["psnr"].get(method, {}).get(name)
            p = None if entry is None else entry.p_adjusted
            line += [MISSING if lead is None else spelled(lead, 2, sign=True), "" if p is None else f"{p:.2g}"]
        lines.append(line)
    return lines


def _shift_lines(curves: Curves) -> list[list[str]]:
    """A row a measure and method."""
    lines = [["measure", "method", *curves.columns, "ρ loss", "ρ gain"]]
    for measure, by_method in curves.shifts.items():
        for method, by_strength in by_method.items():
            means = [by_strength.get(name) for name in curves.columns]
            values = [MISSING if each is None else three_digits(each.estimate.mean) for each in means]
            rhos = [signed(curves.rho(measure, method, cost), 2) for cost in ("loss", "gain")]
            lines.append([MEASURES[measure].label, method, *values, *rhos])
    return lines
