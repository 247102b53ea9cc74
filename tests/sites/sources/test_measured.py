"""K-space that was made of magnitude images is named."""

from __future__ import annotations

import numpy as np
import pytest

from sites.physics import crop_kspace, to_kspace
from sites.sources.measured import is_complete, synthesised
from tests.sites.sources.made import fft2c, head, kspace


@pytest.mark.parametrize(("rows", "columns"), [(24, 20), (25, 21), (24, 21)])
def test_kspace_of_magnitudes_is_named(rows: int, columns: int) -> None:
    image = head(3, rows, columns)
    made = to_kspace(image)[:, None]
    assert synthesised(made)
    assert synthesised(made * np.complex64(np.exp(0.7j)) * np.float32(1e-6))  # one phase for all is none
    assert synthesised(np.concatenate([made * 0, made]))  # empty slices say nothing
    assert synthesised(np.concatenate([made, made * 2], axis=1))
    assert not synthesised(kspace(3, 1, rows, columns))
    assert not synthesised(kspace(3, 4, rows, columns))
    assert not synthesised(np.zeros_like(made))


def test_cropped_and_not_centred_kspace_of_magnitudes_too() -> None:
    image = head(3, 32, 32)
    assert synthesised(crop_kspace(to_kspace(image), 24)[:, None])
    assert synthesised(np.fft.fftshift(np.fft.fft2(image), axes=(-2, -1)).astype(np.complex64)[:, None])


def test_phase_or_noise_make_it_a_measurement() -> None:
    image = head(3, 32, 32).astype(np.complex64)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    assert not synthesised(fft2c(image * np.exp(0.3j * x * y)).astype(np.complex64)[:, None])
    noise = np.random.default_rng(0).standard_normal((2, *image.shape)) * 12  # SNR about 40
    assert not synthesised(fft2c(image + noise[0] + 1j * noise[1]).astype(np.complex64)[:, None])


def test_completeness_without_a_signal() -> None:
    assert is_complete(np.zeros((2, 4, 4), bool))
