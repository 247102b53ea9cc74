"""DICOM series, as a scanner exports them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sites.sources.dicom import EXTRA
from sites.sources.find import find, read
from tests.sites.sources.made import Array, dicom, enhanced, head, nifti, ras

pydicom = pytest.importorskip("pydicom")


def image() -> Array:
    return np.round(head())


def test_a_series_is_sorted_by_position(tmp_path: Path) -> None:
    dicom(tmp_path / "a/b", image())
    (recording,), problems = find(tmp_path)
    assert not problems
    assert (recording.patient, recording.contrast, recording.kind) == ("P017", "T2", "image")
    assert (recording.shape, recording.field_strength, recording.scanner) == ((5, 1, 24, 20), 3.0, "SIEMENS Skyra")
    assert len(recording.paths) == 5
    assert np.array_equal(read(recording), image())
    assert "Doe" not in repr(recording)


def test_it_lies_as_the_same_volume_in_nifti(tmp_path: Path) -> None:
    """DICOM's axes go left and posterior, NIfTI's right and anterior."""
    dicom(tmp_path / "d", image())
    nifti(tmp_path / "n.nii", ras(image()))
    dicom_, nifti_ = (read(each) for each in find(tmp_path)[0])
    assert np.array_equal(dicom_, nifti_)


def test_intensities_are_rescaled(tmp_path: Path) -> None:
    dicom(tmp_path, image(), RescaleSlope=2.5, RescaleIntercept=10)
    (recording,), _ = find(tmp_path)
    np.testing.assert_allclose(read(recording), 2.5 * image() + 10)


def test_enhanced_multi_frame(tmp_path: Path) -> None:
    (recording,), problems = find(enhanced(tmp_path / "IM_0001", image()))
    assert not problems
    assert recording.shape == (5, 1, 24, 20)
    assert np.array_equal(read(recording), 2 * image())


def test_several_series_and_contrasts(tmp_path: Path) -> None:
    dicom(tmp_path / "1", image(), SeriesInstanceUID="1.1", SeriesDescription="t1_se_tra", ContrastBolusAgent="Gd")
    dicom(tmp_path / "2", image(), SeriesInstanceUID="1.2", SeriesDescription="t2_tirm_tra_dark-fluid")
    dicom(tmp_path / "3", image(), SeriesInstanceUID="1.3", EchoTime=10.0, SeriesDescription="pd+t2_tse")
    dicom(tmp_path / "4", image(), SeriesInstanceUID="1.3", EchoTime=90.0, MagneticFieldStrength=15000)
    dicom(tmp_path / "5", image(), SeriesInstanceUID="1.5", Modality="SR")
    dicom(tmp_path / "T1/train", image(), SeriesInstanceUID="1.6", SeriesDescription=None, PatientID=None)
    recordings, problems = find(tmp_path)
    assert not problems
    assert [each.contrast for each in recordings] == ["T1c", "FLAIR", "T2", "T2", "T1"]
    assert recordings[3].field_strength == 1.5
    assert (recordings[4].patient, recordings[4].split) == (tmp_path.name, "train")


def test_a_sagittal_series(tmp_path: Path) -> None:
    along = [0, 1, 0, 0, 0, -1]
    for index, part in enumerate(image()):
        place = [4.0 * index, -90, 100]
        dicom(tmp_path / str(index), part[None], ImageOrientationPatient=along, ImagePositionPatient=place)
    (recording,), _ = find(tmp_path)
    assert "sagittal" in recording.notes[0]
    assert np.array_equal(read(recording), image()[::-1])  # from left to right: DICOM counts towards left


def test_a_patients_name_as_id_is_not_shown(tmp_path: Path) -> None:
    dicom(tmp_path, image(), PatientID="Doe, Jane")
    (recording,), _ = find(tmp_path)
    assert "Doe" not in recording.patient
    assert recording.patient.isalnum()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "CT": ({"Modality": "CT"}, "its modality is CT; only MR is read"),
    "phase": ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase image"),
    "mosaic": ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic image"),
    "colour": ({"SamplesPerPixel": 3}, "colour image"),
    "nowhere": ({"ImagePositionPatient": None, "ImageOrientationPatient": None}, "nothing says where it lies"),
    "skewed": ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no two unit vectors"),
    "no rows": ({"Rows": None}, "Rows is missing"),
    "no spacing": ({"PixelSpacing": None}, "PixelSpacing is missing"),
    "repetitions": ({"ImagePositionPatient": [0, 0, 0]}, "lie at one position"),
    "short": ({"Rows": 2400}, "it is not whole"),
}


def test_more_pixels_than_the_header_says(tmp_path: Path) -> None:
    dicom(tmp_path, image(), Rows=20)
    (recording,), _ = find(tmp_path)
    with pytest.raises(ValueError, match=r"by its header only 800"):
        read(recording)


@pytest.mark.parametrize(("fields", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    dicom(tmp_path, image(), **fields)
    recordings, problems = find(tmp_path)
    assert not recordings
    assert all("Doe" not in each.reason for each in problems)
    assert told in problems[0].reason


def test_mixed_series(tmp_path: Path) -> None:
    paths = dicom(tmp_path / "a", image())
    dicom(tmp_path / "b", np.round(head(1, 30, 20)), ImagePositionPatient=[-100, -90, 90])
    assert "matrix sizes of its slices are mixed: (24, 20), (30, 20)" in find(tmp_path)[1][0].reason
    shutil.rmtree(tmp_path / "b")
    dicom(tmp_path / "b", image()[:1], ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[0, 0, 0])
    assert "several directions" in find(tmp_path)[1][0].reason
    shutil.rmtree(tmp_path / "b")
    paths[0].write_bytes(paths[0].read_bytes()[:-100])
    (recording,), _ = find(tmp_path)  # the header is whole
    with pytest.raises(ValueError, match=rf"{paths[0].name}: .*pixel data"):
        read(recording)


def test_compressed_pixels_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = dicom(tmp_path, image()[:1])[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    recordings, (problem,) = find(tmp_path)
    assert not recordings
    assert "pydicom cannot decode MPEG2" in problem.reason


def test_without_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(tmp_path, image())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    recordings, (problem,) = find(tmp_path)
    assert not recordings
    assert (problem.path.parent, problem.reason) == (tmp_path, EXTRA)
    assert "pip install" in EXTRA
