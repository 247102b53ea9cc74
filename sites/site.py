"""An institution: its patients' k-space in memory, split by patient, and batches for training and evaluation.

A plain class, testable without Ray. Images leave it only as `Batch`, to code that runs inside the institution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.streams import rng
from engine.types import Batch, Split
from sites.acquisition import acquire
from sites.config import SiteConfig
from sites.masks import column_mask, num_low_frequencies, patient_mask
from sites.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One split in file order: kspace complex64 [N, C, H, W], volume int64 [N]."""

    patients: tuple[str, ...]
    kspace: Tensor
    volume: Tensor


class Site:
    """Implements `engine.types.SiteLike` for a source of k-space."""

    def __init__(self, config: SiteConfig, source: Source, seed: int, device: str = "cpu") -> None:
        """Reads every patient once.

        Raises ValueError if the source holds fewer patients than the splits need, or slices of different sizes,
        or if the undersampling is impossible for their columns.
        """
        self.config = config
        self.seed = seed
        self.device = device
        patients = tuple(source.patients())
        counts = (config.train_patients, config.val_patients, config.test_patients)
        if len(patients) < sum(counts):
            raise ValueError(
                f"site {config.name!r} has {len(patients)} patients, its splits need {sum(counts)}; "
                "lower train_patients, val_patients or test_patients"
            )
        first = np.cumsum((0, *counts))
        splits: tuple[Split, ...] = ("train", "val", "test")
        self._shards = {
            split: _load(source, patients[first[i] : first[i + 1]], config.name, device)
            for i, split in enumerate(splits)
        }
        if len({shard.kspace.shape[1:] for shard in self._shards.values()}) > 1:
            raise ValueError(f"site {config.name!r} has slices of different sizes; prepare them to one size")
        self._columns = self._shards["train"].kspace.shape[-1]
        try:
            num_low_frequencies(config.mask, self._columns, config.acceleration, config.center_fraction)
        except ValueError as error:
            raise ValueError(f"site {config.name!r}: {error}") from error
        self._fixed_masks = {split: self._masks_by_patient(shard) for split, shard in self._shards.items()}

    @property
    def name(self) -> str:
        """Unique in the federation."""
        return self.config.name

    @property
    def size(self) -> tuple[int, ...]:
        """Coils, rows and columns of its slices."""
        return tuple(self._shards["train"].kspace.shape[1:])

    def slices(self, split: Split) -> int:
        """Number of slices in a split."""
        return len(self._shards[split].volume)

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:
        """The training slices; order and masks are drawn from (seed, name, round, epoch)."""
        return _batches(*self.epoch(round, epoch), batch_size)

    def epoch(self, round: int, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """The training slices in the order of an epoch: kspace complex64 [N, C, H, W], masks [N, W], volume [N]."""
        shard = self._shards["train"]
        count = len(shard.volume)
        order = rng(self.seed, "order", self.name, round, epoch).permutation(count)
        seeds = rng(self.seed, "masks", self.name, round, epoch).integers(2**32, size=count)
        masks = self._masks([int(seed) for seed in seeds])
        index = torch.from_numpy(order).to(self.device)
        return shard.kspace[index], masks, shard.volume[index]

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A split in file order; a patient's slices share one mask, seeded by the patient's name as in fastMRI."""
        shard = self._shards[split]
        return _batches(shard.kspace, self._fixed_masks[split], shard.volume, batch_size)

    def _masks(self, seeds: Sequence[int]) -> Tensor:
        """One mask a seed: bool [len(seeds), W] on the device."""
        config = self.config
        drawn = [
            column_mask(config.mask, self._columns, config.acceleration, config.center_fraction, seed) for seed in seeds
        ]
        return torch.from_numpy(np.stack(drawn)).to(self.device)

    def _masks_by_patient(self, shard: Shard) -> Tensor:
        drawn = [patient_mask(self.config, self._columns, patient) for patient in shard.patients]
        return torch.from_numpy(np.stack(drawn)).to(self.device)[shard.volume]


class FusedSite:
    """The training shards of several sites in one place: what centralised training would have, and no hospital allows.

    Implements `engine.types.SiteLike` for training alone. Each slice has the mask it has at its own site.
    """

    def __init__(self, name: str, parts: Sequence[Site]) -> None:
        """parts: in name order. Raises ValueError if their slices differ in coils or size."""
        self.name = name
        self._parts = parts
        sizes = {part.name: part.size for part in parts}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{site} {size}" for site, size in sizes.items())
            raise ValueError(f"slices of different coils, rows, columns cannot be fused ({told}); prepare them to one")

    def slices(self, split: Split) -> int:
        """Number of training slices; of the other splits none, its parts are scored."""
        return sum(part.slices(split) for part in self._parts) if split == "train" else 0

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:
        """All parts' slices, shuffled together."""
        first = self._parts[0]
        epochs = [part.epoch(round, epoch) for part in self._parts]
        kspace, masks, volume = (torch.cat(column) for column in zip(*epochs, strict=True))
        shuffled = rng(first.seed, "order", self.name, round, epoch).permutation(len(volume))
        order = torch.from_numpy(shuffled).to(first.device)
        return _batches(kspace[order], masks[order], volume[order], batch_size)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Nothing: every part is scored at its own site."""
        del split, batch_size
        return iter(())


def _load(source: Source, patients: Sequence[str], site: str, device: str) -> Shard:
    """Read the patients of one split. Raises ValueError if their slices differ in size."""
    volumes = [torch.from_numpy(np.ascontiguousarray(source.kspace(patient))) for patient in patients]
    sizes = {tuple(volume.shape[1:]) for volume in volumes}
    if len(sizes) > 1:
        raise ValueError(f"site {site!r} has slices of different sizes {sorted(sizes)}; prepare them to one size")
    kspace = torch.cat(volumes).to(device)
    lengths = torch.tensor([len(volume) for volume in volumes])
    return Shard(
        patients=tuple(patients),
        kspace=kspace,
        volume=torch.arange(len(volumes)).repeat_interleave(lengths).to(device),
    )


def _batches(kspace: Tensor, masks: Tensor, volume: Tensor, batch_size: int) -> Iterator[Batch]:
    for start in range(0, len(volume), batch_size):
        rows = slice(start, start + batch_size)
        yield acquire(kspace[rows], masks[rows], volume[rows])
