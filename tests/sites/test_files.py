"""Institutions of files: what is used, how patients are divided, and that a shard is the same in memory and on disk."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import torch

from engine.algorithms import FlMr, FlMrcm
from engine.streams import rng
from engine.types import SiteLike, TrainingStopped
from sites.config import RunConfig, SiteConfig
from sites.federation import resolve
from sites.institutions import survey
from sites.launch import BuildSite, OfFiles, Workshop
from sites.settle import folders, settle
from sites.shard import ahead
from sites.site import FusedSite, Site
from sites.sources import files
from sites.sources.base import SliceSource
from sites.sources.files import FileSource
from sites.sources.forward import synthesise
from sites.sources.recordings import Recording
from sites.sources.select import divide, select, shares

MATRIX = 24


def image(name: str, slices: int = 6, rows: int = MATRIX, columns: int = MATRIX) -> Any:
    """Positive, of a patient's own: float32 [S, H, W]."""
    return 10 + rng(0, "image", name).random((slices, rows, columns), dtype=np.float32)


def write_kspace(path: Path, slices: int = 6, coils: int = 1, rows: int = MATRIX, columns: int = MATRIX) -> None:
    """As a scanner might measure it, in fastMRI's form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = synthesise(image(path.stem, slices, max(rows, columns), max(rows, columns)), path.stem, coils)
    stored = measured[..., :rows, :columns]
    with h5py.File(path, "w") as file:
        file["kspace"] = stored[:, 0] if coils == 1 else stored


def write_image(path: Path, slices: int = 6, rows: int = MATRIX, columns: int = MATRIX) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(image(path.name, slices, rows, columns).T, np.eye(4)), path)


def hospital(folder: Path, patients: int = 6, **shape: int) -> Path:
    """A folder of measured k-space, a file a patient."""
    for number in range(patients):
        write_kspace(folder / f"p{number}.h5", **shape)
    return folder


def of_files(path: Path, **settings: Any) -> SiteConfig:
    return SiteConfig(**{"name": "a", "source": "files", "path": str(path), "center_fraction": 0.2, **settings})


def settled(config: SiteConfig, **settings: Any) -> SiteConfig:
    return settle(RunConfig(**settings), [config])[0]


def built(config: SiteConfig, memory: float | None = None, skip_bad: bool = False, seed: int = 0) -> Site:
    source = FileSource(config, MATRIX, skip_bad)
    return Site(config, source, seed, memory=None if memory is None else source.streamed_beyond(memory))


def refusal(config: SiteConfig, **settings: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        settled(config, **settings)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"site {config.name!r}: ")
    return str(caught.value)


# ---- dividing the patients ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patients", "expected"),
    [(2, (1, 0, 1)), (3, (1, 1, 1)), (6, (4, 1, 1)), (14, (10, 2, 2)), (20, (14, 3, 3)), (100, (70, 15, 15))],
)
def test_shares(patients: int, expected: tuple[int, int, int]) -> None:
    assert shares(patients) == expected


def test_patients_are_divided_by_their_names_alone(tmp_path: Path) -> None:
    layout = {f"p{number}": None for number in range(20)}
    config = of_files(tmp_path)
    splits = divide(config, layout)
    assert [len(splits[split]) for split in ("train", "val", "test")] == [14, 3, 3]
    assert sorted(name for names in splits.values() for name in names) == sorted(layout)
    assert splits == divide(config, dict(reversed(layout.items())))
    assert splits == divide(replace(config, name="b"), layout)
    fewer = divide(replace(config, train_patients=5, val_patients=1, test_patients=2), layout)
    assert [len(names) for names in fewer.values()] == [5, 1, 2]
    assert divide(replace(config, use="train"), layout)["train"] == tuple(sum(splits.values(), ()))
    assert [len(names) for names in divide(replace(config, use="test"), layout).values()] == [0, 0, 20]


def test_a_layout_decides(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            write_kspace(tmp_path / split / f"{split}{number}.h5")
    config = settled(of_files(tmp_path))
    assert (config.train_patients, config.val_patients, config.test_patients) == (3, 2, 1)
    chosen = select(config, skip_bad=False)
    assert all(name.startswith(split) for split, names in chosen.splits.items() for name in names)
    only = settled(of_files(tmp_path, use="train"))
    assert (only.train_patients, only.val_patients, only.test_patients) == (3, 2, 0)
    only = settled(of_files(tmp_path, use="test"))
    assert (only.train_patients, only.val_patients, only.test_patients) == (0, 0, 1)
    assert "3 patients in train, and train_patients is 4" in refusal(of_files(tmp_path, train_patients=4))
    write_kspace(tmp_path / "stray.h5")
    assert "patient stray lies outside" in refusal(of_files(tmp_path))
    (tmp_path / "stray.h5").rename(tmp_path / "val" / "train0.h5")
    assert "train0 is in train and in val" in refusal(of_files(tmp_path))


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_kspace(tmp_path / split / "same_T1.h5")
        with h5py.File(tmp_path / split / "same_T1.h5", "a") as file:
            file.attrs["patient_id"] = "one"
    assert "one_T1.h5" not in (told := refusal(of_files(tmp_path)))
    assert "same_T1.h5: patient one is in test and in train and in val; keep a patient in one split" in told


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_kspace(tmp_path / "train" / "a.h5")
    assert "there is one patient (a)" in refusal(of_files(tmp_path))
    write_kspace(tmp_path / "val" / "b.h5")
    assert "no patient for test" in refusal(of_files(tmp_path))
    write_kspace(tmp_path / "train" / "c.h5")
    (tmp_path / "val").rename(tmp_path / "test")
    assert settled(of_files(tmp_path)).counts == {"train": 2, "val": 0, "test": 1}
    (tmp_path / "train" / "c.h5").unlink()
    assert settled(of_files(tmp_path)).counts == {"train": 1, "val": 0, "test": 1}
    (tmp_path / "test").rename(tmp_path / "val")
    assert settled(of_files(tmp_path, train_patients=1, val_patients=1)).test_patients == 0
    hospital(tmp_path / "plain", 4)
    assert "its splits need 5" in refusal(of_files(tmp_path / "plain", train_patients=5))
    assert "no patient is left to score" in refusal(of_files(tmp_path / "plain", train_patients=4))
    assert "no patient is left to train on" in refusal(of_files(tmp_path / "plain", test_patients=4))


def test_one_patient_and_two(tmp_path: Path) -> None:
    hospital(tmp_path, 1, slices=20)
    told = refusal(of_files(tmp_path))
    assert all(word in told for word in ("one patient (p0)", 'use = "train"', "--split slices"))
    assert settled(of_files(tmp_path, use="test")).test_patients == 1
    config = settled(of_files(tmp_path), split="slices")
    assert config.split == "slices"
    assert config == settled(of_files(tmp_path, split="slices"))
    site = built(config)
    assert [site.slices(split) for split in ("train", "val", "test")] == [14, 3, 3]
    assert any("one patient, divided by slices" in note for note in site.notes)
    whole = Site(settled(of_files(tmp_path, use="train")), FileSource(of_files(tmp_path, use="train"), MATRIX), 0)
    expected = whole.fetch(np.arange(20))
    parts = [torch.cat([b.truth for b in site.eval_batches(split, 4)]) for split in ("train", "val", "test")]
    assert torch.equal(torch.cat(parts), torch.cat([b.truth for b in whole.eval_batches("train", 4)]))
    assert len(expected) == 20
    write_kspace(tmp_path / "q.h5")
    assert "2 patients" in refusal(of_files(tmp_path, split="slices"))
    two = settled(of_files(tmp_path), split="slices")  # the run's setting is for those with one patient
    assert (two.split, two.train_patients, two.val_patients, two.test_patients) == ("patients", 1, 0, 1)


# ---- which files --------------------------------------------------------------------------------------------


def test_contrasts(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"IXI00{number}-HH-1-T1.nii.gz")
        if number:
            write_image(tmp_path / f"IXI00{number}-HH-1-T2.nii.gz")
    assert "several contrasts, T1 (3), T2 (2)" in refusal(of_files(tmp_path))
    assert "no contrast FLAIR; there is T1 (3), T2 (2)" in refusal(of_files(tmp_path), contrast="FLAIR")
    config = settled(of_files(tmp_path), contrast="t1")
    assert (config.contrast, config.train_patients) == ("T1", 1)
    assert settled(of_files(tmp_path, contrast="T2"), contrast="T1").test_patients == 1


def test_one_reader_may_be_asked_for(tmp_path: Path) -> None:
    hospital(tmp_path, 3)
    write_image(tmp_path / "q_T1.nii.gz")
    assert settled(of_files(tmp_path, source="fastmri")).train_patients == 1
    assert "contrasts" in refusal(of_files(tmp_path))
    assert "reader dicom" in refusal(of_files(tmp_path, source="dicom"))


def test_what_cannot_be_used_is_refused_or_counted(tmp_path: Path) -> None:
    hospital(tmp_path, 5)
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    with h5py.File(tmp_path / "p4.h5", "a") as file:
        file["kspace"][:, :, ::2] = 0
    told = refusal(of_files(tmp_path))
    assert "broken.h5: " in told
    assert "--skip-bad" in told
    config = settled(of_files(tmp_path), skip_bad=True)
    assert config.counts == {"train": 2, "val": 1, "test": 1}
    assert built(config, skip_bad=True).notes == ("2 files skipped as bad: 1 undersampled, 1 unreadable",)
    (tmp_path / "broken.h5").unlink()
    told = refusal(of_files(tmp_path))
    assert "p4.h5: undersampled k-space without a reference" in told


def test_samples_that_cannot_be_used_are_refused_or_counted(tmp_path: Path) -> None:
    hospital(tmp_path, 6)
    with h5py.File(tmp_path / "p1.h5", "a") as file:
        file["kspace"][1, 3, 3] = np.nan
    with h5py.File(tmp_path / "p2.h5", "a") as file:
        file["kspace"][5] = 0
    config = settled(of_files(tmp_path, use="train"))
    assert config.train_patients == 6
    with pytest.raises(ValueError, match=r"^site 'a': .*p\d\.h5: slice \d ") as caught:
        built(config)
    assert "\n" not in str(caught.value)
    site, streamed = built(config, skip_bad=True), built(config, skip_bad=True, memory=0.0)
    assert site.slices("train") == 4 * 6 + 5
    told = ("1 file skipped as bad: 1 unreadable", "slices of k-space that are zero throughout were left out of 1 file")
    assert site.notes == streamed.notes == told
    for a, b in zip(site.train_batches(1, 0, 4), streamed.train_batches(1, 0, 4), strict=True):
        assert torch.equal(a.input, b.input)


def test_what_was_skipped_is_skipped_again(tmp_path: Path) -> None:
    hospital(tmp_path, 3)
    for number in (1, 2):
        write_kspace(tmp_path / f"sub-1_ses-{number}.h5")
    with h5py.File(tmp_path / "sub-1_ses-2.h5", "a") as file:
        file["kspace"][1, 3, 3] = np.nan
    config = settled(of_files(tmp_path, use="train"))
    source = FileSource(config, MATRIX, skip_bad=True)
    first = source.kspace("sub-1")
    assert len(first) == 6
    notes = source.notes
    assert notes == ["1 file skipped as bad: 1 unreadable"]
    assert np.array_equal(source.kspace("sub-1"), first)
    assert np.array_equal(source.rows("sub-1", np.array([2, 4])), first[[2, 4]])
    assert source.notes == notes


def test_what_readers_assume_is_told(tmp_path: Path) -> None:
    for number in range(3):
        write_kspace(tmp_path / f"p{number}.h5")
        with h5py.File(tmp_path / f"p{number}.h5") as file:
            np.save(tmp_path / f"p{number}.npy", file["kspace"][()])
        (tmp_path / f"p{number}.h5").unlink()
    (note,) = built(settled(of_files(tmp_path))).notes
    assert "axis" in note or "slices" in note


def test_what_is_not_asked_for_stops_nothing(tmp_path: Path) -> None:
    hospital(tmp_path, 3)
    (tmp_path / "junk.nii").write_bytes(b"nothing")
    assert "junk.nii" in refusal(of_files(tmp_path))
    assert settled(of_files(tmp_path, source="fastmri")).test_patients == 1
    assert "junk.nii: " in refusal(of_files(tmp_path, source="nifti"))
    for number in range(3):
        write_image(tmp_path / "b" / f"p{number}_T1.nii.gz")
    write_image(tmp_path / "b" / "q_T2.nii.gz")
    (tmp_path / "b" / "p0_T2.nii.gz").write_bytes(b"nothing")
    assert settled(of_files(tmp_path / "b", contrast="t1w")).train_patients == 1
    assert "p0_T2.nii.gz: " in refusal(of_files(tmp_path / "b", contrast="T2"))


def test_other_content_of_the_same_size_is_another_file(tmp_path: Path) -> None:
    config = settled(of_files(hospital(tmp_path)))
    before = (tmp_path / "p1.h5").stat().st_size
    with h5py.File(tmp_path / "p1.h5", "a") as file:
        file["kspace"][2] *= 2
    assert (tmp_path / "p1.h5").stat().st_size == before
    with pytest.raises(ValueError, match=r"site 'a': the files in .* are not those"):
        built(config)


def test_contrasts_of_one_folder_train_and_test_the_same_patients(tmp_path: Path) -> None:
    for number in range(20):
        write_image(tmp_path / f"p{number}_T1.nii.gz", slices=1)
        if number % 6:
            write_image(tmp_path / f"p{number}_T2.nii.gz", slices=1)
    sites = [of_files(tmp_path, name=contrast, contrast=contrast) for contrast in ("T1", "T2")]
    one, other = (select(site, skip_bad=False).splits for site in settle(RunConfig(), sites))
    for split in ("train", "val", "test"):
        assert {*other[split]} <= {*one[split]}
    alone = of_files(tmp_path, name="b", contrast="T2", use="test")
    with pytest.raises(ValueError, match=r"sites 'T1' and 'b' share files, and 'T1' trains on patient p\d+, whom 'b'"):
        settle(RunConfig(), [sites[0], alone])


def test_of_one_patient_the_use_decides(tmp_path: Path) -> None:
    write_kspace(tmp_path / "T1" / "train" / "p.h5")
    config = settled(of_files(tmp_path, use="test"))
    assert config.counts == {"train": 0, "val": 0, "test": 1}
    assert built(config).slices("test") == 6


def test_two_slices_are_not_three_splits(tmp_path: Path) -> None:
    write_kspace(tmp_path / "p.h5", slices=2)
    assert "2 cannot be divided among three splits" in refusal(of_files(tmp_path, split="slices"))


def test_a_run_goes_on_with_the_same_files_alone(tmp_path: Path) -> None:
    config = settled(of_files(hospital(tmp_path)))
    assert settled(config) == config
    built(config)
    write_kspace(tmp_path / "p6.h5")
    with pytest.raises(ValueError, match=r"site 'a': the files in .* are not those"):
        built(config)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tr": 600.0}, "tr is 600.0; take no such setting"),
        ({"snr": 3.0}, "snr"),
        ({"slices": 4}, "slices is 4"),
        ({"path": ""}, "path is ''"),
        ({"use": "both "}, "use is 'both '"),
        ({"split": "volumes"}, "split is 'volumes'"),
        ({"split": "slices", "use": "test"}, "split is 'slices'"),
        ({"use": "test", "train_patients": 3}, "train_patients is 3; take 0"),
        ({"use": "train", "test_patients": 3}, "test_patients is 3; take 0"),
        ({"coils": 0}, "coils is 0"),
        ({"virtual_coils": -2}, "virtual_coils is -2"),
        ({"source": "atlas"}, "path is '/x'; take ''"),
        ({"source": "Discs", "path": "", "contrast": "T1"}, "contrast is 'T1'"),
    ],
)
def test_a_site_of_files_refuses_what_means_nothing(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match="site 'a': ") as caught:
        SiteConfig(**{"name": "a", "source": "files", "path": "/x", **settings})
    assert named in str(caught.value)


# ---- k-space ------------------------------------------------------------------------------------------------


def test_images_become_kspace_that_gives_them_back(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"p{number}.nii.gz")
    config = settled(of_files(tmp_path, coils=3))
    site = built(config)
    assert site.size == (3, MATRIX, MATRIX)
    assert any("Shimron" in note for note in site.notes)
    truth = torch.cat([batch.truth for batch in site.eval_batches("test", 4)]).numpy()
    (patient,) = select(config, skip_bad=False).splits["test"]
    stored = image(f"{patient}.nii.gz")
    flipped = [stored[:, ::y, ::x] for y in (1, -1) for x in (1, -1)]  # orientation is the reader's
    assert min(float(np.abs(truth - each).max()) for each in flipped) < 1e-4 * stored.max()


def test_measured_kspace_is_what_it_was(tmp_path: Path) -> None:
    config = settled(of_files(hospital(tmp_path, 3, coils=2)))
    source = FileSource(config, MATRIX)
    for patient in source.patients():
        with h5py.File(tmp_path / f"{patient}.h5") as file:
            assert np.array_equal(source.kspace(patient), file["kspace"][()])
    assert source.notes == []
    assert isinstance(source, SliceSource)


def test_coils_of_its_own_are_not_ignored_in_silence(tmp_path: Path) -> None:
    config = of_files(hospital(tmp_path, 3), coils=2)
    assert "coils is 2, and k-space has its own" in refusal(config)


def test_matrices_and_coils_may_differ_if_they_are_brought_to_one(tmp_path: Path) -> None:
    for number, (rows, coils) in enumerate([(24, 2), (30, 3), (20, 2), (48, 4)]):
        write_kspace(tmp_path / f"p{number}.h5", rows=rows, coils=coils)
    with pytest.raises(ValueError, match="slices of different sizes"):
        built(settled(of_files(tmp_path)))
    assert built(settled(of_files(tmp_path, virtual_coils=2))).size == (2, MATRIX, MATRIX)


# ---- memory -------------------------------------------------------------------------------------------------


def mixed(folder: Path) -> SiteConfig:
    """Kinds of files that can be read by slice: several recordings of one patient, other sizes, one slice."""
    hospital(folder, 3, slices=5, coils=2)
    write_kspace(folder / "p3.h5", slices=7, rows=40, columns=36, coils=2)
    write_kspace(folder / "p4.h5", slices=1, coils=3)
    write_kspace(folder / "sub-1_ses-1.h5", slices=3, coils=2)
    write_kspace(folder / "sub-1_ses-2.h5", slices=4, coils=2)
    return settled(of_files(folder, virtual_coils=2))


@pytest.mark.parametrize("memory", [0.0, 6e4, 1e9])
def test_the_same_bits_in_memory_and_on_disk(tmp_path: Path, memory: float) -> None:
    config = mixed(tmp_path)
    kept, streamed = built(config), built(config, memory)
    assert not kept.streams
    assert streamed.streams == (memory < 1e9)
    asked: SiteLike = streamed
    assert asked.notes == kept.notes
    for a, b in zip(kept.train_batches(1, 0, 4), streamed.train_batches(1, 0, 4), strict=True):
        assert a.kspace is not None
        assert b.kspace is not None
        assert torch.equal(a.kspace, b.kspace)
        assert torch.equal(a.input, b.input)
        assert torch.equal(a.volume, b.volume)
    for split in ("train", "val", "test"):
        for a, b in zip(kept.eval_batches(split, 3), streamed.eval_batches(split, 3), strict=True):
            assert torch.equal(a.truth, b.truth)
            assert torch.equal(a.input, b.input)


def test_only_the_slices_that_are_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = built(settled(of_files(hospital(tmp_path))), memory=0.0)
    read: list[int] = []
    by_rows = files._read_rows

    def counting(recording: Recording, rows: Any) -> Any:
        read.append(len(rows))
        return by_rows(recording, rows)

    monkeypatch.setattr(files, "_read_rows", counting)
    monkeypatch.setattr(FileSource, "_whole", lambda *_: pytest.fail("a patient was read whole"))
    assert len(list(site.train_batches(1, 0, 4))) == 6
    assert sum(read) == 24


def test_what_cannot_be_read_by_slice_must_fit_into_memory(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"p{number}.nii.gz")
    config = settled(of_files(tmp_path, coils=2))
    bytes = 3 * 6 * 2 * MATRIX * MATRIX * 8
    assert not built(config, memory=bytes).streams
    with pytest.raises(ValueError, match=r"^site 'a' needs .*; take --memory-gb 0.01, or run.py data prepare /.* DST$"):
        built(config, memory=bytes - 1)


LOADING = """
import resource, numpy as np
from sites.shard import load
class Source:
    def patients(self): return [str(n) for n in range(40)]
    def kspace(self, patient): return np.full((1, 1, 1024, 1024), int(patient), np.complex64)
