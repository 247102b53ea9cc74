"""What a sweep optimises, of hand-made rounds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.algorithms import FlMr
from engine.types import UNSCORED, RoundReport, Scores, SiteRound
from sites.config import RunConfig, SiteConfig
from sweeps.studies.objectives import OBJECTIVES, check, objectives, value

ZERO_FILLED = {"a": Scores(psnr=20, ssim=0.5, nmse=0.1), "b": Scores(psnr=22, ssim=0.6, nmse=0.1), "unscored": UNSCORED}


def report(round: int, a: float, b: float) -> RoundReport:
    def site(psnr: float) -> SiteRound:
        return SiteRound(metrics={}, scores=Scores(psnr=psnr, ssim=psnr / 100, nmse=0))

    return RoundReport(
        round=round,
        sites={"a": site(a), "b": site(b), "unscored": SiteRound(metrics={}, scores=UNSCORED)},
        ledger={"weights": 100, "latents": 10 * round},
        seconds={"train": 1.5, "evaluate": 0.5},
    )


ROUNDS = [report(1, 30, 31), report(2, 24, 25)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("target-psnr", 25),
        ("target-ssim", 0.25),
        ("mean-psnr", 24.5),
        ("mean-ssim", 0.245),
        ("worst-psnr", 24),
        ("gain", (4 + 3) / 2),
        ("target-gain", 3),
        ("seconds", 4),
        ("bytes", 230),
    ],
)
def test_the_last_round_counts_and_costs_add_up(name: str, expected: float) -> None:
    assert value(OBJECTIVES[name], ROUNDS, ZERO_FILLED, "b") == pytest.approx(expected)
    assert OBJECTIVES[name].direction == ("minimize" if name in ("seconds", "bytes") else "maximize")


def test_all_are_tested() -> None:
    assert len(OBJECTIVES) == 9


def test_so_far_it_is_the_same_of_the_rounds_so_far() -> None:
    assert value(OBJECTIVES["target-psnr"], ROUNDS[:1], ZERO_FILLED, "b") == 31
    assert value(OBJECTIVES["bytes"], ROUNDS[:1], ZERO_FILLED, "b") == 110


def test_a_site_that_lost_its_way_is_not_left_out() -> None:
    for name in ("mean-psnr", "worst-psnr", "gain", "mean-ssim"):
        for rounds in ([report(1, math.nan, 30)], [report(1, 30, math.nan)]):
            assert math.isnan(value(OBJECTIVES[name], rounds, ZERO_FILLED, "b"))
    assert math.isnan(value(OBJECTIVES["target-psnr"], [report(1, 30, math.nan)], ZERO_FILLED, "b"))


def test_one_or_several_by_name() -> None:
    assert [each.name for each in objectives("target-psnr, bytes")] == ["target-psnr", "bytes"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target-pnsr", "objective 'target-pnsr' is unknown; did you mean 'target-psnr'?"),
        ("speed", "objective 'speed' is unknown; choose one of target-psnr, "),
        ("gain,gain", "'gain' stands twice"),
        (" ", "there is no objective; choose of target-psnr"),
    ],
)
def test_what_is_no_objective(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        objectives(text)


def test_an_objective_without_patients_to_take_it_of() -> None:
    def config(*counts: int) -> RunConfig:
        common: dict[str, Any] = {"source": "files", "path": "/data"}
        sites = tuple(SiteConfig(name=f"s{k}", val_patients=count, **common) for k, count in enumerate(counts))
        return RunConfig(institutions=sites, target="s1", algorithm=FlMr())

    for each in OBJECTIVES.values():
        check(each, config(1, 1))
    check(OBJECTIVES["mean-psnr"], config(1, 0))
    with pytest.raises(ValueError, match="target-gain is of the target's validation patients, and 's1' has none; take"):
        check(OBJECTIVES["target-gain"], config(1, 0))
    with pytest.raises(ValueError, match="worst-psnr is of validation patients, and no site has any"):
        check(OBJECTIVES["worst-psnr"], config(0, 0))
    check(OBJECTIVES["seconds"], config(0, 0))
