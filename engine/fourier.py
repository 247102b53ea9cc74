"""The centred unitary Fourier transform of k-space and image, over the last two axes.

fft2c(x) = fftshift(FFT2(ifftshift(x))) / sqrt(H W): the zero frequency is at index (H // 2, W // 2), the 2-norm is
kept, and ifft2c is the inverse and the adjoint; the convention of fastMRI (Zbontar et al., arXiv 1811.08839).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fft import fft2, fftshift, ifft2, ifftshift

_AXES = (-2, -1)


def fft2c(image: Tensor) -> Tensor:
    """Image to k-space: complex [..., H, W], any even or odd size, of the same dtype."""
    assert torch.is_complex(image)
    kspace: Tensor = fftshift(fft2(ifftshift(image, dim=_AXES), norm="ortho"), dim=_AXES)
    return kspace


def ifft2c(kspace: Tensor) -> Tensor:
    """K-space to image: complex [..., H, W], any even or odd size, of the same dtype."""
    assert torch.is_complex(kspace)
    image: Tensor = fftshift(ifft2(ifftshift(kspace, dim=_AXES), norm="ortho"), dim=_AXES)
    return image
