"""A run's network at work: k-space of a file, or of a simulated patient, becomes images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.types import Scores
from engine.weights import sha256
from sites.config import ATLAS, RunConfig, SiteConfig
from sites.kspace_file import Volume, read_volume
from sites.masks import patient_mask
from sites.network import WEIGHTS, check_fingerprint, load_network, network_words
from sites.run_reader import Image
from sites.shifts import shifted
from sites.sources.base import SliceSource, Source

if TYPE_CHECKING:
    from engine.training import Workspace

BATCH = 16  # slices a forward pass,
SAMPLES = 1 << 24  # and of many coils fewer: at most so many samples, 128 MiB


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What came of a volume. Images: float32 [S, H, W], k-space's units; truth and scores: None if unknown.

    run, algorithm: whose network; weights_sha256: of the federation's weights, as in summary.json
    network, own: in words, which it is, and whether with weights of a site's own; notes: what the user should know
    """

    run: Path
    algorithm: str
    volume: Volume
    zero_filled: Image
    reconstruction: Image
    truth: Image | None
    scores: Mapping[str, Scores] | None
    weights_sha256: str
    network: str
    own: str
    notes: tuple[str, ...]

    @property
    def middle(self) -> int:
        """The slice to draw: the middle one of those with a signal."""
        return self.volume.filled[len(self.volume.filled) // 2]


def apply_network(
    config: RunConfig, run_dir: Path, volume: Volume, site: str = "", advance: Callable[[int], object] = lambda _: None
) -> Reconstruction:
    """Apply the network of a run, resolved on this machine, to a volume.

    site: whose undersampling pattern, and whose own weights if the run has such; empty: the patient's own, else the
    run's target. advance: told the number of slices each time some are done.
    Raises ValueError if the network is damaged, or the volume does not fit it.
    """
    owner = _site(config, site or volume.site or config.target)
    notes = [*volume.notes, *([_empty(volume.empty)] if volume.empty else [])]
    if site and volume.mask is not None and not config.algorithm.personal:
        notes.append(f"site {site} changes nothing: k-space is undersampled already, the network is everyone's")
    _check_size(config, volume)
    rows, columns = volume.kspace.shape[-2:]
    if (rows, columns) != (config.matrix, config.matrix):
        notes.append(f"the network was trained on {config.matrix} × {config.matrix}, and this is {rows} × {columns}")
    if volume.mask is None:
        volume = _undersampled(volume, owner)
    workspace, own = load_network(config, run_dir, owner.name)
    fingerprint = sha256(workspace.weights.view())
    notes += check_fingerprint(run_dir, fingerprint)
    zero_filled, images, truth = _images(workspace, volume, advance)
    if not np.isfinite(images).all():
        raise ValueError(f"the network of {run_dir} gives nan or inf on this k-space; train it further, or anew")
    known = volume.complete
    return Reconstruction(
        run=run_dir,
        algorithm=config.algorithm_name,
        volume=volume,
        zero_filled=zero_filled,
        reconstruction=images,
        truth=truth if known else None,
        scores=_scores(volume, truth, zero_filled=zero_filled, reconstruction=images) if known else None,
        weights_sha256=fingerprint,
        network=network_words(config),
        own=own,
        notes=tuple(notes),
    )


def check_run(config: RunConfig, run_dir: Path, site: str = "") -> None:
    """At once, what needs no k-space to say. Raises ValueError if the run has no network yet, or no such site."""
    if not (run_dir / WEIGHTS).exists():
        raise ValueError(f"{run_dir} has no network yet (no {WEIGHTS}); run.py resume {run_dir} goes on")
    _site(config, site or config.target)


# ---- what is reconstructed ------------------------------------------------------------------------------


def find_volume(config: RunConfig, name: str, coils: bool = False) -> Volume:
    """K-space of a file or a folder, or of a patient of the run: `SITE/PATIENT`, or `SITE` for its first test patient.

    Raises ValueError if there is neither, or the file is of no use.
    """
    site, _, patient = name.partition("/")
    present = [config.name for config in config.institutions]
    if os.path.isfile(name) or (os.path.isdir(name) and name not in present):  # False too for a name that is too long
        return read_volume(Path(name), coils)
    if site not in present:
        raise ValueError(f"{name} is no file, and no institution of the run; those are {', '.join(present)}")
    if coils:
        raise ValueError(f"--coils is for files, and {name} is a patient of the run; leave it out")
    return _patient(config, _site(config, site), patient)


def _patient(config: RunConfig, site: SiteConfig, patient: str) -> Volume:
    """Scan or read a patient anew. Raises ValueError if the site has none of that name, or brought its own images,
    or if nobody is named and it tests nobody, or if of the patient no slice can be used.
    """
    source = _source(config, site)
    names = source.patients()
    tested = names[site.train_patients + site.val_patients :][: site.test_patients]
    if patient and patient not in names:
        told = f"tested on from {tested[0]}" if tested else "none is tested on"
        raise ValueError(f"{site.name} has no patient {patient!r}; give one of {names[0]} to {names[-1]} ({told})")
    if not (patient or tested):
        raise ValueError(f"{site.name} tests nobody; name a patient it trains on, as {site.name}/{names[0]}, or a file")
    chosen = patient or tested[0]
    kspace = source.kspace(chosen)
    if not len(kspace):
        raise ValueError(f"{site.name}/{chosen}: every file was skipped as bad; name another patient")
    notes = tuple(source.notes) if isinstance(source, SliceSource) else ()
    return Volume(name=chosen, site=site.name, index=names.index(chosen), kspace=kspace, notes=notes)


def _source(config: RunConfig, site: SiteConfig) -> Source:
    if site.of_files:
        from sites.sources.files import FileSource

        return FileSource(site, config.matrix, config.skip_bad)
    if site.source != ATLAS:
        raise ValueError(f"{site.name}'s patients came from {site.source} and cannot be simulated; give a file")
    from sites.anatomy import load_maps
    from sites.sources.atlas import AtlasSource

    return AtlasSource(site, load_maps(), config.matrix, config.seed)


def _site(config: RunConfig, name: str) -> SiteConfig:
    for site in config.institutions:
        if site.name == name:
            return site
    raise ValueError(f"site {name!r} is not in the run; choose one of {', '.join(s.name for s in config.institutions)}")


def _undersampled(volume: Volume, site: SiteConfig) -> Volume:
    """With the mask under which the site would score such a patient. Raises ValueError if that is impossible.

    The site's shift is of its own patients; what it does by patient is left out for others.
    """
    site = shifted(site, volume.index if volume.site == site.name else None)
    slices, columns = len(volume.kspace), volume.kspace.shape[-1]
    try:
        mask = np.tile(patient_mask(site, columns, volume.name), (slices, 1))
    except ValueError as error:
        raise ValueError(f"undersampling {columns} columns as {site.name} does: {error}; try another --site") from error
    words = f"undersampled here as {site.name} does, {site.mask} columns × {site.acceleration}"
    padded = f" ({volume.sampling})" if "padded" in volume.sampling else ""
    return replace(volume, mask=mask, sampling=words + padded)


def _check_size(config: RunConfig, volume: Volume) -> None:
    smallest = max(2 * 2**config.model.pool_layers, 7)  # the second: SSIM's window
    rows, columns = volume.kspace.shape[-2:]
    if min(rows, columns) < smallest:
        raise ValueError(
            f"{volume.name}: slices of {rows} × {columns} are too small for a network of "
            f"{config.model.pool_layers} poolings; both sides must be at least {smallest}"
        )


def _empty(slices: tuple[int, ...]) -> str:
    told = ", ".join(map(str, slices[:8])) + (", …" if len(slices) > 8 else "")
    return f"slices without any signal (counted from 0: {told}) stay black and are not scored"


# ---- images ---------------------------------------------------------------------------------------------


def _images(workspace: Workspace, volume: Volume, advance: Callable[[int], object]) -> tuple[Image, Image, Image]:
    """Zero-filled, reconstruction and fully sampled magnitudes, float32 [S, H, W]."""
    import torch

    from sites.acquisition import acquire

    assert volume.mask is not None
    largest = max(np.abs(volume.kspace.real).max(), np.abs(volume.kspace.imag).max())
    # k-space may be of any scale; to divide by a power of two rounds nothing
    unit = np.float32(2.0 ** math.floor(math.log2(largest)))
    count = max(1, min(BATCH, SAMPLES // volume.kspace[0].size))
    done: list[tuple[Image, ...]] = []
    for start in range(0, len(volume.kspace), count):
        rows = slice(start, start + count)
        kspace = torch.from_numpy(volume.kspace[rows] / unit).to(workspace.device)
        mask = torch.from_numpy(volume.mask[rows]).to(workspace.device)
        batch = acquire(kspace, mask, torch.zeros(len(kspace), dtype=torch.int64, device=workspace.device))
        with torch.no_grad():
            (batch,) = workspace.cast([batch])
            _, image = workspace.reconstruct(batch)
        done.append(tuple(unit * part.float().cpu().numpy() for part in (batch.zero_filled, image, batch.truth)))
        advance(len(kspace))
    zero_filled, images, truth = (np.concatenate(parts) for parts in zip(*done, strict=True))
    return zero_filled, images, truth


def _scores(volume: Volume, truth: Image, **images: Image) -> dict[str, Scores]:
    """Of the slices with a signal."""
    import torch

    from engine.metrics import score

    def tensor(image: Image) -> torch.Tensor:
        return torch.from_numpy(image[volume.filled])

    return {name: score(tensor(truth), tensor(image)) for name, image in images.items()}
