"""The dials of domain shift: what each moves, from where to where. `sites.shifts` reads and applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sites.protocols import alike, flair, geometric, harmonic, linear, pd_weighted, t1_weighted, t2_weighted, towards
from sites.site_config import MaskKind, SiteConfig

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
    """The noise grows evenly: evenly spaced ratios would change little at first."""
    return replace(site, snr=harmonic(site.snr, min(site.snr, 5.0), strength))


def _acceleration(site: SiteConfig, strength: float) -> SiteConfig:
    """The centre shrinks evenly to a quarter, so that it has another width at every quarter even of 64 columns."""
    return replace(
        site,
        acceleration=round(linear(site.acceleration, 2 * site.acceleration, strength)),
        center_fraction=linear(site.center_fraction, site.center_fraction / 4, strength),
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
        snr=harmonic(site.snr, min(site.snr, 4.0), strength),
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
            summary="likewise, to a T1-weighted spin echo (TR 500, TE 12 ms)",
            turn=_contrast(t1_weighted),
        ),
        Dial(
            name="contrast-pd",
            summary="likewise, to a proton-density-weighted spin echo (TR 4000, TE 15 ms)",
            turn=_contrast(pd_weighted),
        ),
        Dial(
            name="contrast-flair",
            summary="likewise, to FLAIR (TR 9000, TE 90 ms, TI at the null of CSF)",
            turn=_contrast(flair),
        ),
        Dial(
            name="field",
            summary="the main field, and with it T1 and T2: to 3 T, or from 2.25 T and above to 1.5 T",
            turn=_field,
        ),
        Dial(name="snr", summary="more noise: it grows evenly to a signal-to-noise ratio of 5", turn=_snr),
        Dial(
            name="acceleration",
            summary="fewer columns: twice the undersampling factor, in whole numbers; a quarter of the centre",
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