load(Source(), ["0"], "a", "train", "cpu", None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shard = load(Source(), Source().patients(), "a", "train", "cpu", None)
assert [int(part.real.max()) for part in shard.kspace[:, 0, 0, :1]] == list(range(40))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_split_takes_its_memory_once() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.25 * 40 * 8  # MiB


def test_fused_shards_are_the_same_in_memory_and_on_disk(tmp_path: Path) -> None:
    configs = [settled(of_files(hospital(tmp_path / name, 4), name=name)) for name in "ab"]
    kept = FusedSite("fused", [built(config) for config in configs])
    streamed = FusedSite("fused", [built(configs[0], 0.0), built(configs[1])])
    for a, b in zip(kept.train_batches(2, 0, 5), streamed.train_batches(2, 0, 5), strict=True):
        assert torch.equal(a.input, b.input)
        assert torch.equal(a.target, b.target)


def test_a_file_that_disappears_is_named(tmp_path: Path) -> None:
    config = settled(of_files(hospital(tmp_path)))
    site = built(config, memory=0.0)
    patient = select(config, skip_bad=False).splits["train"][0]
    (tmp_path / f"{patient}.h5").rename(tmp_path / "gone")
    with pytest.raises(
        TrainingStopped, match=rf"site 'a': .*{patient}\.h5: .*restore it, then run.py resume"
    ) as caught:
        list(site.train_batches(1, 0, 4))
    assert "\n" not in str(caught.value)
    (tmp_path / "gone").rename(tmp_path / f"{patient}.h5")
    assert len(list(site.train_batches(1, 0, 4))) == 6


def test_reading_ahead_stops_when_nobody_asks() -> None:
    before = threading.active_count()
    done: list[int] = []

    def work(item: int) -> int:
        done.append(item)
        return item

    for item in ahead(work, range(100)):
        if item == 2:
            break
    assert 3 <= len(done) < 10
    assert list(ahead(abs, [-1, -2, -3])) == [1, 2, 3]
    assert list(ahead(abs, [])) == []
    done.clear()

    def slowly(item: int) -> int:
        time.sleep(0.1)
        return work(item)

    reading = ahead(slowly, range(100))
    next(reading)
    del reading
    assert len(done) <= 2  # what was queued is not read any more
    assert threading.active_count() == before


# ---- in a federation ----------------------------------------------------------------------------------------


def test_a_workshop_reads_files_once_for_all_seeds(tmp_path: Path) -> None:
    config = settled(of_files(hospital(tmp_path)))
    workshop = Workshop(None)
    first, second = (workshop.site(BuildSite(config, MATRIX, seed, None, OfFiles()), "cpu") for seed in (0, 1))
    assert first._shards is second._shards
    assert (first.seed, second.seed) == (0, 1)
    one, other = (torch.cat([b.mask for b in s.train_batches(1, 0, 8) if b.mask is not None]) for s in (first, second))
    assert not torch.equal(one, other)
    fresh = torch.cat([b.mask for b in built(config, seed=1).train_batches(1, 0, 8) if b.mask is not None])
    assert torch.equal(other, fresh)
    larger = workshop.site(BuildSite(config, MATRIX, 0, None, OfFiles(batch_size=3)), "cpu")
    assert larger._shards is first._shards
    workshop.site(BuildSite(config, MATRIX // 2, 0, None, OfFiles()), "cpu")
    assert len(workshop._of_files) == 1


def test_fewer_slices_than_a_batch_are_refused(tmp_path: Path) -> None:
    config = settled(of_files(hospital(tmp_path, 3, slices=4)))
    with pytest.raises(ValueError, match=r"site 'a' has 4 training slices in .*, fewer than a batch of 5"):
        Workshop(None).site(BuildSite(config, MATRIX, 0, None, OfFiles(batch_size=5)), "cpu")


def test_each_sub_folder_is_an_institution(tmp_path: Path) -> None:
    for name in ("St. Mary's", "b", ".hidden"):
        hospital(tmp_path / name, 3)
    (tmp_path / "README.txt").write_text("no data")
    assert [*survey(tmp_path)[0]] == ["St._Mary_s", "b"]
    sites = folders(str(tmp_path), skip_bad=False).sites
    assert [site.name for site in sites] == ["St._Mary_s", "b"]
    (tmp_path / "c").mkdir()
    assert len(folders(str(tmp_path), skip_bad=False).sites) == 3
    assert len(folders(str(tmp_path), skip_bad=True).sites) == 2


def test_a_layout_is_one_institution(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_kspace(tmp_path / "hospital" / split / f"{split}.h5")
    for name in ("t1w", "t2w"):
        hospital(tmp_path / "words" / name, 3)
    for name in ("hospital", "words"):
        (site,) = folders(str(tmp_path / name), skip_bad=False).sites
        assert (site.name, site.path) == (name, str(tmp_path / name))
        assert [*survey(tmp_path / name)[0]] == [name]
    assert settled(site, contrast="t2w").contrast == "T2"
    (site,) = folders(str(hospital(tmp_path / "flat", 3)), skip_bad=False).sites
    assert site.name == "flat"


def test_files_beside_the_institutions_are_not_ignored_in_silence(tmp_path: Path) -> None:
    hospital(tmp_path / "a", 3)
    write_kspace(tmp_path / "stray.h5")
    with pytest.raises(ValueError, match=r"--data .*: stray\.h5 lies beside the institutions' folders"):
        folders(str(tmp_path), skip_bad=True)


def test_resolve_states_everything(tmp_path: Path) -> None:
    for name in "abc":
        hospital(tmp_path / name, 4)
    config = resolve(RunConfig(data=str(tmp_path), out="x", algorithm=FlMr(), only_test="c"))
    assert (config.sites, config.target, config.scenario) == (3, "b", tmp_path.name)
    assert config.training == ("a", "b")
    assert [site.counts for site in config.institutions] == [
        {"train": 2, "val": 1, "test": 1},
        {"train": 2, "val": 1, "test": 1},
        {"train": 0, "val": 0, "test": 4},
    ]
    assert resolve(config) == config
    for change in ({"only_test": "b"}, {"only_train": "a"}, {"contrast": "T2"}):
        with pytest.raises(ValueError, match="the run that this configuration is of has divided it already"):
            resolve(replace(config, **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only_train and only_test both name 'c'"):
        resolve(RunConfig(data=str(tmp_path), out="x", only_train="c", only_test="c"))
    with pytest.raises(ValueError, match="'c' has none"):
        resolve(RunConfig(data=str(tmp_path), out="x", algorithm=FlMrcm(), only_test="c", target="c"))
    with pytest.raises(ValueError, match="train_sites: 'c' has no patients to train on"):
        resolve(RunConfig(data=str(tmp_path), out="x", algorithm=FlMr(), only_test="c", train_sites="c"))
    with pytest.raises(ValueError, match="'d' is no site of files"):
        resolve(RunConfig(data=str(tmp_path), out="x", only_test="d"))
    with pytest.raises(ValueError, match="holds 3 institutions, and sites is 4"):
        resolve(RunConfig(data=str(tmp_path), out="x", sites=4))
    with pytest.raises(ValueError, match="no institution is of files"):
        resolve(RunConfig(out="x", split="slices"))
