"""An institution in words: its protocol, its patients, and in what it differs from the target."""

from __future__ import annotations

from pathlib import Path

from sites.config import ATLAS, SiteConfig


def protocol(site: SiteConfig) -> str:
    """What was acquired how."""
    if site.of_files:
        coils = f", {site.coils} coils synthesised" if site.coils > 1 else ""
        compressed = f", compressed to {site.virtual_coils} virtual coils" if site.virtual_coils else ""
        return f"{site.contrast or 'files'} of {Path(site.path).name}{coils}{compressed}"
    if site.source != ATLAS:
        return f"k-space given in Python ({site.source})"
    lesions = "no lesions" if site.lesions == "none" else site.lesions
    return (
        f"{site.field_strength:g} T, {_sequence(site)}, {_times(site)}; SNR {site.snr:g}, receive field "
        f"{100 * site.bias_field:g} %, phase {site.phase:g} rad; {lesions}"
    )


def undersampling(site: SiteConfig) -> str:
    """Which columns of k-space are measured."""
    if site.acceleration == 1:
        return "fully sampled"
    return f"{site.mask.replace('_', ' ')} × {site.acceleration}, centre {100 * site.center_fraction:g} %"


def patients(site: SiteConfig) -> str:
    """By split, and how long each is."""
    counts = " / ".join(str(count) for count in site.counts.values())
    divided = ", divided by slices" if site.of_files and site.split == "slices" else ""
    return counts + (f" of {site.slices} slices" if site.slices > 0 else "") + divided


def against(site: SiteConfig, target: SiteConfig) -> list[str]:
    """In what the site differs from the target: a few words each; empty if in nothing."""
    found = []
    if ATLAS == site.source == target.source:
        found += _scanner_against(site, target)
    elif site.source != target.source or site.of_files:
        found += ["data of its own"]
        if site.contrast != target.contrast and site.contrast and target.contrast:
            found += [f"{site.contrast}, not {target.contrast}"]
    if undersampling(site) != undersampling(target):
        parts = [
            ("mask", site.mask.replace("_", " "), target.mask.replace("_", " ")),
            ("acceleration", f"{site.acceleration}", f"{target.acceleration}"),
            ("centre", f"{100 * site.center_fraction:g} %", f"{100 * target.center_fraction:g} %"),
        ]
        found += [f"{name} {own}, not {other}" for name, own, other in parts if own != other]
    return found


def _scanner_against(site: SiteConfig, target: SiteConfig) -> list[str]:
    found = []
    if site.field_strength != target.field_strength:
        found.append(f"{site.field_strength:g} T, not {target.field_strength:g} T")
    if site.sequence != target.sequence:
        found.append(f"{_sequence(site)}, not {_sequence(target)}")
    elif _times(site) != _times(target):
        found.append(f"other timing ({_times(site)}, not {_times(target)})")
    if site.lesions != target.lesions:
        own, other = (each.lesions.replace("none", "healthy") for each in (site, target))
        found.append(f"{own}, not {other}")
    more = [
        (("less noise", "more noise"), site.snr, target.snr, "SNR {:g}, not {:g}"),
        (("stronger receive field", "weaker receive field"), 100 * site.bias_field, 100 * target.bias_field,
         "{:g} %, not {:g} %"),
        (("larger object phase", "smaller object phase"), site.phase, target.phase, "{:g} rad, not {:g} rad"),
    ]  # fmt: skip
    return found + [
        f"{words[own < other]} ({numbers.format(own, other)})" for words, own, other, numbers in more if own != other
    ]


def _sequence(site: SiteConfig) -> str:
    return site.sequence.replace("_", " ")


def _times(site: SiteConfig) -> str:
    """TR, TE, and what else the sequence has."""
    inversion = f", TI {site.ti:g} ms" if site.ti else ""
    angle = f", {site.flip_angle:g}°" if site.sequence == "gradient_echo" else ""
    return f"TR {site.tr:g} ms, TE {site.te:g} ms{inversion}{angle}"
