"""The line of `rounds.jsonl`: valid JSON whatever the numbers, and nothing lost on the way back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import report_from_json, report_to_json
from engine.types import RoundReport, Scores, Shift, SiteRound

numbers = st.floats(allow_nan=False)
names = st.text(max_size=12)
site_rounds = st.builds(
    SiteRound,
    metrics=st.dictionaries(names, numbers, max_size=4),
    scores=st.builds(Scores, psnr=numbers, ssim=numbers, nmse=numbers),
    shift=st.dictionaries(st.text(max_size=8), st.builds(Shift, value=numbers, low=numbers, high=numbers, p=numbers)),
)
reports = st.builds(
    RoundReport,
    round=st.integers(1, 10**6),
    sites=st.dictionaries(names, site_rounds, max_size=4),
    ledger=st.dictionaries(names, st.integers(0, 2**62), max_size=3),
    seconds=st.dictionaries(names, st.floats(0, 1e6), max_size=3),
)


def strict_loads(line: str) -> dict[str, object]:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    record: dict[str, object] = json.loads(line, parse_constant=refuse)
    return record


@given(reports)
def test_round_trip(report: RoundReport) -> None:
    line = json.dumps(report_to_json(report), allow_nan=False)
    assert "\n" not in line
    assert report_from_json(strict_loads(line)) == report


def test_layout_is_the_documented_one() -> None:
    site = SiteRound(metrics={"loss": 0.5}, scores=Scores(psnr=20.0, ssim=0.5, nmse=0.1))
    report = RoundReport(round=3, sites={"a": site}, ledger={"weights": 8}, seconds={"train": 1.5})
    assert report_to_json(report) == {
        "round": 3,
        "sites": {"a": {"metrics": {"loss": 0.5}, "psnr": 20.0, "ssim": 0.5, "nmse": 0.1, "shift": {}}},
        "ledger": {"weights": 8},
        "seconds": {"train": 1.5},
    }


def test_nan_survives_as_valid_json() -> None:
    scores = Scores(psnr=math.inf, ssim=math.nan, nmse=-math.inf)
    shift = Shift(value=math.nan, low=-1.0, high=math.inf, p=0.5)
    report = RoundReport(
        round=1,
        sites={"a": SiteRound(metrics={"loss": math.nan}, scores=scores, shift={"mmd": shift})},
        ledger={},
        seconds={},
    )
    back = report_from_json(strict_loads(json.dumps(report_to_json(report), allow_nan=False))).sites["a"]
    assert math.isnan(back.metrics["loss"])
    assert math.isnan(back.scores.ssim)
    assert math.isnan(back.mmd)
    assert (back.shift["mmd"].high, back.shift["mmd"].p) == (math.inf, 0.5)
    assert (back.scores.psnr, back.scores.nmse) == (math.inf, -math.inf)


def test_numpy_numbers_are_accepted() -> None:
    site = SiteRound(metrics={"loss": np.float32(0.5)}, scores=Scores(psnr=1, ssim=1, nmse=0))  # type: ignore[dict-item]
    report = RoundReport(round=1, sites={"a": site}, ledger={"weights": np.int64(8)}, seconds={})  # type: ignore[dict-item]
    json.dumps(report_to_json(report), allow_nan=False)


def test_a_foreign_record_is_refused() -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        report_from_json({"round": 1})
