"""Small federations for tests: stored arrays, tiny networks, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from engine.algorithms import Algorithm
from engine.cohort import LocalCohort
from engine.config import ModelConfig, Setting, TrainConfig
from engine.driver import Driver
from engine.models.base import Model
from engine.outcomes import Roles
from engine.types import Array, RoundReport, Scan
from tests.arrays import ArrayFactory, random_arrays

NAMES = ["anna", "berta", "clara", "dora"]
TINY = ModelConfig(channels=2, pool_layers=2)


def setting(algorithm: Algorithm, target: str | None = None, model: ModelConfig = TINY, **train: Any) -> Setting:
    """A setting with a tiny network, batches of 4 and SGD unless `train` says otherwise."""
    settings: dict[str, Any] = {"batch_size": 4, "optimizer": "sgd", "lr": 0.05, **train}
    config = TrainConfig(**settings)
    return Setting(algorithm=algorithm, model=model, train=config, seed=3, target=target)


def driver(
    told: Setting,
    names: Sequence[str],
    arrays: dict[str, Array] | None = None,
    sources: Sequence[str] | None = None,
    shift_every: int = 0,
) -> Driver:
    """A started driver over sites of stored arrays; `names` in the order they are listed."""
    cohort = LocalCohort(told)
    stored = arrays or random_arrays(NAMES, slices=10, size=16)
    cohort.build({name: ArrayFactory(name, depth=5) for name in names}, stored)
    roles = Roles(
        everyone=tuple(sorted(names)), sources=tuple(sorted(names if sources is None else sources)), target=told.target
    )
    started = Driver(cohort, told.algorithm, roles, shift_every, told.seed)
    started.start()
    return started


def rounds(of: Driver, count: int) -> list[RoundReport]:
    """Run so many rounds."""
    return [report for report, _ in of.run(of.server.round + count, snapshot_every=0)]


@dataclass(frozen=True, kw_only=True)
class TwoWeights(ModelConfig):
    """A network of two parameters: z = a x, output = b z."""

    start: tuple[float, float] = (0.7, -0.4)
    channels: int = field(default=1)

    def build(self) -> Model:
        """The network at its stated start."""
        return TwoWeightNetwork(*self.start)


class TwoWeightNetwork(Model):
    """One channel throughout; the bottleneck has the image's size."""

    latent_channels = 1

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))
        self.b = nn.Parameter(torch.tensor(b))

    def encode(self, x: Tensor, scan: Scan | None = None) -> tuple[Tensor, list[Tensor]]:  # noqa: ARG002
        """z = a x."""
        return self.a * x, []

    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:  # noqa: ARG002
        """b z."""
        return self.b * z

    def in_encoder(self, name: str) -> bool:
        """a alone."""
        return name == "a"
