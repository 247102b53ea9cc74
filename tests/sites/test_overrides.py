"""Settings of single institutions, as `--site-settings` writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.algorithms import FlMr
from sites.config import RunConfig, SiteConfig
from sites.federation import resolve
from sites.overrides import from_text, joined, kind_of, overridden, parsed, to_text
from sites.settings import parse_run

SITES = tuple(SiteConfig(name=name, description="a scanner") for name in ("anna", "berta.2", "clara"))


def changed(text: str, target: str = "clara") -> dict[str, SiteConfig]:
    return {site.name: site for site in overridden(text, SITES, lambda: target)}


def resolved(text: str, **settings: Any) -> dict[str, SiteConfig]:
    config = resolve(RunConfig(site_settings=text, out="x", **settings))
    assert config.site_settings == ""
    return {site.name: site for site in config.institutions}


def test_a_site_the_target_and_all_others() -> None:
    found = changed("sources.snr=20, berta.2.snr=30, target.acceleration=8, anna.mask=magic")
    assert {name: site.snr for name, site in found.items()} == {"anna": 20, "berta.2": 30, "clara": 40}
    assert {name: site.acceleration for name, site in found.items()} == {"anna": 4, "berta.2": 4, "clara": 8}
    assert found["anna"].mask == "magic"
    assert found["clara"].description == "a scanner (acceleration 8)"


def test_the_target_is_asked_for_only_where_it_matters() -> None:
    def never() -> str:
        raise AssertionError

    assert overridden("", SITES, never) == SITES
    assert overridden("anna.snr=3", SITES, never)[0].snr == 3


def test_fields_that_depend_on_each_other_change_together() -> None:
    site = changed("anna.sequence=inversion_recovery,anna.ti=2500,anna.tr=9000")["anna"]
    assert (site.sequence, site.ti, site.tr) == ("inversion_recovery", 2500.0, 9000.0)


def test_a_run_resolves_them_into_its_institutions() -> None:
    found = resolved("hpks.snr=20,target.snr=10")
    assert {name: site.snr for name, site in found.items()} == {"fastmri": 45, "hpks": 20, "ixi": 30, "brats": 10}
    assert resolved("target.snr=10", target="ixi")["ixi"].snr == 10
    assert parse_run(["--site-settings", "hpks.snr=20"]).run.site_settings == "hpks.snr=20"


def test_a_site_that_is_drawn_has_settings_too() -> None:
    assert resolved("site-05.snr=7", sites=5)["site-05"].snr == 7


def test_a_later_run_of_the_same_institutions_changes_them_again() -> None:
    stored = resolve(RunConfig(site_settings="hpks.snr=20", out="x"))
    again = resolve(replace(stored, site_settings="hpks.acceleration=6"))
    assert [(site.snr, site.acceleration) for site in again.institutions if site.name == "hpks"] == [(20, 6)]


def test_patients_that_are_divided_stay_divided() -> None:
    site = SiteConfig(name="real", source="files", path="/data", fingerprint="abc", slices=4)
    assert overridden("real.acceleration=8", [site], str)[0].acceleration == 8
    with pytest.raises(ValueError, match=r"train_patients of 'real', and the run .* has divided its patients already"):
        overridden("real.train_patients=8", [site], str)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("snr=20", "'snr=20' is no setting of a site; write SITE.FIELD=VALUE"),
        ("hpks.snr", "'hpks.snr' is no setting of a site"),
        ("hpsk.snr=20", "'hpsk' is not a site; did you mean 'hpks'?"),
        ("hpks.snrr=20", "'snrr' is no setting of a site; did you mean 'snr'?"),
        ("hpks.name=other", "'name' is no setting of a site"),
        ("hpks.snr=loud", "'hpks.snr=loud': 'loud' is not a number"),
        ("hpks.acceleration=4.5", "'4.5' is not a whole number"),
        ("hpks.mask=spiral", "'spiral' is not one of random, equispaced"),
        ("hpks.snr=20,hpks.snr=30", "'hpks.snr' stands twice"),
        ("hpks.snr=-1", "site 'hpks': snr is -1.0; take above 0"),
        ("hpks.ti=100", "site 'hpks': ti is 100.0; take with inversion_recovery"),
        ("hpks.contrast=T1", "site 'hpks': contrast is 'T1'; take ''"),
    ],
)
def test_what_no_site_can_have_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace("?", r"\?")) as refused:
        resolved(text)
    assert str(refused.value).startswith("site_settings: ")
    assert "\n" not in str(refused.value)


def test_a_target_that_is_no_site_is_refused_as_ever() -> None:
    with pytest.raises(ValueError, match="target 'nowhere' is not a site"):
        resolved("target.snr=3", target="nowhere", algorithm=FlMr())


def test_of_files_the_target_is_known_once_they_are_read(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for patient in range(3):
            folder = tmp_path / name / f"patient-{patient}"
            folder.mkdir(parents=True)
            np.save(folder / "kspace.npy", np.ones((2, 1, 32, 32), np.complex64))
    found = resolved("target.acceleration=8", data=str(tmp_path), matrix=32)
    assert {name: site.acceleration for name, site in found.items()} == {"one": 4, "two": 8}


values = {
    "snr": st.floats(1e-9, 1e9),
    "acceleration": st.integers(1, 64),
    "mask": st.sampled_from(["random", "magic"]),
}
keys = st.sets(st.sampled_from([f"{who}.{field}" for who in ("anna", "b.2") for field in values]))


@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    wanted = {key: data.draw(values[key.rpartition(".")[2]]) for key in data.draw(keys)}
    assert parsed(joined("", wanted)) == wanted
    assert parsed(joined("clara.te=5,anna.snr=3", wanted)) == {"clara.te": 5.0, "anna.snr": 3.0, **wanted}


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(["a", "auto"])))
def test_a_value_as_text(value: Any) -> None:
    assert from_text(to_text(value), Literal[value] if isinstance(value, str) else type(value)) == value


def test_unions_take_either() -> None:
    assert from_text("auto", int | Literal["auto"]) == "auto"
    assert from_text("0.5", kind_of("gpus")) == 0.5
    with pytest.raises(ValueError, match="'x' is not a whole number or one of auto"):
        from_text("x", int | Literal["auto"])
