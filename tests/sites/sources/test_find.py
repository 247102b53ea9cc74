"""Walking folders, and what names tell."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sites.sources.find import READERS, find, passed_over, read
from sites.sources.names import contrast_of, is_label, patients_of, split_of
from tests.sites.sources.made import cfl, dicom, fastmri, head, ismrmrd, kspace, lines, nifti, ras


def everything(root: Path) -> None:
    """One recording of each format."""
    pytest.importorskip("pydicom")
    fastmri(root / "a/fast.h5", kspace=kspace())
    ismrmrd(root / "raw.mrd", lines(kspace(2, 2, 32, 16)))
    nifti(root / "b/n_T1.nii.gz", ras(head()))
    dicom(root / "c", head())
    np.save(root / "d.npy", kspace())
    cfl(root / "e.cfl", kspace())


def test_every_format_in_one_folder(tmp_path: Path) -> None:
    everything(tmp_path)
    (tmp_path / "README.txt").write_text("words")
    recordings, problems = find(tmp_path)
    assert not problems
    assert [each.reader for each in recordings] == ["fastmri", "nifti", "dicom", "arrays", "arrays", "ismrmrd"]
    assert {each.reader for each in recordings} == {reader.NAME for reader in READERS}
    for each in recordings:
        samples = read(each)
        slices, coils, rows, columns = each.shape
        assert samples.shape == (each.shape if each.kind == "kspace" else (slices, rows, columns))
        assert samples.dtype == (np.complex64 if each.kind == "kspace" else np.float32)
        assert coils == (2 if each.kind == "kspace" else 1)
        (again,), told = find(each.paths[0]) if each.reader != "dicom" else find(each.paths[0].parent)
        assert not told
        assert np.array_equal(read(again), samples)
    assert len(list(tmp_path.iterdir())) == len(set(tmp_path.iterdir()))


def test_files_are_closed_again(tmp_path: Path) -> None:
    everything(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for each in find(tmp_path)[0]:
        read(each)
    assert len(os.listdir("/proc/self/fd")) == before


def test_hidden_files_and_unknown_ones_are_passed_over(tmp_path: Path) -> None:
    nifti(tmp_path / "._a.nii", ras(head()))
    nifti(tmp_path / ".cache/a.nii", ras(head()))
    (tmp_path / "b.pdf").write_bytes(b"%PDF")
    recordings, (problem,) = find(tmp_path)
    assert not recordings
    assert problem.path == tmp_path
    assert problem.reason.startswith("nothing here is of a format that is read: fastMRI")
    nifti(tmp_path / "a.nii", ras(head()))
    recordings, problems = find(tmp_path)
    assert (len(recordings), problems) == (1, [])
    _, (problem,) = find(tmp_path / "b.pdf")
    assert problem.reason.startswith("it is of no format that is read: fastMRI")
    _, (problem,) = find(tmp_path / "nowhere")
    assert problem.reason == "there is no such file or folder"


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    nifti(tmp_path / "store/x_T1.nii", ras(head()))
    data = tmp_path / "data"
    data.mkdir()
    (data / "linked").symlink_to(tmp_path / "store")
    (data / "again").symlink_to(data)
    (data / "nothing.nii").symlink_to(tmp_path / "gone.nii")
    (data / "self.h5").symlink_to(data / "self.h5")
    os.mkfifo(data / "pipe.npy")
    recordings, problems = find(data)
    assert [each.paths[0].name for each in recordings] == ["x_T1.nii"]
    assert [each.path.name for each in problems] == ["nothing.nii", "pipe.npy", "self.h5"]
    assert "broken link" in problems[0].reason
    assert "no file" in problems[1].reason


def test_a_folder_named_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.h5").mkdir()
    recordings, (problem,) = find(tmp_path)
    assert not recordings
    assert problem.path.name == "x.h5"
    assert "folder" in problem.reason
    nifti(tmp_path / "y.nii/y.nii", ras(head()))  # as some archives come
    recordings, (problem,) = find(tmp_path)
    assert [each.patient for each in recordings] == ["y"]
    _, (problem,) = find(tmp_path / "x.h5")
    assert "format" in problem.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_opened(tmp_path: Path) -> None:
    everything(tmp_path)
    closed = [*(path for path in tmp_path.rglob("*") if path.suffix in (".h5", ".mrd", ".gz", ".npy", ".cfl", ".dcm"))]
    for path in closed:
        path.chmod(0)
    recordings, problems = find(tmp_path)
    assert not recordings
    assert {each.path for each in problems} == set(closed)
    assert all("permission denied" in each.reason for each in problems)
    folder = tmp_path / "shut"
    folder.mkdir(mode=0)
    assert folder in {each.path for each in find(tmp_path)[1]}


# ---- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("IXI012-HH-1211-T1", "T1"), ("BraTS20_Training_001_t1ce", "T1c"), ("BraTS-GLI-00001-000-t1n", "T1"),
        ("BraTS-GLI-00001-000-t1c", "T1c"), ("BraTS-GLI-00001-000-t2w", "T2"), ("BraTS-GLI-00001-000-t2f", "FLAIR"),
        ("patient01_study1_FLAIR", "FLAIR"), ("T2", "T2"), ("sub-01_T2_FLAIR", "FLAIR"), ("AXT1POST", "T1c"),
        ("AXT1PRE", "T1"), ("AXT2", "T2"), ("AXFLAIR", "FLAIR"), ("CORPD_FBK", "PD"), ("CORPDFS_FBK", "PDFS"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"), ("AX T1 POST GD", "T1c"), ("t1_mprage_sag", "T1"),
        ("IXI002-Guys-0828-PD", "PD"),
        ("patient", ""), ("study12", ""), ("PD_001_T1", "T1"), ("IXI012-HH-1211-DTI-00", "DWI"),
    ],
)  # fmt: skip
def test_contrasts(text: str, contrast: str) -> None:
    assert contrast_of(text) == contrast


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("IXI012-HH-1211-T1.nii.gz", "IXI012"),
        ("BraTS20_Training_001/BraTS20_Training_001_t1ce.nii.gz", "BraTS20_Training_001"),
        ("BraTS-GLI-00001-000/BraTS-GLI-00001-000-t1n.nii.gz", "BraTS-GLI-00001"),
        ("patient01_study1_T2W.nii.gz", "patient01"),
        ("stroke_patient/FLAIR.nii.gz", "stroke_patient"),
        ("FLAIR.nii.gz", "root"),
        ("sub-01/ses-02/anat/sub-01_ses-02_acq-mprage_T1w.nii.gz", "sub-01"),
        ("case 7/anat/T1.nii.gz", "case_7"),
        ("T1/train/file1000001.h5", "file1000001"),
        ("PD_001_T1.nii", "PD_001"),
    ],
)
def test_patients(name: str, patient: str) -> None:
    root = Path("/data/root")
    assert patients_of([root / name], root) == [patient]


def test_files_of_one_name_in_several_folders_are_of_several_patients() -> None:
    root = Path("/data")
    scans = [root / "a/brain.nii", root / "b/brain.nii", root / "b/brain_T1.nii", root / "c.nii"]
    assert patients_of(scans, root) == ["a_brain", "b_brain", "b_brain", "c"]
    sessions = [root / f"sub-3/ses-{number}/sub-3_ses-{number}_T1w.nii" for number in (1, 2)]
    assert patients_of(sessions, root) == ["sub-3", "sub-3"]
    contrasts = [root / "T1/007.h5", root / "T2/007.h5"]
    assert patients_of(contrasts, root) == ["007", "007"]
    splits = [root / "T1/train/007.h5", root / "T1/test/007.h5"]
    assert patients_of(splits, root) == ["007", "007"]  # one patient in two splits, for whoever divides to refuse


def test_numbered_scans_side_by_side_are_of_several_patients() -> None:
    root = Path("/data/hospital")
    assert patients_of([root / "scan1.h5", root / "scan2.h5"], root) == ["scan1", "scan2"]
    studies = [root / f"study{number}_{word}.nii" for number in ("001", "002") for word in ("T1", "T2")]
    assert patients_of(studies, root) == ["study001", "study001", "study002", "study002"]
    one = [root / "study001_T1.nii", root / "study001_T2.nii"]
    assert patients_of(one, root) == ["hospital", "hospital"]
    repeated = [root / "study1_scan1.h5", root / "study1_scan2.h5"]
    assert patients_of(repeated, root) == ["hospital", "hospital"]
    folders = [root / folder / f"scan{number}.nii" for folder in "ab" for number in (1, 2)]
    assert patients_of(folders, root) == ["a", "a", "b", "b"]
    visits = [root / f"visit{number}_T1.nii" for number in (1, 2)]
    assert patients_of(visits, root) == ["hospital", "hospital"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("sub-GT01_T1w", False), ("sub-gt_T1w", False), ("lesion_study_p1_T1", False), ("p1_T1", False), ("p1", False),
        ("BraTS20_Training_001_seg", True), ("BraTS-GLI-00001-000-seg", True), ("training01_01_mask1", True),
        ("lesion_mask", True), ("mask_003", True), ("p1_T1_brain_mask", True), ("sub-01_T1w_label-lesion_mask", True),
        ("1-LesionSeg-Flair", True), ("p1_lesion_T1", True), ("consensus_gt", True), ("sub-01_dseg", True),
        ("sub-strokecase0001_ses-0001_lesion-msk", True), ("p1_ManualSegmentation_1", True), ("p1_mask_v2", True),
    ],
)  # fmt: skip
def test_segmentations_and_masks(name: str, label: bool, tmp_path: Path) -> None:
    assert is_label(Path(f"{name}.nii.gz")) is label
    path = nifti(tmp_path / f"{name}.nii.gz", ras(head()))
    assert passed_over(tmp_path) == passed_over(path) == ([path] if label else [])
    assert len(find(tmp_path)[0]) == (not label)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("T1/train/a.h5", "train"), ("T2/val/a.h5", "val"), ("test/T1/a.h5", "test"), ("singlecoil_val/a.h5", "val"),
        ("multicoil_test_v2/a.h5", "test"), ("knee_multicoil_train_batch_0/a.h5", "train"), ("Validation/a.h5", "val"),
        ("BraTS20_Training_001/a.nii", None), ("a.h5", None), ("latest/a.h5", None),
    ],
)  # fmt: skip
def test_splits(name: str, split: str | None) -> None:
    assert split_of(Path("/train/data") / name, Path("/train/data")) == split
