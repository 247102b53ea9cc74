"""Metrics: scikit-image's, put together as fastMRI does it, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from engine.metrics import mean_scores, nmse, psnr, score, ssim
from engine.types import Array, Scores

SIZES = [(1, 7, 7), (3, 7, 19), (2, 16, 11), (4, 64, 64), (2, 80, 72)]


def volumes(shape: tuple[int, int, int], kind: str, scale: float = 1.0) -> tuple[Array, Array]:
    """A positive volume and a noisy version of it; float64 [S, H, W]."""
    random = np.random.default_rng([*shape, len(kind)])
    truth = random.random(shape)
    if kind == "smooth":
        truth = gaussian_filter(truth, (0, 3, 3)) ** 2
    if kind == "offset":  # small contrast on a large mean: differences of squares cancel
        truth = 1 + 0.01 * truth
    image = truth + 0.1 * truth.std() * random.standard_normal(shape)
    return scale * truth, scale * image


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("kind", ["noise", "smooth", "offset"])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 3e4])
def test_equal_scikit_image(shape: tuple[int, int, int], kind: str, scale: float) -> None:
    truth, image = volumes(shape, kind, scale)
    peak = truth.max()  # fastMRI: the volume's, for every slice
    slices = zip(truth, image, strict=True)
    expected = Scores(
        psnr=float(peak_signal_noise_ratio(truth, image, data_range=peak)),
        ssim=float(np.mean([structural_similarity(t, i, data_range=peak) for t, i in slices])),
        nmse=float(np.linalg.norm(truth - image) ** 2 / np.linalg.norm(truth) ** 2),
    )
    found = score(torch.from_numpy(truth), torch.from_numpy(image))
    assert found.psnr == pytest.approx(expected.psnr, abs=1e-9)
    assert found.ssim == pytest.approx(expected.ssim, abs=1e-9)
    assert found.nmse == pytest.approx(expected.nmse, rel=1e-9)


def test_float32_volumes_are_scored_in_float64() -> None:
    truth, image = (torch.from_numpy(v).float() for v in volumes((3, 40, 40), "offset"))
    assert score(truth, image) == score(truth.double(), image.double())


def test_the_data_range_is_the_volumes_not_the_slices() -> None:
    truth, image = (torch.from_numpy(v) for v in volumes((2, 16, 16), "noise"))
    truth, image = truth.clone(), image.clone()
    truth[0] *= 10
    image[0] *= 10
    assert float(psnr(truth, image)) == pytest.approx(
        20 * math.log10(float(truth.max())) - 10 * math.log10(float((truth - image).square().mean()))
    )
    alone = score(truth[1:], image[1:])
    both = score(truth, image)
    assert 2 * both.ssim - float(ssim(truth[:1], image[:1])) != pytest.approx(alone.ssim, abs=1e-3)


def test_closed_forms() -> None:
    truth = torch.zeros(1, 8, 8, dtype=torch.float64)
    truth[0, 0, 0] = 2.0
    image = truth + 0.5
    assert float(nmse(truth, image)) == pytest.approx(64 * 0.25 / 4)
    assert float(psnr(truth, image)) == pytest.approx(10 * math.log10(4 / 0.25))
    flat = torch.full((1, 7, 7), 2.0, dtype=torch.float64)
    c1 = (0.01 * 2) ** 2  # constant images: no variance, only the luminance term counts
    assert float(ssim(flat, flat / 2)) == pytest.approx((2 * 2 * 1 + c1) / (4 + 1 + c1))


def test_equal_volumes_are_perfect() -> None:
    truth = torch.from_numpy(volumes((2, 9, 9), "noise")[0])
    assert score(truth, truth.clone()) == Scores(psnr=math.inf, ssim=1.0, nmse=0.0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.floats(0.01, 1))
def test_scaling_both_changes_nothing_and_more_noise_is_worse(seed: int, scale: float, noise: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(2, 10, 12, dtype=torch.float64, generator=generator)
    error = noise * torch.randn(2, 10, 12, dtype=torch.float64, generator=generator)
    found, scaled = score(truth, truth + error), score(scale * truth, scale * (truth + error))
    for name in ("psnr", "ssim", "nmse"):
        assert getattr(scaled, name) == pytest.approx(getattr(found, name), rel=1e-9, abs=1e-9)
    worse = score(truth, truth + 2 * error)
    assert worse.nmse == pytest.approx(4 * found.nmse)
    assert worse.psnr == pytest.approx(found.psnr - 20 * math.log10(2))
    assert worse.ssim < found.ssim


def test_order_of_slices_does_not_matter() -> None:
    truth, image = (torch.from_numpy(v) for v in volumes((4, 12, 12), "smooth"))
    order = [2, 0, 3, 1]
    found, permuted = score(truth, image), score(truth[order], image[order])
    assert permuted.ssim == pytest.approx(found.ssim, rel=1e-12)
    assert permuted.psnr == pytest.approx(found.psnr, rel=1e-12)


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 8, 8), (2, 8, 9)), ((2, 8, 8), (1, 8, 8)), ((8, 8), (8, 8)), ((1, 6, 8), (1, 6, 8)), ((1, 8, 6), (1, 8, 6))],
)
def test_shapes_that_cannot_be_scored_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"need equal \[S, H, W\], H and W at least 7"):
        score(torch.ones(first), torch.ones(second))


def test_mean_over_volumes() -> None:
    a, b = Scores(psnr=20.0, ssim=0.5, nmse=0.1), Scores(psnr=30.0, ssim=0.9, nmse=0.3)
    assert mean_scores((a,)) == a
    assert mean_scores((a, b)) == Scores(psnr=25.0, ssim=0.7, nmse=0.2)
