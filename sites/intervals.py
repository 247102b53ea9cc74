"""Means with 95 % t-intervals, and how a number is written.

The interval of a mean over sites: Satterthwaite, An approximate distribution of estimates of variance components,
Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.95  # of an interval


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t-interval; NaN for the latter of a single value, or with infinite ones."""
    return interval_of_means([values])


def interval_of_means(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The mean of the groups' means, each weighted alike whatever its size, and half its 95 % interval.

    The groups (sites) are those meant, no sample of more: variance sum_g(s_g^2 / n_g) / G^2, Satterthwaite's degrees
    of freedom (for one group, n - 1). The width is NaN if a group has one value only, or an infinite one.
    """
    from scipy.special import stdtrit

    mean = average([average([*group]) for group in groups])
    if not math.isfinite(mean) or min(map(len, groups)) < 2:
        return mean, math.nan
    parts = [_variance(group) / len(group) for group in groups]
    total = math.fsum(parts)
    if total == 0:
        return mean, 0.0
    shares = [(part / total) ** 2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True)]
    quantile = float(stdtrit(1 / math.fsum(shares), (1 + LEVEL) / 2))
    return mean, quantile * math.sqrt(total) / len(groups)


def _variance(values: Sequence[float]) -> float:
    """With n - 1."""
    mean = average([*values])
    return math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1)


def average(values: list[float]) -> float:
    """Whatever the order, the same bits; infinite or NaN where a value is."""
    return (math.fsum(values) if all(map(math.isfinite, values)) else sum(values)) / len(values)


def fixed(value: float, digits: int) -> str:
    """Fixed point; ∞, – for NaN, and an exponent where the digits before the point are too many."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.0e}" if abs(value) >= 1e5 else f"{value:.{digits}f}"


def written(value: float, digits: int, signed: bool = False) -> str:
    """As `fixed`, with a minus sign that is one; a rounded zero has no sign. signed: a plus sign too."""
    text = fixed(abs(value), digits)
    if math.isnan(value) or not text.strip("0."):
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def spelled(mean: float, half_width: float, digits: int, signed: bool = False) -> str:
    """24.64 ± 0.99, without the second if it is unknown."""
    half = "" if math.isnan(half_width) else f" ± {fixed(half_width, digits)}"
    return written(mean, digits, signed) + half
