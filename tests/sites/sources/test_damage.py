"""Damaged files of every format: nothing but ValueError comes of them, and none passes as whole."""

from __future__ import annotations

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from engine.streams import rng
from sites.sources.find import find, read
from sites.sources.recordings import Found
from tests.sites.sources.made import cfl, dicom, fastmri, head, header, ismrmrd, kspace, lines, nifti, ras

pytest.importorskip("pydicom")

MAKERS: dict[str, Callable[[Path], object]] = {
    "fast.h5": lambda p: fastmri(p, {"acquisition": "AXT2"}, kspace=kspace(), ismrmrd_header=header().encode()),
    "raw.h5": lambda p: ismrmrd(p, lines(kspace(2, 2, 32, 16))),
    "image.nii": lambda p: nifti(p, ras(np.round(head()).astype(np.uint16))),
    "image.nii.gz": lambda p: nifti(p, ras(np.round(head()).astype(np.uint16))),
    "array.npy": lambda p: np.save(p, kspace()),
    "bart.cfl": lambda p: cfl(p, kspace()),
    "slice.dcm": lambda p: shutil.move(dicom(p.parent / "made", np.round(head(1)))[0], p),
}
HEADERS = {"image.nii": 352, "array.npy": 128, "slice.dcm": 756}  # bytes before the samples
CUTS = (0, 1, 100, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, -1)  # bytes, or parts of the file; the last byte


def outcome(path: Path) -> tuple[Found, list[np.ndarray], list[str]]:
    """What is found, the samples that can be read, and all complaints. Anything but a ValueError fails the test."""
    found = find(path)
    named: list[bool] = []
    samples, told = [], [each.reason for each in found[1]]
    for recording in found[0]:
        try:
            samples.append(np.asarray(read(recording)))
        except ValueError as error:
            told.append(str(error))
            named.append(path.stem.split(".")[0] in told[-1])
    assert all(named)
    assert all(line and "\n" not in line for line in told)
    assert samples or told
    return found, samples, told


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", MAKERS)
def test_truncated(name: str, cut: float, tmp_path: Path) -> None:
    path = tmp_path / name
    MAKERS[name](path)
    _, (whole,), told = outcome(path)
    assert not told
    content = path.read_bytes()
    path.write_bytes(content[: cut if isinstance(cut, int) else int(cut * len(content))])
    _, samples, told = outcome(path)
    if name == "raw.h5" and cut == -1:  # HDF5 may end in padding
        assert all(np.array_equal(each, whole) for each in samples)
    else:
        assert not samples
        assert told


