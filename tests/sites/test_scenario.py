"""Scenarios: the named one, files and their mistakes, and drawn institutions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sites.config import RunConfig, Scenario, SiteConfig
from sites.federation import resolve
from sites.scenario import draw_site, load_scenario, parse_scenario, scenario_file, scenarios, take
from sites.scenario_words import explained, overview
from sites.shifts import DIALS, parse_shift, shift_sites

HEAD = 'name = "tiny"\nsummary = "two sites"\n'
TINY = HEAD + '[[site]]\nname = "a"\ntr = 600\nslices = 2\n[[site]]\nname = "b"\nlesions = "glioma"\n'


def test_cvpr21_is_four_different_simulations() -> None:
    assert "cvpr21" in scenarios()
    scenario = load_scenario("cvpr21")
    assert [site.name for site in scenario.sites] == ["fastmri", "hpks", "ixi", "brats"]
    assert "simulat" in scenario.summary
    assert all(site.description.startswith("simulated") for site in scenario.sites)
    for setting in ("snr", "bias_field", "phase"):
        assert len({getattr(site, setting) for site in scenario.sites}) == 4
    for setting in ("field_strength", "lesions", "mask", "sequence"):
        assert len({getattr(site, setting) for site in scenario.sites}) > 1
    assert {(site.acceleration, site.center_fraction) for site in scenario.sites} == {(4, 0.08)}
    assert [site.lesions for site in scenario.sites] == ["none", "glioma", "none", "glioma"]


@pytest.mark.parametrize("name", scenarios())
def test_every_named_scenario_bears_its_files_name(name: str) -> None:
    assert load_scenario(name).name == name


@pytest.mark.parametrize("name", [name for name in scenarios() if name != "cvpr21"])
def test_the_others_are_exchangeable_but_for_one_shift(name: str) -> None:
    sites = load_scenario(name).sites
    assert [site.name for site in sites] == ["north", "east", "south", "west"]
    assert len({replace(site, name="any", shift="") for site in sites}) == 1
    assert {(site.train_patients, site.val_patients, site.slices) for site in sites} == {(8, 8, 8)}
    apart = [site for site in sites if site.shift]
    assert [site.name for site in apart] == (["south"] if name == "bad-site" else ["west"])
    (dial,) = parse_shift(apart[0].shift)
    assert dial == {"bad-site": "quality", "bias-field": "bias_field"}.get(name, name)
    assert shift_sites(sites, "", "west") == sites  # each moves something
    assert resolve(RunConfig(scenario=name)).target == "west"


def test_scenarios_come_with_every_kind_of_dial() -> None:
    told = {dial for name in scenarios() for site in load_scenario(name).sites for dial in parse_shift(site.shift)}
    assert told == {name for name in DIALS if not name.startswith("contrast-")}


@pytest.mark.parametrize("name", ["", *scenarios()])
def test_words_fit_the_width_and_tell_the_shift(name: str) -> None:
    lines = list(explained(name, 80) if name else overview(80))
    folder = str(scenario_file("cvpr21").parent)
    assert max(len(line) for line in lines if folder not in line) <= 80
    text = " ".join(" ".join(lines).split())
    for site in load_scenario(name or "contrast").sites:
        assert site.name in text
        assert site.shift in text
    if not name:
        assert all(dial.name in text and dial.summary in text for dial in DIALS.values())
        assert "--shift DIAL=STRENGTH" in text


def test_words_say_what_a_shift_changes() -> None:
    text = " ".join(explained("contrast", 80))
    assert "at 1: tr 500 → 6000, te 12 → 100" in text
    assert "3 T spin echo, TR 500 ms, TE 12 ms" in text
    assert "run.py --scenario contrast --shift west:contrast=0.2" in text
    assert "in 50% of the patients" in " ".join(explained("mixture", 200))


def test_words_of_files_and_of_half_a_shift(tmp_path: Path) -> None:
    half = HEAD + '[[site]]\nname = "a"\nshift = "snr=0.5"\n[[site]]\nname = "b"\nsource = "files"\npath = "x"\n'
    (tmp_path / "half.toml").write_text(half)
    text = " ".join(explained(str(tmp_path / "half.toml"), 200))
    assert "at 0.5: snr 40 → 8.889" in text
    assert "at 1: snr 40 → 5" in text
    assert f"files in {tmp_path}/x" in text


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    scenario = load_scenario(str(path))
    assert scenario == parse_scenario(TINY)
    assert scenario.sites[0] == SiteConfig(name="a", tr=600.0, slices=2)
    assert type(scenario.sites[0].tr) is float


def test_paths_are_relative_to_the_scenarios_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TINY + '[[site]]\nname = "c"\nsource = "nifti"\npath = "{}"\ncontrast = "T1"\n'
    (tmp_path / "real").mkdir()
    (tmp_path / "real/mixed.toml").write_text(text.format("../hospital"))
    monkeypatch.chdir(tmp_path)
    site = load_scenario("real/mixed.toml").sites[2]
    assert Path(site.path).resolve() == tmp_path / "hospital"
    assert Path(site.path).is_absolute()
    assert (site.train_patients, site.val_patients, site.test_patients, site.slices) == (0, 0, 0, 0)
    (tmp_path / "real/mixed.toml").write_text(text.format("/elsewhere"))
    assert load_scenario("real/mixed.toml").sites[2].path == "/elsewhere"


def test_drawn_institutions_beside_files_are_as_large_as_simulated_ones() -> None:
    real = '[[site]]\nname = "c"\nsource = "files"\npath = "x"\n'
    assert take(parse_scenario(HEAD + real), 2, 0).sites[1].train_patients == 8
    assert take(parse_scenario(HEAD + real + TINY.removeprefix(HEAD)), 4, 0).sites[3].slices == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "broken TOML: "),
        (HEAD, "has no sites; give at least one"),
        (HEAD + '[site]\nname = "a"', r"begin each institution with \[\[site\]\]"),
        ('nam = "a"\nsummary = ""', "key 'nam' is unknown; did you mean 'name'?"),
        ('name = "a"\n[[site]]\nname = "a"', "summary is missing; add summary"),
        ("name = 3\nsummary = ''\n[[site]]\nname = 'a'", "name is 3; give a text"),
        (TINY + "flip_angel = 3", r"\[\[site\]\] 2 \('b'\): key 'flip_angel' is unknown; did you mean 'flip_angle'"),
        (TINY + "xyzzy = 3", "key 'xyzzy' is unknown; choose one of name, "),
        (TINY + 'tr = "600"', r"\('b'\): tr is '600'; give a number"),
        (TINY + "tr = true", "tr is True; give a number"),
        (TINY + "slices = 2.5", "slices is 2.5; give a whole number"),
        (TINY + "mask = 4", "mask is 4; give a text"),
        (TINY + 'mask = "radial"', "site 'b': mask is 'radial'; take one of random, "),
        (TINY + "[[site]]\ntr = 600", r"\[\[site\]\] 3: name is missing"),
        (TINY + '[[site]]\nname = "a"', "two sites are named 'a'"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        load_scenario(str(path))
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_unknown_names_get_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scenario 'cvpr12' is unknown; did you mean 'cvpr21'\?"):
        load_scenario("cvpr12")
    with pytest.raises(ValueError, match=r"scenario 'x' is unknown; choose one of .*cvpr21"):
        load_scenario("x")
    with pytest.raises(ValueError, match=r"none\.toml: No such file"):
        load_scenario(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ValueError, match="not UTF-8"):
        load_scenario(str(tmp_path / "latin.toml"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", ""),
        ("name", "a/b"),
        ("field_strength", 7.0),
        ("field_strength", math.nan),
        ("sequence", "epi"),
        ("tr", 0.0),
        ("tr", math.inf),
        ("te", 500.0),
        ("te", -1.0),
        ("ti", 100.0),
        ("flip_angle", 30.0),
        ("inversion", 0.5),
        ("resolution", 0.2),
        ("coils", 0),
        ("coils", 65),
        ("head_size", 0.7),
        ("atrophy", 1.1),
        ("snr", 0.0),
        ("bias_field", 1.0),
        ("phase", -1.0),
        ("lesions", "stroke"),
        ("mask", "radial"),
        ("acceleration", 0),
        ("center_fraction", 1.1),
        ("train_patients", 0),
        ("slices", 0),
        ("gpus", 0.0),
    ],
)
def test_a_site_refuses_what_no_scanner_has(setting: str, value: Any) -> None:
    settings = {"name": "a", setting: value}
    with pytest.raises(ValueError, match=f"{setting} is .*; take "):
        SiteConfig(**settings)


@pytest.mark.parametrize(
    ("setting", "value"), [("inversion", 1.1), ("flip_angle", 0.0), ("flip_angle", 180.0), ("ti", 0.0)]
)
def test_inversion_recovery_has_settings_of_its_own(setting: str, value: float) -> None:
    settings: dict[str, Any] = {"name": "a", "sequence": "inversion_recovery", "tr": 2000.0, "ti": 500.0}
    SiteConfig(**settings, inversion=0.9, flip_angle=60.0)
    with pytest.raises(ValueError, match=f"{setting} is {value}; take with"):
        SiteConfig(**{**settings, setting: value})


def test_a_scenario_needs_sites_of_different_names() -> None:
    site = SiteConfig(name="a")
    with pytest.raises(ValueError, match="has no sites"):
        Scenario(name="s", summary="", sites=())
    with pytest.raises(ValueError, match="two sites are named 'a'"):
        Scenario(name="s", summary="", sites=(site, site))


def test_take_is_the_first_or_all_and_more() -> None:
    tiny = parse_scenario(TINY)
    assert take(tiny, 1, 0).sites == tiny.sites[:1]
    assert take(tiny, 2, 0) == tiny
    five = take(tiny, 5, 0)
    assert five.sites[:2] == tiny.sites
    assert {site.slices for site in five.sites[2:]} == {2}
    assert take(tiny, 9, 0).sites[:5] == five.sites
    assert take(tiny, 5, 1).sites[2:] != five.sites[2:]
    with pytest.raises(ValueError, match="0 sites make no federation"):
        take(tiny, 0, 0)


def test_drawn_institutions_are_valid_and_vary() -> None:
    drawn = [draw_site(0, index) for index in range(64)]
    assert drawn[5] == draw_site(0, 5)
    assert len({site.name for site in drawn}) == 64
    for setting, least in (
        ("field_strength", 2),
        ("sequence", 3),
        ("lesions", 2),
        ("mask", 5),
        ("snr", 40),
        ("tr", 40),
    ):
        assert len({getattr(site, setting) for site in drawn}) >= least
    assert all(site.description.startswith("simulated") for site in drawn)
