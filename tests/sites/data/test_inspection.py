"""What inspection finds, on files that the tests write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sites.data.inspection import BINS, Inspection, inspect, plan
from sites.data.inspection_notes import listed, notes, similar
from sites.data.view import InspectionView, headline
from sites.institutions import survey
from sites.sources.measured import UNDERSAMPLED
from sites.sources.recordings import Problem
from tests.sites.sources import made

SHARED = Path(__file__).parents[3] / "shared" / "data"
MAGNITUDE = made.fft2c(made.head()).astype(np.complex64)


def undersampled() -> made.Array:
    """Every third column and the centre of two coils."""
    full = made.kspace()
    kept = np.zeros(20, bool)
    kept[::3] = kept[8:12] = True
    return np.where(kept, full, 0).astype(np.complex64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four institutions: images of two patients, k-space in fastMRI's folders, one undersampled, one synthesised."""
    for patient in ("IXI001", "IXI002"):
        for contrast in ("T1", "T2"):
            made.nifti(tmp_path / f"ixi/{patient}-HH-1-{contrast}.nii.gz", made.ras(made.head()))
    for name, split in (("a", "train"), ("b", "train"), ("c", "val")):
        attributes = {"acquisition": "AXT2", "patient_id": name}
        file = tmp_path / f"nyu/multicoil_{split}/file_{name}.h5"
        made.fastmri(file, attributes, kspace=made.kspace(), ismrmrd_header=made.header())
    made.fastmri(tmp_path / "partial/scan.h5", kspace=undersampled())
    made.fastmri(tmp_path / "flat/scan.h5", {"acquisition": "T1"}, kspace=MAGNITUDE)
    return tmp_path


def look(path: Path, quick: bool = False, only: str = "") -> Inspection:
    """Plan and inspection."""
    return inspect(plan(path, quick, only))


def drawn(inspection: Inspection, width: int = 80, height: int = 24, color: bool = False, every: bool = False) -> str:
    """As a terminal of this size shows it."""
    console = Console(
        width=width, height=height, color_system="truecolor" if color else None, force_terminal=color, record=True
    )
    with console.capture() as captured:
        console.print(InspectionView(inspection, every), headline(inspection))
    return captured.get()


def test_all_there_is_to_know_is_found(folder: Path) -> None:
    found = look(folder)
    groups = {(group.institution, group.contrast): group for group in found.groups}
    assert set(groups) == {("ixi", "T1"), ("ixi", "T2"), ("nyu", "T2"), ("partial", ""), ("flat", "T1")}
    assert found.problems == ()
    ixi, nyu = groups["ixi", "T1"], groups["nyu", "T2"]
    assert (ixi.kind, list(ixi.patients), ixi.volumes, ixi.rows, ixi.columns) == (
        "image", ["IXI001", "IXI002"], 2, (24, 24), (20, 20),
    )  # fmt: skip
    assert ixi.slices == 2 * sum(part.any() for part in made.head())  # those with a signal
    assert (nyu.kind, nyu.coils, nyu.slices) == ("kspace", (2, 2), 9)
    assert nyu.patients == {"a": "train", "b": "train", "c": "val"}
    assert nyu.fields == pytest.approx((1.49,))
    assert nyu.scanners == ("SIEMENS Aera",)
    assert [bool(group.synthesised) for group in (nyu, groups["flat", "T1"], groups["partial", ""])] == [0, 1, 0]
    assert [group.complete for group in (nyu, groups["partial", ""])] == [True, False]


def test_histogram_and_picture_are_those_of_the_image(folder: Path) -> None:
    found = look(folder / "ixi")
    image = made.head()[made.head().any(axis=(1, 2))]
    group = found.groups[0]
    assert group.top == pytest.approx(np.percentile(image, 99.9), rel=0.02)
    expected, _ = np.histogram(image, BINS, (0, group.top))
    np.testing.assert_allclose(group.histogram, expected / image.size, atol=0.02)
    np.testing.assert_allclose(group.picture, made.head()[2], rtol=1e-5)
    flat = look(folder / "flat").groups[0]
    np.testing.assert_allclose(flat.picture, made.head()[2], atol=0.1)


def test_notes_say_what_the_data_are_good_for(folder: Path) -> None:
    told = " ".join(notes(look(folder)))
    assert f"partial: {UNDERSAMPLED}" in told
    assert "flat: k-space was synthesised from images" in told
    assert "ixi: images; their k-space has to be synthesised" in told
    assert "Shimron" in told
    assert "flat: one patient" in told
    assert "passed over" not in told
    made.nifti(folder / "ixi/IXI000-HH-1-T1_mask.nii.gz", made.ras(made.head()))
    assert "1 file is named as a segmentation or mask and passed over" in " ".join(notes(look(folder)))
    assert "nyu:" not in told


