"""An unrolled network: U-Nets that refine the image, each followed by data consistency in k-space.

Schlemper et al., IEEE TMI 2018, arXiv 1704.02422 (the cascade; eta = lambda / (1 + lambda) of its equation for data
consistency), in the multi-coil form of Sriram et al. (E2E-VarNet), MICCAI 2020, arXiv 2004.06688. Cascade i takes
k-space k, all coils, from k_i to k_(i+1); k_0 is what was measured, M the mask, F the unitary transform:

    refine:  k  = k_i + F E cnn_i(R F^-1 k_i)        R x = sum over coils of conj(S) x,  E x = S x
    keep to: k_(i+1) = k - eta_i M (k - k_0)         eta_i learned, at first 1: what was measured stays

S are the coils' sensitivities, 1 for a single coil; the result is the root sum of squares of F^-1 k. All k-space is
divided by the slice's deviation, so that the U-Nets see images of order one. Fourier transforms know no bfloat16: the
U-Nets' outputs come back to the weights' dtype, and autocast leaves complex numbers alone.

Legend: B batch, C coils, H height, W width; h is H for a mask of samples and 1 for a mask of columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.fourier import fft2c, ifft2c
from engine.models.base import Model
from engine.models.unet import UNet
from engine.types import Scan

EPSILON = 1e-11  # beside the deviation, as the sites' normalisation has it (engine.types.Batch.input)
FAINT = 1e-2  # of the slice's deviation: where there is less signal than this, it is noise or rounding, and no coil's
NOTHING = 1e-18  # its square is still a float32
WIDEST = 12  # reach of the calibration window: the customary 24 central lines, less one to be symmetric
NARROWEST = 2  # a window of fewer than 3 lines cannot tell coils apart


class Measurement(NamedTuple):
    """What every cascade needs of a batch. A tuple of tensors, to travel among the skip connections.

    kspace: complex [B, C, H, W] over the deviation, 0 where not measured; measured: bool [B, 1, h, W];
    sensitivities: complex [B, C, H, W], or ones [B, 1, 1, 1]; mean: [B, 1, 1, 1] over the deviation
    """

    kspace: Tensor
    measured: Tensor
    sensitivities: Tensor
    mean: Tensor


class Cascade(nn.Module):
    """One U-Net on real and imaginary part, and how strictly its result is held to what was measured."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # no path around the U-Net: the cascade is that path
        self.unet = UNet(replace(config, cascades=0, residual=False), planes=2)
        self.eta = nn.Parameter(torch.ones(()))

    def encode(self, kspace: Tensor, measurement: Measurement) -> tuple[Tensor, list[Tensor]]:
        """k_i [B, C, H, W] -> the U-Net's bottleneck and skip connections."""
        image = combine(ifft2c(kspace), measurement.sensitivities)
        return self.unet.encode(torch.cat([image.real, image.imag], dim=1))

    def decode(self, z: Tensor, skips: list[Tensor], kspace: Tensor, measurement: Measurement) -> Tensor:
        """What `encode` gave, and k_i -> k_(i+1) [B, C, H, W]."""
        planes = self.unet.decode(z, skips).to(self.eta.dtype)
        update = torch.complex(planes[:, :1], planes[:, 1:])
        refined = kspace + fft2c(expand(update, measurement.sensitivities))
        return consistent(refined, measurement, self.eta)

    def forward(self, kspace: Tensor, measurement: Measurement) -> Tensor:
        """k_i -> k_(i+1), both [B, C, H, W]."""
        return self.decode(*self.encode(kspace, measurement), kspace, measurement)


