"""A conversion: what it plans, what it writes, and that nothing half-written is left, whatever happens."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sites.data import convert as conversion
from sites.data.convert import check_samples, convert
from sites.data.prepare import Plan, PrepareConfig, assign, folder_of, make_plan
from sites.data.prepared import MANIFEST, Outcome
from sites.institutions import survey
from sites.sources import fastmri
from sites.sources.forward import synthesise, to_square
from sites.sources.resample import resample
from tests.sites.sources import made

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Two institutions: images of five patients, and two-coil k-space in fastMRI's folders."""
    for index in range(5):
        made.nifti(tmp_path / f"src/ixi/IXI00{index}-HH-1-T1.nii.gz", made.ras(made.head(seed=index)))
        made.nifti(tmp_path / f"src/ixi/IXI00{index}-HH-1-T2.nii.gz", made.ras(made.head(seed=index)))
    for split in ("train", "val", "test"):
        attributes = {"acquisition": "AXT2", "patient_id": f"p-{split}"}
        file = tmp_path / f"src/nyu/multicoil_{split}/file.h5"
        made.fastmri(file, attributes, kspace=made.kspace(), ismrmrd_header=made.header())
    return tmp_path / "src"


def prepare(src: Path, skip_bad: bool = False, **settings: Any) -> Outcome:
    """All of it, to the folder beside."""
    plan = make_plan(src, src.parent / "dst", PrepareConfig(**settings), skip_bad)
    if not skip_bad:
        check_samples(plan)
    return convert(plan, skip_bad)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest(dst: Path) -> Any:
    """As stored."""
    return json.loads((dst / MANIFEST).read_text())


# ---- what is written --------------------------------------------------------------------------------------


def test_the_layout_is_that_of_fl_mrcm(src: Path) -> None:
    outcome = prepare(src)
    files = [file for file in tree(src.parent / "dst") if file.endswith(".h5")]
    assert sorted(files) == sorted(each.file for each in outcome.files)
    assert {"nyu/T2/train/p-train.h5", "nyu/T2/val/p-val.h5", "nyu/T2/test/p-test.h5"} <= set(files)
    assert Counter(tuple(file.split("/")[:3]) for file in files if file.startswith("ixi")) == {
        ("ixi", contrast, split): count
        for contrast in ("T1", "T2")
        for split, count in (("train", 3), ("val", 1), ("test", 1))
    }  # fmt: skip
    with h5py.File(src.parent / "dst/nyu/T2/train/p-train.h5") as file:
        kspace = file["kspace"]
        assert (kspace.shape, kspace.dtype, kspace.chunks) == ((3, 2, 24, 20), np.complex64, (1, 2, 24, 20))
        assert (kspace.compression, kspace.shuffle) == ("gzip", True)
        assert (file.attrs["patient_id"], file.attrs["acquisition"]) == ("p-train", "T2")
        assert not file.attrs["synthesised"]
        assert file.attrs["scanner"] == "SIEMENS Aera"
        assert json.loads(file.attrs["settings"])["matrix"] == 0
        np.testing.assert_array_equal(kspace[()], made.kspace())


def test_an_image_comes_back_within_1e_4_of_its_range(src: Path) -> None:
    prepare(src, coils=3)
    (recordings, problems) = fastmri.find(sorted((src.parent / "dst").rglob("*.h5")), src.parent / "dst")
    assert problems == []
    read = {(each.patient, each.contrast): each for each in recordings}
    for index in range(5):
        recording = read[f"IXI00{index}", "T1"]
        assert (recording.synthesised, recording.kind, recording.complete) == (True, "kspace", True)
        coils = made.ifft2c(fastmri.read(recording))
        assert coils.shape[1] == 3
        image = np.sqrt((np.abs(coils) ** 2).sum(axis=1))
        original = made.head(seed=index)
        expected = to_square(original[original.any(axis=(1, 2))])
        assert np.abs(image - expected).max() < 1e-4 * np.ptp(expected)


def test_what_was_prepared_is_found_again(src: Path) -> None:
    prepare(src)
    institutions, problems = survey(src.parent / "dst")
    assert problems == []
    assert {name: len(group) for name, group in institutions.items()} == {"ixi": 10, "nyu": 3}
    told = institutions["nyu"]
    assert {each.patient: each.split for each in told} == {f"p-{split}": split for split in ("train", "val", "test")}
    assert {(each.field_strength, each.scanner) for each in told} == {(1.494, "SIEMENS Aera")}


