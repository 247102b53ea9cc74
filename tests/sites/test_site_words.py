"""What is said of an institution's shift."""

from __future__ import annotations

from dataclasses import replace

from sites.config import SiteConfig
from sites.site_words import against, dialled

TARGET = SiteConfig(name="target", snr=20.0, bias_field=0.45, lesions="glioma")


def test_an_institution_like_the_target() -> None:
    assert against(replace(TARGET, name="other", train_patients=3), TARGET) == []


def test_every_difference_is_named_once() -> None:
    site = SiteConfig(
        name="other", field_strength=1.5, sequence="gradient_echo", tr=9.8, te=4.6, flip_angle=15.0, snr=40.0,
        bias_field=0.2, phase=0.5, resolution=0.5, coils=4, head_size=0.9, atrophy=0.5, mask="equispaced",
        acceleration=8, center_fraction=0.04,
    )  # fmt: skip
    assert against(site, TARGET) == [
        "1.5 T, not 3 T",
        "gradient echo, not spin echo",
        "healthy, not glioma",
        "less noise (SNR 40, not 20)",
        "weaker receive field (0.2, not 0.45)",
        "smaller object phase (0.5 rad, not 1 rad)",
        "lower resolution (0.5, not 1)",
        "more coils (4, not 1)",
        "smaller heads (0.9, not 1)",
        "more atrophy (0.5, not 0)",
        "mask equispaced, not random",
        "acceleration 8, not 4",
        "centre 0.04, not 0.08",
    ]


def test_another_timing_of_the_same_sequence() -> None:
    assert against(replace(TARGET, tr=600.0), TARGET) == ["other timing (TR 600 ms, TE 12 ms, not TR 500 ms, TE 12 ms)"]


def test_files_have_no_scanner_to_compare() -> None:
    files = SiteConfig(name="files", source="files", path="/data/files", contrast="T2", acceleration=8)
    assert against(files, TARGET) == ["acceleration 8, not 4"]
    assert against(replace(files, acceleration=4), replace(files, name="b", contrast="T1", acceleration=4)) == [
        "T2, not T1"
    ]


def test_dials_count_and_are_explained() -> None:
    turned = replace(TARGET, name="other", shift="snr=1,lesions=0.5")
    assert against(turned, TARGET) == ["more noise (SNR 5, not 20)"]
    noise, lesions = dialled(turned)
    assert noise.startswith("snr=1: more noise")
    assert lesions.endswith("in 50% of the patients")
    assert dialled(TARGET) == []
