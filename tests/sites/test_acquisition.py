"""Acquisition against fastMRI's definitions, written out slice by slice."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.fourier import fft2c, ifft2c
from sites.acquisition import acquire, fully_sampled


def draw(coils: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(3, coils, 12, 10, dtype=torch.complex64, generator=random)
    image[:, :, 5, 4] = 60  # normalised intensity above the clamp
    masks = torch.rand(3, 10, generator=random) > 0.4
    return fft2c(image), masks


def test_equals_the_definition_slice_by_slice() -> None:
    kspace, masks = draw()
    batch = acquire(kspace, masks, torch.tensor([0, 0, 1]))
    assert batch.mask is masks
    assert batch.volume.tolist() == [0, 0, 1]
    for i in range(3):
        zero_filled = ifft2c(kspace[i, 0] * masks[i]).abs()
        truth = ifft2c(kspace[i, 0]).abs()
        mean, std = zero_filled.mean(), zero_filled.std()
        torch.testing.assert_close(batch.zero_filled[i], zero_filled)
        torch.testing.assert_close(batch.truth[i], truth)
        torch.testing.assert_close(batch.mean[i], mean)
        torch.testing.assert_close(batch.std[i], std)
        torch.testing.assert_close(batch.input[i, 0], ((zero_filled - mean) / (std + 1e-11)).clamp(-6, 6))
        torch.testing.assert_close(batch.target[i, 0], ((truth - mean) / (std + 1e-11)).clamp(-6, 6))
        assert batch.kspace is not None
        torch.testing.assert_close(batch.kspace[i], kspace[i] * masks[i])


def test_clamps_what_the_network_sees_and_not_what_is_scored() -> None:
    kspace, masks = draw()
    batch = acquire(kspace, masks, torch.zeros(3, dtype=torch.int64))
    assert batch.target.max() == 6
    assert batch.input.abs().max() <= 6
    assert batch.truth.amax(dim=(1, 2)).tolist() == ifft2c(kspace)[:, 0].abs().amax(dim=(1, 2)).tolist()
    assert ((batch.truth.amax(dim=(1, 2)) - batch.mean) / batch.std > 6).any()


def test_a_full_mask_gives_the_truth() -> None:
    kspace, _ = draw()
    batch = acquire(kspace, torch.ones(3, 10, dtype=torch.bool), torch.zeros(3, dtype=torch.int64))
    assert torch.equal(batch.zero_filled, batch.truth)
    assert torch.equal(batch.input, batch.target)


def test_coils_combine_by_root_sum_of_squares() -> None:
    kspace, _ = draw(coils=4)
    torch.testing.assert_close(fully_sampled(kspace), ifft2c(kspace).abs().square().sum(1).sqrt())


def test_an_empty_slice_stays_finite() -> None:
    kspace = torch.zeros(2, 1, 8, 8, dtype=torch.complex64)
    batch = acquire(kspace, torch.ones(2, 8, dtype=torch.bool), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(batch.input, torch.zeros(2, 1, 8, 8))
