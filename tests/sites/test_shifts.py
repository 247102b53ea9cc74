"""Dials: nothing at 0, everything at 1, valid and steady between; the same patients throughout."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sites import shifts
from sites.anatomy import Maps
from sites.config import SiteConfig
from sites.physics import Values, null_time
from sites.protocols import towards
from sites.scenario import draw_site, load_scenario
from sites.shifts import (
    DIALS,
    checked,
    format_shift,
    parse_shift,
    shift_sites,
    shifted,
    threshold,
    with_shift,
)
from sites.site_config import OF_SCANNER
from sites.sources.atlas import AtlasSource
from sites.sources.base import KSpace
from tests.sites.test_atlas import image

BASE = SiteConfig(name="west", slices=3, train_patients=3, val_patients=1, test_patients=1)
NAMES = list(DIALS)
BY_PATIENT = [name for name, dial in DIALS.items() if dial.by_patient]
dials = st.sampled_from(NAMES)
strengths = st.floats(0, 1)
SEQUENCES = ("spin_echo", "gradient_echo", "inversion_recovery")


@st.composite
def protocols(draw: st.DrawFn) -> SiteConfig:
    """A site of any protocol, scanner and patients."""
    tr = draw(st.floats(3, 12000))
    sequence = draw(st.sampled_from(SEQUENCES))
    inverts = sequence == "inversion_recovery"
    return SiteConfig(
        name="any",
        sequence=sequence,  # type: ignore[arg-type]
        tr=tr,
        te=tr * draw(st.just(0.0) | st.floats(0.001, 0.9)),
        ti=tr * draw(st.floats(0.01, 0.99)) if inverts else 0.0,
        flip_angle=90.0 if sequence == "spin_echo" else draw(st.floats(1, 179)),
        inversion=draw(st.floats(0, 1)) if inverts else 1.0,
        field_strength=draw(st.floats(1.5, 3)),
        snr=draw(st.floats(1, 500)),
        bias_field=draw(st.floats(0, 0.99)),
        resolution=draw(st.floats(0.25, 1)),
        coils=draw(st.integers(1, 64)),
        head_size=draw(st.floats(0.8, 1.2)),
        atrophy=draw(st.floats(0, 1)),
        lesions=draw(st.sampled_from(("none", "glioma"))),
        mask=draw(st.sampled_from(("random", "equispaced", "magic"))),
        acceleration=draw(st.integers(1, 12)),
        center_fraction=draw(st.floats(0, 1)),
    )


def scan(maps: Maps, site: SiteConfig, patient: int = 0, matrix: int = 32) -> KSpace:
    return AtlasSource(site, maps, matrix, 0).kspace(f"{site.name}-{patient:03d}")


# ---- each dial ------------------------------------------------------------------------------------------------


@given(protocols(), dials, strengths)
def test_every_strength_is_a_valid_site_and_0_is_the_site_itself(site: SiteConfig, name: str, strength: float) -> None:
    dial = DIALS[name]
    dial.turn(site, strength)  # SiteConfig refuses what no scanner has
    assert dial.turn(site, 0.0) == site
    assert shifted(replace(site, shift=f"{name}=0")) == site
    assert with_shift(site, name, 0) == site


@given(protocols(), dials)
def test_a_dial_turned_in_full_has_nothing_left_to_move(site: SiteConfig, name: str) -> None:
    turn = DIALS[name].turn
    assume(name not in ("field", "acceleration", "mask"))  # these always have another end
    full = turn(site, 1.0)
    assert turn(full, 1.0) == full
    assert turn(full, 0.5) == full


def test_full_shifts_are_the_stated_ones() -> None:
    def full(name: str, site: SiteConfig = BASE) -> SiteConfig:
        return shifted(with_shift(site, name, 1.0), 0)

    t2 = replace(BASE, tr=6000.0, te=100.0)
    assert full("contrast") == t2 == full("mixture")
    assert full("contrast-t1", t2) == BASE
    assert full("contrast-pd") == replace(BASE, tr=4000.0, te=15.0)
    flair = replace(BASE, sequence="inversion_recovery", tr=9000.0, te=90.0, ti=round(null_time(4300, 9000)))
    assert full("contrast-flair") == flair
    assert full("contrast", flair) == t2
    assert full("contrast", load_scenario("cvpr21").sites[2]).flip_angle == 90
    assert full("field").field_strength == 1.5
    assert full("field", replace(BASE, field_strength=1.5)).field_strength == 3
    assert full("snr") == replace(BASE, snr=5.0)
    assert full("acceleration") == replace(BASE, acceleration=8, center_fraction=0.02)
    assert full("mask") == replace(BASE, mask="equispaced")
    assert full("mask", replace(BASE, mask="magic")) == BASE
    assert full("lesions") == replace(BASE, lesions="glioma")
    assert full("anatomy") == replace(BASE, head_size=0.88, atrophy=1.0)
    assert full("bias_field") == replace(BASE, bias_field=0.9)
    assert full("resolution") == replace(BASE, resolution=0.5)
    assert full("coils") == replace(BASE, coils=8)
    assert full("quality") == replace(BASE, snr=4.0, bias_field=0.9, resolution=0.6)


@given(protocols(), dials, st.lists(strengths, min_size=2, max_size=6))
def test_paths_are_monotone(site: SiteConfig, name: str, found: list[float]) -> None:
    """But for TI, which an end that does not invert has none of; the inversion's efficiency where there is one."""
    assume(site.te > 0)
    rows = [asdict(DIALS[name].turn(site, strength)) for strength in (0.0, *sorted(found), 1.0)]
    inverting = [row for row in rows if row["sequence"] == "inversion_recovery"]
    for field in set(OF_SCANNER) - {"sequence", "lesions", "ti"} | {"acceleration", "center_fraction", "coils"}:
        values = [row[field] for row in (inverting if field == "inversion" else rows)]
        steps = [b - a for a, b in pairwise(values)]
        assert all(step >= -1e-9 for step in steps) or all(step <= 1e-9 for step in steps), (field, values)


