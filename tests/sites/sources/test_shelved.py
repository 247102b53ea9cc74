"""Simulated k-space on a shelf: the same bits, made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sites.anatomy import Maps
from sites.config import SiteConfig
from sites.launch import BuildSite, Workshop
from sites.sources import atlas, shelved
from sites.sources.atlas import AtlasSource
from sites.sources.base import KSpace
from sites.sources.shelved import ShelvedSource

SITE = SiteConfig(name="a", train_patients=2, val_patients=1, test_patients=1, slices=2)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The patients that were simulated, in order."""
    names: list[str] = []
    original = AtlasSource.kspace

    def kspace(self: AtlasSource, patient: str) -> KSpace:
        names.append(patient)
        return original(self, patient)

    monkeypatch.setattr(atlas.AtlasSource, "kspace", kspace)
    return names


def test_many_ask_and_one_simulates(maps: Maps, tmp_path: Path, made: list[str]) -> None:
    plain = AtlasSource(SITE, maps, 32, 0)
    truth = {patient: plain.kspace(patient) for patient in plain.patients()}
    made.clear()
    shelved = [ShelvedSource(AtlasSource(SITE, maps, 32, 0), tmp_path / "shelf") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda one: {patient: one.kspace(patient) for patient in one.patients()}, shelved))
    assert made == list(plain.patients())
    for one in told:
        for patient, kspace in truth.items():
            assert np.array_equal(one[patient], kspace)
            assert one[patient].dtype == kspace.dtype


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"mask": "equispaced", "acceleration": 2, "description": "other words"}, False),
        ({"shift": "acceleration=0.7,mask=0.5"}, False),
        ({"snr": 10.0}, True),
        ({"shift": "snr=0.5"}, True),
        ({"name": "b"}, True),
        ({"val_patients": 2}, True),
    ],
)
def test_what_makes_other_patients(
    maps: Maps, tmp_path: Path, made: list[str], changes: dict[str, object], again: bool
) -> None:
    ShelvedSource(AtlasSource(SITE, maps, 32, 0), tmp_path).kspace("a-000")
    made.clear()
    other = replace(SITE, **changes)  # type: ignore[arg-type]
    ShelvedSource(AtlasSource(other, maps, 32, 0), tmp_path).kspace(f"{other.name}-000")
    assert bool(made) == again


def test_other_seeds_and_sizes_are_other_files(maps: Maps, tmp_path: Path) -> None:
    for matrix, seed in ((32, 0), (32, 1), (16, 0)):
        kspace = ShelvedSource(AtlasSource(SITE, maps, matrix, seed), tmp_path).kspace("a-000")
        assert np.array_equal(kspace, AtlasSource(SITE, maps, matrix, seed).kspace("a-000"))
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_a_workshop_with_a_shelf_builds_the_same_site(maps: Maps, tmp_path: Path) -> None:
    build = BuildSite(SITE, 32, 0)
    one, other = (Workshop(maps, shelf).site(build, "cpu") for shelf in (None, tmp_path))
    for mine, theirs in zip(one.eval_batches("val", 4), other.eval_batches("val", 4), strict=True):
        assert np.array_equal(mine.input.numpy(), theirs.input.numpy())
    workshop = Workshop(maps, tmp_path)
    assert workshop.site(build, "cpu") is workshop.site(build, "cpu")


def test_a_shelf_has_an_end(maps: Maps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelved, "SHELF_BYTES", 3 * 4 * 2 * 32 * 32 * 8 + 1000)  # of three sites
    for seed in (0, 1, 2, 0, 3, 4):
        ShelvedSource(AtlasSource(SITE, maps, 32, seed), tmp_path).kspace("a-000")
    assert len(list(tmp_path.glob("*.npy"))) == 3
    made: list[int] = []
    monkeypatch.setattr(AtlasSource, "kspace", lambda self, _patient: made.append(self.seed))
    ShelvedSource(AtlasSource(SITE, maps, 32, 0), tmp_path).kspace("a-000")  # asked for in between
    assert not made
