"""The engine's own settings. No torch: the command line reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.algorithms.base import Algorithm
from engine.validation import require

if TYPE_CHECKING:
    from engine.models.base import Model

OptimizerName = Literal["adam", "rmsprop", "sgd"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The reconstruction network: Guo 2021's U-Net, or several of them unrolled with data consistency."""

    channels: int = 8
    """Channels after the first convolution; each pooling doubles them."""
    pool_layers: int = 4
    """Down-sampling steps; the slice's height and width must be at least 2 to this power, times 2."""
    residual: bool = True
    """The network learns what to add to the zero-filled image (demo) rather than the image itself (paper)."""
    zero_last: bool = True
    """Start from a last layer of zeros: with `residual`, from the zero-filled image itself."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation: instance, without weights as in the paper, or batch, with weights and statistics (FedBN's)."""
    cascades: int = 0
    """Unrolled iterations, each a U-Net and a data-consistency step on k-space; 0: the U-Net alone, on magnitudes."""

    def __post_init__(self) -> None:
        require(
            self,
            [
                ("channels", self.channels >= 1, "at least 1"),
                ("pool_layers", self.pool_layers >= 1, "at least 1"),
                ("cascades", self.cascades >= 0, "at least 0"),
            ],
        )
        if self.cascades and not self.residual:
            raise ValueError("residual is False and an unrolled network is residual by construction; take --residual")

    def build(self) -> Model:
        """The network, initialised from torch's generator as it stands."""
        if self.cascades:
            from engine.models.unrolled import Unrolled

            return Unrolled(self)
        from engine.models.unet import UNet

        return UNet(self)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every site does between two broadcasts."""

    optimizer: OptimizerName = "adam"
    """Local optimiser: adam, rmsprop (the paper's), or sgd; torch's defaults but for the learning rate."""
    lr: float = 2e-3
    """Learning rate of the local optimiser."""
    lr_decay: float = 0.1
    """Factor on the learning rate from round `lr_decay_round` on."""
    lr_decay_round: int = 0
    """First round (counted from 0) with the decayed learning rate; 0: never."""
    batch_size: int = 8
    """Slices a step."""
    local_epochs: int = 1
    """Passes over a site's training slices each round; 0: none (an empty round)."""
    optimizer_state: Literal["fresh", "kept"] = "kept"
    """Whether a site's optimiser starts anew each round or keeps its moments from round to round."""
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    """Arithmetic of the network: fp32, bf16 (autocast; weights stay fp32), or fp64 (parity checks)."""

    def __post_init__(self) -> None:
        require(
            self,
            [
                ("lr", 0 < self.lr < math.inf, "a positive, finite number"),
                ("lr_decay", 0 < self.lr_decay < math.inf, "a positive, finite number"),
                ("lr_decay_round", self.lr_decay_round >= 0, "at least 0"),
                ("batch_size", self.batch_size >= 1, "at least 1"),
                ("local_epochs", self.local_epochs >= 0, "at least 0"),
            ],
        )

    def learning_rate(self, round: int) -> float:
        """The learning rate of a round counted from 0."""
        decayed = 0 < self.lr_decay_round <= round
        return self.lr * self.lr_decay if decayed else self.lr


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every institution of a federation is told once."""

    algorithm: Algorithm
    model: ModelConfig
    train: TrainConfig
    seed: int
    target: str | None
    device: str = "cpu"
    threads: int = 1