@pytest.mark.parametrize("name", MAKERS)
def test_a_header_that_is_noise(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    MAKERS[name](path)
    noisy = path.with_suffix(".hdr") if name == "bart.cfl" else path
    content = noisy.read_bytes()
    for seed in range(5):
        noise = rng(seed, "noise").bytes(160)
        noisy.write_bytes(noise[: len(content)] + content[160:])
        _, samples, told = outcome(path)
        assert not samples
        assert told


@pytest.mark.parametrize("name", MAKERS)
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    """Any bytes of a header: refused, or the same samples; of NIfTI's, what nothing can be checked against may differ:
    the intensities' scale.
    """
    path = tmp_path / name
    MAKERS[name](path)
    target = path.with_suffix(".hdr") if name == "bart.cfl" else path
    _, (whole,), _ = outcome(path)
    content = target.read_bytes()
    length = min(len(content), HEADERS.get(name, 1200))
    for seed in range(60):
        random = rng(seed, "flips")
        changed = bytearray(content)
        for _ in range(3):
            changed[int(random.integers(length))] = int(random.integers(256))
        target.write_bytes(changed)
        _, samples, told = outcome(path)
        assert len(samples) == (not told)
        for each in samples:
            assert each.shape == whole.shape
            if name == "image.nii":
                assert np.corrcoef(each.ravel(), whole.ravel())[0, 1] > 0.999
            else:
                assert np.array_equal(each, whole)


def test_a_checksum_counts(tmp_path: Path) -> None:
    """A gzip whose content was changed and still unpacks."""
    path = nifti(tmp_path / "a.nii.gz", ras(head()))
    stored = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    stored[2000] ^= 1
    path.write_bytes(stored)
    _, samples, told = outcome(path)
    assert not samples
    assert "CRC" in told[0]


NIFTI: dict[str, tuple[str, object]] = {
    "huge": ("dim", [3, 30000, 30000, 30000, 1, 1, 1, 1]),
    "negative": ("dim", [3, -20, 24, 5, 1, 1, 1, 1]),
    "zero": ("dim", [3, 0, 24, 5, 1, 1, 1, 1]),
    "none": ("dim", [0, 20, 24, 5, 1, 1, 1, 1]),
    "nine": ("dim", [9, 20, 24, 5, 1, 1, 1, 1]),
    "larger": ("dim", [3, 20, 24, 6, 1, 1, 1, 1]),
    "smaller": ("dim", [3, 20, 24, 4, 1, 1, 1, 1]),
    "narrower": ("datatype", 2),
    "dtype": ("datatype", 999),
    "bits": ("datatype", 1),
    "offset": ("vox_offset", 1e9),
    "magic": ("magic", b"abc"),
    "size": ("sizeof_hdr", 12),
    "slope": ("scl_slope", 1e38),
    "infinite": ("srow_x", [np.inf, 0, 0, 0]),
    "tiny": ("srow_x", [1e-30, 0, 0, 0]),
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("field", "value"), NIFTI.values(), ids=NIFTI.keys())
def test_nifti_headers(field: str, value: object, ending: str, tmp_path: Path) -> None:
    path = nifti(tmp_path / f"a{ending}", ras(np.round(head()).astype(np.int16)))
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    changed = nibabel.Nifti1Header(content[:348], check=False)
    changed[field] = value
    whole = changed.binaryblock + content[348:]
    path.write_bytes(gzip.compress(whole) if ending == ".nii.gz" else whole)
    _, samples, told = outcome(path)
    assert not samples
    assert told


NPY = {
    "a shape too large": "{'descr': '<c8', 'fortran_order': False, 'shape': (300, 2, 24, 20), }",
    "a shape too small": "{'descr': '<c8', 'fortran_order': False, 'shape': (2, 2, 24, 20), }",
    "a huge shape": "{'descr': '<c8', 'fortran_order': False, 'shape': (99999999, 99999, 24, 20), }",
    "a negative shape": "{'descr': '<c8', 'fortran_order': False, 'shape': (-3, 2, 24, 20), }",
    "another type": "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 24, 20), }",
    "no type": "{'descr': '<q9', 'fortran_order': False, 'shape': (3, 2, 24, 20), }",
    "a key too few": "{'descr': '<c8', 'shape': (3, 2, 24, 20), }",
    "no dictionary": "[1, 2, 3]",
    "no Python": "{'descr': ",
    "a word": "__import__('os').abort()",
}


@pytest.mark.parametrize("text", NPY.values(), ids=NPY.keys())
def test_npy_headers(text: str, tmp_path: Path) -> None:
    body = kspace().astype(np.complex64).tobytes()
    padded = text.encode().ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + body)
    _, samples, told = outcome(tmp_path / "a.npy")
    assert not samples
    assert told


HDF5: dict[str, dict[str, Any]] = {
    "a group named kspace": {"kspace/x": np.ones(3)},
    "integers": {"kspace": np.ones((3, 24, 20), int)},
    "strings": {"kspace": np.array([b"abc", b"d"])},
    "a scalar": {"kspace": 1 + 1j},
    "records": {"kspace": np.zeros((2, 4, 4), [("a", "f4"), ("b", "f4")])},
    "one axis": {"kspace": np.ones(9, complex)},
    "zeros": {"kspace": np.zeros((2, 24, 20), complex)},
    "nan": {"kspace": np.full((2, 24, 20), np.nan + 0j)},
    "too large a number": {"kspace": np.full((2, 24, 20), 1e300 + 0j)},
    "images that are none": {"reconstruction_rss": np.full((2, 24, 20), np.nan)},
}


@pytest.mark.parametrize("datasets", HDF5.values(), ids=HDF5.keys())
def test_hdf5_of_other_things(datasets: dict[str, Any], tmp_path: Path) -> None:
    _, samples, told = outcome(fastmri(tmp_path / "a.h5", **datasets))
    assert not samples
    assert told
