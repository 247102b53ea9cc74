"""Distances between two batches of latents that a network can descend: exactly 0 for equal batches.

Legend: B, M rows of the batches, D latent features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.pooled import BANDWIDTHS


def mmd_loss(first: Tensor, second: Tensor) -> Tensor:
    """Squared multi-kernel maximum mean discrepancy of [B, D] and [M, D], biased (a V-statistic): at least 0.

    Long et al., ICML 2015, arXiv 1502.02791, section 3, with the mean of Gaussian kernels of five bandwidths around the
    (lower) median squared distance, which is held fixed; `engine.shift.mmd` is the unbiased measure.
    """
    both = torch.cat([first, second])
    distances = (both[:, None] - both[None, :]).square().sum(-1)
    apart = distances.detach()[~torch.eye(len(both), dtype=torch.bool, device=both.device)]
    median = torch.clamp(apart.median() if len(apart) else distances.new_zeros(()), min=1e-12)
    kernel = torch.stack([torch.exp(-distances / (median * b)) for b in BANDWIDTHS]).mean(0)
    count = len(first)
    within = kernel[:count, :count].mean() + kernel[count:, count:].mean()
    return within - 2 * kernel[:count, count:].mean()


def coral_loss(first: Tensor, second: Tensor) -> Tensor:
    """Squared Frobenius distance of the covariances of [B, D] and [M, D], over 4 D^2.

    Sun & Saenko, ECCV 2016 workshops, arXiv 1607.01719, eq. 1. Through the Gram matrices of the centred rows: B by M
    numbers in place of D by D. A batch of one row has no covariance: it counts as zero.
    """
    s, t = (z - z.mean(0) for z in (first, second))
    s, t = (z / max(len(z) - 1, 1) ** 0.5 for z in (s, t))
    squares: Tensor = (s @ s.T).square().sum() - 2 * (s @ t.T).square().sum() + (t @ t.T).square().sum()
    return squares / (4 * first.shape[1] ** 2)
