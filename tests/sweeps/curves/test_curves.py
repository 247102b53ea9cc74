"""Curves against shift: which federations they take, what the numbers are, and that they are drawn whole."""

from __future__ import annotations

import csv
import json
import math
import re
import warnings
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from safetensors.numpy import save_file

import run
from engine.algorithms import FlMr, FlMrcm
from engine.shift import MEASURES
from engine.types import UNSCORED, RoundReport, Shift, SiteRound
from sites.intervals import written
from sites.shifts import with_shift
from sweeps.curves.figure import draw_curves, write_figure
from sweeps.curves.files import curves_markdown, write_files
from sweeps.curves.notes import curve_footnotes, in_six, saturations
from sweeps.curves.page import curves_page
from sweeps.curves.plan import RUN, CurvesConfig, CurvesPlan, parse_sweep, read_point
from sweeps.curves.scores import SCORE_FIELDS, SHIFT_FIELDS, Point, PointScore, PointShift
from sweeps.curves.statistics import Curves, summarize_curves
from sweeps.curves.view import curves_view
from sweeps.scores import ZERO_FILLED
from sweeps.statistics import holm, signed_rank_test
from tests.sites.report.test_report import read_png
from tests.sweeps.curves.points import STRENGTHS, synthetic
from tests.test_command_line import SMALL, call

SCENARIO = """\
name = "trio"
summary = "Three small simulated institutions."
"""
SITE = """
[[site]]
name = "{name}"
train_patients = 2
val_patients = 2
test_patients = 2
slices = 4
center_fraction = 0.2
shift = "{shift}"
"""


def plan(**settings: Any) -> CurvesPlan:
    """run: settings of the run."""
    run = replace(RUN, **{"out": "/nowhere", **settings.pop("run", {})})
    return CurvesPlan(CurvesConfig(**{"sweep": "contrast=0,0.5,1", "seeds": 2, **settings}, run=run))


