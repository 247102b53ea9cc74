"""FL-MR: federated averaging of a reconstruction network."""

from __future__ import annotations

from dataclasses import dataclass

from engine.algorithms.base import Algorithm


@dataclass(frozen=True, kw_only=True)
class FlMr(Algorithm):
    """Guo et al., CVPR 2021, arXiv 2103.02148, section 3.2. With one source it is centralised training."""
