"""One file per paper, each a frozen dataclass directly under `Algorithm`."""

from engine.algorithms.base import Algorithm
from engine.algorithms.fl_mr import FlMr
from engine.algorithms.fl_mrcm import FlMrcm

ALGORITHMS: dict[str, type[Algorithm]] = {"fl-mr": FlMr, "fl-mrcm": FlMrcm}
"""What `--algorithm` offers, by the names the papers use."""

__all__ = ["ALGORITHMS", "Algorithm", "FlMr", "FlMrcm"]
