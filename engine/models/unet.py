"""The paper's U-Net, split where cross-site modeling needs it: at the bottleneck.

Ronneberger et al., MICCAI 2015, arXiv 1505.04597, in the form of Zbontar et al. (fastMRI), arXiv 1811.08839,
section 5.1.2: instance normalisation without affine weights, leaky ReLU of slope 0.2, average pooling,
transposed convolutions. The names of the weights are the published ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.models.base import Model
from engine.types import Scan

Norm = type[nn.BatchNorm2d] | type[nn.InstanceNorm2d]


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each normalised and rectified: [B, inputs, H, W] -> [B, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            norm(outputs),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Identity(),  # fastMRI's dropout, at probability 0: keeps the published names
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            norm(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H, W]."""
        y: Tensor = self.layers(x)
        return y


class UpBlock(nn.Module):
    """A transposed convolution that doubles the resolution: [B, inputs, H, W] -> [B, outputs, 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False),
            norm(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, 2H, 2W]."""
        y: Tensor = self.layers(x)
        return y


class UNet(Model):
    """[B, planes, H, W] -> the same, with the bottleneck z: [B, channels * 2**pool_layers, H / 2**pools, ...].

    planes: 1 for magnitudes; an unrolled network's U-Nets have 2, real and imaginary.
    """

    def __init__(self, config: ModelConfig, planes: int = 1) -> None:
        super().__init__()
        norm: Norm = nn.BatchNorm2d if config.norm == "batch" else nn.InstanceNorm2d
        widths = [config.channels * 2**level for level in range(config.pool_layers + 1)]
        self.residual = config.residual
        self.latent_channels = widths[-1]
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(i, o, norm) for i, o in zip([planes, *widths[:-2]], widths[:-1], strict=True)
        )
        self.conv = ConvBlock(widths[-2], widths[-1], norm)
        self.up_transpose_conv = nn.ModuleList(UpBlock(2 * w, w, norm) for w in reversed(widths[:-1]))
        self.up_conv = nn.ModuleList(ConvBlock(2 * w, w, norm) for w in reversed(widths[1:-1]))
        last = nn.Conv2d(widths[0], planes, 1)
        self.up_conv.append(nn.Sequential(ConvBlock(2 * widths[0], widths[0], norm), last))
        if config.zero_last:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def encode(self, x: Tensor, scan: Scan | None = None) -> tuple[Tensor, list[Tensor]]:  # noqa: ARG002
        """[B, 1, H, W] -> the bottleneck z and the skip connections, the input first."""
        skips = [x]
        for down in self.down_sample_layers:
            x = down(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        return self.conv(x), skips

    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        """What `encode` gave -> [B, 1, H, W]. Odd sizes are met by reflecting the last row and column."""
        x = z
        for up, conv, skip in zip(self.up_transpose_conv, self.up_conv, reversed(skips[1:]), strict=True):
            x = up(x)
            missing = (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2])
            if any(missing):
                x = F.pad(x, missing, mode="reflect")
            x = conv(torch.cat([x, skip], dim=1))
        return skips[0] + x if self.residual else x

    def in_encoder(self, name: str) -> bool:
        """The way down and the bottleneck's own convolutions."""
        return name.startswith(("down_sample_layers.", "conv."))


def pool_latents(z: Tensor) -> Tensor:
    """[B, L, h, w] -> [B, 4 L]: what the domain identifiers see, Guo 2021: average-pooled to 2x2, flattened.

    The quarters share the middle row or column of an odd size. Spelt out: torch's adaptive pooling has a backward
    pass on GPUs that is not repeatable.
    """
    tops, lefts = (slice((n + 1) // 2) for n in z.shape[-2:])
    bottoms, rights = (slice(n // 2, None) for n in z.shape[-2:])
    quarters = [z[..., rows, columns].mean((-2, -1)) for rows in (tops, bottoms) for columns in (lefts, rights)]
    return torch.stack(quarters, dim=-1).flatten(1)