def test_prepared_again_it_is_the_same(src: Path) -> None:
    prepare(src)
    again = convert(make_plan(src.parent / "dst", src.parent / "again", PrepareConfig()))
    assert [each.synthesised for each in again.files] == [True] * 10 + [False] * 3
    for each in again.files:
        with h5py.File(src.parent / "dst" / each.file) as a, h5py.File(src.parent / "again" / each.file) as b:
            np.testing.assert_array_equal(a["kspace"][()], b["kspace"][()])


def test_matrix_coils_and_contrast(src: Path) -> None:
    outcome = prepare(src, matrix=16, contrast="t2w", virtual_coils=1)
    assert {each.contrast for each in outcome.files} == {"T2"}
    assert {each.shape[1:] for each in outcome.files} == {(1, 16, 16)}
    with h5py.File(src.parent / "dst/nyu/T2/val/p-val.h5") as file:
        assert file["kspace"].shape == (3, 16, 16)
    (image,) = {each.file for each in outcome.files if each.patient == "IXI000"}
    with h5py.File(src.parent / "dst" / image) as file:
        read = file["kspace"][()]
    settings = PrepareConfig()
    head = made.head()[made.head().any(axis=(1, 2))]
    expected = resample(synthesise(head, "IXI000", settings.coils, settings.phase), 16)
    np.testing.assert_array_equal(read, expected[:, 0])


def test_prepared_kspace_keeps_what_the_header_says_of_its_readout(src: Path) -> None:
    xml = made.header(24, 20, fov=300)
    made.fastmri(src / "nyu/multicoil_val/file.h5", {"acquisition": "AXT2"}, kspace=made.kspace(), ismrmrd_header=xml)
    for matrix, readout in ((0, 18), (16, 0)):
        dst = src.parent / f"dst{matrix}"
        convert(make_plan(src, dst, PrepareConfig(matrix=matrix)))
        assert {each.readout for each in survey(dst)[0]["nyu"]} == {0, readout}


def test_the_manifest_says_what_everything_is_made_of(src: Path) -> None:
    import hashlib

    (src / "ixi/IXI009-HH-1-T1.nii.gz").write_bytes(b"junk")
    outcome = prepare(src, skip_bad=True, seed=4)
    stored = manifest(src.parent / "dst")
    assert stored["complete"]
    assert stored["settings"]["seed"] == 4
    assert stored["versions"]["h5py"] == h5py.__version__
    assert [(each["file"], "gz" in each["reason"]) for each in stored["skipped"]] == [
        ("ixi/IXI009-HH-1-T1.nii.gz", True)
    ]
    assert [each["file"] for each in stored["files"]] == [each.file for each in outcome.files]
    for each in stored["files"]:
        assert (src.parent / "dst" / each["file"]).exists()
        for name, digest in each["sources"].items():
            assert hashlib.sha256((src / name).read_bytes()).hexdigest() == digest


def test_volumes_of_one_patient_and_contrast_are_numbered(tmp_path: Path) -> None:
    for name, patient in (("a", "p"), ("b", "p"), ("c", "p-2")):
        made.fastmri(
            tmp_path / f"src/site/{name}.h5", {"patient_id": patient, "acquisition": "T1"}, kspace=made.kspace()
        )
    outcome = prepare(tmp_path / "src", val=0.0, test=0.0)
    assert [(each.patient, each.file) for each in outcome.files] == [
        ("p", "site/T1/train/p.h5"), ("p", "site/T1/train/p-2.h5"), ("p-2", "site/T1/train/p-2-2.h5"),
    ]  # fmt: skip
    assert {each.patient for each in survey(tmp_path / "dst")[0]["site"]} == {"p", "p-2"}