class Unrolled(Model):
    """`config.cascades` cascades. The bottleneck z is the last one's U-Net's: all before it belongs to the encoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.earlier = nn.ModuleList(Cascade(config) for _ in range(config.cascades - 1))
        self.last = Cascade(config)
        self.latent_channels = self.last.unet.latent_channels

    def encode(self, x: Tensor, scan: Scan | None = None) -> tuple[Tensor, list[Tensor]]:  # noqa: ARG002
        """The scan -> z; and k-space before the last cascade, the measurement, the last U-Net's skip connections.

        x, the zero-filled magnitude, is not looked at: the scan has its phase too. Raises ValueError without a scan.
        """
        if scan is None:
            raise ValueError("an unrolled network needs k-space and these images come without it; take --cascades 0")
        measurement = measure(scan, self.last.eta.dtype)
        kspace = measurement.kspace
        for cascade in self.earlier:
            kspace = cascade(kspace, measurement)
        z, skips = self.last.encode(kspace, measurement)
        return z, [kspace, *measurement, *skips]

    def kspace(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        """What `encode` gave -> reconstructed k-space, complex [B, C, H, W], over the slice's deviation."""
        before, measurement = skips[0], Measurement(*skips[1:5])
        return self.last.decode(z, skips[5:], before, measurement)

    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        """What `encode` gave -> magnitude [B, 1, H, W], normalised as the input is, not clamped."""
        magnitude = root_sum_of_squares(ifft2c(self.kspace(z, skips)), NOTHING)
        return magnitude - Measurement(*skips[1:5]).mean

    def in_encoder(self, name: str) -> bool:
        """All of the earlier cascades, and the way down of the last one's U-Net."""
        return name.startswith("earlier.") or self.last.unet.in_encoder(name.removeprefix("last.unet."))


# ---- physics --------------------------------------------------------------------------------------------


def measure(scan: Scan, dtype: torch.dtype) -> Measurement:
    """A scan over its deviation, in the precision of `dtype` (a real one), with the coils' sensitivities."""
    deviation = (scan.std.to(dtype) + EPSILON)[:, None, None, None]
    kspace = scan.kspace.to(dtype.to_complex()) / deviation
    mean = scan.mean.to(dtype)[:, None, None, None] / deviation
    return Measurement(kspace, scan.measured, sensitivities(kspace, scan.measured), mean)


def combine(coils: Tensor, sensitivities: Tensor) -> Tensor:
    """R: [B, C, H, W] -> [B, 1, H, W], the sum over coils of conj(S) x."""
    return (sensitivities.conj() * coils).sum(dim=1, keepdim=True)


def expand(image: Tensor, sensitivities: Tensor) -> Tensor:
    """E, the adjoint of R: [B, 1, H, W] -> [B, C, H, W]."""
    return sensitivities * image


def consistent(kspace: Tensor, measurement: Measurement, eta: Tensor) -> Tensor:
    """k - eta M (k - k_0), written so that eta = 1 gives the measured samples bit for bit; [B, C, H, W]."""
    return torch.where(measurement.measured, (1 - eta) * kspace + eta * measurement.kspace, kspace)


def root_sum_of_squares(coils: Tensor, faint: float) -> Tensor:
    """Complex [B, C, H, W] -> real [B, 1, H, W], at least `faint`, which keeps the derivative finite at no signal."""
    return (coils.abs().square().sum(dim=1, keepdim=True) + faint**2).sqrt()


def sensitivities(kspace: Tensor, measured: Tensor) -> Tensor:
    """Complex [B, C, H, W], or ones [B, 1, 1, 1] for a single coil, from k-space [B, C, H, W] and its mask.

    The coils' low-resolution images from the calibration window, over their root sum of squares, as E2E-VarNet has
    them before its sensitivity network. What the window blurs is the same object in all coils and cancels.
    """
    if kspace.shape[1] == 1:
        return torch.ones_like(kspace[..., :1, :1])
    coils = ifft2c(torch.where(calibration(measured), kspace, 0))
    return coils / root_sum_of_squares(coils, FAINT)


def calibration(measured: Tensor) -> Tensor:
    """The window about the centre in which everything is measured: bool [B, 1, h, W] -> the same shape.

    Of columns, as many to the left as to the right; of samples, a square. At most WIDEST from the centre; and so wide
    where a pattern leaves out the centre or its neighbours: better what is measured there than nothing.
    """
    down, right = (torch.arange(n, device=measured.device) - n // 2 for n in measured.shape[-2:])
    distance = torch.maximum(down.abs()[:, None], right.abs())
    gap = torch.where(measured, WIDEST, distance).amin(dim=(-2, -1), keepdim=True).clamp(max=WIDEST)
    return distance < torch.where(gap < NARROWEST, WIDEST, gap)
