"""What crossed the sites' boundaries, in bytes by kind.

Kinds: weights (both ways), latents, intensities (histograms, for the shift), raw, scores, state, previews; private,
what sites otherwise keep for themselves, for those without and for the trained network at the end; and whatever an
algorithm sends besides (control, encoders, identifier). The weights a site evaluates after a round are those it starts
the next with: counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from engine.types import Array

SCORE_BYTES = 24  # three float64


class Ledger:
    """Counts bytes; `close_round` gives those since the last call."""

    def __init__(self) -> None:
        self._round: Counter[str] = Counter()

    def add(self, kind: str, payload: Array | int, copies: int = 1) -> None:
        """Count a payload (or its size in bytes) that crossed `copies` boundaries."""
        size = payload if isinstance(payload, int) else payload.nbytes
        if size * copies:
            self._round[kind] += size * copies

    def close_round(self) -> dict[str, int]:
        """Bytes by kind since the last call, kinds in alphabetical order."""
        closed = dict(sorted(self._round.items()))
        self._round.clear()
        return closed


def total(ledgers: list[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several rounds' ledgers."""
    sums: Counter[str] = Counter()
    for ledger in ledgers:
        sums.update(ledger)
    return dict(sorted(sums.items()))
