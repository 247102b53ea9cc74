"""NIfTI: how it lies, round trips, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sites.sources.find import find, read
from sites.sources.recordings import Image, Recording
from tests.sites.sources.made import Array, head, nifti, ras

REAL = Path(__file__).parents[3] / "../shared/data"


def found(path: Path) -> Recording:
    (recording,), problems = find(path)
    assert not problems
    return recording


def image(path: Path) -> Image:
    samples = read(found(path))
    assert samples.dtype == np.float32
    return samples  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_round_trip(dtype: type, ending: str, tmp_path: Path) -> None:
    slices: Array = (head() / 4).astype(dtype)
    recording = found(nifti(tmp_path / f"p_T1{ending}", ras(slices)))
    assert (recording.kind, recording.shape) == ("image", (5, 1, 24, 20))
    assert (recording.contrast, recording.patient) == ("T1", "p")
    np.testing.assert_allclose(read(recording), slices, atol=1e-4 * np.ptp(slices))


def oriented(volume: Array, codes: str, zooms: tuple[float, ...] = (1, 1, 1)) -> tuple[Array, Array]:
    """A volume along right, anterior, superior -> stored along the axes of these letters, with its affine."""
    axes = ["LR", "PA", "IS"]
    where = [next(i for i, axis in enumerate(axes) if code in axis) for code in codes]
    signs = [1 if code in "RAS" else -1 for code in codes]
    stored = volume.transpose(where)[tuple(slice(None, None, sign) for sign in signs)]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (axis, sign) in enumerate(zip(where, signs, strict=True)):
        affine[axis, column] = sign * zooms[axis]
        affine[axis, 3] = 0 if sign > 0 else zooms[axis] * (volume.shape[axis] - 1)
    return np.ascontiguousarray(stored), affine


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "SPL", "ASL", "IRP"])
def test_however_it_is_stored_it_looks_the_same(codes: str, tmp_path: Path) -> None:
    slices = head()
    volume, affine = oriented(ras(slices), codes)
    np.testing.assert_allclose(image(nifti(tmp_path / "a.nii", volume, affine)), slices, rtol=1e-6)


def test_an_oblique_scan_is_not_turned(tmp_path: Path) -> None:
    angle = np.deg2rad(25)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(image(nifti(tmp_path / "a.nii", ras(head()), turned)), head(), rtol=1e-6)


def test_the_patients_right_is_on_the_left_and_anterior_on_top(tmp_path: Path) -> None:
    volume = np.ones((20, 24, 5), np.float32)
    volume[-1] = 7  # the most right
    volume[:, -1] = 9  # the most anterior
    slices = image(nifti(tmp_path / "a.nii", volume))
    assert (slices[:, 1:, 0] == 7).all()
    assert (slices[:, 0] == 9).all()


def test_pixels_become_square_by_cropping_kspace(tmp_path: Path) -> None:
    """A disc stays a disc: its width over its height."""
    y, x = np.mgrid[-1 : 1 : 96 * 1j, -1 : 1 : 64 * 1j]
    disc = np.repeat(((x**2 + y**2 < 0.5) * 100.0)[None], 4, axis=0)  # 96 × 64 pixels of 1 × 1.5 mm: a round disc
    recording = found(nifti(tmp_path / "a.nii", ras(disc), np.diag([1.5, 1, 1.5, 1])))
    assert recording.shape == (4, 1, 64, 64)
    cut = read(recording)
    inside = cut[0] > 50
    assert inside.any(axis=0).sum() == pytest.approx(inside.any(axis=1).sum(), abs=1)
    assert float(cut[:, 28:36, 28:36].mean()) == pytest.approx(100, rel=0.02)  # intensities stay


def test_thick_slices_of_another_plane_stay_as_acquired(tmp_path: Path) -> None:
    axial = found(nifti(tmp_path / "a.nii", np.ones((20, 24, 5), np.float32), np.diag([1, 1, 6, 1])))
    coronal = found(nifti(tmp_path / "c.nii", np.ones((20, 5, 24), np.float32), np.diag([1, 6, 1, 1])))
    sagittal = found(nifti(tmp_path / "s.nii", np.ones((5, 20, 24), np.float32), np.diag([6, 1, 1, 1])))
    assert (axial.shape, axial.notes) == ((5, 1, 24, 20), ())
    assert (coronal.shape, sagittal.shape) == ((5, 1, 24, 20), (5, 1, 24, 20))
    assert "coronal" in coronal.notes[0]
    assert "sagittal" in sagittal.notes[0]
    slightly = found(nifti(tmp_path / "i.nii", np.ones((15, 24, 20), np.float32), np.diag([1.2, 0.9, 0.9, 1])))
    assert slightly.shape == (20, 1, 18, 15)  # as IXI's T1: cut axially
    one = found(nifti(tmp_path / "o.nii", np.ones((20, 1, 24), np.float32)))
    assert one.shape == (1, 1, 24, 20)


def test_empty_slices_are_dropped(tmp_path: Path) -> None:
    slices = head(6)
    slices[[0, 5]] = 0
    path = nifti(tmp_path / "a.nii.gz", ras(slices))
    assert found(path).shape[0] == 6
    np.testing.assert_allclose(image(path), slices[1:5])


def test_trees(tmp_path: Path) -> None:
    for name in (
        "IXI/IXI012-HH-1211-T1.nii.gz", "IXI/IXI012-HH-1211-T2.nii.gz",
        "BraTS20_Training_001/BraTS20_Training_001_t1ce.nii",
        "BraTS20_Training_001/BraTS20_Training_001_seg.nii", "val/BraTS-GLI-00001-000/BraTS-GLI-00001-000-t2f.nii.gz",
        "val/BraTS-GLI-00001-000/BraTS-GLI-00001-000-seg.nii.gz", "stroke/FLAIR.nii.gz", "stroke/lesion_mask.nii.gz",
    ):  # fmt: skip
        nifti(tmp_path / name, ras(head()))
    recordings, problems = find(tmp_path)
    assert not problems
    assert [(each.patient, each.contrast, each.split) for each in recordings] == [
        ("BraTS20_Training_001", "T1c", None),
        ("IXI012", "T1", None),
        ("IXI012", "T2", None),
        ("stroke", "FLAIR", None),
        ("BraTS-GLI-00001", "FLAIR", "val"),
    ]


def with_value(value: float) -> Array:
    volume = ras(head())
    volume[10, 12, 2] = value
    return volume


RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
REFUSED: dict[str, tuple[Array, dict[str, Any], str]] = {
    "4-D": (np.ones((4, 4, 4, 3), np.float32), {}, "give one 3-D volume a file"),
    "RGB": (np.zeros((4, 4, 4), RGB), {}, "colour image"),
    "complex": (np.ones((4, 4, 4), np.complex64), {}, "give real magnitudes"),
    "no affine": (ras(head()), {"sform_code": 0, "qform_code": 0}, "nothing says how it lies"),
    "degenerate affine": (ras(head()), {"srow_x": [1, 1, 0, 0], "srow_y": [1, 1, 0, 0]}, "affine is degenerate"),
    "zero affine": (ras(head()), {"srow_x": [0, 0, 0, 0]}, "affine gives voxels of 0 ×"),
    "nan affine": (ras(head()), {"srow_x": [np.nan, 0, 0, 0]}, "affine gives voxels of nan"),
    "nan": (with_value(np.nan), {}, "1 voxels are nan"),
    "inf": (with_value(np.inf), {}, "1 voxels are nan, inf"),
    "negative": (with_value(-800), {}, "give magnitudes"),
    "zero": (ras(head()) * 0, {}, "zero everywhere"),
}


@pytest.mark.parametrize(("volume", "fields", "told"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_what_is_refused(volume: Array, fields: dict[str, Any], told: str, ending: str, tmp_path: Path) -> None:
    path = nifti(tmp_path / f"case{ending}", volume, **fields)
    recordings, problems = find(path)
    for recording in recordings:
        with pytest.raises(ValueError, match="case") as error:
            read(recording)
        assert told in str(error.value)
    assert recordings or told in problems[0].reason


def test_a_little_below_zero_is_what_interpolation_leaves(tmp_path: Path) -> None:
    slices = image(nifti(tmp_path / "a.nii", with_value(-20)))
    assert slices.min() == 0


def test_a_single_volume_may_have_a_fourth_axis(tmp_path: Path) -> None:
    np.testing.assert_allclose(image(nifti(tmp_path / "a.nii", ras(head())[..., None])), head())


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_real_patients() -> None:
    recordings, problems = find(REAL)
    assert not problems
    told = {(each.patient, each.contrast): each for each in recordings}
    assert told["patient01", "T2"].shape == (36, 1, 448, 406)
    assert told["stroke_patient", "FLAIR"].shape == (140, 1, 160, 124)
    assert not told["cartesian_ksp", ""].complete
    for each in recordings:
        assert np.isfinite(read(each)).all()
