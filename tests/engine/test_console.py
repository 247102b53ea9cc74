"""The console: it fits the terminal, says what is true, and leaves plain lines plain."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from io import StringIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from engine.console import Header, LiveWatcher, PlainWatcher, Watcher, half_blocks, sparkline, summary_view
from engine.pictures import BARS, line_chart, progress_bar, shrink
from engine.standings import Clock, byte_size, clock_time, number
from engine.types import Preview, RoundReport, Scores, SiteInfo, SiteRound
from tests.shifts import mmd_of

SIZES = [(80, 24), (160, 50)]
LONG = "the university hospital of a rather long name, 大学病院 " * 3


def infos(count: int, name: str = "site") -> list[SiteInfo]:
    return [
        SiteInfo(
            name=f"{name}-{k:02}",
            role="both" if k == count - 1 else "source",
            description="3 T spin echo, SNR 40, random 4×",
            train_slices=64,
            share="1 CPU thread",
            zero_filled=Scores(psnr=17.0, ssim=0.4, nmse=0.1),
        )
        for k in range(count)
    ]


def header(sites: list[SiteInfo], rounds: int = 20) -> Header:
    note = "simulated institutions, styled after public data sets"
    return Header("cvpr21", note, "fl-mrcm", sites[-1].name, "2 CPU cores", "runs/a", rounds)


def report(round: int, sites: list[SiteInfo], accuracy: float = 0.6) -> RoundReport:
    aligning = {
        "identifier_accuracy": accuracy,
        "adversarial_gradient": 1e-3,
        "reconstruction_gradient": 1e-2,
        "alignment_weight": 0.5,
    }
    rounds = {
        site.name: SiteRound(
            metrics={"loss": 1 / round, "l1": 1 / round} | (aligning if site.role == "source" else {}),
            scores=Scores(psnr=20.0 + k + round / 10, ssim=0.6, nmse=0.05),
            shift=mmd_of(0.01) if site.role == "source" else {},
        )
        for k, site in enumerate(sites)
    }
    return RoundReport(round=round, sites=rounds, ledger={"weights": 4_120_000}, seconds={"train": 0.5})


def ticking() -> Callable[[], float]:
    """A clock that moves on by a second whenever it is read."""
    return map(float, itertools.count()).__next__


def draw(renderable: RenderableType, width: int, height: int, colors: bool = False) -> str:
    file = StringIO()
    Console(
        width=width,
        height=height,
        file=file,
        force_terminal=colors,
        color_system="truecolor" if colors else None,
        legacy_windows=False,
    ).print(renderable)
    return file.getvalue()


def watching(sites: list[SiteInfo], rounds: int, accuracy: float = 0.6) -> LiveWatcher:
    watcher = LiveWatcher(Console(file=StringIO()), now=ticking())
    watcher.start(header(sites), sites)
    for round in range(1, rounds + 1):
        watcher.update(report(round, sites, accuracy))
    return watcher


# ---- the board ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [*SIZES, (60, 15), (40, 12), (300, 80)])
@pytest.mark.parametrize("count", [1, 4, 64])
@pytest.mark.parametrize("name", ["site", LONG])
@pytest.mark.parametrize("rounds", [0, 1, 20])
def test_board_fits(width: int, height: int, count: int, name: str, rounds: int) -> None:
    lines = draw(watching(infos(count, name), rounds).renderable(), width, height).splitlines()
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_board_shows_all_that_matters(width: int, height: int) -> None:
    text = draw(watching(infos(4), 7).renderable(), width, height)
    shown = ["cvpr21", "simulated institutions", "fl-mrcm", "◎ site-03", "2 CPU cores", "runs/a", "source", "both"]
    shown += ["3 T spin echo", "64", "1 CPU thread", "0.1429", "20.70 +3.70", "0.60 +0.20", "0.0100", "7/20"]
    shown += ["accuracy 0.60", "1.0e-02", "1.0e-03", "weights 4.12 MB", "train 0.5", "left", "▁", "mean of 4"]
    assert [word for word in shown if word not in text] == []


def test_target_comes_first_and_hidden_sites_are_counted() -> None:
    lines = draw(watching(infos(64), 2).renderable(), 80, 24).splitlines()
    rows = [line for line in lines if "site-" in line and "target" not in line]
    assert "◎ site-63" in rows[0]
    assert f"and {64 - len(rows)} more sites" in "\n".join(lines)


@pytest.mark.parametrize(("accuracy", "remark"), [(0.1, "oscillating"), (0.99, "told apart"), (0.5, "chance")])
def test_identifier_accuracy_is_explained(accuracy: float, remark: str) -> None:
    assert remark in draw(watching(infos(4), 2, accuracy).renderable(), 80, 24)


def test_a_run_without_alignment_shows_none() -> None:
    sites = infos(1)
    text = draw(watching(sites, 2).renderable(), 80, 24)
    assert "identifiers" not in text
    assert "mean of" not in text


def test_resumed_reports_count() -> None:
    sites = infos(4)
    watcher = LiveWatcher(Console(file=StringIO()), now=ticking())
    watcher.start(header(sites), sites, [report(round, sites) for round in range(1, 6)])
    assert "5/20" in draw(watcher.renderable(), 80, 24)
    watcher.update(report(6, sites))
    text = draw(watcher.renderable(), 80, 24)
    assert "6/20" in text
    assert "left" in text


def test_phases_are_shown_before_and_after() -> None:
    watcher = LiveWatcher(Console(file=StringIO()), now=ticking())
    watcher.phase("starting Ray")
    watcher.phase("simulating 4 institutions")
    before = draw(watcher.renderable(), 80, 24)
    assert "✓ starting Ray" in before
    assert "simulating 4 institutions" in before
    sites = infos(4)
    watcher.start(header(sites), sites)
    watcher.phase("scoring the test patients")
    assert "scoring the test patients" in draw(watcher.renderable(), 80, 24)


def test_live_leaves_its_last_frame() -> None:
    file, sites = StringIO(), infos(4)
    console = Console(width=80, height=24, file=file, force_terminal=True, color_system="truecolor")
    watcher: Watcher = LiveWatcher(console)
    with watcher:
        watcher.phase("starting")
        watcher.start(header(sites, rounds=1), sites)
        watcher.message("[not markup] kept")
        watcher.update(report(1, sites))
    assert "[not markup] kept" in file.getvalue()
    assert "1/1" in file.getvalue()[-4000:]


def test_time_left_is_the_median_rounds() -> None:
    assert Clock(0.0).left(5) is None
    assert Clock(30.0, (9.0, 2.0, 2.0), since=0.5).left(3) == pytest.approx(5.5)
    assert Clock(30.0, (2.0,), since=50.0).left(1) == 0.0


# ---- plain lines ----------------------------------------------------------------------------------------


def test_plain_lines() -> None:
    file, sites = StringIO(), infos(4)
    watcher: Watcher = PlainWatcher(file, now=ticking())
    with watcher:
        watcher.phase("starting Ray")
        watcher.start(header(sites), sites, [report(1, sites)])
        watcher.update(report(2, sites))
        watcher.message("two\nlines")
    text = file.getvalue()
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "starting Ray …"
    assert "going on after round 1" in lines
    expected = "round 2/20, loss 0.5000, mean gain +4.70 dB, site-03 23.20 dB, identifiers 0.60, 1.00 s, 0:17 left"
    assert lines[-2:] == [expected, "two lines"]


# ---- pictures -------------------------------------------------------------------------------------------


@example([sys.float_info.max] * 9, 3)
@given(st.lists(st.floats(), max_size=60), st.integers(1, 20))
def test_sparkline_fits(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    assert set(line) <= {*BARS, " "}


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True))
def test_sparkline_keeps_order_and_reaches_both_ends(values: list[int]) -> None:
    line = sparkline([float(value) for value in values], 20)
    levels = [BARS.index(bar) for bar in line]
    assert levels[values.index(min(values))] == 0
    assert levels[values.index(max(values))] == 7
    for (value, level), (other, at) in itertools.combinations(zip(values, levels, strict=True), 2):
        assert (value < other) <= (level <= at)


def test_sparkline_blanks_what_is_not_finite() -> None:
    assert sparkline([1.0, math.nan, 2.0, math.inf], 4) == "▁ █ "
    assert sparkline([3.0, 3.0], 4) == "▄▄"
    assert sparkline([0.5], 4, 0, 1) == "▅"


@given(st.integers(0, 30), st.integers(1, 30), st.integers(1, 60))
def test_progress_bar_has_its_width(done: int, total: int, width: int) -> None:
    assert progress_bar(done, total, width).cell_len == width


def test_line_chart() -> None:
    assert line_chart([0.0, 1.0, 2.0, 3.0], 4, 2, 1, 0, 3) == ["⡠⠊"]
    assert line_chart([], 4, 2, 2, 0, 3) == ["  ", "  "]
    assert line_chart([math.nan, 3.0], 4, 2, 1, 0, 3)[0].count(" ") == 1


def test_half_blocks_of_a_known_image() -> None:
    image = np.array([[0.0, 1.0], [1.0, 0.0]])
    text = draw(half_blocks([("a", image)], 80), 80, 24, colors=True)
    black, white = "0;0;0", "255;255;255"
    cells = f"\x1b[38;2;{black};48;2;{white}m▀\x1b[0m\x1b[38;2;{white};48;2;{black}m▀\x1b[0m"
    assert text.splitlines()[0] == cells


def test_errors_have_colours_and_a_scale_of_their_own() -> None:
    dim, bright = np.full((2, 1), 1.0), np.full((2, 1), 4.0)
    pictures = half_blocks([("a", dim), ("error", dim), ("b", bright)], 80, heat=["error"])
    top = draw(pictures, 80, 24, colors=True).splitlines()[0]
    assert "38;2;64;64;64" in top  # a quarter of the brightest gray image
    assert "38;2;252;255;164" in top  # the error's own largest value


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_shrinking_keeps_the_mean(height: int, width: int, columns: int) -> None:
    image = np.random.default_rng(0).random((height, width))
    small = shrink(image, columns)
    assert small.shape[0] % 2 == 0
    assert small.shape[1] == min(width, columns)
    assert small.mean() == pytest.approx(image.mean())


@pytest.mark.parametrize("side", [32, 64, 320])
@pytest.mark.parametrize("width", [80, 160])
def test_four_pictures_fit(side: int, width: int) -> None:
    image = np.random.default_rng(0).random((side, side))
    pictures = half_blocks([(name, image) for name in ("zero-filled", "reconstruction", "error", "truth")], width)
    lines = draw(pictures, width, 50).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "reconstruction" in lines[-1]


# ---- the summary ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [1, 4, 64])
def test_summary(width: int, height: int, count: int) -> None:
    before, after = {"psnr": 16.8, "ssim": 0.42, "nmse": 0.12}, {"psnr": 22.1, "ssim": 0.66, "nmse": 0.031}
    sites = [
        {"name": site.name, "role": site.role, "train_slices": 64, "test": after, "zero_filled": before}
        for site in infos(count)
    ]
    summary = {
        "algorithm": "fl-mrcm",
        "scenario": "cvpr21",
        "target": sites[-1]["name"],
        "seed": 0,
        "rounds": 20,
        "weights_sha256": "0123456789abcdef" * 4,
        "seconds": {"startup": 6.2, "first_round": 1.6, "median_round": 0.72, "total": 84.1},
        "sites": sites,
        "ledger": {"weights": 82_000_000, "latents": 620_000},
    }
    image = np.ones((64, 64), np.float32)
    preview = Preview(site="site-03", zero_filled=image, reconstruction=image, truth=image)
    text = draw(summary_view(summary, preview), width, height)
    assert max(map(cell_len, text.splitlines())) <= width
    shown = ["16.80→22.10 +5.30", "0.420→0.660", "0.120→0.031", "82 MB", "1:24", "0123456789ab", "truth"]
    assert [word for word in shown if word not in text] == []
    assert text.count("site-") == count + 1


def test_units() -> None:
    assert [byte_size(n) for n in (0, 999, 1000, 4_123_456, 2.5e9)] == ["0 B", "999 B", "1 kB", "4.12 MB", "2.5 GB"]
    assert [clock_time(s) for s in (0, 59.6, 3600, 3725)] == ["0:00", "1:00", "1:00:00", "1:02:05"]
    assert [number(x, 4) for x in (0.0, 0.25, 1e-6, math.nan)] == ["0.0000", "0.2500", "1e-06", "–"]
