"""What the engine asks of a reconstruction network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Model(nn.Module, ABC):
    """A network with a bottleneck: what lies before it is aligned between sites, what lies behind reconstructs.

    latent_channels: channels of the bottleneck z.
    """

    latent_channels: int

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 1, H, W] -> z [B, latent_channels, h, w], and whatever else `decode` needs."""

    @abstractmethod
    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        """What `encode` gave -> [B, 1, H, W]."""

    @abstractmethod
    def encoder_weights(self) -> list[nn.Parameter]:
        """The parameters z depends on."""
