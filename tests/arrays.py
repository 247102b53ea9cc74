"""A site made of stored images, in file order: what the parity checks, the bench and the engine's tests train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.types import Array, Batch, Split


class ArraySite:
    """Implements `engine.types.SiteLike`. inputs, targets: [N, H, W], normalised; volumes of `depth` slices.

    The first `evaluated` slices (None: all) serve validation and test; batches come in file order, unshuffled, in
    the arrays' own dtype.
    """

    def __init__(
        self, name: str, inputs: Array, targets: Array, depth: int | None = None, evaluated: int | None = None
    ) -> None:
        import torch  # here: who only hands a factory to Ray needs none

        self.name = name
        self.notes: tuple[str, ...] = ()
        self._inputs = torch.from_numpy(np.array(inputs))[:, None]
        self._targets = torch.from_numpy(np.array(targets))[:, None]
        self._depth = depth or len(inputs)
        self._evaluated = len(inputs) if evaluated is None else evaluated

    def slices(self, split: Split) -> int:
        """Number of slices of a split."""
        return len(self._inputs) if split == "train" else self._evaluated

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """In file order, whatever the round."""
        return self._batches(len(self._inputs), batch_size)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """In file order, whatever the split."""
        return self._batches(self._evaluated, batch_size)

    def sample_batches(self, batch_size: int) -> Iterator[Batch]:
        """Those of `eval_batches`."""
        return self._batches(self._evaluated, batch_size)

    def _batches(self, count: int, batch_size: int) -> Iterator[Batch]:
        import torch

        for start in range(0, count, batch_size):
            inputs = self._inputs[start : min(start + batch_size, count)]
            targets = self._targets[start : min(start + batch_size, count)]
            yield Batch(
                input=inputs,
                target=targets,
                truth=targets[:, 0],
                zero_filled=inputs[:, 0],
                mean=torch.zeros(len(inputs), dtype=inputs.dtype),
                std=torch.ones(len(inputs), dtype=inputs.dtype),
                volume=torch.arange(start, start + len(inputs)) // self._depth,
            )


@dataclass(frozen=True)
class ArrayFactory:
    """Builds an ArraySite where it lives, from stored arrays {"NAME/input", "NAME/target"}."""

    name: str
    depth: int | None = None
    evaluated: int | None = None

    def __call__(self, arrays: dict[str, Array], device: str) -> ArraySite:  # noqa: ARG002
        """An `engine.cohort.SiteFactory`; on the CPU whatever the device."""
        inputs, targets = arrays[f"{self.name}/input"], arrays[f"{self.name}/target"]
        return ArraySite(self.name, inputs, targets, self.depth, self.evaluated)


def random_arrays(names: list[str], slices: int, size: int, seed: int = 0) -> dict[str, Array]:
    """Smooth random images, float32 [slices, size, size], as `ArrayFactory` takes them."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name in names:
        coarse = random.normal(size=(slices, size // 8, size // 8))
        target = np.kron(coarse, np.ones((8, 8))).astype(np.float32)
        arrays[f"{name}/target"] = target
        arrays[f"{name}/input"] = (target + 0.3 * random.normal(size=target.shape)).astype(np.float32)
    return arrays