def test_one_file_of_two(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    file = made.cfl(tmp_path / "src/knee.cfl", made.kspace())
    outcome = convert(make_plan(file, tmp_path / "dst", PrepareConfig(institution="hospital")))
    (each,) = outcome.files
    assert (each.file, set(each.sources)) == ("hospital/unknown/train/knee.h5", {"knee.cfl", "knee.hdr"})
    assert manifest(tmp_path / "dst")["planned"] == {each.file: ["knee.cfl", "knee.hdr"]}
    (read,) = survey(tmp_path / "dst")[0]["hospital"]
    assert (read.contrast, read.patient, read.split) == ("", "knee", "train")
    np.testing.assert_array_equal(fastmri.read(read), made.kspace())


def test_folders_tell_their_contrast_again() -> None:
    from sites.sources.names import CONTRASTS, contrast_of

    assert {contrast: contrast_of(folder_of(contrast)) for contrast in CONTRASTS} == {c: c for c in CONTRASTS}
    assert contrast_of(folder_of("")) == ""
    assert len({folder_of(contrast) for contrast in CONTRASTS}) == len(CONTRASTS)


# ---- splits -----------------------------------------------------------------------------------------------


def splits(src: Path, **settings: Any) -> Counter[str]:
    """Patients of ixi by split."""
    given = assign(survey(src)[0]["ixi"], PrepareConfig(**settings))
    return Counter(given.values())


def test_splits_are_by_patient_and_of_the_parts_asked_for(src: Path) -> None:
    assert splits(src) == {"train": 3, "val": 1, "test": 1}
    assert splits(src, val=0.0, test=0.4) == {"train": 3, "test": 2}
    assert splits(src, val=0.0, test=1.0) == {"test": 5}
    assert splits(src, val=0.9, test=0.1) == {"val": 4, "test": 1}
    assert splits(src, val=0.0, test=0.0) == {"train": 5}
    seeds = [assign(survey(src)[0]["ixi"], PrepareConfig(seed=seed)) for seed in (0, 0, 1, 2, 3)]
    assert seeds[0] == seeds[1]
    assert len({tuple(sorted(each.items())) for each in seeds}) > 2


def test_by_default_they_are_those_of_training_on_the_folder_itself(src: Path) -> None:
    from sites.config import SiteConfig
    from sites.sources.select import select

    chosen = select(SiteConfig(name="ixi", source="files", path=str(src / "ixi"), contrast="T1"), skip_bad=False)
    given = assign(survey(src)[0]["ixi"], PrepareConfig())
    assert {p: split for split, patients in chosen.splits.items() for p in patients} == given


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (20, (14, 3, 3))])
def test_few_patients(tmp_path: Path, count: int, expected: tuple[int, int, int]) -> None:
    for index in range(count):
        made.fastmri(tmp_path / f"src/ixi/{index:02}.h5", {"patient_id": f"p{index}"}, kspace=made.kspace(1, 1))
    assert splits(tmp_path / "src") == {s: n for s, n in zip(("train", "val", "test"), expected, strict=True) if n}


def test_a_patient_in_two_splits_is_an_error_even_if_bad_files_are_skipped(src: Path) -> None:
    made.fastmri(src / "nyu/multicoil_val/again.h5", {"patient_id": "p-train"}, kspace=made.kspace())
    for skip_bad in (False, True):
        with pytest.raises(ValueError, match=r"again\.h5: patient p-train is in .* keep a patient in one split"):
            prepare(src, skip_bad=skip_bad)
    assert not (src.parent / "dst").exists()


# ---- bad input --------------------------------------------------------------------------------------------