def test_protocols_on_the_way_are_of_the_stated_kinds() -> None:
    gradient = SiteConfig(name="a", sequence="gradient_echo", tr=10.0, te=4.0, flip_angle=15.0)
    flair = SiteConfig(name="a", sequence="inversion_recovery", tr=9000.0, te=90.0, ti=2480.0)
    half = towards(BASE, replace(BASE, tr=6000.0, te=100.0), 0.5)
    assert (half.sequence, half.flip_angle) == ("spin_echo", 90)
    assert (half.tr, half.te) == pytest.approx((np.sqrt(500 * 6000), np.sqrt(12 * 100)))
    half = towards(gradient, BASE, 0.5)
    assert (half.sequence, half.flip_angle) == ("gradient_echo", 52.5)
    for own, full in ((gradient, flair), (flair, gradient)):
        half = towards(own, full, 0.5)
        assert (half.sequence, half.flip_angle) == ("inversion_recovery", 52.5)
        assert half.inversion == pytest.approx(np.sqrt(0.5))
    half = towards(flair, replace(flair, tr=4000.0, ti=100.0), 0.5)
    assert (half.ti, half.inversion) == pytest.approx((np.sqrt(2480 * 100), 1.0))


@pytest.mark.parametrize("name", ["contrast", "contrast-t1", "contrast-pd", "contrast-flair", "field", "bias_field"])
def test_images_depart_steadily_and_continuously(maps: Maps, name: str) -> None:
    own = replace(BASE, snr=1e9)
    if name == "contrast-t1":
        own = replace(own, tr=6000.0, te=100.0)
    inside = image(scan(maps, own)) > 0.2 * image(scan(maps, own)).max()

    def seen(strength: float) -> Values:
        found = image(scan(maps, with_shift(own, name, strength)))[inside]
        return np.asarray(found / found.mean(), dtype=np.float32)

    parts = (0.01, 0.2, 0.4, 0.6, 0.8, 0.99, 1.0)
    distances = [float(np.sqrt(((seen(part) - seen(0.0)) ** 2).mean())) for part in parts]
    assert all(a < b for a, b in pairwise(distances)), distances
    assert distances[0] < 0.1 * distances[-1]
    assert distances[-1] - distances[-2] < 0.15 * distances[-1]


