"""A network's weights and gradients as one flat tensor each.

One flat buffer crosses Ray's object store without a copy, is averaged in one sweep, and lets an optimiser step be
a handful of operations on long vectors whatever the number of layers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from engine.types import Array

if TYPE_CHECKING:
    import torch

CHUNK = 1 << 14  # elements averaged at a time: stays in a core's cache


@dataclass(frozen=True)
class Layout:
    """Where each named weight lies in the flat buffer: parameters first, then floating-point buffers."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
        """Of weights by name, in the order given."""
        return Layout(tuple(shapes), tuple(shapes.values()))

    def split(self, buffer: Array) -> dict[str, Array]:
        """[P] -> the weights by name, as views. Raises ValueError if the length does not fit."""
        sizes = [prod(shape) for shape in self.shapes]
        if buffer.shape != (sum(sizes),):
            raise ValueError(f"weights of shape {buffer.shape} for a model of {sum(sizes)} weights")
        parts = np.split(buffer, np.cumsum(sizes)[:-1])
        named = zip(self.names, parts, self.shapes, strict=True)
        return {name: part.reshape(shape) for name, part, shape in named}

    def join(self, weights: Mapping[str, Array]) -> Array:
        """The weights by name -> [P]. Raises ValueError on a missing or surplus name or another shape."""
        if set(weights) != set(self.names):
            raise ValueError(f"names differ: {', '.join(sorted(set(weights) ^ set(self.names))[:3])}")
        for name, shape in zip(self.names, self.shapes, strict=True):
            if weights[name].shape != shape:
                raise ValueError(f"{name} has shape {weights[name].shape} in place of {shape}")
        return np.concatenate([weights[name].ravel() for name in self.names])


class FlatWeights:
    """Rebinds a module's parameters and float buffers to views of one tensor, and its gradients likewise.

    values: [P]; parameters: [Q], the leading part of it that is trained; gradient: [Q]. Backward passes
    accumulate into `gradient`, so it is zeroed before each.
    shared, private: int64 [S], [R], which of the P cross and which stay; None where all cross. layout and
    private_layout: of the S and of the R.
    """

    def __init__(self, module: torch.nn.Module, shared: Callable[[str], bool] = lambda _: True) -> None:
        """shared: by name, whether a weight crosses to other sites."""
        import torch

        parameters = dict(module.named_parameters())
        buffers = {n: b for n, b in module.named_buffers() if b.is_floating_point()}
        tensors = [*parameters.values(), *buffers.values()]
        self.values = torch.cat([t.detach().reshape(-1) for t in tensors])
        shapes = {n: tuple(t.shape) for n, t in zip([*parameters, *buffers], tensors, strict=True)}
        crosses = [shared(name) for name in shapes]
        self.layout, self.private_layout = (
            Layout.of({n: shape for (n, shape), c in zip(shapes.items(), crosses, strict=True) if c is crossing})
            for crossing in (True, False)
        )
        self.shared: torch.Tensor | None = None
        self.private: torch.Tensor | None = None
        if not all(crosses):
            sizes = torch.tensor([t.numel() for t in tensors])
            where = torch.tensor(crosses).repeat_interleave(sizes).to(self.values.device)
            self.shared, self.private = where.nonzero()[:, 0], (~where).nonzero()[:, 0]
        self.parameters = self.values[: sum(p.numel() for p in parameters.values())]
        self.gradient = torch.zeros_like(self.parameters)
        offset = 0
        for tensor in tensors:
            window = slice(offset, offset + tensor.numel())
            offset = window.stop
            tensor.data = self.values[window].view(tensor.shape)
            if window.stop <= len(self.parameters):
                tensor.grad = self.gradient[window].view(tensor.shape)

    def load(self, buffer: Array) -> None:
        """Overwrite the shared weights with a buffer [S] of the same dtype."""
        import torch

        if self.shared is not None:
            assert buffer.shape == tuple(self.shared.shape), (buffer.shape, self.shared.shape)
            self.values[self.shared] = torch.tensor(buffer, device=self.values.device)
            return
        assert buffer.shape == tuple(self.values.shape), (buffer.shape, self.values.shape)
        if self.values.is_cpu:  # through numpy: a buffer out of the object store is read-only
            np.copyto(self.values.numpy(), buffer)
        else:
            self.values.copy_(torch.tensor(buffer))

    def load_private(self, values: torch.Tensor) -> None:
        """Overwrite the weights that stay, [R]."""
        assert self.private is not None
        self.values[self.private] = values

    def load_named(self, weights: Mapping[str, Array]) -> None:
        """Overwrite all weights, by name. Raises ValueError on a missing or surplus name or another shape."""
        import torch

        kept = self.private_layout.names
        dtype = self.view().dtype
        self.load(self.layout.join({n: w for n, w in weights.items() if n not in kept}).astype(dtype))
        if self.private is not None:
            own = self.private_layout.join({n: weights[n] for n in kept if n in weights}).astype(dtype)
            self.load_private(torch.from_numpy(own).to(self.values.device))

    def private_values(self) -> torch.Tensor:
        """A copy of the weights that stay, [R]; empty where all cross."""
        return self.values[:0].clone() if self.private is None else self.values[self.private]

    def view(self) -> Array:
        """[S] as it is now: on a CPU, if all are shared, the weights themselves, good until the next step or load."""
        shared = self.values if self.shared is None else self.values[self.shared]
        buffer: Array = shared.cpu().numpy()
        return buffer

    def dump(self) -> Array:
        """A copy [S] that outlives the next step."""
        return np.array(self.view())


def weighted_mean(buffers: Sequence[Array], weights: Sequence[float]) -> Array:
    """Sum of w_k * buffer_k over the sum of w_k, in the order given, accumulated in float64; [P].

    One buffer comes back as it is, bit for bit.
    """
    total = float(sum(weights))
    shares = [w / total for w in weights]
    mean = np.empty_like(buffers[0])
    accumulator, term = np.empty(CHUNK), np.empty(CHUNK)
    for start in range(0, mean.size, CHUNK):
        part = slice(start, start + CHUNK)
        size = len(mean[part])
        np.multiply(buffers[0][part], shares[0], out=accumulator[:size], dtype=np.float64)
        for buffer, share in zip(buffers[1:], shares[1:], strict=True):
            np.multiply(buffer[part], share, out=term[:size], dtype=np.float64)
            accumulator[:size] += term[:size]
        mean[part] = accumulator[:size]
    return mean


def sha256(buffer: Array) -> str:
    """The fingerprint of a buffer's bytes; equal fingerprints mean equal weights, bit for bit."""
    return hashlib.sha256(np.ascontiguousarray(buffer).tobytes()).hexdigest()