def half(path: Path) -> None:
    """Truncate a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_files(folder: Path) -> dict[str, Path]:
    """One of each kind, by what is wrong; some seen in the header, some only in the samples."""
    kspace, head = made.kspace(), made.head()
    nan = kspace.copy()
    nan[1, 0, 3, 3] = np.nan
    files = {
        "truncated": made.fastmri(folder / "truncated.h5", kspace=kspace),
        "keys": made.fastmri(folder / "keys.h5", data=kspace),
        "real": made.fastmri(folder / "real.h5", kspace=kspace.real),
        "nan": made.fastmri(folder / "nan.h5", kspace=nan),
        "zero": made.fastmri(folder / "zero.h5", kspace=np.zeros_like(kspace)),
        "undersampled": made.fastmri(folder / "under.h5", kspace=kspace * (np.arange(20) % 3 == 0)),
        "cut gzip": made.nifti(folder / "cut_T1.nii.gz", made.ras(head)),
        "4-D": made.nifti(folder / "four_T1.nii", np.stack([made.ras(head)] * 3, axis=-1)),
        "nifti nan": made.nifti(folder / "nan_T1.nii", made.ras(np.where(head > 600, np.nan, head).astype(np.float32))),
    }
    half(files["truncated"])
    half(files["cut gzip"])
    return files


def test_the_first_bad_file_stops_it_before_anything_is_written(src: Path) -> None:
    for what, path in bad_files(src.parent / "bad").items():
        there = src / "ixi" / path.name
        path.rename(there)
        with pytest.raises(ValueError, match=path.name.replace(".", r"\.")) as error:
            prepare(src)
        assert "\n" not in str(error.value), what
        assert not (src.parent / "dst").exists(), what
        there.unlink()
    prepare(src)


def test_bad_files_are_left_out_and_counted_on_request(src: Path) -> None:
    bad = bad_files(src / "ixi")
    outcome = prepare(src, skip_bad=True)
    assert {problem.path.name for problem in outcome.skipped} == {path.name for path in bad.values()}
    assert len(outcome.files) == 13
    assert len(manifest(src.parent / "dst")["skipped"]) == len(bad)
    assert survey(src.parent / "dst")[1] == []


def test_slices_without_signal(src: Path) -> None:
    kspace = made.kspace(4)
    kspace[[0, 3]] = 0
    made.fastmri(src / "ixi/holes.h5", {"acquisition": "T1"}, kspace=kspace)
    with pytest.raises(ValueError, match=r"holes\.h5: slice 0 \(from 0\) of k-space is zero throughout; .*--skip-bad"):
        prepare(src)
    for _ in range(2):  # the second finds the files there
        outcome = prepare(src, skip_bad=True)
        (told,) = outcome.skipped
        assert "2 of its slices are zero" in told.reason
    (file,) = (each for each in outcome.files if each.patient == "holes")
    assert (file.shape[0], file.empty, file.before) == (2, 2, True)
    with h5py.File(src.parent / "dst" / file.file) as stored:
        np.testing.assert_array_equal(stored["kspace"][()], kspace[1:3])


def test_kspace_that_was_never_measured_is_marked(src: Path) -> None:
    hermitian = made.fft2c(made.head(3)).astype(np.complex64)[:, None]
    made.fastmri(src / "ixi/real.h5", {"acquisition": "T1"}, kspace=hermitian)
    (file,) = (each for each in prepare(src).files if each.patient == "real")
    assert file.synthesised
    with h5py.File(src.parent / "dst" / file.file) as stored:
        assert stored.attrs["synthesised"]


def test_undersampling_in_a_later_slice_is_refused(src: Path) -> None:
    kspace = made.kspace(9)
    kspace[8, :, :, ::3] = 0
    made.fastmri(src / "ixi/late.h5", {"acquisition": "T1"}, kspace=kspace)
    with pytest.raises(ValueError, match=r"late\.h5: undersampled k-space"):
        prepare(src)


def test_nothing_to_convert(src: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contrast FLAIR; it has T1, T2"):
        prepare(src, contrast="FLAIR")
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match=r"void: n.* is of a format that is read: [^;]*$"):
        make_plan(tmp_path / "void", tmp_path / "dst", PrepareConfig())
    with pytest.raises(ValueError, match="does not exist"):
        make_plan(tmp_path / "nowhere", tmp_path / "dst", PrepareConfig())
    with pytest.raises(ValueError, match="lies in"):
        make_plan(src, src / "prepared", PrepareConfig())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"matrix": 4}, "matrix is 4"),
        ({"val": 0.6, "test": 0.6}, "test is 0.6"),
        ({"val": float("nan")}, "val is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"coils": 0}, "coils is 0"),
        ({"phase": 9.0}, "phase is 9.0"),
        ({"virtual_coils": -1}, "virtual_coils is -1"),
        ({"institution": "../x"}, "institution is"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PrepareConfig(**settings)


# ---- interruptions ----------------------------------------------------------------------------------------


class Stop(BaseException):
    """As if the process ended."""


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End in the middle of writing the file after so many."""
    write = conversion._write_hdf5
    written: list[Path] = []

    def stopping(path: Path, *arguments: Any) -> None:
        write(path, *arguments)
        if len(written) == count:
            half(path)
            raise Stop
        written.append(path)

    monkeypatch.setattr(conversion, "_write_hdf5", stopping)


