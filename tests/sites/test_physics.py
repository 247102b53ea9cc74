"""Signal equations, tissues, fields and noise against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.config import SiteConfig
from sites.physics import (
    TISSUES_1_5_T,
    TISSUES_3_T,
    Tissue,
    crop_kspace,
    ernst_angle,
    gradient_echo,
    inversion_recovery,
    low_resolution,
    noise,
    null_time,
    object_phase,
    receive_field,
    signal,
    spin_echo,
    steady_state,
    tissues,
    to_kspace,
)

TISSUE = Tissue(pd=0.8, t1=1000.0, t2=80.0)
FOREVER = 1e9
t1s = st.floats(200, 5000)
times = st.floats(5, 5000)


def test_spin_echo_limits() -> None:
    assert spin_echo(TISSUE, tr=FOREVER, te=0) == pytest.approx(0.8)
    assert spin_echo(TISSUE, tr=1000, te=0) == pytest.approx(0.8 * (1 - math.exp(-1)))
    assert spin_echo(TISSUE, tr=FOREVER, te=80) == pytest.approx(0.8 * math.exp(-1))
    assert spin_echo(TISSUE, tr=1e-9, te=0) == pytest.approx(0, abs=1e-9)


@given(t1s, times)
def test_gradient_echo_is_largest_at_the_ernst_angle(t1: float, tr: float) -> None:
    tissue = Tissue(pd=1.0, t1=t1, t2=80.0)
    best = ernst_angle(t1, tr)
    e1 = math.exp(-tr / t1)
    assert gradient_echo(tissue, tr, 0, best) == pytest.approx(math.sqrt((1 - e1) / (1 + e1)))
    for angle in (0.9 * best, min(1.1 * best, 179)):
        assert gradient_echo(tissue, tr, 0, angle) < gradient_echo(tissue, tr, 0, best)


@given(t1s, times)
def test_gradient_echo_at_90_degrees_is_spin_echo(t1: float, tr: float) -> None:
    tissue = Tissue(pd=1.0, t1=t1, t2=80.0)
    assert gradient_echo(tissue, tr, 20, 90) == pytest.approx(spin_echo(tissue, tr, 20))


@given(t1s, times)
def test_inversion_recovery_nulls_and_changes_sign_at_the_null_time(t1: float, tr: float) -> None:
    tissue = Tissue(pd=1.0, t1=t1, t2=80.0)
    ti = null_time(t1, tr)
    assert 0 < ti < tr
    assert inversion_recovery(tissue, tr, 10, ti) == pytest.approx(0, abs=1e-12)
    assert inversion_recovery(tissue, tr, 10, 0.9 * ti) < 0 < inversion_recovery(tissue, tr, 10, 1.1 * ti)


def test_inversion_recovery_limits() -> None:
    assert null_time(1000, FOREVER) == pytest.approx(1000 * math.log(2))
    assert inversion_recovery(TISSUE, FOREVER, 0, FOREVER / 2) == pytest.approx(0.8)
    assert inversion_recovery(TISSUE, FOREVER, 0, 0) == pytest.approx(-0.8)


@given(t1s, st.floats(50, 5000), st.floats(0.01, 0.99), st.floats(5, 175), st.floats(0, 1))
def test_the_steady_state_is_what_its_cycle_gives_back(
    t1: float, tr: float, part: float, flip_angle: float, inversion: float
) -> None:
    """Inversion, recovery for TI, excitation, recovery for the rest, with nothing left transverse, until it settles."""

    def recovered(magnetisation: float, time: float) -> float:
        return 1 - (1 - magnetisation) * math.exp(-time / t1)

    before = 1.0
    for _ in range(2000):
        read = recovered((1 - 2 * inversion) * before, part * tr)
        before = recovered(math.cos(math.radians(flip_angle)) * read, (1 - part) * tr)
    tissue = Tissue(pd=0.8, t1=t1, t2=80.0)
    expected = 0.8 * math.sin(math.radians(flip_angle)) * read * math.exp(-20 / 80)
    found = steady_state(tissue, tr, 20, part * tr, flip_angle, inversion)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(t1s, times, st.floats(5, 175), st.floats(0, 0.99))
def test_the_one_law_is_the_three_named_equations(t1: float, tr: float, flip_angle: float, part: float) -> None:
    tissue = Tissue(pd=0.9, t1=t1, t2=70.0)
    e1, e_ti, decay = math.exp(-tr / t1), math.exp(-part * tr / t1), math.exp(-10 / 70)
    angle = math.radians(flip_angle)
    spoiled = math.sin(angle) * (1 - e1) / (1 - math.cos(angle) * e1)
    assert spin_echo(tissue, tr, 10) == pytest.approx(0.9 * (1 - e1) * decay)
    assert gradient_echo(tissue, tr, 10, flip_angle) == pytest.approx(0.9 * spoiled * decay)
    assert inversion_recovery(tissue, tr, 10, part * tr) == pytest.approx(0.9 * (1 - 2 * e_ti + e1) * decay)


def test_signal_follows_the_protocol() -> None:
    assert signal(SiteConfig(name="a", tr=600, te=15), TISSUE) == spin_echo(TISSUE, 600, 15)
    gradient = SiteConfig(name="a", sequence="gradient_echo", tr=10, te=4, flip_angle=15)
    assert signal(gradient, TISSUE) == gradient_echo(TISSUE, 10, 4, 15)
    inversion = SiteConfig(name="a", sequence="inversion_recovery", tr=9000, te=90, ti=2400)
    assert signal(inversion, TISSUE) == inversion_recovery(TISSUE, 9000, 90, 2400)
    assert signal(replace(inversion, inversion=0.0), TISSUE) == pytest.approx(spin_echo(TISSUE, 9000, 90))
    partial = replace(inversion, inversion=0.9, flip_angle=70.0)
    assert signal(partial, TISSUE) == steady_state(TISSUE, 9000, 90, 2400, 70, 0.9)


def test_tissues_meet_the_table_and_interpolate_as_a_power_law() -> None:
    assert tissues(3.0) == dict(TISSUES_3_T)
    assert tissues(1.5) == dict(TISSUES_1_5_T)
    middle = tissues(1.5 * math.sqrt(2))["grey"]
    assert middle.t1 == pytest.approx(math.sqrt(1197 * 1607))
    assert middle.t2 == pytest.approx(math.sqrt(95 * 99))


@pytest.mark.parametrize("field_strength", [1.0, 7.0, math.nan])
def test_tissues_refuse_other_fields(field_strength: float) -> None:
    with pytest.raises(ValueError, match=r"outside the tissue table; take 1\.5 to 3"):
        tissues(field_strength)


def test_contrasts_are_as_radiologists_know_them() -> None:
    for field_strength in (1.5, 3.0):
        table = tissues(field_strength)
        t1w = {name: spin_echo(tissue, 500, 12) for name, tissue in table.items()}
        t2w = {name: spin_echo(tissue, 6000, 100) for name, tissue in table.items()}
        flair = {name: inversion_recovery(tissue, 9000, 90, null_time(4300, 9000)) for name, tissue in table.items()}
        assert t1w["white"] > t1w["grey"] > t1w["tumour"] > t1w["csf"]
        assert t2w["csf"] > t2w["tumour"] > t2w["oedema"] > t2w["grey"] > t2w["white"]
        assert flair["tumour"] > flair["grey"] > flair["white"] > flair["csf"] == pytest.approx(0, abs=1e-9)


def test_fields_span_what_is_stated_over_the_head() -> None:
    random = np.random.default_rng(0)
    smooth = random.standard_normal((2, 8, 8), dtype=np.float32)
    head = random.random((2, 8, 8)) > 0.5
    field = receive_field(smooth, head, 0.3)
    assert np.ptp(field[head]) == pytest.approx(0.3, rel=1e-5)
    assert field.min() == pytest.approx(0.85)
    phase = object_phase(smooth, head, 1.2)
    np.testing.assert_allclose(np.abs(phase), 1, rtol=1e-6)
    assert np.abs(np.angle(phase[head])).max() == pytest.approx(1.2, rel=1e-5)
    assert np.array_equal(object_phase(smooth, head, 0.0), np.ones_like(phase))


def test_noise_has_the_stated_deviation_in_kspace_and_image() -> None:
    sample = noise((4, 128, 128), 0.25, np.random.default_rng(0))
    for values in (sample, to_kspace(sample)):
        assert values.dtype == np.complex64
        assert values.real.std() == pytest.approx(0.25, rel=0.01)
        assert values.imag.std() == pytest.approx(0.25, rel=0.01)
    rayleigh = np.abs(sample).mean()
    assert rayleigh == pytest.approx(0.25 * math.sqrt(math.pi / 2), rel=0.01)


@pytest.mark.parametrize(("fine", "matrix"), [(32, 16), (31, 16), (32, 15), (16, 16)])
def test_cropping_kspace_keeps_intensity(fine: int, matrix: int) -> None:
    kspace = crop_kspace(to_kspace(np.full((1, fine, fine), 3, dtype=np.complex64)), matrix)
    expected = to_kspace(np.full((1, matrix, matrix), 3, dtype=np.complex64))
    assert kspace.dtype == np.complex64
    np.testing.assert_allclose(kspace, expected, atol=1e-4)


@pytest.mark.parametrize("matrix", [16, 15])
def test_a_smaller_acquisition_is_zero_beyond_its_centre(matrix: int) -> None:
    kspace = noise((2, 3, matrix, matrix), 1.0, np.random.default_rng(0))
    assert low_resolution(kspace, 1.0) is kspace
    kept = low_resolution(kspace, 0.5)
    assert [np.count_nonzero(kept[0, 0].any(axis=axis)) for axis in (0, 1)] == [8, 8]
    assert np.array_equal(kept[kept != 0], kspace[kept != 0])
    assert kept[0, 0, matrix // 2, matrix // 2] == kspace[0, 0, matrix // 2, matrix // 2]
