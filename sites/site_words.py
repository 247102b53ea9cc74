"""An institution's domain shift in words: what its dials do, and in what it differs from the target."""

from __future__ import annotations

from sites.config import ATLAS, SiteConfig
from sites.dials import DIALS
from sites.shifts import parse_shift, shifted

MORE_OR_LESS = (
    ("snr", "less noise", "more noise", "SNR {:.3g}, not {:.3g}"),
    ("bias_field", "stronger receive field", "weaker receive field", "{:.3g}, not {:.3g}"),
    ("phase", "larger object phase", "smaller object phase", "{:.3g} rad, not {:.3g} rad"),
    ("resolution", "higher resolution", "lower resolution", "{:.3g}, not {:.3g}"),
    ("coils", "more coils", "fewer coils", "{}, not {}"),
    ("head_size", "larger heads", "smaller heads", "{:.3g}, not {:.3g}"),
    ("atrophy", "more atrophy", "less atrophy", "{:.3g}, not {:.3g}"),
)


def dialled(site: SiteConfig) -> list[str]:
    """What each dial of its shift does, with its strength; empty if it has none."""
    words = []
    for name, strength in parse_shift(site.shift).items():
        dial = DIALS[name]
        whom = f", in {strength:.0%} of the patients" if dial.by_patient and strength < 1 else ""
        words.append(f"{name}={strength:g}: {dial.summary}{whom}")
    return words


def against(site: SiteConfig, target: SiteConfig) -> list[str]:
    """In what a site differs from the target, both with their shifts, a few words each; empty if in nothing.

    Dials that shift some patients in full are left out.
    """
    site, target = shifted(site), shifted(target)
    found = []
    if ATLAS == site.source == target.source:
        found += _scanner(site, target)
    elif site.of_files and site.contrast and target.contrast and site.contrast != target.contrast:
        found.append(f"{site.contrast}, not {target.contrast}")
    parts = (
        ("mask", site.mask.replace("_", " "), target.mask.replace("_", " ")),
        ("acceleration", f"{site.acceleration}", f"{target.acceleration}"),
        ("centre", f"{site.center_fraction:.3g}", f"{target.center_fraction:.3g}"),
    )
    return found + [f"{name} {own}, not {other}" for name, own, other in parts if own != other]


def _scanner(site: SiteConfig, target: SiteConfig) -> list[str]:
    found = []
    if site.field_strength != target.field_strength:
        found.append(f"{site.field_strength:.3g} T, not {target.field_strength:.3g} T")
    if site.sequence != target.sequence:
        found.append(f"{_words(site.sequence)}, not {_words(target.sequence)}")
    elif _times(site) != _times(target):
        found.append(f"other timing ({_times(site)}, not {_times(target)})")
    if site.lesions != target.lesions:
        own, other = (each.lesions.replace("none", "healthy") for each in (site, target))
        found.append(f"{own}, not {other}")
    for name, more, less, numbers in MORE_OR_LESS:
        own, other = getattr(site, name), getattr(target, name)
        if own != other:
            found.append(f"{more if own > other else less} ({numbers.format(own, other)})")
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def _times(site: SiteConfig) -> str:
    """TR, TE, and what else the sequence has."""
    times = [f"TR {site.tr:.4g} ms", f"TE {site.te:.4g} ms"]
    times += [f"TI {site.ti:.4g} ms"] * bool(site.ti) + [f"inversion {site.inversion:.3g}"] * (site.inversion < 1)
    return ", ".join(times + [f"{site.flip_angle:.3g}°"] * (site.flip_angle != 90))
