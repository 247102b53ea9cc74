"""Domain shift with dials: an institution is an acquisition model, so every shift has a strength.

0 is the institution's own distribution, its configuration unchanged; 1 the full shift. The patients stay the same:
they are drawn from (seed, institution, index) alone. A shift is written DIAL=STRENGTH, several by commas, and is part
of the institution (`SiteConfig.shift`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sites.protocols import alike, flair, geometric, linear, pd_weighted, t1_weighted, t2_weighted, towards
from sites.site_config import ATLAS, MaskKind, SiteConfig

Turn = Callable[[SiteConfig, float], SiteConfig]


@dataclass(frozen=True, kw_only=True)
class Dial:
    """One shift. turn: the site at a strength; as it is at 0, and at any strength if it is at the full shift already.

    summary: what moves from what to what. by_patient: the strength is the part of the patients that are shifted in
    full; `turn` then shifts one patient, in full at any strength above 0.
    """

    name: str
    summary: str
    turn: Turn
    by_patient: bool = False


# ---- what each dial does --------------------------------------------------------------------------------------


def _contrast(full: Callable[[SiteConfig], SiteConfig]) -> Turn:
    """Towards another protocol, unless the images look so already."""

    def turn(site: SiteConfig, strength: float) -> SiteConfig:
        other = full(site)
        return site if alike(site, other) else towards(site, other, strength)

    return turn


def _field(site: SiteConfig, strength: float) -> SiteConfig:
    other = 3.0 if site.field_strength < 2.25 else 1.5
    return replace(site, field_strength=geometric(site.field_strength, other, strength))


def _snr(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(site, snr=geometric(site.snr, min(site.snr, 5.0), strength))


def _acceleration(site: SiteConfig, strength: float) -> SiteConfig:
    """The centre shrinks as fastMRI's does, 0.08 at 4 and 0.04 at 8: a constant part of what is measured."""
    return replace(
        site,
        acceleration=round(geometric(site.acceleration, 2 * site.acceleration, strength)),
        center_fraction=geometric(site.center_fraction, site.center_fraction / 2, strength),
    )


def _mask(site: SiteConfig, strength: float) -> SiteConfig:
    other: MaskKind = "equispaced" if site.mask == "random" else "random"
    return replace(site, mask=other) if strength else site


