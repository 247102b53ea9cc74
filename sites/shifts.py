"""Domain shift with dials: an institution is an acquisition model, so every shift has a strength.

0 is the institution's own distribution, its configuration unchanged; 1 the full shift. The patients stay the same:
they are drawn from (seed, institution, index) alone. A shift is written DIAL=STRENGTH, several by commas, and is part
of the institution (`SiteConfig.shift`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from engine.validation import closest
from sites.dials import DIALS, OF_MASKS, Dial
from sites.site_config import ATLAS, SiteConfig

__all__ = [
    "DIALS",
    "Dial",
    "checked",
    "format_shift",
    "moves",
    "parse_shift",
    "shift_sites",
    "shifted",
    "threshold",
    "with_shift",
]


# ---- as text --------------------------------------------------------------------------------------------------


def parse_shift(text: str) -> dict[str, float]:
    """Strengths by dial, in the order of `DIALS`, of a text as "contrast=0.5,snr=1".

    Raises ValueError, in one line, for an unknown dial, one named twice, or a strength that is not in 0 … 1.
    """
    found: dict[str, float] = {}
    for item in (item.strip() for item in text.split(",") if item.strip()):
        name, _, value = (part.strip() for part in item.partition("="))
        _check_dial(name)
        if not value:
            raise ValueError(f"shift {name!r} has no strength; write {name}=0.5, from 0 (none) to 1 (full)")
        if name in found:
            raise ValueError(f"shift {name} stands twice in {text!r}; name it once")
        found[name] = _strength(name, value)
    return {name: found[name] for name in DIALS if name in found}


def of_target(text: str) -> list[str]:
    """Of what `--shift` says the items that name no site."""
    return [item for part in text.split(",") if (item := part.strip()) and ":" not in item]


def format_shift(strengths: Mapping[str, float]) -> str:
    """The text that `parse_shift` reads: in the order of `DIALS`, without strengths of 0."""
    turned = [name for name in DIALS if strengths.get(name)]
    return ",".join(f"{name}={str(float(strengths[name])).removesuffix('.0')}" for name in turned)


def _check_dial(name: str) -> None:
    if name not in DIALS:
        raise ValueError(f"shift {name!r} is unknown; {closest(name, DIALS)}")


def _strength(name: str, value: str | float) -> float:
    try:
        strength = float(value)
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= 1:
        raise ValueError(f"shift {name} is {value}; take a strength from 0 (none) to 1 (full)")
    return strength


# ---- of sites -------------------------------------------------------------------------------------------------


def shifted(site: SiteConfig, patient: int | None = None) -> SiteConfig:
    """The site with its shift applied, and emptied; of a patient, by index, or as a whole.

    Dials by patient are applied in full to the patients whose `threshold` is below the strength; without a patient
    they are left out. Raises ValueError for a shift that `parse_shift` refuses.
    """
    if not site.shift:
        return site
    turned = replace(site, shift="")
    for name, strength in parse_shift(site.shift).items():
        dial = DIALS[name]
        if dial.by_patient:
            strength = float(patient is not None and threshold(patient) < strength)
        turned = dial.turn(turned, strength)
    return turned


def threshold(patient: int) -> float:
    """From 0 to 1, by a patient's index: spread so that any run of patients has about the right part below a strength.

    Multiples of the golden ratio modulo 1 (Kuipers and Niederreiter, Uniform Distribution of Sequences, 1974).
    """
    return (patient + 0.5) * 0.6180339887 % 1.0


def with_shift(site: SiteConfig, dial: str, strength: float) -> SiteConfig:
    """The site with one dial set; a strength of 0 removes it. Raises ValueError as `checked`."""
    _check_dial(dial)
    strengths = {**parse_shift(site.shift), dial: _strength(dial, strength)}
    return checked(replace(site, shift=format_shift(strengths)))


def checked(site: SiteConfig) -> SiteConfig:
    """The site with its shift in the usual order.

    Raises ValueError, in one line, for a shift that cannot be parsed, is not for measured images, or moves nothing at
    this site, since it is where the dial would turn it.
    """
    try:
        strengths = parse_shift(site.shift)
    except ValueError as error:
        raise ValueError(f"site {site.name!r}: {error}") from error
    turned = replace(site, shift="")
    for name in (name for name, strength in strengths.items() if strength):
        dial = DIALS[name]
        if site.source != ATLAS and name not in OF_MASKS:
            raise ValueError(
                f"site {site.name!r}: shift {name} is for simulated patients, and these are of source {site.source!r}; "
                f"take {' or '.join(OF_MASKS)}"
            )
        if not moves(dial, turned):
            raise ValueError(
                f"site {site.name!r}: shift {name} moves nothing, the site is there already; "
                f"{_alternative(name, turned)}"
            )
        turned = dial.turn(turned, 1.0 if dial.by_patient else strengths[name])
    return replace(site, shift=format_shift(strengths))


def moves(dial: Dial, site: SiteConfig) -> bool:
    """Whether a dial in full changes anything of a site (which has no shift of its own)."""
    return dial.turn(site, 1.0) != site


def _alternative(name: str, site: SiteConfig) -> str:
    """What to do instead: take the next dial that moves a site, if there is one."""
    order = list(DIALS)
    place = order.index(name)
    others = (other for other in (*order[place + 1 :], *order[:place]) if moves(DIALS[other], site))
    other = next(others, None)
    return f"take another, for example {other}" if other else "leave it out"


def shift_sites(sites: Sequence[SiteConfig], text: str, target: str) -> tuple[SiteConfig, ...]:
    """The sites with what `--shift` says: DIAL=STRENGTH of the target, SITE:DIAL=STRENGTH of a site, by commas.

    A dial that a site has already is set anew. Raises ValueError as `checked`, or for an unknown site.
    """
    asked: dict[str, list[str]] = {site.name: [] for site in sites}
    for item in (item.strip() for item in text.split(",") if item.strip()):
        name, _, dial = item.rpartition(":")
        name = name.strip() or target
        if name not in asked:
            raise ValueError(f"shift: {name!r} is not a site; choose one of {', '.join(asked)}")
        asked[name].append(dial)
    changed = {name: parse_shift(",".join(items)) for name, items in asked.items()}
    strengths = (parse_shift(checked(site).shift) | changed[site.name] for site in sites)
    return tuple(checked(replace(s, shift=format_shift(each))) for s, each in zip(sites, strengths, strict=True))
