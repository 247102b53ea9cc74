"""One split of an institution: in memory, or read from its source as it is needed. The same bits either way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.types import Split
from sites.sources.base import KSpace, SliceSource, Source

Order = npt.NDArray[np.int64]
A = TypeVar("A")
B = TypeVar("B")

AHEAD = 3  # batches that are read before they are asked for


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One split in file order.

    patients: those with slices; volume: int64 [N] index of each slice's patient; size: C, H, W
    kspace: complex64 [N, C, H, W], None if it stays where `source` reads it
    """

    patients: tuple[str, ...]
    volume: Tensor
    size: tuple[int, ...]
    device: str
    kspace: Tensor | None
    source: SliceSource | None = None

    def __len__(self) -> int:
        return len(self.volume)

    @property
    def bytes(self) -> int:
        """In memory."""
        return 0 if self.kspace is None else self.kspace.nbytes

    def fetch(self, order: Order) -> Tensor:
        """The slices with these indices, complex64 [n, C, H, W]. Raises ValueError if they cannot be read any more."""
        if self.kspace is not None:
            if len(order) and order[-1] - order[0] == len(order) - 1 and (np.diff(order) == 1).all():
                return self.kspace[order[0] : order[-1] + 1]  # in file order: a view
            return self.kspace[torch.from_numpy(order).to(self.device)]
        assert self.source is not None
        volume = self.volume.cpu().numpy()
        starts = np.searchsorted(volume, np.arange(len(self.patients)))
        found = np.empty((len(order), *self.size), np.complex64)
        ascending = np.argsort(order, kind="stable")
        owners = volume[order[ascending]]
        for index in np.unique(owners):
            there = ascending[owners == index]
            found[there] = self.source.rows(self.patients[index], order[there] - starts[index])
        return torch.from_numpy(found).to(self.device)


def load(source: Source, patients: Sequence[str], site: str, split: Split, device: str, memory: float | None) -> Shard:
    """Read the patients of one split of a site. memory: bytes it may take if the source can be asked again; None: any.

    Raises ValueError if their slices differ in size, or there are none.
    """
    again = source if isinstance(source, SliceSource) and memory is not None else None
    volumes: list[KSpace] = []
    lengths: list[int] = []
    names: list[str] = []
    sizes: set[tuple[int, ...]] = set()
    total = 0
    for patient in patients:
        kspace = np.ascontiguousarray(source.kspace(patient))
        if not len(kspace):
            continue
        names.append(patient)
        lengths.append(len(kspace))
        sizes.add(kspace.shape[1:])
        total += kspace.nbytes
        if again is None or memory is None or total <= memory:
            volumes.append(kspace)
        else:
            volumes.clear()
        del kspace
    if len(sizes) > 1:
        raise ValueError(f"site {site!r} has slices of different sizes {sorted(sizes)}; prepare them to one size")
    if not sizes:
        raise ValueError(f"site {site!r}: no slice for {split} is left that can be used; see run.py data inspect")
    (size,) = sizes
    streams = not volumes
    return Shard(
        patients=tuple(names),
        volume=torch.arange(len(names)).repeat_interleave(torch.tensor(lengths)).to(device),
        size=size,
        device=device,
        kspace=None if streams else _joined(volumes, sum(lengths), size, device),
        source=again if streams else None,
    )


def _joined(volumes: list[KSpace], slices: int, size: tuple[int, ...], device: str) -> Tensor:
    """One after the other. A volume is let go once it is copied, and the whole takes memory as it is filled.

    From the last to the first: so malloc gives memory back to the system.
    """
    whole = torch.empty((slices, *size), dtype=torch.complex64, device=device)
    end = slices
    while volumes:
        part = torch.from_numpy(volumes.pop())
        whole[end - len(part) : end] = part
        end -= len(part)
        del part
    return whole


def ahead(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`map`, with the next results made in a thread of their own meanwhile."""
    pool, made = ThreadPoolExecutor(1), deque[Future[B]]()
    try:
        for item in items:
            made.append(pool.submit(work, item))
            if len(made) > AHEAD:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()
    finally:  # nobody may have waited for what is still queued
        pool.shutdown(cancel_futures=True)
