"""One file per paper, each a frozen dataclass directly under `Algorithm`."""

from engine.algorithms.adcol import Adcol
from engine.algorithms.base import Algorithm
from engine.algorithms.fed_bn import FedBn
from engine.algorithms.fed_mri import FedMri
from engine.algorithms.fed_opt import FedOpt
from engine.algorithms.fed_prox import FedProx
from engine.algorithms.fl_coral import FlCoral
from engine.algorithms.fl_mmd import FlMmd
from engine.algorithms.fl_mr import FlMr
from engine.algorithms.fl_mrcm import FlMrcm
from engine.algorithms.moon import Moon
from engine.algorithms.scaffold import Scaffold

ALGORITHMS: dict[str, type[Algorithm]] = {
    "fl-mr": FlMr,
    "fl-mrcm": FlMrcm,
    "fl-mmd": FlMmd,
    "fl-coral": FlCoral,
    "adcol": Adcol,
    "fed-prox": FedProx,
    "scaffold": Scaffold,
    "fed-opt": FedOpt,
    "fed-bn": FedBn,
    "fed-mri": FedMri,
    "moon": Moon,
}
"""What `--algorithm` offers, by the names the papers use."""

__all__ = [
    "ALGORITHMS", "Adcol", "Algorithm", "FedBn", "FedMri", "FedOpt", "FedProx", "FlCoral", "FlMmd", "FlMr", "FlMrcm",
    "Moon", "Scaffold",
]  # fmt: skip
