"""Laws of the centred unitary transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.fourier import fft2c, ifft2c

sizes = st.integers(1, 17)
seeds = st.integers(0, 2**31)


def draw(height: int, width: int, seed: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(2, 3, height, width, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def inner(a: Tensor, b: Tensor) -> complex:
    return complex((a.conj() * b).sum())


@settings(deadline=None)
@given(sizes, sizes, seeds)
def test_ifft2c_is_the_inverse_and_the_adjoint(height: int, width: int, seed: int) -> None:
    x, y = draw(height, width, seed), draw(height, width, seed + 1)
    torch.testing.assert_close(ifft2c(fft2c(x)), x)
    torch.testing.assert_close(fft2c(ifft2c(x)), x)
    assert inner(fft2c(x), y) == pytest.approx(inner(x, ifft2c(y)), abs=1e-9)
    assert float(fft2c(x).norm()) == pytest.approx(float(x.norm()))


@given(sizes, sizes)
def test_a_constant_is_a_peak_at_the_center(height: int, width: int) -> None:
    kspace = fft2c(torch.ones(height, width, dtype=torch.complex128))
    expected = torch.zeros_like(kspace)
    expected[height // 2, width // 2] = math.sqrt(height * width)
    torch.testing.assert_close(kspace, expected)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (4, 7)])
def test_equals_the_definition(height: int, width: int) -> None:
    x = draw(height, width, 0)[0, 0].numpy()
    rows, columns = np.arange(height) - height // 2, np.arange(width) - width // 2
    along_rows = np.exp(-2j * np.pi * np.outer(rows, rows) / height)
    along_columns = np.exp(-2j * np.pi * np.outer(columns, columns) / width)
    expected = along_rows @ x @ along_columns / math.sqrt(height * width)
    np.testing.assert_allclose(fft2c(torch.from_numpy(x)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_keeps_the_dtype(dtype: torch.dtype) -> None:
    assert fft2c(draw(4, 6, 0, dtype)).dtype == dtype
    assert ifft2c(draw(4, 6, 0, dtype)).dtype == dtype
