"""The files of a table: the scores come back bit for bit, and what others read is what the statistics say."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.scores import MEAN, STUDIES, PatientScore
from sweeps.statistics import summarize
from sweeps.tables.files import TIDY_FIELDS, latex, markdown, patients_csv, read_patients, tidy_csv, write_files
from tests.sweeps.tables.scores import synthetic

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
NUMBERS = st.floats(allow_nan=False)
SCORES = st.lists(
    st.builds(
        PatientScore,
        study=st.sampled_from(STUDIES),
        row=NAMES,
        column=NAMES,
        trained_at=NAMES,
        seed=st.integers(0, 2**63),
        patient=st.integers(0, 10**6),
        psnr=NUMBERS,
        ssim=NUMBERS,
        nmse=NUMBERS,
    ),
    max_size=5,
)
BOTH = synthetic(2) + synthetic(2, study="leave-one-out")
ODD = "[50%] & $x_1$ {a}^b~\\c #1 *|<>…"


@given(SCORES)
def test_scores_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, scores: list[PatientScore]) -> None:
    path = tmp_path_factory.mktemp("table") / "patients.csv"
    path.write_text(patients_csv(scores), encoding="utf-8", newline="")
    assert read_patients(path) == scores


def test_a_table_is_made_again_from_its_scores(tmp_path: Path) -> None:
    paths = write_files(tmp_path, BOTH, summarize(BOTH))
    assert [path.name for path in paths] == ["patients.csv", "table.csv", "table.md", "table.tex"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    assert summarize(read_patients(paths[0])) == summarize(BOTH)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.replace("psnr", "PSNR", 1), "first line"),
        (lambda text: text.replace("within", "without", 1), "line 2: study is 'without'"),
        (lambda text: re.sub(r"[\d.]+\n$", "much\n", text), "much"),
        (lambda text: text[:-60], "line"),
        (lambda text: text + 'within,"FL', "unexpected end"),
        (lambda text: text[:-1] + ",1\n", "line"),
        (lambda _: "", "first line"),
    ],
)
def test_damage_is_told_in_a_line(tmp_path: Path, spoil: object, words: str) -> None:
    assert callable(spoil)
    path = tmp_path / "patients.csv"
    path.write_text(spoil(patients_csv(BOTH)), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_patients(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_tidy_table_holds_every_entry() -> None:
    summary = summarize(BOTH)
    lines = list(csv.DictReader(tidy_csv(summary).splitlines()))
    assert tuple(lines[0]) == TIDY_FIELDS
    assert len(lines) == sum(len(row) for table in summary for rows in table.cells.values() for row in rows.values())
    line = next(line for line in lines if line["method"] == "FL-MRCM" and line["site"] == MEAN)
    entry = summary[0].cells["psnr"]["FL-MRCM"][MEAN]
    assert float(line["mean"]) == entry.mean
    assert float(line["half_width_95"]) == entry.half_width
    assert float(line["p_holm"]) == entry.p_adjusted
    assert (int(line["n"]), line["bold"]) == (entry.n, "true" if entry.bold else "false")
    assert {line["p_holm"] for line in lines if line["method"] in ("FL-MR", "Zero-filled")} == {""}


def test_markdown_is_a_table_with_bold_cells() -> None:
    text = markdown(summarize(BOTH))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert {line.replace(r"\|", "").count("|") for line in lines} == {5}
    bold = sum(
        entry.bold for table in summarize(BOTH) for cells in table.cells.values() for row in cells.values()
        for entry in row.values()
    )  # fmt: skip
    assert len(re.findall(r"\*\*[\d.]+ ± [\d.]+\*\* ▲", text)) == bold > 0
    assert "share a network" in text


def test_latex_is_balanced_and_escaped() -> None:
    scores = [replace(score, row=ODD if score.row == "Fused" else score.row) for score in BOTH]
    scores += [replace(score, row="-", psnr=math.inf) for score in BOTH if score.row == "FL-MR"]
    text = latex(summarize(scores))
    assert text.isascii()
    assert text.count(r"\begin{") == text.count(r"\end{") == 4
    assert r"\textbf{$\infty$} $\uparrow$" in text
    assert r"{[}50\%] \& \$x\_1\$ \{a\}\textasciicircum{}b\textasciitilde{}\textbackslash{}c \#1 {*}\textbar{}" in text
    bare = re.sub(r"\\[{}&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    rows = [line for line in bare.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {3}
    assert not re.search(r"\\\\\s*[\[*]", text)  # would be an option of the line break, or its star


def test_odd_names_leave_markdown_whole() -> None:
    scores = [replace(score, row=ODD if score.row == "Fused" else score.row) for score in BOTH]
    line = next(line for line in markdown(summarize(scores)).splitlines() if "50%" in line)
    assert len(re.findall(r"(?<!\\)\|", line)) == 5
