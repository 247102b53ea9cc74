"""The unrolled network: it keeps to what was measured, starts as the zero-filled image, and trains in a federation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.algorithms import Algorithm, FlMr, FlMrcm
from engine.cohort import LocalCohort
from engine.config import ModelConfig
from engine.driver import Driver
from engine.fourier import fft2c, ifft2c
from engine.models import unrolled
from engine.models.unrolled import Unrolled, calibration, combine, consistent, expand, measure, sensitivities
from engine.outcomes import Roles
from engine.streams import rng
from engine.types import Batch, Scan
from sites import acquisition
from sites.acquisition import acquire, fully_sampled
from sites.config import SiteConfig
from sites.masks import column_mask
from sites.physics import to_kspace
from sites.site import Site
from sites.sources.base import KSpace
from tests.engine.federations import rounds, setting

CONFIG = ModelConfig(channels=2, pool_layers=2, cascades=2)
SIZES = [(1, 16, 16), (1, 17, 22), (3, 16, 24), (3, 19, 17)]  # coils, rows, columns

coils = st.integers(1, 3)
sizes = st.integers(8, 21)
seeds = st.integers(0, 2**31)


def network(
    cascades: int = 2, zero_last: bool = False, eta: float = 1.0, dtype: torch.dtype = torch.float64
) -> Unrolled:
    """Seeded, with weights that do something unless zero_last."""
    torch.manual_seed(0)
    built = replace(CONFIG, cascades=cascades, zero_last=zero_last).build()
    assert isinstance(built, Unrolled)
    for name, weight in built.named_parameters():
        if name.endswith("eta"):
            weight.data.fill_(eta)
    return built.to(dtype)


def maps(number: int, height: int, width: int) -> Tensor:
    """Sensitivities complex [C, H, W] of coils around the object, smooth, their root sum of squares 1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    angles = torch.arange(number)[:, None, None] * (2 * math.pi / number)
    away = (x - 1.1 * angles.cos()) ** 2 + (y - 1.1 * angles.sin()) ** 2
    turned = torch.polar((-away / 1.5).exp(), angles + 0.8 * (x * angles.cos() + y * angles.sin()))
    unit: Tensor = turned / torch.linalg.vector_norm(turned, dim=0)
    return unit


