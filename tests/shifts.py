"""Shifts for tests that only show or store them."""

from __future__ import annotations

from engine.types import Shift


def mmd_of(value: float) -> dict[str, Shift]:
    """A site's shift as a round reports it, by one measure."""
    return {"mmd": Shift(value=value, low=-0.01, high=0.02, p=0.1)}
