"""Named contrasts, and the way from one protocol to another: every point of it is a protocol of the one signal law."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sites.physics import null_time, signal, tissues
from sites.site_config import Sequence, SiteConfig

ALIKE = 0.1
"""Protocols are of one contrast if the unit vectors of their signals (grey, white matter, CSF) are so close."""
LATE = 0.999
"""TI, as a part of TR, at an end that does not invert."""


def t2_weighted(site: SiteConfig) -> SiteConfig:
    """Scanned with a T2-weighted spin echo."""
    return _spin_echo(site, tr=6000.0, te=100.0)


def t1_weighted(site: SiteConfig) -> SiteConfig:
    """Scanned with a T1-weighted spin echo."""
    return _spin_echo(site, tr=500.0, te=12.0)


def pd_weighted(site: SiteConfig) -> SiteConfig:
    """Scanned with a proton-density-weighted spin echo."""
    return _spin_echo(site, tr=4000.0, te=15.0)


def flair(site: SiteConfig) -> SiteConfig:
    """Scanned with inversion recovery, TI at the null of CSF, late TE."""
    tr = 9000.0
    ti = null_time(float(tissues(site.field_strength)["csf"].t1), tr)
    return replace(
        site, sequence="inversion_recovery", tr=tr, te=90.0, ti=float(round(ti)), flip_angle=90.0, inversion=1.0
    )


def _spin_echo(site: SiteConfig, tr: float, te: float) -> SiteConfig:
    return replace(site, sequence="spin_echo", tr=tr, te=te, ti=0.0, flip_angle=90.0, inversion=1.0)


def alike(a: SiteConfig, b: SiteConfig) -> bool:
    """Whether two protocols give nearly the same contrast between the healthy tissues."""
    return bool(np.linalg.norm(_unit_signals(a) - _unit_signals(b)) < ALIKE)


def _unit_signals(site: SiteConfig) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    table = tissues(site.field_strength)
    magnitudes = np.abs([float(signal(site, table[name])) for name in ("grey", "white", "csf")])
    unit: np.ndarray[tuple[int], np.dtype[np.float64]] = magnitudes / max(np.linalg.norm(magnitudes), 1e-30)
    return unit


def towards(own: SiteConfig, full: SiteConfig, strength: float) -> SiteConfig:
    """The protocol at a part of the way: at 0 that of `own`, at 1 that of `full`, between them valid and continuous.

    TR and TE move on a logarithmic scale, TE as a part of TR, so that it stays below it; the flip angle linearly. Two
    ends that invert: TI / TR likewise, the inversion's efficiency linearly. One: TI moves from the end of TR, where an
    inversion finds nothing to invert after 90 degrees, and the efficiency grows with the root of the way, so that
    images depart steadily: with TI / TR held, they would return halfway.
    """
    if strength in (0, 1):
        return full if strength else own
    tr = geometric(own.tr, full.tr, strength)
    te = tr * geometric(own.te / own.tr, full.te / full.tr, strength)
    flip_angle = linear(own.flip_angle, full.flip_angle, strength)
    inverting = [end for end in (own, full) if end.sequence == "inversion_recovery"]
    if not inverting:
        sequence: Sequence = "spin_echo" if own.sequence == full.sequence == "spin_echo" else "gradient_echo"
        return replace(own, sequence=sequence, tr=tr, te=te, flip_angle=flip_angle)
    if len(inverting) == 2:
        ti = tr * geometric(own.ti / own.tr, full.ti / full.tr, strength)
        inversion = linear(own.inversion, full.inversion, strength)
    else:
        (end,) = inverting
        way = strength if end is full else 1 - strength
        ti = tr * linear(LATE, end.ti / end.tr, way)
        inversion = end.inversion * math.sqrt(way)
    return replace(
        own, sequence="inversion_recovery", tr=tr, te=te, ti=ti, flip_angle=flip_angle, inversion=inversion
    )  # fmt: skip


# ---- between two numbers, exact at both -------------------------------------------------------------------------


def linear(start: float, end: float, part: float) -> float:
    """From start (part 0) to end (part 1) in equal steps; never beyond either."""
    if part in (0, 1):
        return end if part else start
    return min(max(start + part * (end - start), min(start, end)), max(start, end))


def harmonic(start: float, end: float, part: float) -> float:
    """Between two positive numbers, so that the inverse moves evenly."""
    if part in (0, 1):
        return linear(start, end, part)
    return min(max(1 / linear(1 / start, 1 / end, part), min(start, end)), max(start, end))


def geometric(start: float, end: float, part: float) -> float:
    """The same in equal factors, or linearly where one of the two is 0."""
    if min(start, end) <= 0 or part in (0, 1):
        return linear(start, end, part)
    between = math.exp((1 - part) * math.log(start) + part * math.log(end))
    return min(max(between, min(start, end)), max(start, end))
