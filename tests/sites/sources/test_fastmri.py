"""fastMRI's files and FL-MRCM's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sites.acquisition import fully_sampled
from sites.sources import fastmri as reader
from sites.sources.find import find, read
from tests.sites.sources.made import Array, fastmri, head, header, ifft2c, kspace


def columns(width: int = 20) -> Array:
    mask = np.zeros(width, bool)
    mask[::3] = mask[8:12] = True
    return mask


@pytest.mark.parametrize("coils", [1, 4])
def test_images_are_those_of_fastmris_definition(coils: int, tmp_path: Path) -> None:
    """Target: the centre of the root sum of squares of the inverse transform; zero-filled: of k-space masked."""
    full = kspace(3, coils, 40, 20)
    rss = np.sqrt((np.abs(ifft2c(full)) ** 2).sum(axis=1))[:, 10:30]
    name = "reconstruction_rss" if coils > 1 else "reconstruction_esc"
    stored = full if coils > 1 else full[:, 0]
    (recording,), problems = find(fastmri(tmp_path / "file1.h5", kspace=stored, **{name: rss.astype(np.float32)}))
    assert not problems
    got = read(recording)
    assert np.array_equal(got, full)
    assert (recording.shape, recording.kind, recording.complete) == (full.shape, "kspace", True)
    target = fully_sampled(torch.from_numpy(got)).numpy()[:, 10:30]
    np.testing.assert_allclose(target, rss, atol=1e-4 * np.ptp(rss))
    masked = got * columns()
    zero_filled = np.sqrt((np.abs(ifft2c(full * columns())) ** 2).sum(axis=1))
    np.testing.assert_allclose(fully_sampled(torch.from_numpy(masked)).numpy(), zero_filled, atol=1e-4 * np.ptp(rss))


def test_what_header_and_attributes_tell(tmp_path: Path) -> None:
    told = {"acquisition": "AXT1POST", "patient_id": "ab12"}
    fastmri(tmp_path / "T2/val/a.h5", told, kspace=kspace(), ismrmrd_header=header().encode())
    fastmri(tmp_path / "T2/val/b.h5", kspace=kspace(), ismrmrd_header=header(protocol="AXFLAIR"))
    fastmri(tmp_path / "c.h5", kspace=kspace(), ismrmrd_header=header(protocol="AXFLAIR"))
    fastmri(tmp_path / "d.h5", {"field_strength": 3.0, "scanner": "GE", "synthesised": True}, kspace=kspace())
    fastmri(tmp_path / "e.h5", kspace=kspace(), ismrmrd_header=b"<damaged")
    recordings, problems = find(tmp_path)
    assert not problems
    a, b, c, d, e = recordings
    assert (a.patient, a.contrast, a.split) == ("ab12", "T1c", "val")
    assert (a.field_strength, a.scanner) == (1.494, "SIEMENS Aera")
    assert (b.patient, b.contrast, b.split) == ("b", "T2", "val")
    assert (c.contrast, c.split, c.synthesised) == ("FLAIR", None, False)
    assert (d.field_strength, d.scanner, d.synthesised) == (3.0, "GE", True)
    assert (e.contrast, e.field_strength, e.scanner) == ("", None, "")


def test_the_fl_mrcm_layout(tmp_path: Path) -> None:
    for contrast in ("T1", "T2"):
        for split in ("train", "val", "test"):
            fastmri(tmp_path / "DATA" / contrast / split / f"{split}7.h5", kspace=kspace()[:, 0])
    recordings, _ = find(tmp_path / "DATA")
    assert [(each.contrast, each.split, each.patient) for each in recordings] == [
        (contrast, split, f"{split}7") for contrast in ("T1", "T2") for split in ("test", "train", "val")
    ]
    assert {each.contrast for each in find(tmp_path / "DATA/T1")[0]} == {"T1"}


def test_undersampling_is_seen_without_a_mask_too(tmp_path: Path) -> None:
    full = kspace()
    padded = full * (abs(np.arange(20) - 9.5) < 8)
    for name, complete, datasets in (
        ("mask", False, {"kspace": full * columns(), "mask": columns()}),
        ("zeros", False, {"kspace": full * columns()}),
        ("padded", True, {"kspace": padded}),
        ("both", True, {"kspace": full, "mask": columns()}),
        ("slice", False, {"kspace": full[0, 0] * columns()}),
    ):
        (recording,), _ = find(fastmri(tmp_path / f"{name}.h5", **datasets))
        assert recording.complete == complete, name
        told = reader.read_mask(recording)
        assert (told is not None) == ("mask" in datasets)
    assert np.array_equal(read(recording)[0, 0], full[0, 0] * columns())


def test_a_file_of_images_alone(tmp_path: Path) -> None:
    image = head()
    image[0] = 0
    (recording,), _ = find(fastmri(tmp_path / "a.h5", reconstruction_rss=image))
    assert (recording.kind, recording.shape) == ("image", (5, 1, 24, 20))
    assert np.array_equal(read(recording), image[1:])


@pytest.mark.parametrize(
    ("datasets", "told"),
    [
        ({"image": head()}, "there is no dataset kspace (it holds image)"),
        ({"kspace": head()}, "kspace is float32 of shape (5, 24, 20); give complex numbers"),
        ({"kspace": np.zeros((0, 4, 4), complex)}, "shape (0, 4, 4)"),
        ({"kspace": np.zeros((1, 1, 1, 4, 4), complex)}, "shape (1, 1, 1, 4, 4)"),
        ({"reconstruction_rss": head()[None]}, "give real [S, H, W]"),
    ],
)
def test_what_is_of_no_use(datasets: dict[str, Any], told: str, tmp_path: Path) -> None:
    recordings, (problem,) = find(fastmri(tmp_path / "a.h5", **datasets))
    assert not recordings
    assert told in problem.reason
    assert str(tmp_path) not in problem.reason


def test_a_file_that_changed_after_it_was_found(tmp_path: Path) -> None:
    path = fastmri(tmp_path / "a.h5", kspace=kspace())
    (recording,), _ = find(path)
    fastmri(path, kspace=kspace()[:2])
    with pytest.raises(ValueError, match=r"a\.h5: .*the file has changed"):
        read(recording)
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.h5: .*no such file"):
        read(recording)


def test_samples_that_are_none(tmp_path: Path) -> None:
    for name, value, told in (("nan", np.nan, "slice 1 of kspace"), ("inf", np.inf, "slice 1 of"), ("zero", 0, "zero")):
        full = kspace()
        full[1, 0, 3, 3] = value
        (recording,), _ = find(fastmri(tmp_path / f"{name}.h5", kspace=full if value else full * 0))
        with pytest.raises(ValueError, match=rf"{name}\.h5: .*{told}"):
            read(recording)


def test_the_header_tells_the_field_of_view(tmp_path: Path) -> None:
    made: dict[str, tuple[int, str | None]] = {
        "square": (16, header(24, 20, fov=330)),
        "another": (0, header(48, 20, fov=330)),
        "flat": (16, header(24, 20, fov=330, fovy=220)),
        "damaged": (0, header(24, 20, fov=0)),
    }
    for name, (readout, xml) in made.items():
        (recording,), _ = find(fastmri(tmp_path / f"{name}.h5", kspace=kspace(), ismrmrd_header=xml))
        assert recording.readout == readout, name
        noted = ("by the header pixels are 13.8 × 11 mm; they are taken to be square, as in fastMRI's own images",)
        assert recording.notes == (noted if name == "flat" else ()), name
    (recording,), _ = find(fastmri(tmp_path / "prepared.h5", {"readout": 18}, kspace=kspace()))
    assert recording.readout == 18
