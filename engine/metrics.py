"""Image quality per volume, as fastMRI defines it (Zbontar et al., arXiv 1811.08839, section 5.3).

Volumes are magnitudes [S, H, W] in the scanner's units; the data range is the true volume's maximum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.types import Scores

WINDOW = 7


def nmse(truth: Tensor, image: Tensor) -> Tensor:
    """||truth - image||^2 / ||truth||^2 over the volume."""
    return (truth - image).square().sum() / truth.square().sum()


def psnr(truth: Tensor, image: Tensor) -> Tensor:
    """10 log10(max(truth)^2 / MSE), dB, over the volume; infinite for equal volumes."""
    return 10 * torch.log10(truth.max().square() / (truth - image).square().mean())


def ssim(truth: Tensor, image: Tensor) -> Tensor:
    """Wang et al. 2004 per slice, averaged: 7x7 uniform window, sample covariance, k1 = 0.01, k2 = 0.03.

    scikit-image's defaults: only windows wholly inside the slice count.
    """
    data_range = truth.max()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    x, y = truth[:, None], image[:, None]
    maps = torch.cat([x, y, x * x, y * y, x * y], dim=1)
    mean_x, mean_y, xx, yy, xy = F.avg_pool2d(maps, WINDOW, stride=1).unbind(1)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    var_x, var_y = sample * (xx - mean_x**2), sample * (yy - mean_y**2)
    covariance = sample * (xy - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * (2 * covariance + c2) / (var_x + var_y + c2)).mean()


def score(truth: Tensor, image: Tensor) -> Scores:
    """All three for one volume, computed in float64. Raises ValueError on shapes that differ or are too small."""
    if truth.shape != image.shape or truth.ndim != 3 or min(truth.shape[1:]) < WINDOW:
        raise ValueError(f"volumes of shape {tuple(truth.shape)} and {tuple(image.shape)}: need equal [S, H, W], "
                         f"H and W at least {WINDOW}")  # fmt: skip
    truth, image = truth.double(), image.double()
    values = torch.stack([psnr(truth, image), ssim(truth, image), nmse(truth, image)]).tolist()
    return Scores(psnr=values[0], ssim=values[1], nmse=values[2])


def mean_scores(per_volume: tuple[Scores, ...]) -> Scores:
    """The mean over volumes of each score."""
    count = len(per_volume)
    return Scores(
        psnr=sum(s.psnr for s in per_volume) / count,
        ssim=sum(s.ssim for s in per_volume) / count,
        nmse=sum(s.nmse for s in per_volume) / count,
    )
