"""Curves as files: curves.csv (a line a test patient), shift.csv (a line a source and measure), curves.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from engine.checkpoint import write_atomically
from sweeps.curves.notes import curve_footnotes, heading, saturations
from sweeps.curves.scores import SCORE_FIELDS, SHIFT_FIELDS, Point
from sweeps.curves.statistics import Curves
from sweeps.curves.tables import lead_lines, score_lines, shift_lines
from sweeps.notes import TITLES
from sweeps.scores import METRICS
from sweeps.text import csv_text, markdown_text


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
    parts = [f"# {markdown_text(heading(curves))}\n", "![Curves](figures/curves.png)\n"]
    parts += [f"{TITLES[metric]}:\n\n{_table(score_lines(curves, metric))}" for metric in METRICS]
    if len(curves.methods) > 1:
        name = markdown_text(curves.methods[0])
        parts.append(f"PSNR minus {name}'s, dB, paired, and p of the test, corrected:\n\n{_table(lead_lines(curves))}")
    if curves.shifts:
        parts.append(f"Shift of {markdown_text(curves.target)} against the sources:\n\n{_table(shift_lines(curves))}")
    parts += [markdown_text(note) + "\n" for note in [*saturations(curves), *curve_footnotes(curves, warnings)]]
    return "\n".join(parts)


def _table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head."""
    head, *rows = ([markdown_text(cell) for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---", *["---:"] * (len(head) - 1)], *rows])
