"""Institutions of files in a run's configuration: found in a folder, and made explicit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from sites.config import RunConfig, Scenario, SiteConfig, Use, names
from sites.institutions import beside_folders, institution_name, sub_folders
from sites.sources.names import contrast_of
from sites.sources.select import PARTS, Selection, select


def folders(data: str, skip_bad: bool) -> Scenario:
    """The institutions of `sites.institutions.survey`: each sub-folder, or the folder itself.

    skip_bad: leave out the sub-folders without anything that can be used. Raises ValueError if none is left, or if
    files lie beside the sub-folders.
    """
    root = Path(data).absolute()
    try:
        loose = beside_folders(root)
    except OSError as error:
        raise ValueError(f"--data {data}: {error.strerror or error}; give a folder") from error
    below = sub_folders(root)
    if below and loose:
        raise ValueError(f"--data {data}: {loose[0].name} lies beside the institutions' folders; move it into one")
    sites = [SiteConfig(name=institution_name(path), source="files", path=str(path)) for path in below or [root]]
    if skip_bad:
        sites = [site for site in sites if _has_any(site)]
        if not sites:
            raise ValueError(f"--data {data} holds nothing that can be trained on; see run.py data inspect {data}")
    return Scenario(name=institution_name(root), summary="", sites=tuple(sites))


def settle(config: RunConfig, sites: Sequence[SiteConfig]) -> tuple[SiteConfig, ...]:
    """The sites as a stored run must state them: contrast and numbers of patients; reads the headers of their files.

    What is settled already, with a fingerprint, stays as it is. Raises ValueError as `select` does, for a setting
    of files that changes nothing, or for a patient whom one site trains on and another scores.
    """
    if not any(site.of_files for site in sites):
        for name in ("contrast", "split", "only_train", "only_test"):
            if getattr(config, name) != type(config).__dataclass_fields__[name].default:
                raise ValueError(f"{name} is {getattr(config, name)!r}, and no institution is of files; leave it out")
    uses: dict[str, Use] = dict.fromkeys(names(config.only_train), "train")
    for name in names(config.only_test):
        if name in uses:
            raise ValueError(f"only_train and only_test both name {name!r}; a site is for one of them")
        uses[name] = "test"
    present = [site.name for site in sites if site.of_files]
    for name in uses:
        if name not in present:
            raise ValueError(f"only_train, only_test: {name!r} is no site of files; those are {', '.join(present)}")
    _refuse_changes(config, [site for site in sites if site.fingerprint], uses)
    sites = [replace(s, use=uses[s.name]) if s.name in uses and not s.fingerprint else s for s in sites]
    done = [_settled(config, site) if site.of_files and not site.fingerprint else (site, None) for site in sites]
    _refuse_shared([(site, chosen) for site, chosen in done if chosen is not None])
    return tuple(site for site, _ in done)


def _settled(config: RunConfig, site: SiteConfig) -> tuple[SiteConfig, Selection]:
    site = replace(site, contrast=site.contrast or config.contrast)
    if config.split == "slices" and site.split == "patients" and site.use == "both" and not any(site.counts.values()):
        site = _divided_if_alone(config, site)
    chosen = select(site, config.skip_bad)
    patients = sum(len(names) for names in chosen.splits.values())
    each = PARTS[0] * chosen.slices if site.split == "slices" else chosen.slices / patients
    settled = replace(
        site,
        contrast=chosen.contrast,
        path=str(Path(site.path).absolute()),
        fingerprint=chosen.fingerprint,
        slices=max(1, round(each)),
        train_patients=len(chosen.splits["train"]),
        val_patients=len(chosen.splits["val"]),
        test_patients=len(chosen.splits["test"]),
    )
    return settled, chosen


def _divided_if_alone(config: RunConfig, site: SiteConfig) -> SiteConfig:
    """With its slices divided, if it has one patient."""
    whole = select(replace(site, use="train"), config.skip_bad)
    alone = len(whole.recordings) == 1
    return replace(site, split="slices") if alone else site


def _has_any(site: SiteConfig) -> bool:
    from sites.sources.find import find

    recordings, _ = find(Path(site.path))
    return any(each.complete for each in recordings)


def _refuse_changes(config: RunConfig, settled: Sequence[SiteConfig], uses: Mapping[str, Use]) -> None:
    """Raises ValueError for a setting that would divide anew what a stored run has divided."""
    anew = "the run that this configuration is of has divided it already; give --data or --scenario anew"
    for site in settled:
        if uses.get(site.name, site.use) != site.use:
            raise ValueError(f"only_{uses[site.name]} names {site.name!r}, whose use is {site.use!r}: {anew}")
    asked = {config.contrast.lower(), contrast_of(config.contrast).lower()}
    if config.contrast and settled and not asked & {site.contrast.lower() for site in settled}:
        raise ValueError(
            f"contrast is {config.contrast!r}, and that of {settled[0].name!r} {settled[0].contrast!r}: {anew}"
        )


def _refuse_shared(sites: Sequence[tuple[SiteConfig, Selection]]) -> None:
    """Raises ValueError for a patient of one folder whom one site trains on and another scores.

    One patient whose slices are divided by two sites is what their reports warn of.
    """
    for (a, trains), (b, scores) in permutations(sites, 2):
        if not _overlap(Path(a.path).resolve(), Path(b.path).resolve()) or a.split == b.split == "slices":
            continue
        trained = {_patient(a, name) for name in trains.splits["train"]}
        scored = {_patient(b, name) for split in ("val", "test") for name in scores.splits[split]}
        if shared := trained & scored:
            raise ValueError(
                f"sites {a.name!r} and {b.name!r} share files, and {a.name!r} trains on patient {min(shared)}, whom "
                f"{b.name!r} scores; divide both alike, as run.py data prepare does, or leave one out"
            )


def _patient(site: SiteConfig, name: str) -> str:
    return name.rpartition("/")[0] if site.split == "slices" else name


def _overlap(a: Path, b: Path) -> bool:
    return a == b or a in b.parents or b in a.parents