# ---- the patients ---------------------------------------------------------------------------------------------


def test_at_0_the_bits_are_those_of_the_site(maps: Maps) -> None:
    text = ",".join(f"{name}=0" for name in NAMES)
    assert np.array_equal(scan(maps, replace(BASE, shift=text)), scan(maps, BASE))
    untouched = replace(BASE, shift=",".join(f"{name}=0.05" for name in BY_PATIENT))
    spared = next(patient for patient in range(5) if threshold(patient) >= 0.05)
    assert np.array_equal(scan(maps, untouched, spared), scan(maps, BASE, spared))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("anatomy", "contrast-t1", "mask")])
def test_another_dial_scans_the_same_heads_with_the_same_noise(maps: Maps, name: str) -> None:
    turned = shifted(with_shift(BASE, name, 1.0), 0)
    supports, noises = [], []
    for site in (BASE, turned):
        clean = scan(maps, replace(site, snr=1e9))
        magnitude = np.sqrt((image(clean) ** 2).sum(axis=1))
        supports.append(magnitude > 0.2 * magnitude.mean())
        noise = (scan(maps, site) - clean)[:, 0]
        noises.append(noise / noise.real.std())
    assert (supports[0] == supports[1]).mean() > 0.9
    if turned.resolution == 1:
        np.testing.assert_allclose(noises[0], noises[1], atol=0.02)


@given(st.integers(0, 500), st.integers(8, 32), strengths)
def test_any_run_of_patients_has_about_the_right_part(first: int, count: int, strength: float) -> None:
    hit = sum(threshold(patient) < strength for patient in range(first, first + count))
    assert abs(hit - strength * count) < 2.3  # a random choice of 32 has a deviation of 2.8 at 0.5


@given(st.sampled_from([(0, 8), (0, 16), (8, 16)]), strengths)
def test_a_splits_part_is_right_within_about_one_patient(patients: tuple[int, int], strength: float) -> None:
    hit = sum(threshold(patient) < strength for patient in range(*patients))
    assert abs(hit - strength * (patients[1] - patients[0])) < 1.06


@given(st.sampled_from(BY_PATIENT), strengths, strengths)
def test_a_larger_strength_only_adds_patients(name: str, one: float, other: float) -> None:
    def hit(strength: float) -> set[int]:
        site = with_shift(BASE, name, strength)
        return {patient for patient in range(40) if shifted(site, patient) != BASE}

    low, high = sorted((one, other))
    assert hit(low) <= hit(high)
    assert hit(0.0) == set()
    assert hit(1.0) == set(range(40))
    assert shifted(with_shift(BASE, name, high)) == BASE  # of the site as a whole they are left out


# ---- as text --------------------------------------------------------------------------------------------------

texts = st.dictionaries(dials, st.floats(0.001, 1), max_size=5)


@given(texts, st.randoms())
def test_the_order_of_the_text_does_not_matter(mapping: dict[str, float], random: object) -> None:
    text = format_shift(mapping)
    assert parse_shift(text) == mapping
    items = text.split(",")
    random.shuffle(items)  # type: ignore[attr-defined]
    mixed = " , ".join(items)
    assert list(parse_shift(mixed)) == [name for name in NAMES if name in mapping]
    assert shifted(replace(BASE, shift=mixed), 3) == shifted(replace(BASE, shift=text), 3)


@given(texts, dials, strengths)
def test_a_dial_set_is_set_and_the_others_stay(mapping: dict[str, float], name: str, strength: float) -> None:
    assume(len({each for each in (*mapping, name) if each.startswith(("contrast", "mixture"))}) < 2)  # may be at odds
    site = SiteConfig(name="a", tr=2000.0, te=80.0, shift=format_shift(mapping))
    found = parse_shift(with_shift(site, name, strength).shift)
    expected = {**mapping, name: strength}
    assert found == {key: value for key, value in expected.items() if value}