def test_an_interrupted_conversion_goes_on_to_the_same_end(src: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(src, src.parent / "dst", PrepareConfig())
    with monkeypatch.context() as patched:
        stop_after(5, patched)
        with pytest.raises(Stop):
            convert(plan)
    dst = src.parent / "dst"
    assert not manifest(dst)["complete"]
    assert len(list(dst.rglob("*.h5"))) == 5
    assert not list(dst.rglob("*.tmp"))
    (dst / "ixi/T1/.left.h5.tmp").write_bytes(b"of a session that was killed")
    (dst / "ixi/T1").mkdir(exist_ok=True)
    kept = {name: (dst / name).stat().st_mtime_ns for name in tree(dst) if name.endswith("h5")}
    outcome = convert(plan)
    assert sum(each.before for each in outcome.files) == 5
    assert {name: (dst / name).stat().st_mtime_ns for name in kept} == kept
    assert not list(dst.rglob("*.tmp"))
    whole = convert(make_plan(src, src.parent / "whole", PrepareConfig()))
    assert [each.file for each in whole.files] == [each.file for each in outcome.files]
    assert tree(dst) == tree(src.parent / "whole")


def test_a_damaged_or_outdated_file_is_converted_again(src: Path) -> None:
    first = prepare(src)
    dst = src.parent / "dst"
    half(dst / first.files[0].file)
    made.fastmri(
        src / "nyu/multicoil_val/file.h5", {"acquisition": "AXT2", "patient_id": "p-val"}, kspace=made.kspace(seed=9)
    )
    second = prepare(src)
    assert [each.file for each in second.files if not each.before] == [first.files[0].file, "nyu/T2/val/p-val.h5"]
    with h5py.File(dst / "nyu/T2/val/p-val.h5") as file:
        np.testing.assert_array_equal(file["kspace"][()], made.kspace(seed=9))


def test_a_source_that_disappears_in_the_middle(src: Path) -> None:
    plan = make_plan(src, src.parent / "dst", PrepareConfig())
    gone = src / "ixi/IXI002-HH-1-T1.nii.gz"
    gone.unlink()
    with pytest.raises(ValueError, match=r"IXI002-HH-1-T1\.nii\.gz: it cannot be read \(No such file"):
        convert(plan)
    outcome = convert(plan, skip_bad=True)
    assert [problem.path for problem in outcome.skipped] == [gone]
    assert len(outcome.files) == 12


def test_another_destination_is_left_alone(src: Path) -> None:
    dst = src.parent / "dst"
    dst.mkdir()
    (dst / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="is something else"):
        prepare(src)
    assert tree(dst) == {"letter.txt": b"dear"}
    (dst / "letter.txt").unlink()
    prepare(src, matrix=16)
    before = tree(dst)
    for settings, told in (
        ({"matrix": 24}, "with matrix 16, now it is 24"),
        ({"matrix": 16, "seed": 1}, "with seed 0, now it is 1"),
        ({"matrix": 16, "contrast": "T1"}, "with contrast '', now it is 'T1'"),
    ):
        with pytest.raises(ValueError, match=told):
            prepare(src, **settings)
    made.nifti(src / "ixi/IXI008-HH-1-T1.nii.gz", made.ras(made.head()))
    with pytest.raises(ValueError, match=r"held other files \(ixi/IXI008-HH-1-T1.nii.gz is new\)"):
        prepare(src, matrix=16)
    (src / "ixi/IXI008-HH-1-T1.nii.gz").unlink()
    other = src.rename(src.with_name("other"))
    with pytest.raises(ValueError, match="with src "):
        prepare(other, matrix=16)
    assert tree(dst) == before


def test_two_writers(src: Path) -> None:
    from sites.data.prepared import taken

    plan = make_plan(src, src.parent / "dst", PrepareConfig())
    with taken(plan), pytest.raises(ValueError, match="written by another process; wait for it or choose another DST"):
        convert(plan)


def test_a_destination_that_cannot_be_written(src: Path) -> None:
    (src.parent / "file").write_text("")
    for dst in (src.parent / "file", src.parent / "file/below"):
        with pytest.raises(ValueError, match="file"):
            convert(make_plan(src, dst, PrepareConfig()))


# ---- real files -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_real_files_round_trip(tmp_path: Path) -> None:
    from sites.sources.find import read

    def planned(skip_bad: bool) -> Plan:
        return make_plan(SHARED, tmp_path / "dst", PrepareConfig(contrast="T1"), skip_bad)

    outcome = convert(planned(skip_bad=True), skip_bad=True)
    originals = {each.institution: each.recording for each in outcome.plan.items}
    assert set(originals) == {"ms_patient", "stroke_patient"}
    for name, recordings in survey(tmp_path / "dst")[0].items():
        expected = to_square(np.asarray(read(originals[name]), np.float32))
        image = np.abs(made.ifft2c(read(recordings[0])))[:, 0]
        assert np.abs(image - expected).max() < 1e-4 * np.ptp(expected)
