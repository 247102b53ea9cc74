"""A study's report needs nothing but itself and says what summary.json says; resume and show know studies."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import run
from sweeps.studies import commands as study_commands
from sweeps.studies.directory import report_is_new, summary, take_part, write_results
from sweeps.studies.figures import DRAWN, _log_ticks, drawn_parameters
from sweeps.studies.findings import Findings
from sweeps.studies.report import report_html, write_report
from sweeps.studies.space import Number
from sweeps.studies.winners import Estimate
from tests.sites.report.pages import Page
from tests.sweeps.studies.synthetic_studies import REASONS, SHA, finish, found, planned, studied
from tests.sweeps.studies.test_study_view import CHOICES, CONDITIONAL, KINDS

ROWS = ("", ", by seed", ", confirmed", ", confirmed, by seed")


def cell(estimate: dict[str, Any], digits: int, signed: bool = False) -> str:
    """As summary.json's numbers stand in a table."""
    mean = f"{estimate['mean']:{'+' if signed else ''}.{digits}f} ± {estimate['half_width']:.{digits}f}"
    return mean.replace("-", "−")


def picture(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    from matplotlib.image import imread

    pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = imread(path)
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_stands_by_itself(tmp_path: Path, kind: str) -> None:
    of = found(tmp_path / "study", **KINDS[kind])
    of.plan.out.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = write_report(of)
    text = (of.plan.out / "report.html").read_text()
    page = Page(text)
    assert page.loads == []
    assert "script" not in page.tags
    assert len(page.ids) == len({*page.ids})
    assert {*page.uses} <= {*page.ids}
    assert all(re.fullmatch(r"trials/\d+/", link) for link in page.links if "arxiv.org" not in link)
    assert "nan" not in page.text.lower().split()
    assert len(page.tables.get("all-trials", [])) == (len(of.rows) + 1 if of.rows else 0)
    assert ("This study is not finished" in page.text) == (not of.finished)
    assert "validation patients" in page.text
    pictures = {path.name for path in paths if path.suffix == ".png"}
    expected = ["history.png", "parameters.png"] * (of.counts["complete"] > 0)
    assert pictures == {*expected, *["pareto.png"] * (len(of.objectives) == 2)}
    for path in paths[:-1]:
        pixels = picture(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.02


def test_its_numbers_are_those_of_the_summary(tmp_path: Path) -> None:
    of = found(tmp_path / "study", against="fl-mr", seeds=2, confirm=3, failed=(3, 5), pruned=(4,))
    told = json.loads(json.dumps(summary(of)))
    page = Page(report_html(of))
    (winner,) = told["winners"]
    tables = page.tables
    rows = tables["winner-scores"][2:]
    assert [row[0] for row in rows] == [f"trial {winner['turn']}{each}" for each in ROWS]
    for row, name in zip(rows[1::2], ("searched", "confirmed"), strict=True):
        means = winner[name]["by_seed"]
        assert [cell(means["psnr"], 2), cell(means["gain"], 2, True), cell(means["against"], 2, True)] == row[-5:-2]
        assert row[-2] == ""  # Wilcoxon's test of two or three seeds would say nothing
        assert means["psnr"]["count"] == len(winner[name]["seeds"])
    for row, name in zip(rows[::2], ("searched", "confirmed"), strict=True):
        tested = winner[name]
        assert [cell(tested["psnr"], 2), cell(tested["gain"], 2, True), cell(tested["against"], 2, True)] == row[-5:-2]
        assert row[-2] == f"{tested['against']['p']:.2g}"
        assert row[-1] == cell(tested["ssim"], 3)
        sites = {line[0].removesuffix("target"): line[1 + (name == "confirmed")] for line in tables["by-site"][1:]}
        assert sites == {site: cell(estimate, 2) for site, estimate in tested["sites"].items()}
    assert tables["winner-scores"][2][:2] == [
        f"trial {winner['turn']}",
        f"{winner['values'][0]:+.3f}".replace("-", "−"),
    ]
    (importance,) = told["importances"]
    shown = {line[0]: float(line[1]) for line in tables["importance-target-psnr"][1:]}
    assert shown == pytest.approx(importance["parts"], abs=5e-4)
    assert [*shown] == [*importance["parts"]]
    rows = tables["all-trials"][1:]
    assert [line[0] for line in rows] == [f"trial {turn}" for turn in range(12)]
    assert sum(line[1].startswith("complete") for line in rows) == told["trials"]["complete"] == 9
    assert [line[1] for line in rows if line[1].startswith("failed")] == [f"failed{REASONS[1]}"] * 2
    assert rows[4][1] == "pruned"
    assert rows[winner["turn"]][1] == "completewinner"
    assert winner["command"] in page.text.replace(" \\\n  ", " ")
    assert winner["sha"] == SHA
    assert f"weights_sha256 {SHA}" in page.text
    for warning in told["warnings"]:
        assert warning in page.text


def test_the_space_is_told_with_who_has_what(tmp_path: Path) -> None:
    page = Page(report_html(found(tmp_path / "study", search=CONDITIONAL)))
    assert page.tables["space"][1:] == [
        ["algorithm", "fl-mr, fl-mrcm", "all"],
        ["lr", "0.0005 to 0.005, logarithmic", "all"],
        ["alignment_weight", "0.001 to 1, logarithmic", "with fl-mrcm"],
    ]
    assert "Left out, for not every trial has them: alignment_weight" in page.text
    assert Page(report_html(found(tmp_path / "choices", search=CHOICES))).tables["space"][2][1] == "2, 4, 8"


@pytest.mark.slow
def test_of_many_parameters_those_that_matter_are_drawn(tmp_path: Path) -> None:
    names = ("hpks", "ixi", "brats", "fastmri")
    dials = ("snr=10:40", "acceleration=4,8", "bias_field=0.1:0.2", "center_fraction=0.04:0.08")
    search = [f"{name}.{dial}" for name in names for dial in dials]
    of = found(tmp_path / "study", search=("lr=log:0.0005:0.005", *search), ended=8, trials=8)
    shown = drawn_parameters(of)
    assert len(shown) == DRAWN < 17
    (importance,) = of.importances
    assert importance is not None
    assert [each.name for each in shown] == [*importance.parts][:DRAWN]
    assert "5 more are in the table of trials" in report_html(of)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-4, 1e-2, [1e-4, 1e-3, 1e-2]),
        (5e-4, 5e-3, [5e-4, 1e-3, 2e-3, 5e-3]),
        (1e-9, 1, [1e-9, 1e-6, 1e-3, 1]),
        (3.1, 4.2, [3.1, 4.2]),
    ],
)
def test_few_round_numbers_on_a_logarithmic_axis(low: float, high: float, ticks: list[float]) -> None:
    Number(name="lr", low=low, high=high, log=True)
    assert _log_ticks(low, high) == pytest.approx(ticks)


