"""Curves in words: what the numbers are, where a measure of shift has ended, how a number is written."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.shift import MEASURES
from sites.intervals import written
from sweeps.curves.scores import column
from sweeps.curves.statistics import Curves
from sweeps.notes import meaning_of_marks, too_few, what_seeds_say


def in_six(value: float) -> str:
    """Of a measure, whose scales differ, in six columns: 0.984, 0.031, 12.3, 1076, 3.1e-4, −3e-4."""
    size = abs(value)
    if not math.isfinite(value) or 100 <= size < 1e5:
        return written(value, 0)
    if value and not 0.01 <= size < 100:
        text = f"{size:.{int(value > 0)}e}".replace("e-0", "e-").replace("e+0", "e")
    else:
        text = f"{size:.{3 if size >= 0.1 else 2}g}"
    return "−" * (value < 0) + text


def heading(curves: Curves) -> str:
    """What is swept where."""
    return f"Domain shift of {curves.target}, {curves.dial}"


def unit_words(curves: Curves) -> str:
    """What is counted: 3 seeds × 4 test patients of west."""
    fewest, most = curves.patients
    patients = f"{most}" if fewest == most else f"{fewest} to {most}"
    seeds = f"{curves.seeds} seed{'s' * (curves.seeds != 1)}"
    return f"{seeds} × {patients} test patient{'s' * (most != 1)} of {curves.target}"


def first_strength(curves: Curves) -> str:
    """What changes are since."""
    return f"strength {curves.columns[0]}"


def saturations(curves: Curves) -> list[str]:
    """What of the measures grows no more before the last strength; a sentence for those that end alike."""
    alike: dict[str, list[str]] = {}
    for measure, by_method in curves.shifts.items():
        ends = {method: curves.saturated_from(measure, method) for method in by_method}
        found: dict[float, list[str]] = {}
        for method, strength in ends.items():
            if strength is not None:
                found.setdefault(strength, []).append(method)
        where = [
            f"from {column(strength)} on" + (f" ({', '.join(methods)})" if len(methods) < len(ends) else "")
            for strength, methods in sorted(found.items())
        ]
        if where:
            alike.setdefault(", ".join(where), []).append(MEASURES[measure].label)
    return [f"Saturated, no longer growing with the shift {where}: {', '.join(m)}." for where, m in alike.items()]


def curve_footnotes(curves: Curves, warnings: Sequence[str] = ()) -> list[str]:
    """What the numbers are, and what they are not; empty if there is no score yet. warnings: of the sites' data."""
    if not curves.seeds:
        return []
    since = first_strength(curves)
    notes = [
        f"Mean ± half its 95 % t-interval over units: {unit_words(curves)}, never slices. "
        f"Δ: change since {since}, gain: over the zero-filled image, both paired by unit.",
    ]
    tested, units = curves.comparisons, curves.seeds * curves.patients[1]
    if tested:
        family = f"the {tested} comparisons of a metric"
        notes.append(meaning_of_marks(curves.methods[0], "unit at each strength", family))
        if too_few(units, tested):
            notes.append(f"With {units} units no difference can be significant here; take more --seeds.")
    if curves.shifts:
        notes.append(
            f"Shift: {curves.target}'s validation patients against a source's, after the last round, mean over "
            f"{curves.sources} source{'s' * (curves.sources != 1)} and {curves.seeds} seed{'s' * (curves.seeds != 1)}. "
            f"ρ: Spearman's rank correlation, over strengths and seeds, with the PSNR lost since {since}, and with the "
            f"gain over the zero-filled image."
        )
    return [*notes, what_seeds_say(curves.seeds), *(f"Warning: {text}." for text in warnings)]
