"""What curves against shift are made of: scores of the target's test patients, and how far the sources lie from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from sweeps.scores import ZERO_FILLED, Metric, Unit
from sweeps.statistics import Values

DIGITS = 4  # after the point, of a strength


@dataclass(frozen=True, kw_only=True)
class PointScore:
    """A method's reconstruction of one of the target's test patients, at a strength of the shift."""

    method: str
    """"FL-MR", "FL-MRCM", "fed-prox:mu=0.1" …"""
    strength: float
    """Of the dial, from 0 to 1."""
    seed: int
    """Of the federation."""
    patient: int
    """Index among the target's test patients."""
    psnr: float
    """dB, of the reconstruction."""
    ssim: float
    nmse: float
    zero_filled_psnr: float
    """dB, of the zero-filled image."""
    zero_filled_ssim: float
    zero_filled_nmse: float

    def value(self, metric: Metric, zero_filled: bool = False) -> float:
        """One of the six."""
        value: float = getattr(self, f"zero_filled_{metric}" if zero_filled else metric)
        return value


@dataclass(frozen=True, kw_only=True)
class PointShift:
    """How far a source lies from the target by one measure, under the network that a method trained there."""

    method: str
    strength: float
    seed: int
    source: str
    measure: str
    """Of `engine.shift.MEASURES`."""
    value: float
    low: float
    """Low and high: the middle 95 % of what is measured when patients are exchanged between the two sites."""
    high: float
    p: float
    """Part of those exchanges that lie at least as far apart."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a federation says of its method at its strength."""

    scores: tuple[PointScore, ...]
    shifts: tuple[PointShift, ...]


SCORE_FIELDS = tuple(field.name for field in fields(PointScore))
SHIFT_FIELDS = tuple(field.name for field in fields(PointShift))


def column(strength: float) -> str:
    """A strength as it is written: 0, 0.25, 1."""
    return f"{round(strength, DIGITS):g}"


def unit_of(score: PointScore) -> Unit:
    """What scores are paired by: a test patient under one seed, at a strength."""
    return Unit(column(score.strength), score.seed, score.patient)


def values_of(scores: Iterable[PointScore], metric: Metric) -> Values:
    """Method, and ZERO_FILLED -> unit -> value; the zero-filled image of a unit is the same for every method."""
    values: dict[str, dict[Unit, float]] = {}
    for score in scores:
        values.setdefault(score.method, {})[unit_of(score)] = score.value(metric)
        values.setdefault(ZERO_FILLED, {})[unit_of(score)] = score.value(metric, zero_filled=True)
    return values
