"""The field of view of a readout: by the header, or else by what is beyond noise."""

from __future__ import annotations

import numpy as np
import pytest

from engine.streams import rng
from sites.sources.resample import field_of_view
from tests.sites.sources.made import Array, fft2c


def ellipse(tall: float, rows: int = 128, columns: int = 64) -> Array:
    """Of half axes tall and 24 pixels: [1, 1, H, W]."""
    y, x = np.mgrid[-rows // 2 : rows // 2, -columns // 2 : columns // 2]
    return np.asarray((y / tall) ** 2 + (x / 24) ** 2 < 1, np.float64)[None, None]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_noise_in_the_air_is_no_signal(noise: float, seed: int) -> None:
    white = rng(seed, "noise").standard_normal((2, 2, 4, 128, 64)) * noise
    for tall, side in ((24, 64), (60, 128)):
        image = ellipse(tall) + white[0] + 1j * white[1]
        assert field_of_view(fft2c(image).astype(np.complex64)) == side
        assert field_of_view(fft2c(image.swapaxes(-2, -1)).astype(np.complex64)) == side
        padded = fft2c(image).astype(np.complex64)
        padded[..., :12, :] = padded[..., -12:, :] = padded[..., :4] = padded[..., -4:] = 0
        assert field_of_view(padded) == side


def test_a_header_decides() -> None:
    full = fft2c(ellipse(24)).astype(np.complex64)
    assert (field_of_view(full, 128), field_of_view(full, 80), field_of_view(full, 40)) == (128, 80, 64)
    assert field_of_view(full * 0) == 64