def test_every_problem_is_found_with_file_and_reason(folder: Path) -> None:
    (folder / "ixi/IXI003-HH-1-T1.nii.gz").write_bytes(b"junk")
    made.fastmri(folder / "nyu/multicoil_train/nan.h5", kspace=np.full((2, 24, 20), np.nan, np.complex64))
    made.fastmri(folder / "nyu/multicoil_val/again.h5", {"patient_id": "a"}, kspace=made.kspace())
    found = look(folder)
    told = {problem.path.name: problem.reason for problem in found.problems}
    assert set(told) == {"IXI003-HH-1-T1.nii.gz", "nan.h5", "again.h5"}
    assert "patient a is in" in told["again.h5"]
    assert "nan" in told["nan.h5"]
    assert not any(str(folder) in reason for name, reason in told.items() if name != "IXI003-HH-1-T1.nii.gz")
    text = drawn(found, 200)
    assert all(str(folder) in text and name in text for name in told)
    assert found.volumes == 10  # again.h5 can be read, nan.h5 cannot


def test_quick_reads_one_volume_of_each_group(folder: Path) -> None:
    made.fastmri(folder / "nyu/multicoil_train/zz.h5", {"acquisition": "T2"}, kspace=made.kspace() * np.nan)
    assert look(folder, quick=True).problems == ()
    assert look(folder, quick=True).looked_at == 5
    assert "quick: the samples of 5 of" in " ".join(notes(look(folder, quick=True)))


def test_whose_a_file_is(folder: Path, tmp_path: Path) -> None:
    assert list(survey(folder)[0]) == ["flat", "ixi", "nyu", "partial"]
    assert list(survey(folder / "nyu")[0]) == ["nyu"]  # its sub-folders are splits
    assert list(survey(folder / "ixi")[0]) == ["ixi"]
    assert list(survey(folder / "partial/scan.h5")[0]) == ["partial"]
    assert list(survey(folder, "everyone")[0]) == ["everyone"]
    (folder / "readme.md").write_text("no data")
    (folder / "empty").mkdir()
    assert survey(folder)[1] == []
    made.fastmri(folder / "loose.h5", kspace=made.kspace())
    assert list(survey(folder)[0]) == sorted(["flat", "ixi", "nyu", "partial", tmp_path.name])


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("color", [True, False])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int, count: int, color: bool) -> None:
    for index in range(count):
        folder = f"institution-of-a-long-name-{index}"
        made.fastmri(tmp_path / folder / "scan.h5", {"acquisition": "T1"}, kspace=made.kspace())
    view = InspectionView(look(tmp_path))
    console = Console(width=width, height=24, color_system="truecolor" if color else None, force_terminal=color)
    for row in console.render_lines(view, pad=False):
        assert sum(segment.cell_length for segment in row) <= width


def test_as_many_pictures_as_fit_every_institution_first(folder: Path) -> None:
    text = drawn(look(folder), 40, 24, color=True)
    captions = next(line for line in text.splitlines() if "flat T1" in line)
    assert "ixi T1" in captions
    assert "ixi T2" not in captions
    wide = drawn(look(folder), 160, 50, color=True)
    assert all(name in wide for name in ("flat T1", "ixi T1", "ixi T2", "nyu T2", "partial"))
    assert wide.count("▀") > text.count("▀") > 100


def test_many_problems_are_grouped_and_counted(folder: Path) -> None:
    problems = [Problem(path=folder / f"f{i}.h5", reason=f"slice {i} holds nan") for i in range(20)]
    problems.append(Problem(path=folder / "other.h5", reason="it is empty"))
    assert [len(group) for group in similar(problems)] == [20, 1]
    found = look(folder)
    many = Inspection(path=found.path, groups=found.groups, problems=tuple(problems), looked_at=found.looked_at)
    text = " ".join(drawn(many, 300).split())
    assert "20 files: slice 0 holds nan (f0.h5, f1.h5 and 18 more)" in text
    assert "--all" in text
    assert "f19.h5" not in text
    assert all(f"f{i}.h5" in drawn(many, 300, every=True) for i in range(20))


def test_lists_read_as_a_person_writes_them() -> None:
    assert [listed(["a", "b", "c", "d", "e"][:n]) for n in (1, 2, 3, 5)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 2 more",
    ]


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_real_files_are_inspected() -> None:
    found = look(SHARED)
    assert found.problems == ()
    kinds = {group.institution: (group.kind, group.complete, group.synthesised) for group in found.groups}
    assert kinds == {
        "kspace_8ch": ("kspace", False, 0),
        "ms_patient": ("image", True, 0),
        "stroke_patient": ("image", True, 0),
    }
    assert "kspace_8ch: undersampled" in " ".join(notes(found))
