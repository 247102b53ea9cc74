"""Random streams: every draw is a function of (seed, purpose, site's name, round), never of who ran first."""

from __future__ import annotations

import hashlib

import numpy as np


def stable_hash(text: str) -> int:
    """A 64-bit hash of a text that is the same in every process (Python's own `hash` is not)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def rng(seed: int, stream: str, name: str = "", *counters: int) -> np.random.Generator:
    """The generator of one purpose, for example `rng(seed, "masks", site.name, round, epoch)`.

    seed and counters: non-negative integers. Streams of other purposes, names or counters are independent.
    """
    return np.random.default_rng([seed, stable_hash(stream), stable_hash(name), *counters])


def torch_seed(seed: int, stream: str, name: str = "", *counters: int) -> int:
    """A seed for a `torch.Generator`, drawn from the stream of the same arguments."""
    return int(rng(seed, stream, name, *counters).integers(2**63 - 1))
