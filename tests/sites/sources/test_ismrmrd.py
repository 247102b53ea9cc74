"""ISMRMRD raw data: where acquisitions go, and which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sites.sources.base import KSpace
from sites.sources.find import find, read
from sites.sources.measured import checked
from sites.sources.recordings import Recording
from tests.sites.sources.made import Array, fft2c, header, ifft2c, ismrmrd, kspace, lines

X, Y = 32, 16


def found(path: Path) -> Recording:
    (recording,), problems = find(path)
    assert not problems
    return recording


def samples(path: Path) -> KSpace:
    return read(found(path))  # type: ignore[return-value]


def cropped(full: Array) -> Array:
    """The images of k-space whose read-out is oversampled twice, over the field of view."""
    rows = full.shape[-2]
    return ifft2c(full)[..., rows // 4 : rows // 4 + rows // 2, :]


def test_two_dimensions_with_oversampling(tmp_path: Path) -> None:
    full = kspace(3, 2, X, Y)
    recording = found(ismrmrd(tmp_path / "meas_T1.h5", lines(full)))
    assert (recording.reader, recording.kind, recording.complete) == ("ismrmrd", "kspace", True)
    assert (recording.shape, recording.patient, recording.contrast) == ((3, 2, X // 2, Y), "meas", "T1")
    assert (recording.field_strength, recording.scanner) == (1.494, "SIEMENS Aera")
    got = read(recording)
    scale = np.abs(cropped(full)).max()
    np.testing.assert_allclose(ifft2c(got), cropped(full), atol=1e-5 * scale)


def test_without_oversampling_kspace_is_as_measured(tmp_path: Path) -> None:
    full = kspace(3, 2, X, Y)
    plain = header(fov=220)
    assert np.array_equal(samples(ismrmrd(tmp_path / "a.h5", lines(full), plain)), full)
    shuffled = [lines(full)[i] for i in np.random.default_rng(0).permutation(3 * Y)]
    assert np.array_equal(samples(ismrmrd(tmp_path / "b.h5", shuffled, plain)), full)
    backwards = [(data[:, ::-1], {**fields, "flags": 1 << 21}) for data, fields in lines(full)]
    assert np.array_equal(samples(ismrmrd(tmp_path / "c.h5", backwards, plain)), full)
    trimmed = [
        (np.pad(data, [(0, 0), (2, 3)]), {**fields, "discard_pre": 2, "discard_post": 3, "center_sample": X // 2 + 2})
        for data, fields in lines(full)
    ]
    assert np.array_equal(samples(ismrmrd(tmp_path / "d.h5", trimmed, plain)), full)


def test_noise_and_the_like_are_passed_over(tmp_path: Path) -> None:
    full = kspace(1, 2, X, Y)
    noise = [(np.full((2, 40), 1e6, complex), {"flags": 1 << bit - 1}) for bit in (19, 20, 23, 24, 27)]
    got = samples(ismrmrd(tmp_path / "a.h5", [*noise, *lines(full), *noise], header(fov=220)))
    assert np.array_equal(got, full)


def test_averages_are_averaged_and_of_repetitions_the_first_is_taken(tmp_path: Path) -> None:
    full, other = kspace(2, 2, X, Y), kspace(2, 2, X, Y, seed=1)
    twice = [*lines(full), *((data, {**fields, "average": 1}) for data, fields in lines(other))]
    np.testing.assert_allclose(
        samples(ismrmrd(tmp_path / "a.h5", twice, header(fov=220))), (full + other) / 2, rtol=1e-4
    )
    later = [*((data, {**fields, "repetition": 1}) for data, fields in lines(other)), *lines(full)]
    recording = found(ismrmrd(tmp_path / "b.h5", later, header(fov=220)))
    assert recording.notes == ("the first of 2 repetitions is read",)
    assert np.array_equal(read(recording), full)


def test_what_was_not_measured_is_zero(tmp_path: Path) -> None:
    full = kspace(2, 2, X, Y)
    some = [0, 3, 7, 8, 9, 12]
    recording = found(ismrmrd(tmp_path / "a.h5", lines(full, some)))
    assert not recording.complete
    got = read(recording)
    assert np.flatnonzero(got.any(axis=(0, 1, 2))).tolist() == some
    centre = found(ismrmrd(tmp_path / "b.h5", lines(full, range(3, 13))))  # zero-padded
    assert centre.complete
    assert found(ismrmrd(tmp_path / "c.h5", lines(full, range(Y - 6)))).complete is False  # partial Fourier


def test_a_centre_elsewhere_and_a_partial_echo(tmp_path: Path) -> None:
    full = kspace(1, 2, X, Y)
    late = [(data[:, 8:], {**fields, "center_sample": X // 2 - 8}) for data, fields in lines(full)]
    recording = found(ismrmrd(tmp_path / "a.h5", late))
    assert recording.shape == (1, 2, X, Y)  # oversampling stays: its rows cannot be told apart
    got = read(recording)
    assert np.array_equal(got[:, :, 8:], full[:, :, 8:])
    assert not got[:, :, :8].any()
    few = [(data, {**fields, "kspace_encode_step_1": w - 4}) for w, (data, fields) in enumerate(lines(full)) if w >= 4]
    got = samples(ismrmrd(tmp_path / "b.h5", few, header(fov=220, center=4)))
    assert np.array_equal(got[..., 4:], full[..., 4:])


def three_dimensions(volume: Array) -> list[tuple[Array, dict[str, int]]]:
    """Lines of slices' k-space [Z, C, H, W], encoded along the slices too."""
    axes = 0
    third = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(volume, axes=axes), axis=axes, norm="ortho"), axes=axes)
    return [
        (third[z, :, :, w], {"kspace_encode_step_1": w, "kspace_encode_step_2": z})
        for z in range(len(third))
        for w in range(Y)
    ]


