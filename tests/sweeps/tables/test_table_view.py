"""The table fits any terminal, says what is true, and can be drawn before it is full."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from engine.columns import shorten
from sweeps.notes import footnotes
from sweeps.scores import BASELINE, Layout, PatientScore, Study, Summary, layout_of
from sweeps.statistics import summarize
from sweeps.tables.view import table_view
from tests.sweeps.tables.scores import synthetic

LONG = "an-algorithm:with=a,rather=long,列=of,settings=0.001"


def draw(renderable: RenderableType, width: int, colors: bool = False) -> str:
    console = Console(width=width, record=True, file=StringIO(), force_terminal=colors, legacy_windows=False)
    console.print(renderable)
    return console.export_text(styles=colors)


def summary_of(sites: int, seeds: int = 5, patients: int = 3) -> Summary:
    both = synthetic(sites, seeds, patients) + synthetic(sites, seeds, patients, "leave-one-out")
    return summarize(both)


FEW, MANY = summary_of(4), summary_of(12, seeds=2)


TAKEN = {score.row for score in synthetic(2, seeds=1)}  # a method has a row to itself
LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80).filter(
    lambda name: name not in TAKEN
)


def named(label: str) -> list[PatientScore]:
    return [replace(score, row=label if score.row == "FL-MRCM" else score.row) for score in synthetic(2, seeds=2)]


@pytest.mark.parametrize("width", [20, 40, 80, 81, 120, 160, 300])
@pytest.mark.parametrize("summary", [FEW, MANY], ids=["4 sites", "12 sites"])
def test_no_line_is_wider_than_the_terminal(summary: Summary, width: int) -> None:
    lines = draw(table_view(summary), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    tables = draw(table_view(summary, notes=False), width).splitlines()
    assert not [line for line in tables if re.match(r"\S", line)]  # nothing has wrapped


@settings(deadline=None, max_examples=40)
@given(LABELS, st.integers(20, 120))
def test_any_name_fits(name: str, width: int) -> None:
    view = table_view(summarize(named(name)), notes=False)
    lines = draw(view, width).splitlines()
    plain = draw(table_view(summarize(named("x" * 80)), notes=False), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= len(plain)  # a name takes one line


def test_four_sites_on_80_columns_show_all() -> None:
    text = draw(table_view(FEW), 80)
    lines = text.splitlines()
    assert len([line for line in lines if line.split()[:5] == ["fastmri", "hpks", "ixi", "brats", "mean"]]) == 6
    entry = FEW[0].cells["psnr"]["FL-MR"]["hpks"]
    assert f"{entry.mean:.2f}±{entry.half_width:.2f}" in text
    assert "fed-prox:mu=0.01" in text
    assert f"{entry.mean:.2f} ±{entry.half_width:.2f}" in draw(table_view(FEW), 160)


def test_twelve_sites_come_in_blocks() -> None:
    text = draw(table_view(MANY[:1], metrics=["psnr"], notes=False), 80)
    titles = [line.split() for line in text.splitlines() if "site-" in line]
    assert [title for line in titles for title in line] == [f"site-{k + 1:02}" for k in range(12)] + ["mean"]
    assert len(titles) == 3
    assert text.count(BASELINE + " ") == 3


def test_the_interval_goes_only_if_it_must() -> None:
    assert "±" in draw(table_view(FEW, notes=False), 40)
    assert "±" not in draw(table_view(FEW, notes=False), 22)
    single = draw(table_view(summary_of(2, seeds=1, patients=1)), 80)
    assert "±" not in single.split("Zero-filled: no network")[0]


def test_marks_and_bold_are_those_of_the_tests() -> None:
    table = FEW[0]
    text = draw(table_view(FEW[:1], notes=False), 160, colors=True)
    entries = [entry for cells in table.cells.values() for row in cells.values() for entry in row.values()]
    assert text.count("▲") == sum(entry.verdict == "better" for entry in entries)
    assert text.count("▼") == sum(entry.verdict == "worse" for entry in entries) > 0
    bold = re.findall(r"\x1b\[1m([\d.]+ ±[\d.]+)\x1b", text)
    assert len(bold) == sum(entry.bold for entry in entries) > 0


def test_long_site_names_take_the_room_there_is() -> None:
    name = "university-hospital"
    scores = [replace(score, column=name if score.column == "hpks" else score.column) for score in synthetic(4)]
    assert name in draw(table_view(summarize(scores)), 160)
    assert re.search(r" univ\w*…\w*ital ", draw(table_view(summarize(scores)), 80))


def test_missing_cells_are_dots() -> None:
    scores = [
        score for score in synthetic(2) if score.row != "Fused" and (score.row, score.column) != (BASELINE, "hpks")
    ]
    layout: dict[Study, Layout] = {"within": layout_of(synthetic(2))["within"]}
    text = draw(table_view(summarize(scores, layout), metrics=["psnr"]), 80)
    fused = next(line for line in text.splitlines() if line.startswith(" Fused"))
    assert fused.split() == ["Fused", "…", "…", "…"]
    assert next(line for line in text.splitlines() if line.startswith(" FL-MR ")).split()[3:] == ["…", "…"]
    assert "Nothing is bold in mean" in " ".join(text.split())
    empty = draw(table_view(summarize([], layout)), 80)
    assert empty.count("…") == 3 * 3 * len(layout["within"].rows)
    assert "Mean" not in empty


def test_the_footer_tells_what_the_numbers_are() -> None:
    text = " ".join(footnotes(FEW))
    for words in ("5 seeds × 3 test patients a site", "Wilcoxon", "Holm", "30 comparisons", "95 %", "share a network"):
        assert words in text
    assert "1 seed × 1 test patient a site" in " ".join(footnotes(summary_of(2, seeds=1, patients=1)))
    assert footnotes(()) == []


@given(st.text(max_size=30), st.integers(0, 40))
def test_shortened_names_keep_both_ends(text: str, width: int) -> None:
    short = shorten(text, width)
    assert cell_len(short) <= width
    assert short == text or width == 0 or "…" in short


def test_settings_that_differ_at_the_end_stay_apart() -> None:
    assert shorten("fed-prox:mu=0.01", 13) == "fed-pr…u=0.01"
    assert shorten(LONG, 14) != shorten(LONG[:-1] + "2", 14)
