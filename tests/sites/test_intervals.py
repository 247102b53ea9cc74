"""How a number is written."""

from __future__ import annotations

import math

import pytest

from sites.intervals import spelled, written


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (0.126, "0.13", "+0.13"),
        (-1.2, "−1.20", "−1.20"),
        (-0.001, "0.00", "0.00"),
        (0.0, "0.00", "0.00"),
        (math.nan, "–", "–"),
        (-math.inf, "−∞", "−∞"),
        (math.inf, "∞", "+∞"),
        (-2.5e6, "−2e+06", "−2e+06"),
    ],
)
def test_a_number_is_written_with_signs_that_are_some(value: float, plain: str, signed: str) -> None:
    assert written(value, 2) == plain
    assert written(value, 2, signed=True) == signed


def test_a_mean_is_spelled_with_what_is_known_of_its_interval() -> None:
    assert spelled(-0.5, 1.25, 1) == "−0.5 ± 1.2"
    assert spelled(0.5, 0.1, 2, signed=True) == "+0.50 ± 0.10"
    assert spelled(0.5, math.nan, 2) == "0.50"
