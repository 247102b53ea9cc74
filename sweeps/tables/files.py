"""A table as files: patients.csv (every score), table.csv (tidy), table.md (GitHub), table.tex (booktabs)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from engine.checkpoint import write_atomically
from engine.standings import one_line
from sweeps.notes import HEADINGS, MARKS, MISSING, TITLES, column_title, entry_parts, footnotes
from sweeps.scores import STUDIES, Entry, Metric, PatientScore, StudyTable, Summary
from sweeps.text import csv_text, markdown_text

PATIENTS = "patients.csv"
SCORE_FIELDS = tuple(field.name for field in fields(PatientScore))
TIDY_FIELDS = ("study", "metric", "method", "site", "mean", "half_width_95", "n", "p_holm", "bold")


def write_files(
    directory: Path, scores: Sequence[PatientScore], summary: Summary, facts: Sequence[str] = ()
) -> list[Path]:
    """All four into a directory that exists; their paths. facts: see `footnotes`."""
    contents = {
        PATIENTS: patients_csv(scores),
        "table.csv": tidy_csv(summary),
        "table.md": markdown(summary, facts),
        "table.tex": latex(summary, facts),
    }
    for name, content in contents.items():
        write_atomically(directory / name, content.encode())
    return [directory / name for name in contents]


# ---- CSV ------------------------------------------------------------------------------------------------


def patients_csv(scores: Iterable[PatientScore]) -> str:
    """A line a score, in the given order; numbers as Python writes them, so that none is rounded."""
    return csv_text(SCORE_FIELDS, (astuple(score) for score in scores))


def read_patients(path: Path) -> list[PatientScore]:
    """What `patients_csv` wrote, bit for bit. Raises ValueError, in one line, that names file and line."""
    try:
        lines = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
        if tuple(lines.fieldnames or ()) != SCORE_FIELDS:
            raise ValueError(f"its first line must be {','.join(SCORE_FIELDS)}")
        scores = []
        for line in lines:
            try:
                scores.append(_score(line))
            except (ValueError, TypeError) as error:  # TypeError: a field is missing
                raise ValueError(f"line {lines.line_num}: {error}") from error
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} is damaged ({one_line(str(error))}); `run.py resume` of the table mends it"
        ) from error
    return scores


def _score(line: Mapping[str, Any]) -> PatientScore:
    if line["study"] not in STUDIES or None in line:
        raise ValueError(f"study is {line['study']!r}; it is one of {', '.join(STUDIES)}")
    kinds = {"seed": int, "patient": int, "psnr": float, "ssim": float, "nmse": float}
    return PatientScore(**{key: kinds.get(key, str)(value) for key, value in line.items()})


def tidy_csv(summary: Summary) -> str:
    """A line an entry; what is unknown is empty. The site of a mean over all is `sweeps.scores.MEAN`."""
    return csv_text(TIDY_FIELDS, (line for table in summary for line in _tidy_lines(table)))


def _tidy_lines(table: StudyTable) -> Iterable[tuple[object, ...]]:
    for metric in table.cells:
        for row in table.rows:
            for column in table.columns:
                entry = table.entry(metric, row, column)
                if entry is not None:
                    half_width = None if math.isnan(entry.half_width) else entry.half_width
                    rest = (entry.n, entry.p_adjusted, "true" if entry.bold else "false")
                    yield (table.study, metric, row, column, entry.mean, half_width, *rest)


# ---- Markdown -------------------------------------------------------------------------------------------


def markdown(summary: Summary, facts: Sequence[str] = ()) -> str:
    """GitHub's tables, one a metric."""
    parts = []
    for table in summary:
        name, explanation = HEADINGS[table.study]
        parts.append(f"## {name.capitalize()}\n\n{explanation[0].upper()}{explanation[1:]}.\n")
        for metric in table.cells:
            lines = [["method", *(markdown_text(column_title(column)) for column in table.columns)]]
            lines.append(["---", *["---:"] * len(table.columns)])
            for row in table.rows:
                cells = (_markdown_cell(table.entry(metric, row, column), metric) for column in table.columns)
                lines.append([markdown_text(row), *cells])
            parts.append(f"{TITLES[metric]}:\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    parts += [markdown_text(note) + "\n" for note in footnotes(summary, facts)]
    return "\n".join(parts)


def _markdown_cell(entry: Entry | None, metric: Metric) -> str:
    if entry is None:
        return MISSING
    mean, half_width = entry_parts(entry, metric)
    text = f"{mean} ± {half_width}" if half_width else mean
    return f"{f'**{text}**' if entry.bold else text} {MARKS[entry.verdict]}".rstrip()


# ---- LaTeX ----------------------------------------------------------------------------------------------

TEX_MARKS = {"better": r"$\uparrow$", "worse": r"$\downarrow$"}
TEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ it would begin an option,
    "*": "{*}",  # and this be a command's star
    "±": r"$\pm$",
    "×": r"$\times$",
    "▲": TEX_MARKS["better"],
    "▼": TEX_MARKS["worse"],
    "∞": r"$\infty$",
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
} | {character: "\\" + character for character in "&%$#_{}"}


def latex(summary: Summary, facts: Sequence[str] = ()) -> str:
    r"""A table environment a study; the document needs \usepackage{booktabs}."""
    parts = ["% needs \\usepackage{booktabs}; names beyond Latin letters need XeLaTeX or LuaLaTeX\n"]
    notes = "\n".join(_tex_text(note) for note in footnotes(summary, facts))
    for table in summary:
        name, explanation = HEADINGS[table.study]
        width = 1 + len(table.columns)
        lines = [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_tex_text(f'{name.capitalize()}: {explanation}.')}}}",
            rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
            r"\toprule",
            " & ".join(["method", *(_tex_text(column_title(column)) for column in table.columns)]) + r" \\",
        ]
        for metric in table.cells:
            lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_tex_text(TITLES[metric])}}}}} \\"]
            for row in table.rows:
                cells = (_tex_cell(table.entry(metric, row, column), metric) for column in table.columns)
                lines.append(" & ".join([_tex_text(row), *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", rf"\par\smallskip\footnotesize {notes}", r"\end{table}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _tex_cell(entry: Entry | None, metric: Metric) -> str:
    if entry is None:
        return _tex_text("…")
    mean, half_width = map(_tex_text, entry_parts(entry, metric))
    text = rf"{mean} $\pm$ {half_width}" if half_width else mean
    mark = TEX_MARKS.get(entry.verdict or "same", "")
    return (rf"\textbf{{{text}}}" if entry.bold else text) + (f" {mark}" if mark else "")


def _tex_text(text: str) -> str:
    """Whatever a name holds, LaTeX sets it as it is."""
    return "".join(TEX_CHARACTERS.get(character, character) for character in one_line(text))
