"""From images to k-space and back, and to another matrix: nothing lost that need not be, nothing squeezed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streams import rng
from sites.sources.base import KSpace
from sites.sources.forward import sensitivities, synthesise, to_square
from sites.sources.measured import synthesised
from sites.sources.resample import compress, field_of_view, mixing, resample

Values = npt.NDArray[np.float64]


def image_of(kspace: KSpace) -> Values:
    """The root sum of squares over the coils: [S, H, W], as numpy alone has it."""
    axes = (-2, -1)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes), norm="ortho"), axes=axes)
    return np.asarray(np.sqrt((np.abs(images) ** 2).sum(axis=1)), np.float64)


def disc(rows: int, columns: int, radius: float, slices: int = 1) -> npt.NDArray[np.float32]:
    """A disc with a soft edge (a hard one rings) in the middle, of intensity 1."""
    y, x = np.mgrid[:rows, :columns]
    distance = np.hypot(y - rows // 2, x - columns // 2)
    one = 1 / (1 + np.exp(2 * (distance - radius)))
    return np.repeat(one[np.newaxis], slices, axis=0).astype(np.float32)


def noise(*shape: int) -> npt.NDArray[np.float32]:
    return rng(0, "test").random(shape, dtype=np.float32)


# ---- the forward model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coils", [1, 4, 7])
@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 32, 21), (1, 19, 40)])
def test_the_image_comes_back(shape: tuple[int, int, int], coils: int) -> None:
    image = 1000 * noise(*shape)
    kspace = synthesise(image, "p", coils=coils, phase=1.5)
    side = max(shape[1:])
    assert kspace.dtype == np.complex64
    assert kspace.shape == (shape[0], coils, side, side)
    assert np.abs(image_of(kspace) - to_square(image)).max() < 1e-4 * image.max()
    assert np.abs(image_of(resample(kspace, side)) - to_square(image)).max() < 1e-4 * image.max()


def test_phase_is_the_patients_own_and_smooth() -> None:
    image = disc(48, 48, 16, slices=3)
    one, again, other = (synthesise(image, name) for name in ("p", "p", "q"))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)
    assert not synthesised(one)
    assert synthesised(synthesise(image, "p", phase=0.0))
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(one, axes=(-2, -1))), axes=(-2, -1))[:, 0]
    inside = image > 0.5
    phases = np.angle(images)[inside]
    assert 0.9 < np.abs(phases).max() <= 1.01  # the largest of `phase` radians is reached
    steps = np.angle(images[:, :, 1:] * images[:, :, :-1].conj())[inside[:, :, 1:] & inside[:, :, :-1]]
    assert np.abs(steps).max() < 0.3


@pytest.mark.parametrize("coils", [1, 2, 8])
def test_sensitivities_are_smooth_and_of_unit_root_sum_of_squares(coils: int) -> None:
    maps = sensitivities(coils, 40)
    assert np.abs(np.sqrt((np.abs(maps) ** 2).sum(axis=0)) - 1).max() < 1e-6
    assert np.abs(np.diff(maps, axis=-1)).max() < 0.1
    peaks = {np.unravel_index(np.abs(each).argmax(), each.shape) for each in maps}
    assert len(peaks) == coils  # each looks from another side


# ---- another matrix -----------------------------------------------------------------------------------------


def test_nothing_happens_where_nothing_has_to() -> None:
    kspace = synthesise(noise(2, 24, 24), "p")
    assert resample(kspace, 24) is kspace


def extent(image: Values) -> tuple[float, float]:
    """Standard deviation of the intensity along rows and columns, pixels."""
    weights = image / image.sum()
    sides = []
    for axis in (0, 1):
        profile = weights.sum(axis=1 - axis)
        at = np.arange(len(profile))
        mean = (profile * at).sum()
        sides.append(float(np.sqrt((profile * (at - mean) ** 2).sum())))
    return sides[0], sides[1]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(40, 110),
    columns=st.integers(40, 110),
    matrix=st.sampled_from([32, 33, 64, 128]),
    oversampled=st.booleans(),
)
def test_a_disc_stays_a_disc(rows: int, columns: int, matrix: int, oversampled: bool) -> None:
    """Whatever the sides, odd or even, cropped or padded: as round, as bright, in the middle, of the right size."""
    rows = 2 * columns if oversampled else rows
    radius = min(rows, columns) / 3
    measured = disc(rows, columns, radius)
    kspace = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(measured, axes=(-2, -1)), norm="ortho"), axes=(-2, -1)
    ).astype(np.complex64)[:, np.newaxis]
    side = field_of_view(kspace)
    assert side in (rows, columns)
    image = image_of(resample(kspace, matrix))[0]
    assert image.shape == (matrix, matrix)
    tall, wide = extent(image.clip(0.1) - 0.1)
    assert tall == pytest.approx(wide, rel=0.02)
    assert tall == pytest.approx(extent(measured[0].astype(np.float64))[0] * matrix / side, rel=0.1)
    assert image[matrix // 2, matrix // 2] == pytest.approx(1, abs=0.12)
    y, x = np.unravel_index(image.argmax(), image.shape)
    assert np.hypot(y - matrix // 2, x - matrix // 2) < radius * matrix / side + 1


def test_an_oversampled_readout_loses_its_air_and_nothing_else() -> None:
    tall = np.pad(disc(64, 64, 20), [(0, 0), (32, 32), (0, 0)])
    measured = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(tall, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    kspace = measured.astype(np.complex64)[:, np.newaxis]
    assert field_of_view(kspace) == 64
    assert np.abs(image_of(resample(kspace, 64))[0] - disc(64, 64, 20)[0]).max() < 1e-5
    body = np.fft.fftshift(np.fft.fft2(disc(64, 32, 15) + disc(64, 32, 60)), axes=(-2, -1))
    assert field_of_view(body.astype(np.complex64)[:, np.newaxis]) == 64  # signal to the ends: kept


# ---- virtual coils ------------------------------------------------------------------------------------------


def test_as_many_virtual_coils_as_coils_change_nothing_but_the_coils() -> None:
    image = disc(48, 48, 15, slices=2) + 0.2 * noise(2, 48, 48)
    kspace = synthesise(image, "p", coils=6)
    assert np.abs(image_of(compress(kspace, 6)) - image_of(kspace)).max() < 1e-4
    few = image_of(compress(kspace, 4))
    assert np.linalg.norm(few - image_of(kspace)) < 0.1 * np.linalg.norm(image)
    assert (few <= image_of(kspace) + 1e-4).all()  # what is left out is signal, nothing is added


def test_virtual_coils_repeat_and_are_filled_up() -> None:
    kspace = synthesise(disc(32, 32, 10), "p", coils=3)
    weights = mixing(kspace, 5)
    assert np.array_equal(weights, mixing(kspace.copy(), 5))
    assert weights.shape == (5, 3)
    assert np.allclose(weights[:3] @ weights[:3].conj().T, np.eye(3), atol=1e-5)
    assert not weights[3:].any()
    assert np.array_equal(compress(kspace, 5)[:, :3], compress(kspace, 3))