# ---- what is asked for ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "strengths"),
    [
        ("contrast=0:1:0.25", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("contrast=0:0.7:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),  # 7 * 0.1 is 0.7000000000000001
        ("contrast = 0 : .8 : .4", (0.0, 0.4, 0.8)),
        ("contrast=1, 0, 0.5,0", (0.0, 0.5, 1.0)),
    ],
)
def test_strengths_as_they_are_written(text: str, strengths: tuple[float, ...]) -> None:
    assert parse_sweep(text) == ("contrast", strengths)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "sweep is ''; write DIAL=FROM:TO:STEP or "),
        ("contrast", "sweep is 'contrast'; write"),
        ("contrast=0:1", "sweep is 'contrast=0:1'; write"),
        ("contrast=0:1:0", "'contrast=0:1:0' does not rise"),
        ("contrast=1:0:0.5", "does not rise"),
        ("contrast=0:1:0.4", "goes past its end; let it end at 0.8, or take a step that meets 1"),
        ("contrast=0:1:0.001", "more than 101 strengths"),
        ("contrast=0:one:0.5", "'one' is no number"),
        ("contrast=0,", "'' is no number"),
        ("contrast=0,1.5", "1.5 is no strength; take 0"),
        ("contrast=-0.5:1:0.5", "-0.5 is no strength"),
        ("contrast=0.5", "has one strength, which makes no curve"),
        ("colour=0,1", "'colour' is unknown; choose one of contrast, "),
        ("contrst=0,1", "did you mean 'contrast'?"),
    ],
)
def test_a_sweep_that_means_nothing_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        parse_sweep(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": "fl-mr,fedavg"}, "methods: 'fedavg' is unknown"),
        ({"methods": "fl-mr,fl-mr"}, "'fl-mr' stands twice"),
        ({"methods": " , "}, "methods is ' , '; take at least one"),
        ({"seeds": 0}, "seeds is 0; take at least 1"),
        ({"parallel": 0}, "parallel is 0"),
        ({"run": {"shift": "contrast=0.5"}}, "contrast is what the sweep turns"),
        ({"run": {"shift_every": 3}}, "shift_every is 3, and a sweep measures the shift after the last round"),
        ({"run": {"algorithm": FlMr(weighting="uniform")}}, "--methods fl-mr:weighting=uniform"),
        ({"run": {"algorithm": FlMrcm()}}, "--methods"),
        ({"run": {"scenario": "nowhere"}}, "'nowhere' is unknown"),
        ({"run": {"target": "nobody"}}, "'nobody' is not a site"),
        ({"run": {"sites": 1}}, "no other site to train"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        assert plan(**settings).federations
    assert "\n" not in str(refused.value)


def test_a_dial_that_moves_nothing_there_is_refused() -> None:
    with pytest.raises(ValueError, match="site 'fastmri': shift contrast moves nothing"):
        assert plan(run={"scenario": "cvpr21", "target": "fastmri"}).federations


# ---- federations ----------------------------------------------------------------------------------------


def test_one_federation_a_strength_method_and_seed() -> None:
    planned = plan(methods="fl-mr,fl-mrcm:alignment_weight=0.5:lr=0.1").federations
    assert [federation.name for federation in planned[:4]] == [
        "seed-0/contrast-0-fl-mr",
        "seed-0/contrast-0-fl-mrcm+alignment_weight=0.5+lr=0.1",
        "seed-0/contrast-0.5-fl-mr",
        "seed-0/contrast-0.5-fl-mrcm+alignment_weight=0.5+lr=0.1",
    ]
    assert len(planned) == 3 * 2 * 2
    one = planned[3].config
    assert (one.algorithm, one.train.lr, one.seed) == (FlMrcm(alignment_weight=0.5), 0.1, 0)
    assert one.out == "/nowhere/runs/seed-0/contrast-0.5-fl-mrcm+alignment_weight=0.5+lr=0.1"
    assert (one.target, one.target_trains, one.training) == ("west", False, ("east", "north", "south"))
    assert (one.placement.workers, one.keep_checkpoints) == (0, 0)
    assert one.shift_every == one.rounds == 15
    assert {federation.config.seed for federation in planned} == {0, 1}


def test_only_the_targets_dial_moves_whatever_the_scenario_did() -> None:
    for dial, scenario in (("contrast", "contrast"), ("snr", "contrast"), ("acceleration", "snr")):
        planned = plan(sweep=f"{dial}=0,0.5,1", seeds=1, methods="fl-mr", run={"scenario": scenario}).federations
        plain = planned[0].config.institutions
        assert all(site.shift == "" for site in plain)
        for federation, strength in zip(planned, (0.0, 0.5, 1.0), strict=True):
            expected = (*plain[:3], with_shift(plain[3], dial, strength))
            assert (federation.config.institutions, federation.strength) == (expected, strength)


def test_another_shift_stays_while_the_dial_moves() -> None:
    planned = plan(sweep="snr=0,1", seeds=1, methods="fl-mr", run={"shift": "contrast=0.5,north:mask=1"}).federations
    assert [[site.shift for site in f.config.institutions] for f in planned] == [
        ["mask=1", "", "", "contrast=0.5"],
        ["mask=1", "", "", "contrast=0.5,snr=1"],
    ]


def test_the_default_directory_is_the_settings_but_for_what_grows() -> None:
    def default(**settings: Any) -> Path:
        return plan(**{**settings, "run": {"out": "", **settings.get("run", {})}}).out

    assert default().name.startswith("shift-contrast-contrast-")
    assert default() == default(seeds=9, methods="fed-prox", parallel=1, sweep="contrast=0:1:0.1")
    others = [default(run={"rounds": 3}), default(run={"seed": 1}), default(sweep="snr=0,1")]
    assert len({default(), *others}) == 4


def test_a_plan_of_a_plans_settings_is_the_same() -> None:
    """What is stored is what is planned."""
    first = plan(run={"shift": "snr=0.5"})
    again = CurvesPlan(first.config)
    assert again.federations == first.federations
    assert again.config == first.config


# ---- what a federation says -----------------------------------------------------------------------------


def test_a_point_is_the_targets_patients_and_the_sources_shift() -> None:
    federation = plan(seeds=1).federations[1]

    def scores(psnr: float) -> dict[str, float]:
        return {"psnr": psnr, "ssim": 0.5, "nmse": 0.1}

    patients = [{"test": scores(20 + k), "zero_filled": scores(10 + k)} for k in range(2)]
    others = [{"name": name, "test_patients": [{"test": scores(0), "zero_filled": scores(0)}]} for name in "ab"]
    summary = {"sites": [*others, {"name": "west", "test_patients": patients}]}
    shift = {"mmd": Shift(value=0.5, low=-0.1, high=0.1, p=0.01)}
    sites = {name: SiteRound(metrics={}, scores=UNSCORED, shift=shift) for name in ("south", "north")}
    sites["west"] = SiteRound(metrics={}, scores=UNSCORED)
    point = read_point(federation, summary, RoundReport(round=15, sites=sites, ledger={}, seconds={}))
    assert [(s.patient, s.psnr, s.zero_filled_psnr) for s in point.scores] == [(0, 20, 10), (1, 21, 11)]
    assert {(s.method, s.strength, s.seed) for s in point.scores} == {("FL-MRCM", 0.0, 0)}
    assert [(s.source, s.measure, s.value, s.high) for s in point.shifts] == [
        ("north", "mmd", 0.5, 0.1),
        ("south", "mmd", 0.5, 0.1),
    ]
    with pytest.raises(ValueError, match="lacks 'test_patients'; delete that directory"):
        read_point(federation, {"sites": [{"name": "west"}]}, RoundReport(round=1, sites={}, ledger={}, seconds={}))


# ---- statistics -----------------------------------------------------------------------------------------


def point(method: str, strength: float, psnrs: list[float], shift: float, seed: int = 0, zero: float = 10) -> Point:
    where: dict[str, Any] = {"method": method, "strength": strength, "seed": seed}
    scores = tuple(
        PointScore(
            **where,
            patient=number,
            psnr=psnr,
            ssim=psnr / 100,
            nmse=1 / psnr,
            zero_filled_psnr=zero + number,
            zero_filled_ssim=0.1,
            zero_filled_nmse=0.2,
        )
        for number, psnr in enumerate(psnrs)
    )
    shifts = tuple(
        PointShift(**where, source=source, measure="mmd", value=value, low=0.0, high=0.1, p=0.01)
        for source, value in (("a", shift), ("b", 3 * shift))
    )
    return Point(scores=scores, shifts=shifts)


def test_the_numbers_by_hand() -> None:
    curves = summarize_curves(
        [
            point("FL-MR", 0.0, [20, 22], 0.05),
            point("FL-MR", 1.0, [17, 21], 0.4, zero=9),
            point("FL-MRCM", 0.0, [20, 23], 0.05),
            point("FL-MRCM", 1.0, [19, 21], 0.3, zero=9),
        ],
        "contrast",
        "west",
    )
    assert (curves.methods, curves.columns, curves.sources, curves.patients) == (
        ("FL-MR", "FL-MRCM"),
        ("0", "1"),
        2,
        (2, 2),
    )
    assert curves.cells["psnr"]["FL-MR"]["1"].mean == 19
    assert curves.cells["psnr"][ZERO_FILLED]["1"].mean == 9.5
    assert curves.changes["FL-MR"].keys() == {"1"}
    assert curves.changes["FL-MR"]["1"].mean == -2  # of -3 and -1
    assert curves.changes[ZERO_FILLED]["1"].mean == -1
    assert curves.gains["FL-MR"]["1"].mean == 9.5
    assert curves.leads["FL-MRCM"]["1"].mean == 1  # of 2 and 0
    assert curves.leads["FL-MRCM"]["1"].half_width == pytest.approx(12.7062, rel=1e-4)  # t of one degree, s = sqrt(2)
    assert curves.shifts["mmd"]["FL-MR"]["1"].estimate.mean == pytest.approx(0.8)
    dots = {(dot.method, dot.strength): [dot.loss, dot.gain, dot.shift["mmd"]] for dot in curves.dots}
    assert dots["FL-MR", 1.0] == pytest.approx([2, 9.5, 0.8])
    assert dots["FL-MRCM", 0.0] == pytest.approx([0, 11, 0.1])


def test_every_strength_is_tested_by_unit_with_holms_correction_over_strengths() -> None:
    found = synthetic(seeds=2)
    curves = summarize_curves(found, "contrast", "west")
    psnr = {(s.method, s.strength, s.seed, s.patient): s.psnr for each in found for s in each.scores}
    raw = {
        f"{strength:g}": signed_rank_test(
            [psnr["FL-MRCM", strength, *unit] - psnr["FL-MR", strength, *unit] for unit in np.ndindex(2, 4)]
        )[0]
        for strength in STRENGTHS
    }
    adjusted = {name: entry.p_adjusted for name, entry in curves.cells["psnr"]["FL-MRCM"].items()}
    assert adjusted == holm(raw)
    assert curves.comparisons == len(STRENGTHS)
    assert curves.cells["psnr"]["FL-MRCM"]["1"].verdict == "better"
    assert curves.cells["psnr"]["FL-MR"]["1"].verdict is None
    swapped = summarize_curves(found, "contrast", "west", ["FL-MRCM", "FL-MR"])
    assert swapped.cells["psnr"]["FL-MR"]["1"].verdict == "worse"


def test_rho_is_of_a_method_over_strengths_and_seeds() -> None:
    """A measure that ranks the losses has 1, one that was not taken none."""
    found = [
        point("FL-MR", strength, [20 - 3 * strength - seed * strength], shift=(3 + seed) * strength, seed=seed)
        for strength in (0.0, 0.5, 1.0)
        for seed in (0, 1)
    ]
    curves = summarize_curves(found, "contrast", "west")
    assert curves.rho("mmd", "FL-MR") == pytest.approx(1)
    assert curves.rho("mmd", "FL-MR", "gain") == pytest.approx(-1)
    assert math.isnan(curves.rho("coral", "FL-MR"))
    without_zero = summarize_curves([each for each in found if each.scores[0].seed], "contrast", "west")
    assert without_zero.rho("mmd", "FL-MR") == pytest.approx(1)
    assert math.isnan(summarize_curves(found[:2], "contrast", "west").rho("mmd", "FL-MR"))  # of two it says nothing


def measured(values: list[float], measure: str = "mmd") -> Curves:
    """A curve of these means, at as many strengths."""
    strengths = [k / (len(values) - 1) for k in range(len(values))]
    found = []
    for strength, value in zip(strengths, values, strict=True):
        one = point("FL-MR", strength, [20.0], value / 2)
        found.append(replace(one, shifts=tuple(replace(shift, measure=measure) for shift in one.shifts)))
    return summarize_curves(found, "contrast", "west")


@pytest.mark.parametrize(
    ("values", "strength"),
    [
        ([0.5, 0.8, 0.99, 1.0, 1.0], 0.5),
        ([0.5, 1.0, 0.99, 1.0, 0.98], 0.25),
        ([0.5, 0.6, 0.7, 0.9, 1.0], None),  # grows to the end
        ([0.5, 0.6, 0.7, 1.0, 0.6], None),  # falls again
        ([1.0, 1.0, 1.0, 1.0, 1.0], None),  # was never less
        ([0.01, 0.04, 0.05, 0.05, 0.05], None),  # no more than chance, of 0.1
    ],
)
def test_where_a_measure_saturates(values: list[float], strength: float | None) -> None:
    assert measured(values).saturated_from("mmd", "FL-MR") == strength
    assert measured(values, "coral").saturated_from("coral", "FL-MR") is None  # it has no end
    told = saturations(measured(values))
    assert told == ([f"Saturated, no longer growing with the shift from {strength} on: MMD²."] if strength else [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98412, "0.984"),
        (1076.4, "1076"),
        (3.14e-4, "3.1e-4"),
        (-3.14e-4, "−3e-4"),
        (-0.0314, "−0.031"),
        (-12345.6, "−12346"),
        (-0.5, "−0.5"),
        (2.5e7, "2.5e7"),
        (0.0, "0"),
        (math.nan, "–"),
    ],
)
def test_a_measure_in_six_columns(value: float, text: str) -> None:
    assert in_six(value) == text
    assert max(len(in_six(value)), len(in_six(-value))) <= 6


# ---- drawn ----------------------------------------------------------------------------------------------

FULL = summarize_curves(synthetic(), "contrast", "west")
LONG = summarize_curves(synthetic(4, [k / 10 for k in range(11)]), "contrast", "列" * 30)
HALF = summarize_curves(synthetic()[:5], "contrast", "west", ["FL-MR", "FL-MRCM"], STRENGTHS)
EMPTY = summarize_curves([], "contrast", "west", ["FL-MR", "FL-MRCM"], STRENGTHS)
BLIND = summarize_curves([replace(each, shifts=()) for each in synthetic(seeds=1)], "contrast", "west")
ALL = {"full": FULL, "long": LONG, "half": HALF, "empty": EMPTY, "no shift": BLIND}


def draw(renderable: RenderableType, width: int, colors: bool = False) -> str:
    console = Console(width=width, record=True, file=StringIO(), force_terminal=colors, legacy_windows=False)
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize("width", [30, 60, 80, 100, 160, 250])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("colors", [False, True])
def test_no_line_is_wider_than_the_terminal(name: str, width: int, colors: bool) -> None:
    lines = draw(curves_view(ALL[name], notes=False), width, colors).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert not [line for line in lines if re.match(r"\S", line)]  # nothing has wrapped


def test_the_terminal_has_every_strength_and_measure() -> None:
    text = draw(curves_view(FULL), 80)
    for entry in (FULL.cells["psnr"]["FL-MR"]["0.5"], FULL.cells["psnr"]["FL-MRCM"]["1"]):
        assert f"{entry.mean:.2f} ±{entry.half_width:.2f}" in text
    change, gain = FULL.changes["FL-MR"]["0.5"].mean, FULL.gains["FL-MR"]["0.5"].mean
    assert f"  {written(change, 2, signed=True)}  {written(gain, 2, signed=True)}  " in text
    assert text.count("▲") == 1 + sum(entry.verdict == "better" for entry in FULL.cells["psnr"]["FL-MRCM"].values())
    assert all(measure.label in text for measure in MEASURES.values())
    assert written(FULL.rho("coral", "FL-MR"), 2, signed=True) in text
    assert "Saturated, no longer growing with the shift from 0.5 on: MMD²" in text
    assert "3 seeds × 4 test patients of west" in text


def test_the_live_view_of_two_methods_fits_a_small_terminal() -> None:
    """80 x 24, with five lines for what trains; the scores and the chart come first."""
    lines = draw(curves_view(FULL, notes=False), 80, colors=True).splitlines()
    assert "zero-filled" in lines[1]
    chart = next(i for i, line in enumerate(lines) if "─ strength ─" in line)
    assert chart <= 24 - 5 - 2


def test_notes_say_what_few_units_cannot() -> None:
    few = summarize_curves(synthetic(seeds=1), "contrast", "west")
    assert any("With 4 units no difference can be significant" in note for note in curve_footnotes(few, ["x"]))
    assert not any("can be significant" in note for note in curve_footnotes(FULL))
    assert curve_footnotes(few, ["a: b"])[-1] == "Warning: a: b."
    assert curve_footnotes(EMPTY) == []


def test_the_files_have_every_line(tmp_path: Path) -> None:
    found = synthetic()
    paths = write_files(tmp_path, found, FULL, ["a_b: c"])
    assert [path.name for path in paths] == ["curves.csv", "shift.csv", "curves.md"]
    scores, shifts = (list(csv.DictReader(path.read_text().splitlines())) for path in paths[:2])
    assert tuple(scores[0]) == SCORE_FIELDS
    assert tuple(shifts[0]) == SHIFT_FIELDS
    assert len(scores) == len(found) * 4
    assert len(shifts) == len(found) * 3 * len(MEASURES)
    first = found[7].scores[2]
    assert any(line["psnr"] == repr(first.psnr) and line["method"] == first.method for line in scores)
    assert "a\\_b: c" in paths[2].read_text()


@pytest.mark.parametrize("name", ALL)
def test_markdown_is_whole(name: str) -> None:
    text = curves_markdown(ALL[name])
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
    assert len(tables) == 3 + 1 + (name in ("full", "long", "half"))


def test_markdown_says_who_is_better_by_how_much() -> None:
    lead, entry = FULL.leads["FL-MRCM"]["1"], FULL.cells["psnr"]["FL-MRCM"]["1"]
    line = f"| 1 | +{lead.mean:.2f} ± {lead.half_width:.2f} | {entry.p_adjusted:.2g} |"
    assert line in curves_markdown(FULL).splitlines()


@pytest.mark.parametrize("name", ALL)
def test_the_picture_is_one(tmp_path: Path, name: str) -> None:
    curves = replace(ALL[name], target="$x^" if name == "full" else "west")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write_figure(tmp_path / "figures" / "curves.png", curves, ["$y: z"])
    pixels = read_png(path)
    assert min(pixels.shape[:2]) > 300
    assert [each.name for each in (tmp_path / "figures").iterdir()] == ["curves.png"]


def test_the_picture_shows_the_numbers() -> None:
    axes = draw_curves(FULL).axes
    titles = [axis.get_title(loc="left") + axis.get_title() for axis in axes]
    assert titles[0].startswith("PSNR, dB")
    assert titles[3 : 3 + len(MEASURES)] == [measure.label for measure in MEASURES.values()]
    line = next(line for line in axes[0].lines if line.get_label() == "FL-MRCM")
    means = [FULL.cells["psnr"]["FL-MRCM"][name].mean for name in FULL.columns]
    np.testing.assert_array_equal(line.get_ydata(), means)
    gains = [FULL.gains["FL-MRCM"][name].mean for name in FULL.columns]
    np.testing.assert_array_equal(axes[1].lines[1].get_ydata(), gains)
    losses = [dot.loss for dot in FULL.dots if dot.method == "FL-MR"]
    np.testing.assert_array_equal(axes[3 + len(MEASURES)].lines[0].get_ydata(), losses)
    marks = [text.get_text() for text in axes[0].texts]
    assert marks == ["▲"] * sum(e.verdict == "better" for e in FULL.cells["psnr"]["FL-MRCM"].values())


@pytest.mark.parametrize("name", ALL)
def test_the_page_is_one_and_needs_nothing_else(tmp_path: Path, name: str) -> None:
    planned = plan(sweep="contrast=0:1:0.25", seeds=3, run={"out": str(tmp_path)})
    text = curves_page(planned, replace(ALL[name], target="<west>"), ["a & b"])
    assert "a &amp; b" in text
    assert "<west>" not in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len({*ids}) == len(ids)
    assert ("This sweep is not finished" in text) == (name in ("half", "empty", "no shift"))
    measured = name not in ("empty", "no shift")
    assert text.count("<svg") == 3 + 3 * len(MEASURES) * measured


def test_the_page_says_who_is_better_and_shows_the_targets_slice(tmp_path: Path) -> None:
    planned = plan(sweep="contrast=0:1:0.25", seeds=3, run={"out": str(tmp_path)})
    for federation in planned.federations[:4]:  # of the first seed: both methods at two strengths
        folder = Path(federation.config.out)
        folder.mkdir(parents=True)
        kinds = ("zero_filled", "reconstruction", "truth")
        pictures = {f"{site}/{k}": np.ones((4, 4), np.float32) for site in ("west", "north") for k in kinds}
        save_file(pictures, folder / "previews.safetensors")
    text = curves_page(planned, FULL)
    assert f"{written(FULL.leads['FL-MRCM']['1'].mean, 2, signed=True)} dB" in text
    assert text.count("<img") == 2 * (1 + 2 + 1)
    assert "the same head" in text


# ---- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A sweep of three sites that trains in moments."""
    file = tmp_path / "trio.toml"
    sites = (SITE.format(name=name, shift="snr=1" * (name == "clara")) for name in ("anna", "berta", "clara"))
    file.write_text(SCENARIO + "".join(sites))
    small = [*SMALL, "--matrix", "32", "--rounds", "1", "--no-live"]
    return [
        "shift",
        "--scenario",
        str(file),
        "--target",
        "clara",
        "--out",
        str(tmp_path / "sweep"),
        "--seeds",
        "1",
        *small,
    ]


@pytest.mark.slow
def test_a_sweep_fills_goes_on_grows_and_is_shown(options: list[str], tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    asked = [*options, "--sweep", "acceleration=0,1"]
    done = call(*asked)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for words in ("Domain shift of clara, acceleration", "FL-MR", "FL-MRCM", "zero-filled", "MMD²", "curves: "):
        assert words in done.stdout
    assert "…" not in done.stdout
    for name in ("curves.csv", "shift.csv", "curves.md", "curves.toml", "figures/curves.png", "report.html"):
        assert (sweep / name).stat().st_size > 100
    assert not list(sweep.rglob("checkpoint"))
    assert len((sweep / "curves.csv").read_text().splitlines()) == 1 + 2 * 2 * 2
    assert len((sweep / "shift.csv").read_text().splitlines()) == 1 + 2 * 2 * 2 * len(MEASURES)

    def ended() -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in (sweep / "runs").rglob("summary.json")}

    first, scores = ended(), (sweep / "curves.csv").read_text()
    assert sorted(first) == [f"acceleration-{s}-{m}" for s in (0, 1) for m in ("fl-mr", "fl-mrcm")]
    lost = sweep / "runs/seed-0/acceleration-1-fl-mr"
    for file in sorted(lost.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    shown = call("show", sweep)
    assert "1 of 4 federations are missing: run.py resume" in shown.stdout
    assert call("resume", sweep).returncode == 0
    assert {name: at for name, at in ended().items() if name != lost.name} == {
        name: at for name, at in first.items() if name != lost.name
    }
    assert (sweep / "curves.csv").read_text() == scores  # bit for bit

    grown = call(*asked, "--sweep", "acceleration=0:1:0.5", "--methods", "fl-mr")
    assert grown.returncode == 0, grown.stderr
    assert sorted(ended().keys() - first.keys()) == ["acceleration-0.5-fl-mr"]
    shown = call("show", sweep)
    assert shown.returncode == 0, shown.stderr
    assert "0.5" in shown.stdout
    assert "FL-MRCM" not in shown.stdout
    for more, words in (
        (["--sweep", "snr=0,1"], "holds another shift sweep: of acceleration, asked snr"),
        (["--rounds", "2"], "rounds (stored 1, asked 2)"),
    ):
        other = call(*asked, *more)
        assert other.returncode == 2
        assert words in other.stderr
    assert "is a shift sweep, whose rounds are settled" in call("resume", sweep, "--rounds", "3").stderr

    again = tmp_path / "again"  # one of them is the run of its configuration, in whatever process
    assert call("--config", lost / "config.toml", "--out", again, "--no-live").returncode == 0
    shas = [json.loads((path / "summary.json").read_text())["weights_sha256"] for path in (lost, again)]
    assert shas[0] == shas[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--sweep", "contrast=0..1"], "'0..1' is no number"),
        (["--sweep", "colour=0,1"], "'colour' is unknown"),
        (["--sweep", "contrast=0,2"], "2 is no strength"),
        (["--sweep", "contrast=0,1", "--methods", "fedavg"], "'fedavg' is unknown"),
        (["--sweep", "contrast=0,1", "--workers", "2"], "one process (see --parallel)"),
        (["--sweep", "contrast=0,1", "--algorithm", "fl-mr"], "--algorithm"),
        (["--sweep"], "--sweep"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([*options, *more]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert not (tmp_path / "sweep").exists()


def test_help_explains_and_counts(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main([*options, "--sweep", "contrast=0:1:0.25", "--seeds", "2", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "With the options given: 20 federations of 1 rounds" in printed
    assert "--methods" in printed
    with pytest.raises(SystemExit):
        run.main(["shift", "--help"])
    assert "run.py shift --sweep contrast=0:1:0.25" in capsys.readouterr().out


def test_a_directory_of_something_else_is_left_alone(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/thesis.txt").write_text("mine")
    assert run.main([*options, "--sweep", "contrast=0,1"]) == 2
    assert "holds something else (thesis.txt)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["thesis.txt"]
