"""A run's network applied to files and simulated patients."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from safetensors.numpy import save_file

from engine.algorithms import FlMr
from engine.config import ModelConfig, Setting
from engine.institution import Institution
from engine.models.base import Model
from engine.streams import rng
from engine.training import Workspace
from engine.types import Array, Broadcast
from engine.weights import sha256
from sites.config import RunConfig, SiteConfig
from sites.federation import resolve
from sites.image_file import check_out, facts, write
from sites.kspace_file import Volume, read_volume
from sites.masks import patient_mask
from sites.reconstruct import Reconstruction, apply_network, check_run, find_volume
from sites.run_directory import config_toml
from sites.site import Site
from sites.sources.atlas import AtlasSource
from tests.sites.sources import made
from tests.sites.test_files import hospital

ANNA = SiteConfig(name="anna", train_patients=1, val_patients=1, test_patients=2, slices=3, center_fraction=0.2)
BERTA = replace(ANNA, name="berta", mask="equispaced")
NETWORK = ModelConfig(channels=2, pool_layers=2, zero_last=False)


def config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {"algorithm": FlMr(), "institutions": (ANNA, BERTA), "matrix": 16, "model": NETWORK}
    return resolve(RunConfig(**{**settings, **changes}))


def workspace(run: RunConfig, seed: int = 1) -> Workspace:
    return Workspace(run.model, run.train, run.algorithm, "cpu", seed)


def named(work: Workspace) -> dict[str, Array]:
    """All weights by name, in arrays of their own."""
    weights = work.weights
    kept = weights.private_layout.split(weights.private_values().numpy()) if weights.private is not None else {}
    return {n: np.array(w) for n, w in {**weights.layout.split(weights.dump()), **kept}.items()}


def run_directory(folder: Path, run: RunConfig) -> Path:
    """A finished run whose network was never trained, but is not the identity."""
    folder.mkdir()
    work = workspace(run)
    (folder / "config.toml").write_text(config_toml(run, "cpu"))
    save_file(named(work), folder / "weights.safetensors")
    summary = {"algorithm": "fl-mr", "scenario": run.scenario, "target": run.target, "sites": []}
    summary["weights_sha256"] = sha256(work.weights.dump())
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return run_directory(tmp_path / "run", config())


def noise(*shape: int, seed: int = 0) -> Array:
    """A bright centre in noise: complex64."""
    parts = rng(seed, "kspace").standard_normal((*shape, 2), dtype=np.float32)
    height, width = shape[-2:]
    y, x = np.mgrid[:height, :width]
    bright = 1 + 20 * np.exp(-((y - height // 2) ** 2 + (x - width // 2) ** 2) / 8)
    kspace: Array = (parts.view(np.complex64)[..., 0] * bright).astype(np.complex64)
    return kspace


def fastmri(path: Path, **datasets: Array) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
    return path


def npy(path: Path, array: Array) -> Path:
    np.save(path, array)
    return path


def applied(run_dir: Path, file: Path, run: RunConfig | None = None, site: str = "", **how: bool) -> Reconstruction:
    run = run or config()
    return apply_network(run, run_dir, find_volume(run, str(file), **how), site)


# ---- the same numbers as in evaluation ----------------------------------------------------------------------


class Files:
    """A source of the k-space that the files hold."""

    def __init__(self, kspace: Mapping[str, Array]) -> None:
        self.held = kspace

    def patients(self) -> list[str]:
        return list(self.held)

    def kspace(self, patient: str) -> Any:
        return self.held[patient]


@pytest.mark.parametrize(("cascades", "coils"), [(0, 1), (0, 2), (2, 2)])
def test_a_file_is_scored_as_the_site_would_score_the_patient(cascades: int, coils: int, tmp_path: Path) -> None:
    run = config(model=replace(NETWORK, cascades=cascades))
    folder = run_directory(tmp_path / "run", run)
    held = {f"p{i}": noise(3, coils, 16, 18, seed=i) for i in range(4)}
    work = workspace(run)
    setting = Setting(algorithm=run.algorithm, model=run.model, train=run.train, seed=0, target="berta")
    institution = Institution(Site(BERTA, Files(held), seed=0), work, setting)
    evaluated = institution.evaluate(Broadcast(round=0, weights=work.weights.dump()), "test")
    for patient, expected in zip(["p2", "p3"], evaluated.per_volume, strict=True):
        file = fastmri(tmp_path / f"{patient}.h5", kspace=held[patient][:, 0] if coils == 1 else held[patient])
        result = applied(folder, file, run)
        assert result.scores is not None
        got = result.scores["reconstruction"]
        assert [got.psnr, got.ssim, got.nmse] == pytest.approx([expected.psnr, expected.ssim, expected.nmse], rel=1e-5)
        assert result.weights_sha256 == sha256(work.weights.dump())


def test_the_mask_is_that_of_the_site_asked_for(run_dir: Path, tmp_path: Path) -> None:
    file = npy(tmp_path / "case.npy", noise(3, 16, 20))
    for site, whose in (("", BERTA), ("anna", ANNA), ("berta", BERTA)):  # the target is the last
        mask = applied(run_dir, file, site=site).volume.mask
        assert mask is not None
        assert np.array_equal(mask, np.tile(patient_mask(whose, 20, "case"), (3, 1)))


def test_neither_the_batch_nor_the_other_slices_count(run_dir: Path) -> None:
    kspace = noise(19, 1, 16, 16)
    run, seen = config(), list[int]()
    all_at_once = apply_network(run, run_dir, Volume(name="a", kspace=kspace), advance=seen.append)
    assert seen == [16, 3]
    one = apply_network(run, run_dir, Volume(name="a", kspace=kspace[17:18]))
    np.testing.assert_allclose(all_at_once.reconstruction[17], one.reconstruction[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-25, 1e-9, 1e20])
def test_the_scale_of_kspace_does_not_matter(unit: float, run_dir: Path, tmp_path: Path) -> None:
    kspace = noise(2, 16, 16)
    plain, scaled = (applied(run_dir, npy(tmp_path / "a.npy", k)) for k in (kspace, kspace * np.complex128(unit)))
    assert plain.scores is not None
    assert scaled.scores is not None
    assert scaled.scores["reconstruction"].psnr == pytest.approx(plain.scores["reconstruction"].psnr, abs=1e-3)
    np.testing.assert_allclose(scaled.reconstruction / unit, plain.reconstruction, rtol=1e-3, atol=1e-3)


def test_weights_that_a_site_keeps(tmp_path: Path) -> None:
    class Keeps(FlMr):
        """Each site has a last layer of its own."""

        personal = True

        def is_shared(self, model: Model, name: str) -> bool:  # noqa: ARG002
            return not name.startswith("up_conv.1.1")

    run = config(algorithm=Keeps(), target_trains=False)
    folder = run_directory(tmp_path / "run", config())
    work = workspace(run)
    summary = json.loads((folder / "summary.json").read_text())
    summary["weights_sha256"] = sha256(work.weights.dump())
    (folder / "summary.json").write_text(json.dumps(summary))
    file = npy(tmp_path / "a.npy", noise(2, 16, 16))
    mean = applied(folder, file, run)
    assert "berta has none of its own" in mean.own
    with pytest.raises(ValueError, match=r"berta\.safetensors is missing, the weights that berta keeps for itself"):
        applied(folder, file, config(algorithm=Keeps()))
    (folder / "personal").mkdir()
    own = {n: w * 0 for n, w in named(work).items() if n.startswith("up_conv.1.1")}
    save_file(own, folder / "personal/berta.safetensors")
    theirs = applied(folder, file, run)
    assert theirs.own == "with berta's own"
    np.testing.assert_allclose(theirs.reconstruction, theirs.zero_filled, rtol=1e-5)  # residual: nothing was added
    assert not np.allclose(mean.reconstruction, mean.zero_filled)
    assert mean.weights_sha256 == theirs.weights_sha256 == summary["weights_sha256"]
    save_file({**own, "surplus": np.zeros(1, np.float32)}, folder / "personal/berta.safetensors")
    with pytest.raises(ValueError, match=r"does not fit the network .*surplus"):
        applied(folder, file, run)


# ---- simulated patients -------------------------------------------------------------------------------------


def test_a_simulated_patient_is_undersampled_as_its_shift_says(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, maps: Any
) -> None:
    monkeypatch.setattr("sites.anatomy.load_maps", lambda: maps)
    shift = "mask=0.3,acceleration=1"
    run = config(institutions=(replace(ANNA, shift=shift), BERTA))
    site = Site(run.institutions[0], AtlasSource(run.institutions[0], maps, 16, 0), 0)
    scored = torch.cat([batch.mask for batch in site.eval_batches("test", 8) if batch.mask is not None]).numpy()
    for number, patient in enumerate(("anna-002", "anna-003")):  # of which the second is measured by another pattern
        result = apply_network(run, run_dir, find_volume(run, f"anna/{patient}"))
        assert np.array_equal(result.volume.mask, scored[3 * number : 3 * number + 3])  # type: ignore[arg-type]
        kind = "random" if number == 0 else "equispaced"
        assert f"as anna does, {kind} columns × 8" in result.volume.sampling
    own = replace(ANNA, acceleration=8, center_fraction=0.05)
    foreign = apply_network(run, run_dir, find_volume(run, "berta"), "anna")
    assert np.array_equal(foreign.volume.mask, np.tile(patient_mask(own, 16, "berta-002"), (3, 1)))  # type: ignore[arg-type]


def test_a_simulated_patient_is_scanned_anew(run_dir: Path, monkeypatch: pytest.MonkeyPatch, maps: Any) -> None:
    monkeypatch.setattr("sites.anatomy.load_maps", lambda: maps)
    run = config()
    first, second = find_volume(run, "anna"), find_volume(run, "anna/anna-003")
    assert (first.name, first.site, second.name) == ("anna-002", "anna", "anna-003")
    assert not np.array_equal(first.kspace, second.kspace)
    result = apply_network(run, run_dir, first)
    assert np.array_equal(result.volume.mask, np.tile(patient_mask(ANNA, 16, "anna-002"), (3, 1)))  # type: ignore[arg-type]
    assert result.scores is not None
    with pytest.raises(ValueError, match=r"anna has no patient 'anna-004'; give one of anna-000 to anna-003 \(tested"):
        find_volume(run, "anna/anna-004")
    with pytest.raises(ValueError, match="clara is no file, and no institution of the run; those are anna, berta"):
        find_volume(run, "clara")
    with pytest.raises(ValueError, match="--coils is for files"):
        find_volume(run, "anna", coils=True)
    foreign = replace(run, institutions=(replace(ANNA, source="Discs"), BERTA))
    with pytest.raises(ValueError, match="anna's patients came from Discs"):
        find_volume(foreign, "anna")


# ---- what was measured --------------------------------------------------------------------------------------


def test_shapes(tmp_path: Path) -> None:
    for shape, coils, expected in (
        ((16, 18), False, (1, 1, 16, 18)),
        ((3, 16, 18), False, (3, 1, 16, 18)),
        ((3, 16, 18), True, (1, 3, 16, 18)),
        ((2, 3, 16, 18), False, (2, 3, 16, 18)),
    ):
        kspace = noise(*shape)
        for file in (npy(tmp_path / "a.npy", kspace), fastmri(tmp_path / "a.h5", kspace=kspace.astype(complex))):
            volume = read_volume(file, coils)
            assert volume.kspace.shape == expected
            assert volume.kspace.dtype == np.complex64
            assert np.array_equal(volume.kspace.reshape(shape), kspace)
            assert (volume.complete, volume.mask, volume.name) == (True, None, "a")


def columns(width: int = 20) -> Array:
    mask = np.zeros(width, bool)
    mask[::3] = mask[8:12] = True
    return mask


def disc() -> Array:
    return np.asarray(rng(1, "disc").random((16, 20)) < 0.4)


PATTERNS: dict[str, tuple[Callable[[Array], dict[str, Array]], bool, str]] = {
    "a mask of columns": (lambda k: {"kspace": k * columns(), "mask": columns()}, False, "by the file's mask"),
    "numbers as mask": (lambda k: {"kspace": k * columns(), "mask": columns() * 1.0}, False, "by the file's mask"),
    "a mask of samples": (lambda k: {"kspace": k * disc(), "mask": disc()}, False, "by the file's mask"),
    "empty columns": (lambda k: {"kspace": k * columns()}, False, "columns, to judge by the file's zeros"),
    "empty rows": (
        lambda k: {"kspace": k * columns(16)[:, None]}, False, "a 2-D pattern, to judge by the file's zeros"
    ),
    "empty samples": (lambda k: {"kspace": k * disc()}, False, "a 2-D pattern, to judge by the file's zeros"),
    "a centre alone": (
        lambda k: {"kspace": k * (abs(np.arange(20) - 10) < 4)}, False, "columns, to judge by the file's zeros"
    ),
    "half of k-space": (lambda k: {"kspace": k * (np.arange(20) < 12)}, False, "columns, to judge by the file's zeros"),
    "padding": (lambda k: {"kspace": k * (abs(np.arange(20) - 9.5) < 8)}, True, "fully sampled (zero-padded)"),
    "nothing": (lambda k: {"kspace": k}, True, "fully sampled"),
    "a mask on full k-space": (lambda k: {"kspace": k, "mask": columns()}, True, "full k-space, by the file's mask"),
}  # fmt: skip


@pytest.mark.parametrize(("datasets", "complete", "words"), PATTERNS.values(), ids=PATTERNS.keys())
@pytest.mark.parametrize("coils", [0, 2])
def test_what_was_measured(
    coils: int, datasets: Callable[[Array], dict[str, Array]], complete: bool, words: str, run_dir: Path, tmp_path: Path
) -> None:
    kspace = noise(3, *([coils] if coils else []), 16, 20)
    held = datasets(kspace)
    file = fastmri(tmp_path / "a.h5", **held)
    volume = read_volume(file)
    assert (volume.complete, volume.sampling) == (complete, words)
    result = applied(run_dir, file)
    assert (result.scores is not None) == (result.truth is not None) == complete
    told = dict(facts(result))
    assert ("PSNR" in told["scores"]) == complete
    assert words.removeprefix("fully sampled").strip() in told["measured"]
    assert complete or "truth is unknown" in told["scores"]


def test_each_slice_may_have_its_own_pattern(run_dir: Path, tmp_path: Path) -> None:
    masks = np.stack([np.roll(columns(), i) for i in range(3)])
    result = applied(run_dir, fastmri(tmp_path / "a.h5", kspace=noise(3, 16, 20) * masks[:, None]))
    assert np.array_equal(result.volume.mask, masks)  # type: ignore[arg-type]
    write(tmp_path / "out.h5", result)
    again = applied(run_dir, tmp_path / "out.h5")
    np.testing.assert_allclose(again.reconstruction, result.reconstruction, rtol=1e-5)


def test_what_lies_outside_a_mask_is_left_out(run_dir: Path, tmp_path: Path) -> None:
    kspace = noise(2, 16, 20) * columns()
    narrow = columns() & (np.arange(20) != 9)
    loose = applied(run_dir, fastmri(tmp_path / "a.h5", kspace=kspace, mask=narrow))
    strict = applied(run_dir, fastmri(tmp_path / "b.h5", kspace=kspace * narrow, mask=narrow))
    assert np.array_equal(loose.reconstruction, strict.reconstruction)
    assert "left out" in loose.volume.sampling


def test_a_few_zeros_are_no_pattern(tmp_path: Path) -> None:
    kspace = noise(2, 16, 20)
    kspace[0, 3, 4] = kspace[1, 0, 0] = 0
    assert read_volume(npy(tmp_path / "a.npy", kspace)).complete


def test_empty_slices_stay_black_and_are_not_scored(run_dir: Path, tmp_path: Path) -> None:
    kspace = noise(4, 16, 20)
    whole = applied(run_dir, npy(tmp_path / "a.npy", kspace[1:3]))
    kspace[0] = kspace[3] = 0
    result = applied(run_dir, npy(tmp_path / "a.npy", kspace))
    empty, matrix = result.notes
    assert empty == "slices without any signal (counted from 0: 0, 3) stay black and are not scored"
    assert matrix.startswith("the network was trained on ")
    assert not result.reconstruction[[0, 3]].any()
    assert result.middle == 2
    assert whole.scores is not None
    assert result.scores is not None
    assert result.scores["reconstruction"].ssim == pytest.approx(whole.scores["reconstruction"].ssim, rel=1e-5)


# ---- other formats ------------------------------------------------------------------------------------------


def test_images_become_kspace(run_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    image = np.round(made.head(4, 16, 20))
    image[0] = 0
    made.dicom(tmp_path / "series", image, PatientID="p7")
    results = [
        applied(run_dir, made.nifti(tmp_path / "p7_T1.nii.gz", made.ras(image))),
        applied(run_dir, tmp_path / "series"),
        applied(run_dir, made.fastmri(tmp_path / "p7.h5", reconstruction_rss=image)),
    ]
    for result in results:
        assert result.truth is not None
        np.testing.assert_allclose(result.truth, image[1:], atol=1e-4 * image.max())
        assert result.scores is not None
        assert result.notes[0].startswith("k-space was synthesised from images")
        assert result.notes[1] == "slices without any signal were left out: 1"
        assert ("note", result.notes[0]) in facts(result)
        assert np.array_equal(result.volume.mask, np.tile(patient_mask(BERTA, 20, "p7"), (3, 1)))  # type: ignore[arg-type]
    assert np.array_equal(results[0].reconstruction, results[1].reconstruction)
    write(tmp_path / "out.h5", results[0])
    assert applied(run_dir, tmp_path / "out.h5").notes[0].startswith("k-space was synthesised from images")


def test_kspace_of_other_formats(run_dir: Path, tmp_path: Path) -> None:
    kspace = noise(3, 2, 16, 20)
    expected = applied(run_dir, npy(tmp_path / "a.npy", kspace)).reconstruction
    raw = made.ismrmrd(tmp_path / "raw/a.h5", made.lines(kspace), made.header(16, 20, fov=220))
    for file in (made.cfl(tmp_path / "a.cfl", kspace), raw, raw.parent):
        assert np.array_equal(applied(run_dir, file).reconstruction, expected)


def test_a_folder_of_several_recordings(run_dir: Path, tmp_path: Path) -> None:
    for name in "ab":
        npy(tmp_path / f"{name}.npy", noise(2, 16, 16))
    with pytest.raises(ValueError, match=r"holds 2 recordings \(a, b\); give one file"):
        applied(run_dir, tmp_path / ".")


# ---- bad input ----------------------------------------------------------------------------------------------


def with_nan(kspace: Array) -> Array:
    kspace[1, 2, 3] = np.nan
    return kspace


def truncated(path: Path, array: Array) -> Path:
    whole = npy(path, array) if path.suffix == ".npy" else fastmri(path, kspace=array)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def as_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p / "a.h5", "is no file, and no institution"),
    "another format": (lambda p: as_bytes(p / "a.txt", b"x"), "it is of no format that is read: fastMRI"),
    "damaged NIfTI": (lambda p: as_bytes(p / "a.nii", b"x"), "is it whole"),
    "truncated HDF5": (lambda p: truncated(p / "a.h5", noise(9, 16, 16)), "is it whole"),
    "truncated npy": (lambda p: truncated(p / "a.npy", noise(9, 16, 16)), "no whole .npy"),
    "empty file": (lambda p: as_bytes(p / "a.npy", b""), "no whole .npy"),
    "empty HDF5": (lambda p: as_bytes(p / "a.h5", b""), "is it whole"),
    "pickle": (lambda p: npy(p / "a.npy", np.array([{}, None])), "no whole .npy file of numbers"),
    "no kspace": (lambda p: fastmri(p / "a.h5", image=noise(16, 16)), "no dataset kspace (it holds image)"),
    "real": (lambda p: npy(p / "a.npy", noise(2, 16, 16).real), "kspace is float32 of shape (2, 16, 16); give complex"),
    "text": (lambda p: fastmri(p / "a.h5", kspace=np.array([b"ab"])), "kspace is |S2"),
    "one axis": (lambda p: npy(p / "a.npy", noise(1, 16)[0]), "shape (16,)"),
    "five axes": (lambda p: npy(p / "a.npy", noise(1, 1, 1, 16, 16)), "shape (1, 1, 1, 16, 16)"),
    "no slices": (lambda p: npy(p / "a.npy", noise(2, 16, 16)[:0]), "shape (0, 16, 16)"),
    "nan": (lambda p: npy(p / "a.npy", with_nan(noise(2, 16, 16))), "slice 1 of kspace"),
    "too large": (lambda p: npy(p / "a.npy", noise(2, 16, 16) * np.complex128(1e60)), "slice 0 of kspace"),
    "zeros": (lambda p: npy(p / "a.npy", noise(2, 16, 16) * 0), "zero everywhere"),
    "small": (lambda p: npy(p / "a.npy", noise(2, 16, 7)), "16 × 7 are too small for a network of 2 poolings"),
    "mask of another size": (
        lambda p: fastmri(p / "a.h5", kspace=noise(2, 16, 16), mask=columns(15)), "mask has shape (15,); with this"
    ),
    "mask of other numbers": (
        lambda p: fastmri(p / "a.h5", kspace=noise(2, 16, 16), mask=np.arange(16)), "not only 0 and 1"
    ),
    "mask of nothing": (
        lambda p: fastmri(p / "a.h5", kspace=noise(2, 16, 16), mask=np.zeros(16)), "leaves nothing"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_no_kspace_is_refused(make: Callable[[Path], Path], told: str, run_dir: Path, tmp_path: Path) -> None:
    file = make(tmp_path)
    with pytest.raises(ValueError) as error:  # noqa: PT011  the message is looked at below
        applied(run_dir, file)
    message = str(error.value)
    assert told in message
    assert file.stem in message
    assert "\n" not in message


def test_coils_are_of_one_slice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kspace has 4 axes; --coils is for arrays of 3"):
        read_volume(npy(tmp_path / "a.npy", noise(2, 2, 16, 16)), coils=True)


def test_coils_are_of_kspace_of_several(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kspace is one slice of one coil; --coils"):
        read_volume(npy(tmp_path / "a.npy", noise(16, 16)), coils=True)
    with pytest.raises(ValueError, match="--coils is for k-space, and this is an image"):
        read_volume(made.nifti(tmp_path / "a.nii", made.ras(made.head())), coils=True)


def test_undersampling_that_cannot_be(run_dir: Path, tmp_path: Path) -> None:
    run = config(institutions=(ANNA, replace(BERTA, acceleration=17)))
    with pytest.raises(ValueError, match=r"undersampling 16 columns as berta does: acceleration 17 .* another --site"):
        applied(run_dir, npy(tmp_path / "a.npy", noise(2, 16, 16)), run)


def test_a_run_without_its_network(run_dir: Path, tmp_path: Path) -> None:
    run, file = config(), npy(tmp_path / "a.npy", noise(2, 16, 16))
    with pytest.raises(ValueError, match="site 'clara' is not in the run; choose one of anna, berta"):
        check_run(run, run_dir, "clara")
    weights = run_dir / "weights.safetensors"
    good = weights.read_bytes()
    for content in (good[:100], good[:-1], b"hello", b""):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.safetensors is damaged"):
            applied(run_dir, file)
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"is not the network of summary\.json"):
        applied(run_dir, file)
    save_file({name: w * np.float32(np.nan) for name, w in named(workspace(run)).items()}, weights)
    with pytest.raises(ValueError, match="not finite"):
        applied(run_dir, file)
    for other in (replace(NETWORK, channels=3), replace(NETWORK, pool_layers=1), replace(NETWORK, norm="batch")):
        save_file(named(workspace(config(model=other))), weights)
        with pytest.raises(ValueError, match="does not fit the network of"):
            applied(run_dir, file)
    weights.write_bytes(good)
    (run_dir / "summary.json").unlink()
    assert "run.py resume" in applied(run_dir, file).notes[0]
    weights.unlink()
    with pytest.raises(ValueError, match=r"has no network yet \(no weights.safetensors\); run.py resume"):
        check_run(run, run_dir)


# ---- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coils", [1, 2])
def test_what_is_written_can_be_read_again(coils: int, run_dir: Path, tmp_path: Path) -> None:
    kspace = noise(3, coils, 16, 18)
    result = applied(run_dir, npy(tmp_path / "a.npy", kspace))
    write(tmp_path / "out.h5", result)
    with h5py.File(tmp_path / "out.h5") as file:
        assert set(file) == {"reconstruction", "zero_filled", "truth", "kspace", "mask"}
        assert file["kspace"].shape == ((3, 16, 18) if coils == 1 else (3, 2, 16, 18))
        assert np.array_equal(file["kspace"][()].reshape(kspace.shape), kspace)
        assert file["reconstruction"].dtype == np.float32
        assert file["reconstruction"].shape == (3, 16, 18)
        assert file["mask"].shape == (18,)
        assert {"run", "weights_sha256", "algorithm", "scores"} <= set(file.attrs)
        scores = json.loads(file.attrs["scores"])
    again = applied(run_dir, tmp_path / "out.h5")
    assert np.array_equal(again.reconstruction, result.reconstruction)
    assert again.scores is not None
    assert again.scores == result.scores
    assert again.scores["zero_filled"].psnr == scores["zero_filled"]["psnr"]


def test_without_the_truth_none_is_written(run_dir: Path, tmp_path: Path) -> None:
    result = applied(run_dir, npy(tmp_path / "a.npy", noise(3, 16, 20) * disc()))
    write(tmp_path / "out.h5", result)
    with h5py.File(tmp_path / "out.h5") as file:
        assert set(file) == {"reconstruction", "zero_filled", "kspace", "mask"}
        assert "scores" not in file.attrs
        assert np.array_equal(file["mask"][()], disc())
    assert np.array_equal(applied(run_dir, tmp_path / "out.h5").reconstruction, result.reconstruction)


def test_an_array_and_a_picture(run_dir: Path, tmp_path: Path) -> None:
    known = applied(run_dir, npy(tmp_path / "a.npy", noise(3, 16, 20)))
    unknown = applied(run_dir, npy(tmp_path / "b $x.npy", noise(3, 16, 20) * disc()))
    for result, name in ((known, "known"), (unknown, "unknown")):
        write(tmp_path / f"{name}.npy", result)
        assert np.array_equal(np.load(tmp_path / f"{name}.npy"), result.reconstruction)
        write(tmp_path / f"{name}.png", result)
    wide, narrow = (imread(tmp_path / f"{name}.png") for name in ("known", "unknown"))
    assert wide.shape[1] > narrow.shape[1]
    assert wide.std() > 0.1
    assert not list(tmp_path.glob(".*.tmp"))


def full(path: Path, *_: object) -> None:
    """Writes something, then fails."""
    path.write_bytes(b"half")
    raise OSError("No space left on device")


def test_nothing_half_written(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = applied(run_dir, npy(tmp_path / "a.npy", noise(3, 16, 20)))
    monkeypatch.setattr("sites.image_file.draw_slice", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "out/x.png", result)
    assert not list((tmp_path / "out").iterdir())


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    file = npy(tmp_path / "a.npy", noise(16, 16))
    check_out(tmp_path / "new.PNG", False, str(file))
    (tmp_path / "old.h5").write_text("precious")
    (tmp_path / "folder.h5").mkdir()
    for out, overwrite, told in (
        ("x.nii", False, "must end in .h5, .npy, .png"),
        ("x", False, "must end in .h5, .npy, .png"),
        ("old.h5", False, "old.h5 exists; choose another OUT, or --overwrite"),
        ("a.npy", True, "is FILE itself"),
        ("folder.h5", True, "it is a directory"),
        ("nowhere/x.h5", False, "nowhere is no directory"),
    ):
        with pytest.raises(ValueError, match=told):
            check_out(tmp_path / out, overwrite, str(file))
    check_out(tmp_path / "old.h5", True, str(file))
    assert (tmp_path / "old.h5").read_text() == "precious"


def test_a_site_that_changes_nothing_is_said_so(run_dir: Path, tmp_path: Path) -> None:
    result = applied(run_dir, npy(tmp_path / "a.npy", noise(3, 16, 20) * disc()), site="anna")
    assert result.notes[0].startswith("site anna changes nothing")


def test_a_site_that_tests_nobody_needs_a_name(tmp_path: Path) -> None:
    sites = (real_site(hospital(tmp_path / "real", 3), use="train"), ANNA)
    run = config(institutions=sites)
    with pytest.raises(ValueError, match=r"^real tests nobody; name a patient it trains on, as real/p\d, or a file$"):
        find_volume(run, "real")
    with pytest.raises(ValueError, match=r"to p\d \(none is tested on\)"):
        find_volume(run, "real/q")
    assert find_volume(run, "real/p1").name == "p1"


def test_a_patient_of_whom_nothing_is_left_is_refused(tmp_path: Path) -> None:
    folder = hospital(tmp_path / "real", 2)
    for file in folder.iterdir():
        with h5py.File(file, "a") as opened:
            opened["kspace"][1, 3, 3] = np.nan
    run = config(institutions=(real_site(folder), ANNA), skip_bad=True)
    with pytest.raises(ValueError, match=r"^real/p\d: every file was skipped as bad; name another patient$"):
        find_volume(run, "real")


def real_site(folder: Path, **settings: Any) -> SiteConfig:
    return SiteConfig(name="real", source="files", path=str(folder), center_fraction=0.2, **settings)
