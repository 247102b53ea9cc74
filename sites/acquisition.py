"""From fully sampled k-space to a network's batch: undersampling, zero filling, normalisation.

As fastMRI's single-coil U-Net pipeline (Zbontar et al., arXiv 1811.08839): the zero-filled magnitude is normalised
by its own mean and deviation, the target by the same two numbers, and both are clamped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.fourier import ifft2c
from engine.types import Batch

CLAMP = 6.0
"""Largest normalised intensity a network sees, in deviations."""
EPSILON = 1e-11
"""Added to the deviation, so that an empty slice divides by something."""


def acquire(kspace: Tensor, masks: Tensor, volume: Tensor) -> Batch:
    """Measure the columns of the masks and reconstruct by zero filling.

    kspace: complex64 [B, C, H, W] fully sampled; masks: bool [B, W] columns, or [B, H, W]; volume: int64 [B]; all
    on one device.
    """
    truth = fully_sampled(kspace)
    measured = torch.where(masks[:, None, None, :] if masks.ndim == 2 else masks[:, None], kspace, 0)
    zero_filled = fully_sampled(measured)
    mean = zero_filled.mean(dim=(-2, -1))
    std = zero_filled.std(dim=(-2, -1))

    def normalised(image: Tensor) -> Tensor:
        scaled = (image - mean[:, None, None]) / (std + EPSILON)[:, None, None]
        return scaled.clamp(-CLAMP, CLAMP)[:, None]

    return Batch(
        input=normalised(zero_filled),
        target=normalised(truth),
        truth=truth,
        zero_filled=zero_filled,
        mean=mean,
        std=std,
        volume=volume,
        kspace=measured,
        mask=masks,
    )


def fully_sampled(kspace: Tensor) -> Tensor:
    """Magnitude image [B, H, W]: the root sum of squares over coils of [B, C, H, W]."""
    image = ifft2c(kspace)
    if image.shape[1] == 1:
        return image[:, 0].abs()
    return image.abs().square().sum(dim=1).sqrt()