def objects(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Heads of a few ellipses and a smooth phase: complex64 [count, H, W], 0 outside."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    head = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1).float()
    images = []
    for _ in range(count):
        image = 0.5 * head
        for u, v, a, b, signal in torch.rand(8, 5, generator=generator).tolist():
            inside = ((x - u + 0.5) / (0.1 + 0.3 * a)) ** 2 + ((y - v + 0.5) / (0.1 + 0.3 * b)) ** 2 < 1
            image = image + signal * inside * head
        images.append(image)
    return torch.stack(images) * torch.polar(torch.ones_like(x), (1.5 * x + 0.3).sin() * (1.2 * y).cos())


def masks(kind: str, count: int, height: int, width: int) -> Tensor:
    """bool [count, W] of columns, or [count, H, W] of samples around a measured square."""
    if kind == "columns":
        return torch.from_numpy(np.stack([column_mask("random", width, 3, 0.2, seed) for seed in range(count)]))
    generator = torch.Generator().manual_seed(1)
    samples = torch.rand(count, height, width, generator=generator) < 0.3
    samples[:, height // 2 - 2 : height // 2 + 3, width // 2 - 2 : width // 2 + 3] = True
    return samples


def batch(size: tuple[int, int, int] = (1, 16, 16), kind: str = "columns", count: int = 2) -> Batch:
    """Phantoms, undersampled, as a site would give them, in the scanner's small units."""
    number, height, width = size
    images = objects(count, height, width)[:, None] * maps(number, height, width)
    return acquire(1e-4 * fft2c(images), masks(kind, count, height, width), torch.zeros(count, dtype=torch.int64))


@torch.no_grad()
def reconstruct(model: Unrolled, of: Batch) -> Tensor:
    """[B, H, W] in the scanner's units, as engine.institution has it."""
    output: Tensor = model.decode(*model.encode(of.input, of.scan))
    return output[:, 0].to(of.mean.dtype) * of.std[:, None, None] + of.mean[:, None, None]


@torch.no_grad()
def kspace_of(model: Unrolled, of: Batch) -> Tensor:
    """The reconstruction before the magnitude, [B, C, H, W]."""
    return model.kspace(*model.encode(of.input, of.scan))


def scan_of(of: Batch) -> Scan:
    assert of.scan is not None
    return of.scan


def assert_same_image(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


# ---- where it starts, and what it keeps to --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["columns", "samples"])
@pytest.mark.parametrize("size", SIZES)
def test_starts_from_the_zero_filled_image(size: tuple[int, int, int], kind: str) -> None:
    of = batch(size, kind)
    model = network(zero_last=True, dtype=torch.float32)
    assert_same_image(reconstruct(model, of), of.zero_filled)
    assert torch.equal(kspace_of(model, of), measure(scan_of(of), torch.float32).kspace)
    unclamped = of.input.abs() < acquisition.CLAMP
    output = model.decode(*model.encode(of.input, of.scan))
    torch.testing.assert_close(output[unclamped], of.input[unclamped], rtol=1e-4, atol=1e-4)
    assert unrolled.EPSILON == acquisition.EPSILON


@settings(deadline=None, max_examples=25)
@given(coils, sizes, sizes, seeds)
def test_measured_samples_stay_bit_for_bit(number: int, height: int, width: int, seed: int) -> None:
    """With eta = 1, whatever the weights, the data and the pattern, at any size; and the rest is the U-Nets'."""
    generator = torch.Generator().manual_seed(seed)
    kspace = torch.randn(2, number, height, width, dtype=torch.complex64, generator=generator)
    pattern = torch.rand(2, height, width, generator=generator) < 0.4
    pattern[:, height // 2, width // 2] = True
    of = acquire(kspace, pattern, torch.zeros(2, dtype=torch.int64))
    found = kspace_of(network(), of)
    kept, scan = measure(scan_of(of), torch.float64).kspace, scan_of(of)
    where = scan.measured.expand_as(kept)
    assert torch.equal(found[where], kept[where])
    assert float(found[~where].abs().mean()) > 1e-3
    back = fft2c(ifft2c(found)) * (of.std.double() + unrolled.EPSILON)[:, None, None, None]
    torch.testing.assert_close(back[where], scan.kspace.to(back.dtype)[where])


@pytest.mark.parametrize("size", SIZES)
def test_a_full_scan_gives_the_truth_whatever_the_weights(size: tuple[int, int, int]) -> None:
    images = objects(2, *size[1:])[:, None] * maps(*size)
    full = acquire(fft2c(images), torch.ones(2, size[2], dtype=torch.bool), torch.zeros(2, dtype=torch.int64))
    assert_same_image(reconstruct(network(), full), full.truth)


@pytest.mark.parametrize("eta", [0.0, 0.3])
@pytest.mark.parametrize("number", [1, 3])
def test_one_cascade_written_out(number: int, eta: float) -> None:
    """Refine, then k - eta M (k - k_0); eta = 0 leaves the U-Net's result alone."""
    of, model = batch((number, 16, 18)), network(cascades=1, eta=eta)
    k0, mask, s, mean = measure(scan_of(of), torch.float64)
    x = (s.conj() * ifft2c(k0)).sum(1, keepdim=True)
    unet = model.last.unet
    planes = unet.decode(*unet.encode(torch.cat([x.real, x.imag], 1)))
    refined = k0 + fft2c(s * torch.complex(planes[:, :1], planes[:, 1:]))
    expected = refined - eta * mask * (refined - k0)
    torch.testing.assert_close(kspace_of(model, of), expected)
    magnitude = ifft2c(expected).abs().square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(model.decode(*model.encode(of.input, of.scan)), magnitude - mean)


def test_the_last_cascade_goes_on_from_the_earlier_ones() -> None:
    of, model = batch((3, 16, 18)), network(cascades=3, eta=0.8)
    measurement = measure(scan_of(of), torch.float64)
    kspace = measurement.kspace
    for cascade in [*model.earlier, model.last]:
        kspace = cascade(kspace, measurement)
    torch.testing.assert_close(kspace_of(model, of), kspace)


def test_the_target_images_are_normalised_like_the_output() -> None:
    """A perfect reconstruction has no loss: the fully sampled k-space through the same normalisation."""
    of = batch((3, 16, 18))
    full = fft2c(1e-4 * objects(2, 16, 18)[:, None] * maps(3, 16, 18))
    scan = replace(scan_of(of), kspace=full)
    model = network(zero_last=True)
    output = model.decode(*model.encode(of.input, scan))
    unclamped = of.target.abs() < acquisition.CLAMP
    torch.testing.assert_close(output[unclamped], of.target.to(output)[unclamped], rtol=1e-4, atol=1e-4)
    assert_same_image(reconstruct(model, replace(of, kspace=full)), fully_sampled(full))


def test_the_scanners_units_do_not_matter() -> None:
    of, model = batch((3, 16, 18)), network()
    scan = scan_of(of)
    louder = replace(scan, kspace=1e3 * scan.kspace, mean=1e3 * scan.mean, std=1e3 * scan.std)
    expected = model.decode(*model.encode(of.input, scan))
    torch.testing.assert_close(model.decode(*model.encode(of.input, louder)), expected, rtol=1e-4, atol=1e-4)


def test_slices_do_not_mix_in_a_batch() -> None:
    of, model = batch((3, 16, 18), "samples", count=3), network()
    scan = scan_of(of)
    alone = []
    for i in range(3):
        one = Scan(**{name: getattr(scan, name)[i : i + 1] for name in ("kspace", "mask", "mean", "std")})
        alone.append(model.decode(*model.encode(of.input[i : i + 1], one)))
    torch.testing.assert_close(model.decode(*model.encode(of.input, scan)), torch.cat(alone))


def test_without_k_space_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"needs k-space .* take --cascades 0"):
        network().encode(torch.zeros(1, 1, 16, 16))


# ---- weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cascades", [1, 3])
def test_encoder_weights_are_those_the_bottleneck_depends_on(cascades: int) -> None:
    of, model = batch(), network(cascades)
    z, _ = model.encode(of.input, of.scan)
    assert z.shape == (2, model.latent_channels, 4, 4)
    z.square().sum().backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert {name for name, _ in model.named_parameters() if model.in_encoder(name)} == reached
    assert ("earlier.0.eta" in reached) == (cascades > 1)
    assert "last.unet.conv.layers.0.weight" in reached
    assert not reached & {"last.eta", "last.unet.up_conv.0.0.layers.0.weight"}


@pytest.mark.parametrize("size", SIZES)
def test_every_weight_learns(size: tuple[int, int, int]) -> None:
    of = batch(size)
    model = network(eta=0.7)  # at 1 the bias of a last layer does nothing: it is k-space's centre, which is measured
    (model.decode(*model.encode(of.input, of.scan)) - of.target).abs().mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert bool(weight.grad.isfinite().all()), name
        assert float(weight.grad.abs().max()) > 0, name


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("zero_last", [False, True])
def test_an_empty_slice_does_no_harm(number: int, zero_last: bool) -> None:
    """No signal at all: the root of a sum of squares has no derivative there."""
    kspace = torch.zeros(2, number, 16, 16, dtype=torch.complex64)
    of = acquire(kspace, masks("columns", 2, 16, 16), torch.zeros(2, dtype=torch.int64))
    model = network(zero_last=zero_last, dtype=torch.float32)
    output = model.decode(*model.encode(of.input, of.scan))
    output.sum().backward()
    assert bool(output.isfinite().all())
    assert all(bool(w.grad.isfinite().all()) for w in model.parameters() if w.grad is not None)


def test_normalisation_with_weights() -> None:
    model = replace(CONFIG, norm="batch").build()
    names = {name for name, _ in model.named_parameters() if model.is_normalisation(name)}
    assert {name.split(".")[0] for name in names} == {"earlier", "last"}
    assert not any(name.endswith("eta") for name in names)
    assert model.in_encoder("last.unet.conv.layers.1.running_mean")
    assert not model.in_encoder("last.unet.up_conv.0.0.layers.1.running_mean")


# ---- precision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 17, 22), (3, 16, 24)])
def test_precisions_agree(size: tuple[int, int, int]) -> None:
    of, exact = batch(size), network()
    with torch.no_grad():
        expected = exact.decode(*exact.encode(of.input.double(), of.scan))
    assert expected.dtype == torch.float64
    model = network(dtype=torch.float32)
    single = model.decode(*model.encode(of.input, of.scan))
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, skips = model.encode(of.input, of.scan)
        half = model.decode(z, skips)
        half.abs().mean().backward()
    assert z.dtype == torch.bfloat16
    assert half.dtype == torch.float32
    off, change = (half.detach() - expected).abs().mean(), (expected - of.input).abs().mean()
    assert float(off) < 0.05 * float(change)


# ---- coils ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), sizes, sizes, seeds)
def test_combining_and_expanding(number: int, height: int, width: int, seed: int) -> None:
    """E is the adjoint of R; R E multiplies by the sensitivities' sum of squares: 1 but where signal is faint."""
    generator = torch.Generator().manual_seed(seed)
    kspace = torch.randn(2, number, height, width, dtype=torch.complex128, generator=generator)
    measured = torch.ones(2, 1, 1, width, dtype=torch.bool)
    s = sensitivities(kspace, measured)
    signal = ifft2c(torch.where(calibration(measured), kspace, 0)).abs().square().sum(1, keepdim=True)
    total = s.abs().square().sum(1, keepdim=True)
    torch.testing.assert_close(total, signal / (signal + unrolled.FAINT**2))
    image = torch.randn(2, 1, height, width, dtype=torch.complex128, generator=generator)
    torch.testing.assert_close(combine(expand(image, s), s), image * total)
    torch.testing.assert_close((expand(image, s).conj() * kspace).sum(), (image.conj() * combine(kspace, s)).sum())


def test_where_there_is_no_signal_rounding_is_no_sensitivity() -> None:
    kspace = 1e-6 * torch.randn(1, 4, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert float(sensitivities(kspace, torch.ones(1, 1, 1, 16, dtype=torch.bool)).abs().max()) < 1e-3


@pytest.mark.parametrize("kind", ["columns", "samples"])
def test_sensitivities_of_a_phantom(kind: str) -> None:
    """From undersampled k-space; then the fully sampled coils combine to the truth and expand to themselves."""
    truth, true_maps = objects(2, 64, 64), maps(4, 64, 64)
    full = fft2c(truth[:, None] * true_maps)
    of = acquire(full, masks(kind, 2, 64, 64), torch.zeros(2, dtype=torch.int64))
    found = measure(scan_of(of), torch.float32).sensitivities
    inside = truth.abs() > 0.1
    rss = torch.linalg.vector_norm(found, dim=1)
    torch.testing.assert_close(rss[inside], torch.ones_like(rss[inside]), rtol=2e-3, atol=0)
    coil_images = ifft2c(full)
    combined = combine(coil_images, found)
    missed = (combined[:, 0].abs() - truth.abs())[inside]
    assert float(missed.norm() / truth[inside].norm()) < 0.02
    left = (coil_images - expand(combined, found)).abs().square().sum(dim=1)[inside]
    assert float(left.sum().sqrt() / truth[inside].norm()) < 0.15
    assert torch.equal(found, measure(scan_of(of), torch.float32).sensitivities)


def test_a_single_coil_has_no_sensitivity() -> None:
    s = sensitivities(torch.randn(2, 1, 8, 9, dtype=torch.complex64), torch.ones(2, 1, 1, 9, dtype=torch.bool))
    assert torch.equal(s, torch.ones(2, 1, 1, 1, dtype=torch.complex64))


def columns(measured: Sequence[int], width: int) -> list[int]:
    """The calibration window of a mask of these columns."""
    mask = torch.zeros(1, 1, 1, width, dtype=torch.bool)
    mask[..., list(measured)] = True
    return [int(i) for i in calibration(mask)[0, 0, 0].nonzero()]


def test_calibration_window_of_columns() -> None:
    assert columns([0, 14, 15, 16, 17, 18, 21], 32) == [14, 15, 16, 17, 18]
    assert columns([14, 15, 16, 17, 30], 32) == [15, 16, 17]
    assert columns(range(33), 33) == list(range(16 - 11, 16 + 12))
    widest = list(range(16 - 11, 16 + 12))
    assert columns([3, 16, 18], 32) == columns([3, 15], 32) == columns([], 32) == widest


def test_calibration_window_of_samples() -> None:
    mask = masks("samples", 2, 19, 24) & False
    mask[0, 7:12, 10:15] = True
    mask[0, 9] = True
    mask[1] = True
    window = calibration(mask[:, None])[:, 0]
    assert window[0].nonzero().tolist() == [[i, j] for i in range(7, 12) for j in range(10, 15)]
    assert window[1].nonzero().tolist() == [[i, j] for i in range(19) for j in range(1, 24)]


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 40), seeds)
def test_the_window_holds_only_what_is_measured_if_the_centre_is(width: int, seed: int) -> None:
    mask = torch.rand(3, 1, 1, width, generator=torch.Generator().manual_seed(seed)) < 0.5
    centre = slice(max(width // 2 - 1, 0), width // 2 + 2)
    mask[..., centre] = True
    window = calibration(mask)
    assert bool((window & ~mask).sum() == 0)
    assert bool(window[..., centre].all())


def test_data_consistency_is_between_the_two() -> None:
    of = batch((3, 16, 18))
    measurement = measure(scan_of(of), torch.float64)
    kspace = torch.randn(2, 3, 16, 18, dtype=torch.complex128)
    m = measurement.measured
    for eta in (0.0, 0.25, 1.0, 1.5):
        found = consistent(kspace, measurement, torch.tensor(eta, dtype=torch.float64))
        torch.testing.assert_close(found, kspace - eta * m * (kspace - measurement.kspace))


# ---- in a federation ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phantoms:
    """A data source of few small heads; implements `sites.sources.base.Source`."""

    site: str
    coils: int

    def patients(self) -> Sequence[str]:
        """Four of them."""
        return [f"{self.site}-{i}" for i in range(4)]

    def kspace(self, patient: str) -> KSpace:
        """complex64 [8, coils, 24, 24]."""
        seed = int(rng(0, "phantom", patient).integers(2**31))
        images = objects(8, 24, 24, seed)[:, None] * maps(self.coils, 24, 24)
        return to_kspace(images.numpy())


def phantom_site(name: str, number: int, shared: object, device: str) -> Site:
    """An institution with so many coils; with the first two given, a site factory."""
    del shared
    config = SiteConfig(
        name=name, train_patients=2, val_patients=1, test_patients=1, slices=8, acceleration=3, center_fraction=0.2
    )
    return Site(config, Phantoms(name, number), seed=0, device=device)


def federation(algorithm: Algorithm, number: int, **train: str) -> tuple[Driver, LocalCohort]:
    """Two sources and a target that only lends its latents; two cascades."""
    names = ("a", "b", "target")
    model = replace(CONFIG, channels=4)
    cohort = LocalCohort(setting(algorithm, "target", model, optimizer="adam", lr=0.01, local_epochs=2, **train))
    cohort.build({name: partial(phantom_site, name, number) for name in names}, None)
    driver = Driver(cohort, algorithm, Roles(everyone=names, sources=("a", "b"), target="target"), shift_every=1)
    driver.start()
    return driver, cohort


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("algorithm", [FlMr(), FlMrcm(alignment_weight=0.1)])
def test_trains_in_a_federation(algorithm: Algorithm, number: int) -> None:
    driver, cohort = federation(algorithm, number)
    reports = rounds(driver, 2)
    zero_filled = cohort.zero_filled(["a", "b", "target"], "val")
    for name in ("a", "b"):
        first, second = (report.sites[name].metrics["l1"] for report in reports)
        assert second < first
    for start in zero_filled:
        assert reports[-1].sites[start.site].scores.psnr > start.scores.psnr
    if isinstance(algorithm, FlMrcm):
        assert all(report.sites["a"].metrics["adversarial_gradient"] > 0 for report in reports)


def test_a_federation_repeats_bit_for_bit() -> None:
    first, second = (federation(FlMrcm(alignment_weight=0.1), 3)[0] for _ in range(2))
    rounds(first, 1)
    rounds(second, 1)
    assert np.array_equal(first.server.weights, second.server.weights)


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions_train_too(precision: str) -> None:
    driver, _ = federation(FlMrcm(alignment_weight=0.1), 3, precision=precision)
    first, second = (report.sites["a"].metrics["l1"] for report in rounds(driver, 2))
    assert second < first
