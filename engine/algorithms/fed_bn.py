"""FedBN: every site normalises by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from engine.algorithms.base import Algorithm

if TYPE_CHECKING:
    from engine.config import ModelConfig, TrainConfig
    from engine.models.base import Model


@dataclass(frozen=True, kw_only=True)
class FedBn(Algorithm):
    """Li et al., ICLR 2021, arXiv 2102.07623: weights and statistics of normalisation layers stay at their site.

    A site that never trained has none of its own: it is scored with the mean of the others'.
    """

    personal: ClassVar[bool] = True

    def check(self, model: ModelConfig, train: TrainConfig) -> None:  # noqa: ARG002
        """Raises ValueError if nothing would stay at a site: instance normalisation has no weights."""
        if model.norm != "batch":
            raise ValueError(f"norm is {model.norm!r}, without weights: fed-bn would be fl-mr; take --norm batch")

    def is_shared(self, model: Model, name: str) -> bool:
        """All but normalisation."""
        return not model.is_normalisation(name)
