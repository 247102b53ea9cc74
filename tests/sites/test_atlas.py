"""Simulated patients: what they depend on, and that the scanner does what its config says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.streams import rng
from sites.anatomy import Anatomy, Maps, load_maps_apart, subject
from sites.config import SiteConfig
from sites.physics import Values
from sites.sources.atlas import AtlasSource
from sites.sources.base import KSpace, Source

CONFIG = SiteConfig(name="a", slices=3, train_patients=2, val_patients=1, test_patients=1)


def image(kspace: KSpace) -> Values:
    axes = (-2, -1)
    shifted = np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes), axes=axes, norm="ortho")
    return np.abs(np.fft.fftshift(shifted, axes=axes)).astype(np.float32)


def scan(maps: Maps, config: SiteConfig = CONFIG, patient: int = 0, seed: int = 0, matrix: int = 32) -> KSpace:
    return AtlasSource(config, maps, matrix, seed).kspace(f"{config.name}-{patient:03d}")


def head(maps: Maps, pixels: int = 64, seed: int = 0, tumour: bool = False) -> Anatomy:
    return subject(maps, 4, pixels, rng(seed, "anatomy"), rng(seed, "lesion") if tumour else None)


def test_maps_are_the_icbm152_brain(maps: Maps) -> None:
    assert maps.tissues.flags.c_contiguous
    assert maps.tissues.nbytes < 20e6
    grey, white, csf = (maps.tissues[..., i].astype(float) / 255 for i in range(3))
    assert (grey + white + csf).max() < 1.02
    assert 1.7e6 < (grey + white + csf).sum() < 2.0e6  # mm³
    assert grey.sum() > white.sum() > csf.sum() > 5e4


def test_maps_that_cannot_be_loaded_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nilearn.py").write_text("raise ImportError('half of it is missing')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        OSError, match=r"^the anatomy could not be loaded \(ImportError: half of it is missing\); is .*\?$"
    ):
        load_maps_apart()


def test_kspace_is_as_a_source_promises(maps: Maps) -> None:
    source: Source = AtlasSource(CONFIG, maps, 32, 0)
    assert source.patients() == ("a-000", "a-001", "a-002", "a-003")
    kspace = source.kspace("a-002")
    assert kspace.shape == (3, 1, 32, 32)
    assert kspace.dtype == np.complex64
    peak = np.unravel_index(np.abs(kspace[1, 0]).argmax(), (32, 32))
    assert max(abs(int(i) - 16) for i in peak) <= 1  # object phase may shift it by a sample


def test_a_patient_depends_on_seed_site_and_index_alone(maps: Maps) -> None:
    kspace = scan(maps)
    others = AtlasSource(replace(CONFIG, train_patients=5), maps, 32, 0)
    others.kspace("a-003")
    assert np.array_equal(others.kspace("a-000"), kspace)
    assert not np.allclose(scan(maps, patient=1), kspace)
    assert not np.allclose(scan(maps, seed=1), kspace)
    assert not np.allclose(scan(maps, replace(CONFIG, name="b")), kspace)


def test_another_protocol_scans_the_same_heads(maps: Maps) -> None:
    quiet = replace(CONFIG, snr=1e6, bias_field=0.0)
    one, other = (image(scan(maps, replace(quiet, tr=tr, te=te))) for tr, te in ((500.0, 12.0), (6000.0, 100.0)))
    inside = one > 0.3 * one.max()
    assert not np.allclose(one, other, rtol=0.2)
    assert (other[inside] > 0.1 * other[inside].mean()).mean() > 0.99
    assert other[~inside].mean() < 0.3 * other[inside].mean()


def test_the_same_head_at_any_resolution(maps: Maps) -> None:
    coarse, fine = head(maps, 32), head(maps, 64)
    np.testing.assert_allclose(fine.grey[:, ::2, ::2], coarse.grey, atol=1e-3)


def test_fractions_are_fractions_and_a_tumour_replaces_tissue(maps: Maps) -> None:
    healthy, ill = head(maps), head(maps, tumour=True)
    for anatomy in (healthy, ill):
        parts = np.stack([anatomy.grey, anatomy.white, anatomy.csf, anatomy.tumour, anatomy.oedema])
        assert parts.min() >= -1e-6
        assert parts.sum(axis=0).max() <= 1 + 1e-5
    assert healthy.tumour.max() == healthy.oedema.max() == 0
    brain = healthy.grey + healthy.white + healthy.csf
    assert (ill.tumour <= brain + 1e-6).all()
    np.testing.assert_allclose(ill.grey + ill.white + ill.csf + ill.tumour + ill.oedema, brain, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_every_tumour_is_seen(maps: Maps, seed: int) -> None:
    anatomy = subject(maps, 8, 64, rng(seed, "anatomy"), rng(seed, "lesion"))
    area = (220 / 64) ** 2
    assert (anatomy.tumour.sum(axis=(1, 2)) * area > 50).sum() >= 2  # mm², slices
    assert (anatomy.oedema.sum(axis=(1, 2)) * area > 50).sum() >= 2


@pytest.mark.parametrize("phase", [0.0, 1.0])
def test_kspace_is_hermitian_only_without_phase(maps: Maps, phase: float) -> None:
    kspace = scan(maps, replace(CONFIG, phase=phase, snr=1e6), matrix=33)[:, 0]
    mirrored = kspace[:, ::-1, ::-1].conj()
    difference = np.linalg.norm(kspace - mirrored) / np.linalg.norm(kspace)
    assert difference < 1e-4 if phase == 0 else difference > 0.3


@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_snr_is_the_stated_one(maps: Maps, snr: float) -> None:
    config = replace(CONFIG, slices=6)
    noisy, clean = scan(maps, replace(config, snr=snr), matrix=64), scan(maps, replace(config, snr=1e7), matrix=64)
    magnitude = image(clean)
    inside = magnitude > 0.3 * magnitude.max()
    difference = noisy - clean
    assert magnitude[inside].mean() / difference.real.std() == pytest.approx(snr, rel=0.05)
    assert difference.real.std() == pytest.approx(difference.imag.std(), rel=0.05)


def test_bias_field_shades_the_image(maps: Maps) -> None:
    quiet = replace(CONFIG, snr=1e7, phase=0.0)
    shaded, flat = (image(scan(maps, replace(quiet, bias_field=b), matrix=64)) for b in (0.4, 0.0))
    inside = flat > 0.3 * flat.max()
    ratio = shaded[inside] / flat[inside]
    assert 0.3 < np.percentile(ratio, 99.9) - np.percentile(ratio, 0.1) < 0.45


def test_coils_see_one_image_each_with_noise_of_its_own(maps: Maps) -> None:
    quiet = replace(CONFIG, snr=1e7)
    one, five = image(scan(maps, quiet)), image(scan(maps, replace(quiet, coils=5)))
    assert five.shape == (3, 5, 32, 32)
    inside = one[:, 0] > 0.3 * one.max()
    combined = np.sqrt((five**2).sum(axis=1))
    np.testing.assert_allclose(combined[inside], one[:, 0][inside], rtol=0.03)
    noisy = [scan(maps, replace(CONFIG, coils=coils)) - scan(maps, replace(quiet, coils=coils)) for coils in (1, 5)]
    assert noisy[1].real.std() == pytest.approx(noisy[0].real.std(), rel=0.05)
    np.testing.assert_allclose(noisy[1][:, 0], noisy[0][:, 0], atol=0.1 * noisy[0].real.std())
    correlation = np.corrcoef([noisy[1][:, coil].real.ravel() for coil in range(5)])
    assert np.abs(correlation - np.eye(5)).max() < 0.1


def test_what_is_not_acquired_is_zero_with_its_noise(maps: Maps) -> None:
    whole, part = (scan(maps, replace(CONFIG, resolution=each, coils=2)) for each in (1.0, 0.5))
    assert np.array_equal(part[..., 8:24, 8:24], whole[..., 8:24, 8:24])
    assert np.count_nonzero(part) == 3 * 2 * 16 * 16


def test_atrophy_widens_csf_at_tissues_cost_within_the_same_head(maps: Maps) -> None:
    young, middle, old = (subject(maps, 8, 64, rng(0, "anatomy"), None, atrophy=each) for each in (0.0, 0.5, 1.0))
    assert np.array_equal(young.grey, subject(maps, 8, 64, rng(0, "anatomy"), None).grey)
    volumes = [float(each.csf.sum()) for each in (young, middle, old)]
    assert volumes == sorted(volumes)
    assert 1.6 < volumes[2] / volumes[0] < 2.6
    assert (old.csf >= young.csf - 1e-6).all()
    assert (old.grey + old.white).sum() < 0.95 * (young.grey + young.white).sum()
    brain, *others = (each.grey + each.white + each.csf for each in (young, middle, old))
    for other in others:
        np.testing.assert_allclose(other, brain, atol=1e-5)


def test_a_smaller_head_is_the_same_head(maps: Maps) -> None:
    whole, small = (subject(maps, 8, 128, rng(0, "anatomy"), None, head_size=each) for each in (1.0, 0.88))
    brains = [each.grey + each.white + each.csf for each in (whole, small)]
    assert brains[1].sum() / brains[0].sum() == pytest.approx(0.88**2, abs=0.03)
    tissue = [each.grey.sum() / brain.sum() for each, brain in zip((whole, small), brains, strict=True)]
    assert tissue[1] == pytest.approx(tissue[0], rel=0.05)


def test_refuses_a_tiny_matrix(maps: Maps) -> None:
    with pytest.raises(ValueError, match="matrix 4 is too small"):
        AtlasSource(CONFIG, maps, 4, 0)