def test_what_the_option_says_reaches_its_sites() -> None:
    sites = (BASE, replace(BASE, name="ixi", shift="snr=1"))
    found = shift_sites(sites, "contrast=0.5, ixi:snr=0.25, ixi:coils=1, bias_field=1", "west")
    assert [site.shift for site in found] == ["contrast=0.5,bias_field=1", "snr=0.25,coils=1"]
    assert shift_sites(sites, "ixi:snr=0", "west") == (BASE, replace(BASE, name="ixi"))
    assert shift_sites(sites, "", "west") == sites
    assert shift_sites((replace(BASE, shift="snr=1.0, contrast = .5"),), "", "west")[0].shift == "contrast=0.5,snr=1"


FILES = SiteConfig(name="real", source="files", path="/x")
PYTHON = SiteConfig(name="discs", source="Discs")
BAD: list[tuple[str, SiteConfig, list[str]]] = [
    ("contrst=1", BASE, ["shift 'contrst' is unknown", "did you mean 'contrast'?"]),
    ("xyzzy=1", BASE, ["'xyzzy'", "choose one of contrast, contrast-t1"]),
    ("snr", BASE, ["'snr' has no strength", "snr=0.5"]),
    ("snr=", BASE, ["'snr' has no strength"]),
    ("snr=much", BASE, ["snr is much", "0 (none) to 1 (full)"]),
    ("snr=1.5", BASE, ["snr is 1.5", "0 (none) to 1 (full)"]),
    ("snr=-1", BASE, ["snr is -1"]),
    ("snr=nan", BASE, ["snr is nan"]),
    ("snr=1,snr=0.5", BASE, ["snr stands twice", "name it once"]),
    ("snr=1,west:snr=1", BASE, ["snr stands twice"]),
    ("wst:snr=1", BASE, ["'wst' is not a site", "choose one of west"]),
    ("contrast=0.1", replace(BASE, tr=6000.0, te=100.0), ["'west': shift contrast moves nothing", "contrast-t1"]),
    ("contrast-t1=1", BASE, ["'west': shift contrast-t1 moves nothing", "contrast-pd"]),
    ("mixture=0.5", replace(BASE, tr=5600.0, te=95.0), ["mixture moves nothing", "example quality"]),
    ("lesions=1", replace(BASE, lesions="glioma"), ["lesions moves nothing", "example anatomy"]),
    ("snr=1", replace(BASE, snr=5.0), ["snr moves nothing", "example acceleration"]),
    ("coils=1", replace(BASE, coils=8), ["coils moves nothing", "example mixture"]),
    ("quality=1", replace(BASE, snr=3.0, bias_field=0.9, resolution=0.5), ["quality moves nothing", "contrast"]),
    ("mixture=1,contrast=1", BASE, ["mixture moves nothing"]),
    ("snr=1", FILES, ["'real': shift snr is for simulated patients", "'files'", "take acceleration or mask"]),
    ("snr=1", PYTHON, ["'discs': shift snr is for simulated patients", "'Discs'"]),
]


@pytest.mark.parametrize(("text", "site", "parts"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_one_line_says_what_is_wrong(text: str, site: SiteConfig, parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        shift_sites((site,), text, site.name)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert [part for part in parts if part not in message] == []
    if ":" not in text:
        with pytest.raises(ValueError, match=r"^site '\w+': "):
            checked(replace(site, shift=text))


def test_where_no_dial_moves_there_is_no_other_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifts, "DIALS", {"snr": DIALS["snr"]})
    with pytest.raises(ValueError, match=r"the site is there already; leave it out$"):
        checked(replace(BASE, snr=5.0, shift="snr=1"))


@pytest.mark.parametrize("site", [FILES, PYTHON])
def test_measured_images_are_shifted_in_their_undersampling(site: SiteConfig) -> None:
    turned = shifted(checked(replace(site, shift="mask=1,acceleration=1")), 0)
    assert turned == replace(site, mask="equispaced", acceleration=8, center_fraction=0.02)


def test_every_drawn_site_can_be_shifted_by_most_dials() -> None:
    for index in range(24):
        site = draw_site(0, index)
        refused = []
        for name in NAMES:
            try:
                with_shift(site, name, 0.5)
            except ValueError:
                refused.append(name)
        assert len(refused) <= 3, refused