def test_an_interval_of_one_unit_is_left_out() -> None:
    from sweeps.studies.tables import _cell

    assert Page(_cell(Estimate.of([24.561]), 2)).text == "24.56"
    assert Page(_cell(Estimate.of([-0.5, -0.7]), 2, signed=True)).text == "−0.60 ± 1.27"


# ---- the directory --------------------------------------------------------------------------------------


def stored(out: Path, ended: int | None = None, tested: bool = True, **config: Any) -> Findings:
    """A study in its directory, with results."""
    plan = planned(out, **config)
    with take_part(plan) as (study, _):
        studied(plan, ended, study=study)
        if tested:
            finish(plan, study)
        return write_results(plan, study)


def test_results_are_written_as_far_as_they_are_worth_it(tmp_path: Path) -> None:
    out = tmp_path / "study"
    early = stored(out, ended=5, tested=False)
    assert (early.finished, early.importances) == (False, ())
    told = json.loads((out / "summary.json").read_text())
    assert (told["finished"], told["trials"]["complete"]) == (False, 5)
    assert told["winners"][0]["searched"] is None
    assert not (out / "report.html").exists()
    assert not (out / "figures").exists()
    done = stored(tmp_path / "other")
    assert done.finished
    told = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert told["finished"]
    assert told["winners"][0]["searched"]["psnr"]["count"] == 4
    assert {path.name for path in (tmp_path / "other" / "figures").iterdir()} == {"history.png", "parameters.png"}
    assert report_is_new(done.plan)


def test_show_draws_a_study_and_brings_its_report_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "study"
    stored(out, ended=5, tested=False)
    journal = (out / "study.journal").read_bytes()
    assert run.main(["show", str(out)]) == 0
    text = capsys.readouterr().out
    assert "5 of 12 trials: 5 complete" in text
    assert f"unfinished: run.py resume {out} goes on\n" in text
    report = out / "report.html"
    assert "This study is not finished" in report.read_text()
    assert (out / "study.journal").read_bytes() == journal
    first = report.stat().st_mtime_ns
    assert run.main(["show", str(out)]) == 0
    assert report.stat().st_mtime_ns == first  # nothing has changed

    (out / "summary.json").touch()
    monkeypatch.setattr(study_commands, "write_report", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    capsys.readouterr()
    assert run.main(["show", str(out)]) == 0
    assert "report.html is not up to date: no space left" in capsys.readouterr().out


def test_resume_of_a_finished_study_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    of = stored(out)
    journal = (out / "study.journal").read_bytes()
    assert run.main(["resume", str(out)]) == 0
    assert f"trial {of.winners[0].turn}: target-psnr" in capsys.readouterr().out
    assert (out / "study.journal").read_bytes() == journal
    assert run.main(["resume", str(out), "--rounds", "9"]) == 2
    assert f"{out} is a study, whose rounds are settled" in capsys.readouterr().err
    (out / "study.journal").unlink()
    assert run.main(["show", str(out)]) == 2
    assert "holds no study" in capsys.readouterr().err


def test_help_teaches_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["sweep", "--rounds", "7", "--trials", "5", "--help"])
    text = capsys.readouterr().out
    head = text[: text.index("usage:")]
    assert max(map(len, head.splitlines())) <= 80
    for words in ("--search NAME=LOW:HIGH", "--space FILE", "--against METHOD", "--confirm N", "validation patients"):
        assert words in head
    assert "5 trials of 7 rounds, searching alignment_weight=log:0.001:1.0" in " ".join(head.split())
    assert head.count("python run.py sweep") == 2
    with pytest.raises(SystemExit):
        run.main(["sweep", "--objective", "psnr", "--help"])
    assert "objective 'psnr' is unknown" in " ".join(capsys.readouterr().out.split())