def _lesions(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(site, lesions="glioma") if strength else site


def _anatomy(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(site, head_size=linear(site.head_size, 0.88, strength), atrophy=linear(site.atrophy, 1.0, strength))


def _bias_field(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(site, bias_field=linear(site.bias_field, max(site.bias_field, 0.9), strength))


def _resolution(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(site, resolution=linear(site.resolution, min(site.resolution, 0.5), strength))


def _coils(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(site, coils=round(geometric(site.coils, max(site.coils, 8), strength)))


def _mixture(site: SiteConfig, strength: float) -> SiteConfig:
    return _contrast(t2_weighted)(site, float(strength > 0))


def _quality(site: SiteConfig, strength: float) -> SiteConfig:
    return replace(
        site,
        snr=geometric(site.snr, min(site.snr, 4.0), strength),
        bias_field=linear(site.bias_field, max(site.bias_field, 0.9), strength),
        resolution=linear(site.resolution, min(site.resolution, 0.6), strength),
    )


DIALS: Mapping[str, Dial] = {
    dial.name: dial
    for dial in (
        Dial(
            name="contrast",
            summary="the protocol, from the site's own to a T2-weighted spin echo (TR 6000, TE 100 ms)",
            turn=_contrast(t2_weighted),
        ),
        Dial(
            name="contrast-t1",
            summary="the same to a T1-weighted spin echo (TR 500, TE 12 ms)",
            turn=_contrast(t1_weighted),
        ),
        Dial(
            name="contrast-pd",
            summary="the same to a proton-density-weighted spin echo (TR 4000, TE 15 ms)",
            turn=_contrast(pd_weighted),
        ),
        Dial(
            name="contrast-flair",
            summary="the same to FLAIR (TR 9000, TE 90 ms, TI at the null of CSF)",
            turn=_contrast(flair),
        ),
        Dial(
            name="field",
            summary="the main field, and with it T1 and T2: to 3 T, or from 2.25 T and above to 1.5 T",
            turn=_field,
        ),
        Dial(name="snr", summary="more noise: the signal-to-noise ratio, from the site's own to 5", turn=_snr),
        Dial(
            name="acceleration",
            summary="fewer columns: twice the undersampling factor, half the centre (as fastMRI at 4 and 8)",
            turn=_acceleration,
        ),
        Dial(
            name="mask",
            summary="undersampling by another pattern: random becomes equispaced, any other random",
            turn=_mask,
            by_patient=True,
        ),
        Dial(name="lesions", summary="pathology: a glioma in healthy heads", turn=_lesions, by_patient=True),
        Dial(
            name="anatomy",
            summary="the population: smaller heads (0.88 of their size) with wide ventricles and sulci, as in old age",
            turn=_anatomy,
        ),
        Dial(name="bias_field", summary="shading: the receive field's variation, from the site's own to 0.9",
             turn=_bias_field),
        Dial(
            name="resolution",
            summary="a smaller acquisition matrix, interpolated to the same image: half the rows and columns",
            turn=_resolution,
        ),
        Dial(name="coils", summary="the receive array, from the site's own coils to 8", turn=_coils),
        Dial(
            name="mixture",
            summary="two protocols at one site: T2-weighted, as `contrast` at 1, beside the site's own",
            turn=_mixture,
            by_patient=True,
        ),
        Dial(
            name="quality",
            summary="one bad scanner: SNR to 4, bias field to 0.9, resolution to 0.6",
            turn=_quality,
        ),
    )
}  # fmt: skip
"""All dials, in the order in which they are applied."""
OF_MASKS = ("acceleration", "mask")
"""Those that turn undersampling, which is ours: measured images can be shifted by these alone."""


# ---- as text --------------------------------------------------------------------------------------------------


def parse_shift(text: str) -> dict[str, float]:
    """Strengths by dial, in the order of `DIALS`, of a text as "contrast=0.5,snr=1".

    Raises ValueError, in one line, for an unknown dial, one named twice, or a strength that is not in 0 … 1.
    """
    found: dict[str, float] = {}
    for item in (item.strip() for item in text.split(",") if item.strip()):
        name, equals, value = (part.strip() for part in item.partition("="))
        _check_dial(name)
        if not equals:
            raise ValueError(f"shift {item!r} has no strength; write {name}=0.5, from 0 (none) to 1 (full)")
        if name in found:
            raise ValueError(f"shift {name} stands twice in {text!r}; name it once")
        found[name] = _strength(name, value)
    return {name: found[name] for name in DIALS if name in found}


def format_shift(strengths: Mapping[str, float]) -> str:
    """The text that `parse_shift` reads: in the order of `DIALS`, without strengths of 0."""
    return ",".join(f"{name}={str(float(strengths[name])).removesuffix('.0')}" for name in DIALS
                    if strengths.get(name))  # fmt: skip


def _check_dial(name: str) -> None:
    if name not in DIALS:
        close = difflib.get_close_matches(name, DIALS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(DIALS)}"
        raise ValueError(f"shift {name!r} is unknown; {hint}")


def _strength(name: str, value: str | float) -> float:
    try:
        strength = float(value)
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= 1:
        raise ValueError(f"shift {name}={value}: take a strength from 0 (none) to 1 (full)")
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

    Raises ValueError, in one line, for a shift that cannot be parsed, is not for measured images, or has nothing to
    move at this site, since it is at the full shift already.
    """
    try:
        strengths = parse_shift(site.shift)
    except ValueError as error:
        raise ValueError(f"site {site.name!r}: {error}") from error
    turned = replace(site, shift="")
    for name in (name for name, strength in strengths.items() if strength):
        if site.source != ATLAS and name not in OF_MASKS:
            mend = f"take {' or '.join(OF_MASKS)}"
            raise ValueError(
                f"site {site.name!r}: shift {name} is for simulated patients, these are {site.source}; {mend}"
            )
        full = DIALS[name].turn(turned, 1.0)
        if full == turned:
            others = [other for other in DIALS if other != name and DIALS[other].turn(turned, 1.0) != turned]
            following = [other for other in others if list(DIALS).index(other) > list(DIALS).index(name)]
            raise ValueError(
                f"site {site.name!r}: shift {name} moves nothing, the site is there already; "
                f"take another, for example {(following or others)[0]}"
            )
        turned = full if DIALS[name].by_patient else DIALS[name].turn(turned, strengths[name])
    return replace(site, shift=format_shift(strengths))


def shift_sites(sites: Sequence[SiteConfig], text: str, target: str) -> tuple[SiteConfig, ...]:
    """The sites with what `--shift` says: DIAL=STRENGTH of the target, SITE:DIAL=STRENGTH of a site, by commas.

    A dial that a site has already is set anew. Raises ValueError as `checked`, or for an unknown site.
    """
    asked: dict[str, list[str]] = {}
    for item in (item.strip() for item in text.split(",") if item.strip()):
        name, _, dial = item.rpartition(":")
        asked.setdefault(name.strip() or target, []).append(dial)
    present = [site.name for site in sites]
    for name in asked:
        if name not in present:
            raise ValueError(f"shift: {name!r} is not a site; choose one of {', '.join(present)}")
    return tuple(
        checked(
            replace(site, shift=format_shift(parse_shift(site.shift) | parse_shift(",".join(asked.get(site.name, [])))))
        )
        for site in sites
    )
