"""Synthetic points of curves; `python -m tests.sweeps.curves.points 80` shows what they make."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from engine.shift import MEASURES
from engine.streams import rng
from sweeps.curves.scores import Point, PointScore, PointShift

GAINS = {"FL-MR": 0.0, "FL-MRCM": 0.6, "fed-prox:mu=0.1": 0.1, "fl-mrcm:alignment_weight=0.1": 0.3}
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SOURCES = ("east", "north", "south")


def synthetic(
    methods: int = 2, strengths: Sequence[float] = STRENGTHS, seeds: int = 3, patients: int = 4
) -> list[Point]:
    """3 dB lost at full shift, of which a method gives back its gain; measures grow, those that saturate soon end."""
    return [
        _point(method, strength, seed, patients)
        for seed in range(seeds)
        for strength in strengths
        for method in [*GAINS][:methods]
    ]


def _point(method: str, strength: float, seed: int, patients: int) -> Point:
    random = rng(seed, "point", f"{method} {strength}")
    where = {"method": method, "strength": strength, "seed": seed}
    scores, shifts = [], []
    for patient in range(patients):
        base = 25 + rng(seed, "patient", str(patient)).normal(0, 0.5) - 0.8 * strength
        psnr = base + random.normal(0, 0.1) + (GAINS[method] - 2.2) * strength
        values = {"psnr": psnr, "ssim": psnr / 30, "nmse": 10 ** (-psnr / 20)}
        before = {"zero_filled_psnr": base - 4, "zero_filled_ssim": (base - 4) / 30, "zero_filled_nmse": 0.1}
        scores.append(PointScore(**where, patient=patient, **values, **before))  # type: ignore[arg-type]
    for source in SOURCES:
        for k, (name, measure) in enumerate(MEASURES.items()):
            far = 1 - math.exp(-9 * strength) if measure.saturates else strength
            scale = 4.0**k / (1 + GAINS[method])
            shift = {"value": scale * (far + random.normal(0.05, 0.01)), "low": 0.0, "high": 0.1 * scale}
            shifts.append(
                PointShift(**where, source=source, measure=name, **shift, p=0.01 if strength else 0.5)  # type: ignore[arg-type]
            )
    return Point(scores=tuple(scores), shifts=tuple(shifts))


if __name__ == "__main__":
    from rich.console import Console

    from sweeps.curves.statistics import summarize_curves
    from sweeps.curves.view import curves_view

    points = synthetic(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
    Console(width=int(sys.argv[1])).print(curves_view(summarize_curves(points, "contrast", "west")))