def test_three_dimensions(tmp_path: Path) -> None:
    volume = kspace(6, 2, X, Y)
    encoded = three_dimensions(volume)
    plain = header(z=6, fov=220)
    got = samples(ismrmrd(tmp_path / "a.h5", encoded, plain))
    np.testing.assert_allclose(got, volume, atol=1e-5 * np.abs(volume).max())
    recording = found(ismrmrd(tmp_path / "b.h5", encoded, header(z=6, fov=220, thick=7.5)))
    assert recording.shape == (4, 2, X, Y)  # the slab is encoded wider than it is kept
    np.testing.assert_allclose(read(recording), volume[1:5], atol=1e-5 * np.abs(volume).max())
    holes = [line for i, line in enumerate(encoded) if i % 5]
    with pytest.raises(ValueError, match=r"c\.h5: it is undersampled along the second phase encoding"):
        samples(ismrmrd(tmp_path / "c.h5", holes, plain))


def test_a_file_of_the_formats_own_library(tmp_path: Path) -> None:
    library = pytest.importorskip("ismrmrd")
    full = kspace(2, 3, X, Y)
    dataset = library.Dataset(str(tmp_path / "own.h5"), "dataset", create_if_needed=True)
    dataset.write_xml_header(header(fov=220).encode())
    noise = library.Acquisition.from_array(np.full((3, 64), 1e5, np.complex64))
    noise.set_flag(library.ACQ_IS_NOISE_MEASUREMENT)
    dataset.append_acquisition(noise)
    for data, fields in lines(full):
        acquisition = library.Acquisition.from_array(np.ascontiguousarray(data, np.complex64))
        acquisition.center_sample = X // 2
        acquisition.idx.slice, acquisition.idx.kspace_encode_step_1 = fields["slice"], fields["kspace_encode_step_1"]
        dataset.append_acquisition(acquisition)
    dataset.close()
    assert np.array_equal(samples(tmp_path / "own.h5"), full)


def damaged(path: Path, **changes: Any) -> Path:
    """Datasets of the group replaced; None takes one's place by an empty one."""
    ismrmrd(path, lines(kspace(1, 2, X, Y)))
    with h5py.File(path, "a") as file:
        for name, value in changes.items():
            del file["dataset"][name]
            file["dataset"][name] = value
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "radial": (lambda p: ismrmrd(p, lines(kspace(1, 2, X, Y)), header(trajectory="radial")), "trajectory is radial"),
    "noise alone": (lambda p: ismrmrd(p, [(np.ones((2, 8)), {"flags": 1 << 18})]), "only noise or calibration"),
    "beyond the matrix": (lambda p: ismrmrd(p, lines(kspace(1, 2, X, 20))), "goes from 0 to 19 around 8"),
    "uneven": (
        lambda p: ismrmrd(p, [*lines(kspace(1, 2, X, Y)), (np.ones((3, X)), {})]), "differ in samples or coils"
    ),
    "no encoding": (lambda p: ismrmrd(p, lines(kspace(1, 2, X, Y)), "<ismrmrdHeader/>"), "has no encoding"),
    "damaged header": (lambda p: ismrmrd(p, lines(kspace(1, 2, X, Y)), header()[:-40]), "header is damaged"),
    "no size": (
        lambda p: ismrmrd(p, lines(kspace(1, 2, X, Y)), header().replace("<x>32</x>", "<x>many</x>")), "no matrixSize x"
    ),
    "other data": (lambda p: damaged(p, data=np.ones(4)), "data holds no acquisitions"),
    "no acquisitions": (lambda p: damaged(p, data=np.zeros(0, [("head", [("flags", "u8")])])), "data holds no acq"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(make: Callable[[Path], Path], told: str, tmp_path: Path) -> None:
    recordings, (problem,) = find(make(tmp_path / "a.h5"))
    assert not recordings
    assert told in problem.reason
    assert "\n" not in problem.reason


@pytest.mark.parametrize(("x", "y", "fovy", "shape"), [(64, 24, 220, (24, 24)), (64, 48, 220, (32, 32))])
def test_a_disc_is_round_whatever_the_sides_of_its_pixels(
    x: int, y: int, fovy: float, shape: tuple[int, int], tmp_path: Path
) -> None:
    rows, columns = np.mgrid[-440 / 2 : 440 / 2 : 440 / x, -fovy / 2 : fovy / 2 : fovy / y]
    disc = np.asarray(1 / (1 + np.exp((np.hypot(rows, columns) - 75) / 5)))  # of 75 mm, its edge soft
    recording = found(ismrmrd(tmp_path / "a.h5", lines(fft2c(disc)[None, None]), header(x, y, fov=440, fovy=fovy)))
    assert recording.shape[2:] == shape
    assert recording.readout == shape[0]
    image = np.abs(ifft2c(read(recording)))[0, 0]
    assert image.shape == shape
    tall, wide = image.sum(axis=0).max(), image.sum(axis=1).max()
    assert tall == pytest.approx(wide, rel=0.03)
    assert tall * 220 / shape[0] == pytest.approx(150, rel=0.03)
    assert image.max() == pytest.approx(1, rel=0.1)


def test_a_partial_echo_is_oversampled_still_and_not_complete(tmp_path: Path) -> None:
    late = [(data[:, 8:], {**fields, "center_sample": X // 2 - 8}) for data, fields in lines(kspace(1, 2, X, Y))]
    recording = found(ismrmrd(tmp_path / "a.h5", late))
    assert (recording.shape[2], recording.readout, recording.complete) == (X, X // 2, False)
    with pytest.raises(ValueError, match="undersampled"):
        checked(recording, read(recording), skip_bad=False)
