"""K-space that was made of magnitude images is named; what was not measured is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sites.config import SiteConfig
from sites.physics import crop_kspace, to_kspace
from sites.sources.files import FileSource
from sites.sources.find import find
from sites.sources.measured import ZERO_PHASE, checked, is_complete, synthesised
from tests.sites.sources.made import cfl, fastmri, fft2c, head, kspace

SETTINGS: dict[str, Any] = {"source": "files", "use": "test", "center_fraction": 0.2}


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


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.cfl"])
@pytest.mark.parametrize("empty", [(0, slice(None)), (slice(None), 0), (slice(2), slice(None)), (1, slice(1, None))])
def test_undersampling_is_seen_beside_empty_slices_and_coils(name: str, empty: Any, tmp_path: Path) -> None:
    full = kspace(3, 2)
    full[empty] = 0
    for complete in (True, False):
        path = tmp_path / name
        stored = full if complete else full * (np.arange(20) % 3 == 0)
        if name == "a.h5":
            fastmri(path, kspace=stored)
        elif name == "a.npy":
            np.save(path, stored)
        else:
            cfl(path, stored)
        recording = next(each for each in find(tmp_path)[0] if each.paths[0] == path)
        assert recording.complete is complete


def test_all_samples_are_checked_once_they_are_read(tmp_path: Path) -> None:
    full = kspace(9, 2)
    full[8, :, :, ::3] = 0  # beyond the slices that are looked at first
    (recording,), _ = find(fastmri(tmp_path / "a.h5", kspace=full))
    assert recording.complete
    with pytest.raises(ValueError, match=r"a\.h5: undersampled k-space"):
        checked(recording, full, skip_bad=True)
    full[7:] = 0
    with pytest.raises(ValueError, match=r"a\.h5: slice 7 \(from 0\) of k-space is zero throughout; .*--skip-bad"):
        checked(recording, full, skip_bad=False)
    filled, zero_phase = checked(recording, full, skip_bad=True)
    assert (filled.tolist(), zero_phase) == ([True] * 7 + [False] * 2, False)
    with pytest.raises(ValueError, match=r"a\.h5: there is no signal in any slice"):
        checked(recording, full * 0, skip_bad=True)
    assert checked(recording, to_kspace(head(3))[:, None], skip_bad=False)[1]


def test_an_institution_refuses_or_tells_what_its_samples_show(tmp_path: Path) -> None:
    full = kspace(9, 1)
    full[8, :, :, ::3] = 0
    source = FileSource(SiteConfig(name="a", path=str(fastmri(tmp_path / "a.h5", kspace=full)), **SETTINGS), 24)
    with pytest.raises(ValueError, match=r"^site 'a': .*a\.h5: undersampled k-space"):
        source.kspace("a")
    path = fastmri(tmp_path / "b.h5", kspace=to_kspace(head(3))[:, None])
    source = FileSource(SiteConfig(name="b", path=str(path), **SETTINGS), 24)
    source.kspace("b")
    assert list(source.notes) == [ZERO_PHASE]
