"""Institutions of files in a run's configuration: found in a folder, and made explicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sites.config import RunConfig, Scenario, SiteConfig, Use, names
from sites.sources.names import contrast_of, safe, split_of
from sites.sources.select import PARTS, select


def folders(data: str, skip_bad: bool) -> Scenario:
    """Each sub-folder an institution, named after it; the folder itself, if its own are contrasts and splits.

    skip_bad: leave out the sub-folders without anything that can be used. Raises ValueError if none is left.
    """
    root = Path(data).absolute()
    try:
        below = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise ValueError(f"--data {data}: {error.strerror or error}; give a folder") from error
    if not below:
        raise ValueError(f"--data {data} has no sub-folders; each is an institution, with its files inside")
    if all(_is_layout(path) for path in below):
        below = [root]
    sites = [SiteConfig(name=_name(path), source="files", path=str(path)) for path in below]
    if skip_bad:
        sites = [site for site in sites if _has_any(site)]
        if not sites:
            raise ValueError(f"--data {data} holds nothing that can be trained on; see run.py data inspect {data}")
    return Scenario(name=_name(root), summary="", sites=tuple(sites))


def settle(config: RunConfig, sites: Sequence[SiteConfig]) -> tuple[SiteConfig, ...]:
    """The sites as a stored run must state them: contrast and numbers of patients; reads the headers of their files.

    What is settled already, with a fingerprint, stays as it is. Raises ValueError as `select` does, or for a setting
    of files where there are none.
    """
    if not any(site.of_files for site in sites):
        for name in ("contrast", "split", "only_train", "only_test"):
            if getattr(config, name) != type(config).__dataclass_fields__[name].default:
                raise ValueError(f"{name} is {getattr(config, name)!r}, and no institution is of files; leave it out")
    uses: dict[str, Use] = dict.fromkeys(names(config.only_train), "train")
    uses |= dict.fromkeys(names(config.only_test), "test")
    present = [site.name for site in sites if site.of_files]
    for name in uses:
        if name not in present:
            raise ValueError(f"only_train, only_test: {name!r} is no site of files; those are {', '.join(present)}")
    sites = [replace(s, use=uses[s.name]) if s.name in uses and not s.fingerprint else s for s in sites]
    return tuple(_settled(config, site) if site.of_files and not site.fingerprint else site for site in sites)


def _settled(config: RunConfig, site: SiteConfig) -> SiteConfig:
    site = replace(site, contrast=site.contrast or config.contrast)
    if config.split == "slices" and site.split == "patients" and site.use == "both" and not any(site.counts.values()):
        site = _divided_if_alone(config, site)
    chosen = select(site, config.skip_bad)
    patients = sum(len(names) for names in chosen.splits.values())
    each = PARTS[0] * chosen.slices if site.split == "slices" else chosen.slices / patients
    return replace(
        site,
        contrast=chosen.contrast,
        path=str(Path(site.path).absolute()),
        fingerprint=chosen.fingerprint,
        slices=max(1, round(each)),
        train_patients=len(chosen.splits["train"]),
        val_patients=len(chosen.splits["val"]),
        test_patients=len(chosen.splits["test"]),
    )


def _divided_if_alone(config: RunConfig, site: SiteConfig) -> SiteConfig:
    """With its slices divided, if it has one patient."""
    whole = select(replace(site, use="train"), config.skip_bad)
    alone = len(whole.recordings) == 1
    return replace(site, split="slices") if alone else site


def _has_any(site: SiteConfig) -> bool:
    from sites.sources.find import find

    recordings, _ = find(Path(site.path))
    return any(each.complete for each in recordings)


def _is_layout(folder: Path) -> bool:
    """Whether a folder is named for a split or, in whole, for a contrast."""
    named = contrast_of(folder.name)
    return split_of(folder / "x", folder.parent) is not None or (bool(named) and folder.name.lower() == named.lower())


def _name(folder: Path) -> str:
    """A folder's name as a site's."""
    return safe(folder.name).lstrip("-") or "unnamed"
