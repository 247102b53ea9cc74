"""A site made of stored images, in file order: what the parity checks, the bench and the engine's tests train on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from engine.types import Array, Batch, Split


class ArraySite:
    """Implements `engine.types.SiteLike`. inputs, targets: [N, H, W], normalised; volumes of `depth` slices.

    The same images serve all splits; batches come in file order, unshuffled, in the arrays' own dtype.
    """

    def __init__(self, name: str, inputs: Array, targets: Array, depth: int | None = None) -> None:
        self.name = name
        self._inputs = torch.from_numpy(np.ascontiguousarray(inputs))[:, None]
        self._targets = torch.from_numpy(np.ascontiguousarray(targets))[:, None]
        self._depth = depth or len(inputs)

    def slices(self, split: Split) -> int:  # noqa: ARG002
        """Number of slices, in any split."""
        return len(self._inputs)

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """In file order, whatever the round."""
        return self._batches(batch_size)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """In file order, whatever the split."""
        return self._batches(batch_size)

    def _batches(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(self._inputs), batch_size):
            inputs = self._inputs[start : start + batch_size]
            targets = self._targets[start : start + batch_size]
            yield Batch(
                input=inputs,
                target=targets,
                truth=targets[:, 0],
                zero_filled=inputs[:, 0],
                mean=torch.zeros(len(inputs), dtype=inputs.dtype),
                std=torch.ones(len(inputs), dtype=inputs.dtype),
                volume=torch.arange(start, start + len(inputs)) // self._depth,
            )
