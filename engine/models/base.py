"""What the engine asks of a reconstruction network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from engine.types import Scan


class Model(nn.Module, ABC):
    """A network with a bottleneck: what lies before it is aligned between sites, what lies behind reconstructs.

    latent_channels: channels of the bottleneck z.
    """

    latent_channels: int

    @abstractmethod
    def encode(self, x: Tensor, scan: Scan | None = None) -> tuple[Tensor, list[Tensor]]:
        """[B, 1, H, W] -> z [B, latent_channels, h, w], and whatever else `decode` needs.

        scan: what was measured, for networks that keep to it.
        """

    @abstractmethod
    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        """What `encode` gave -> [B, 1, H, W]."""

    @abstractmethod
    def in_encoder(self, name: str) -> bool:
        """Whether z depends on the weight of this name."""

    def encoder_weights(self) -> list[nn.Parameter]:
        """The parameters z depends on."""
        return [weight for name, weight in self.named_parameters() if self.in_encoder(name)]

    def is_normalisation(self, name: str) -> bool:
        """Whether the weight or statistic of this name belongs to a normalisation layer."""
        owner = self.get_submodule(name.rpartition(".")[0])
        return isinstance(owner, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm))
