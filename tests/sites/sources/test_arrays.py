"""Bare k-space: numpy's and BART's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sites.sources.arrays import AXES, PLANES
from sites.sources.find import find, read
from tests.sites.sources.made import cfl, kspace


def test_numpy(tmp_path: Path) -> None:
    full = kspace()
    for index, (array, notes) in enumerate(((full, ()), (full[:, 0], (AXES,)), (full[0, 0], ()))):
        path = tmp_path / f"T2/train/a{index}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array if index else np.asfortranarray(array.astype(complex)))
        (recording,), problems = find(path)
        assert not problems
        assert recording.notes == notes
        samples = read(recording)
        assert samples.dtype == np.complex64
        assert samples.shape == recording.shape
        assert np.array_equal(samples.reshape(array.shape), array)
    assert [(each.split, each.contrast) for each in find(tmp_path)[0]] == [("train", "T2")] * 3


def test_bart(tmp_path: Path) -> None:
    """Dimension 0, read-out, becomes rows; 1, phase encoding, columns; 2 or 13 slices; 3 coils."""
    full = kspace()
    path = cfl(tmp_path / "scan.cfl", full)
    one = cfl(tmp_path / "one.cfl", full[:1])
    many = tmp_path / "many.cfl"
    many.with_suffix(".hdr").write_text("# Dimensions\n24 20 1 2 1 1 1 1 1 1 1 1 1 3 1 1\n# Command\nbart join\n")
    full.transpose(2, 3, 1, 0).flatten(order="F").tofile(many)
    for given in (path, many, path.with_suffix(".hdr")):
        (recording,), problems = find(given)
        assert not problems
        assert recording.notes == (() if given == many else (PLANES,))
        assert np.array_equal(read(recording), full)
    (recording,), _ = find(one)
    assert recording.notes == ()
    assert np.array_equal(read(recording), full[:1])
    assert len(find(tmp_path)[0]) == 3


def test_undersampling_is_seen(tmp_path: Path) -> None:
    full = kspace()
    np.save(tmp_path / "a.npy", full * (np.arange(20) % 3 == 1))
    np.save(tmp_path / "b.npy", full)
    cfl(tmp_path / "c.cfl", full * (np.arange(20) % 3 == 1))
    assert [each.complete for each in find(tmp_path)[0]] == [False, True, False]


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "five dimensions": (lambda p: cfl(p / "x.cfl", kspace(), [24, 20, 3, 1, 2]), "beside read-out, phase"),
    "both slices": (
        lambda p: cfl(p / "x.cfl", kspace(), [24, 20, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]), "beside read-out, phase"
    ),
    "too short": (lambda p: cfl(p / "x.cfl", kspace(), [24, 20, 3, 3]), "bytes, and 34560 by its .hdr"),
    "no header": (lambda p: cfl(p / "x.cfl", kspace()).with_suffix(".hdr").unlink(), "x.hdr is not beside it"),
    "no samples": (lambda p: cfl(p / "x.cfl", kspace()).unlink(), "x.cfl is not beside it"),
    "another header": (lambda p: (cfl(p / "x.cfl", kspace()), text(p / "x.hdr", "abc")), "does not begin with"),
    "no dimension": (lambda p: (cfl(p / "x.cfl", kspace()), text(p / "x.hdr", "# Dimensions\n")), "does not begin"),
    "a dimension of 0": (
        lambda p: (cfl(p / "x.cfl", kspace()), text(p / "x.hdr", "# Dimensions\n24 0\n")), "does not begin with"
    ),
    "real": (lambda p: np.save(p / "x.npy", kspace().real), "kspace is float32 of shape (3, 2, 24, 20); give complex"),
    "objects": (lambda p: np.save(p / "x.npy", np.array([{}, 1])), "no whole .npy file of numbers"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_of_no_use(make: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    make(tmp_path)
    recordings, (problem,) = find(tmp_path)
    assert not recordings
    assert told in problem.reason
