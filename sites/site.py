"""An institution: its patients' k-space, split by patient, and batches for training and evaluation.

A plain class, testable without Ray. Images leave it only as `Batch`, to code that runs inside the institution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Self

import numpy as np
import torch
from torch import Tensor

from engine.streams import rng
from engine.types import Array, Batch, Split, TrainingStopped
from sites.acquisition import acquire
from sites.config import SiteConfig
from sites.masks import column_mask, num_low_frequencies, patient_mask
from sites.shard import Order, Shard, ahead, load
from sites.shifts import shifted
from sites.sources.base import SliceSource, Source

Fetch = Callable[[Order], Tensor]  # indices of slices -> their k-space complex64 [n, C, H, W]


class Site:
    """Implements `engine.types.SiteLike` for a source of k-space."""

    def __init__(
        self,
        config: SiteConfig,
        source: Source,
        seed: int,
        device: str = "cpu",
        memory: float | None = None,
        lazy: bool = False,
    ) -> None:
        """Reads every patient once. memory: bytes of k-space to keep of a `SliceSource`; None: all.

        lazy: read the patients of a split, and find fault with them, when it is first asked for.

        Raises ValueError if the source holds fewer patients than the splits need, or slices of different sizes,
        or if the undersampling is impossible for their columns.
        """
        self.config = config
        self.seed = seed
        self.device = device
        patients = tuple(source.patients())
        counts = config.counts
        if len(patients) < sum(counts.values()):
            raise ValueError(
                f"site {config.name!r} has {len(patients)} patients, its splits need {sum(counts.values())}; "
                "lower train_patients, val_patients or test_patients"
            )
        ends = zip(counts.items(), accumulate(counts.values()), strict=True)
        self._patients = {split: patients[end - count : end] for (split, count), end in ends if count}
        self._protocols = {patient: shifted(config, index) for index, patient in enumerate(patients)}
        self._source = source
        self._memory = memory
        self._shards: dict[Split, Shard] = {}
        self._fixed_masks: dict[Split, Tensor] = {}
        if not lazy:
            for split in self._patients:
                self._shard(split)
        self.notes = tuple(source.notes) if isinstance(source, SliceSource) else ()

    def _shard(self, split: Split) -> Shard:
        """The patients of a split, read when it is first asked for. Raises ValueError as the constructor."""
        if split in self._shards:
            return self._shards[split]
        config = self.config
        shard = load(self._source, self._patients[split], config.name, split, self.device, self._memory)
        self._memory = None if self._memory is None else self._memory - shard.bytes
        if any(shard.size != other.size for other in self._shards.values()):
            raise ValueError(f"site {config.name!r} has slices of different sizes; prepare them to one size")
        for each in (shifted(config), *(self._protocols[patient] for patient in shard.patients)):
            try:
                num_low_frequencies(each.mask, shard.size[-1], each.acceleration, each.center_fraction)
            except ValueError as error:
                raise ValueError(f"site {config.name!r}: {error}") from error
        self._fixed_masks[split] = self._masks_by_patient(shard)
        self._shards[split] = shard
        return shard

    @property
    def name(self) -> str:
        """Unique in the federation."""
        return self.config.name

    @property
    def size(self) -> tuple[int, ...]:
        """Coils, rows and columns of its slices."""
        return self._shard(next(iter(self._patients))).size

    @property
    def bytes(self) -> int:
        """Of its k-space in memory."""
        return sum(shard.bytes for shard in self._shards.values())

    @property
    def streams(self) -> bool:
        """Whether some of its k-space is read as it is needed."""
        return any(self._shard(split).kspace is None for split in self._patients)

    def with_seed(self, seed: int) -> Self:
        """The same patients in another federation: other orders and masks in training."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def slices(self, split: Split) -> int:
        """Number of slices in a split."""
        return len(self._shard(split)) if split in self._patients else 0

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:
        """The training slices; order and masks are drawn from (seed, name, round, epoch)."""
        order, masks, volume = self.epoch(round, epoch)
        return _batches(self.fetch, order, masks, volume, batch_size, self._shard("train").kspace is None)

    def epoch(self, round: int, epoch: int) -> tuple[Order, Tensor, Tensor]:
        """The order of the training slices in an epoch, int64 [N], and in this order masks [N, W] and volumes [N]."""
        shard = self._shard("train")
        order = rng(self.seed, "order", self.name, round, epoch).permutation(len(shard))
        seeds = rng(self.seed, "masks", self.name, round, epoch).integers(2**32, size=len(shard))
        volume = shard.volume[torch.from_numpy(order).to(self.device)]
        return order, self._masks(shard, volume, seeds), volume

    def fetch(self, order: Order) -> Tensor:
        """K-space complex64 [n, C, H, W] of the training slices with these indices. Raises TrainingStopped."""
        return self._fetch("train", order)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A split in file order; a patient's slices share one mask, seeded by the patient's name as in fastMRI."""
        shard = self._shard(split)
        return self._in_file_order(split, shard, self._fixed_masks[split], batch_size)

    def sample_batches(self, batch_size: int) -> Iterator[Batch]:
        """The validation slices in file order, each with a mask of its own, drawn from (seed, name)."""
        shard = self._shard("val")
        seeds = rng(self.seed, "sample masks", self.name).integers(2**32, size=len(shard))
        return self._in_file_order("val", shard, self._masks(shard, shard.volume, seeds), batch_size)

    def _in_file_order(self, split: Split, shard: Shard, masks: Tensor, batch_size: int) -> Iterator[Batch]:
        order, stream = np.arange(len(shard)), shard.kspace is None
        return _batches(lambda rows: self._fetch(split, rows), order, masks, shard.volume, batch_size, stream)

    def _fetch(self, split: Split, order: Order) -> Tensor:
        try:
            return self._shard(split).fetch(order)
        except (ValueError, OSError) as error:  # what could be read when the run began
            mend = "restore it, then run.py resume goes on"
            raise TrainingStopped(f"site {self.name!r}: {error} (it could be read before; {mend})") from error

    def _masks(self, shard: Shard, volume: Tensor, seeds: Array) -> Tensor:
        """One mask a slice, of its patient's pattern and its own seed: bool [len(seeds), W] on the device."""
        protocols = [self._protocols[shard.patients[index]] for index in volume.tolist()]
        drawn = [
            column_mask(p.mask, shard.size[-1], p.acceleration, p.center_fraction, seed)
            for p, seed in zip(protocols, seeds.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(drawn)).to(self.device)

    def _masks_by_patient(self, shard: Shard) -> Tensor:
        drawn = [patient_mask(self._protocols[patient], shard.size[-1], patient) for patient in shard.patients]
        return torch.from_numpy(np.stack(drawn)).to(self.device)[shard.volume]


class FusedSite:
    """The training shards of several sites in one place: what centralised training would have, and no hospital allows.

    Implements `engine.types.SiteLike` for training alone. Each slice has the mask it has at its own site. Where parts
    have different numbers of coils, coils that see nothing are added, which leaves the root sum of squares.
    """

    def __init__(self, name: str, parts: Sequence[Site]) -> None:
        """parts: in name order. Raises ValueError if their slices differ in size."""
        self.name = name
        self.notes: tuple[str, ...] = ()  # its parts have theirs
        self._parts = parts
        sizes = {part.name: part.size[1:] for part in parts}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{site} {size}" for site, size in sizes.items())
            mend = "bring them to one, as run.py data prepare --matrix N does"
            raise ValueError(f"slices of different size cannot be fused ({told}); {mend}")
        self._size = (max(part.size[0] for part in parts), *parts[0].size[1:])

    def slices(self, split: Split) -> int:
        """Number of training slices; of the other splits none, its parts are scored."""
        return sum(part.slices(split) for part in self._parts) if split == "train" else 0

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:
        """All parts' slices, shuffled together."""
        first = self._parts[0]
        epochs = [part.epoch(round, epoch) for part in self._parts]
        orders, masks_of, volumes = zip(*epochs, strict=True)
        masks, volume, rows = torch.cat(masks_of), torch.cat(volumes), np.concatenate(orders)
        owner = np.repeat(np.arange(len(orders)), [len(order) for order in orders])

        def fetch(order: Order) -> Tensor:
            found = torch.zeros((len(order), *self._size), dtype=torch.complex64, device=first.device)
            for index, part in enumerate(self._parts):
                here = np.flatnonzero(owner[order] == index)
                if len(here):
                    found[torch.from_numpy(here).to(first.device), : part.size[0]] = part.fetch(rows[order[here]])
            return found

        shuffled = rng(first.seed, "order", self.name, round, epoch).permutation(len(volume))
        order = torch.from_numpy(shuffled).to(first.device)
        return _batches(fetch, shuffled, masks[order], volume[order], batch_size, any(p.streams for p in self._parts))

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Nothing: every part is scored at its own site."""
        del split, batch_size
        return iter(())

    def sample_batches(self, batch_size: int) -> Iterator[Batch]:
        """Nothing, as `eval_batches`."""
        del batch_size
        return iter(())


def _batches(
    fetch: Fetch, order: Order, masks: Tensor, volume: Tensor, batch_size: int, stream: bool
) -> Iterator[Batch]:
    """masks [N, W] and volume [N] lie in the order already. stream: fetch the next batches meanwhile."""
    starts = range(0, len(order), batch_size)
    chunks = [order[start : start + batch_size] for start in starts]
    fetched = ahead(fetch, chunks) if stream else map(fetch, chunks)
    for start, kspace in zip(starts, fetched, strict=True):
        rows = slice(start, start + batch_size)
        yield acquire(kspace, masks[rows], volume[rows])
