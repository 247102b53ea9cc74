"""What a driver is given and what it tells: who does what, what a run goes on from, its facts and its end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.types import Array, Preview, Sample, Scores, ServerState, SiteScores, Split
from engine.weights import Layout


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Who does what. sources train; the target is aligned to; everyone is scored but for those named. In name order."""

    everyone: tuple[str, ...]
    sources: tuple[str, ...]
    target: str | None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a source that holds the shards of several sites: whose."""
    unscored: tuple[str, ...] = ()
    """Without validation patients: not scored between the rounds."""
    untested: tuple[str, ...] = ()
    """Without test patients: not scored at the end."""

    @property
    def receivers(self) -> tuple[str, ...]:
        """Those who need a round's weights: they train, or are scored."""
        training = {name for source in self.sources for name in self.parts.get(source, (source,))}
        return tuple(name for name in self.everyone if name in training or name not in self.unscored)

    def scored(self, split: Split) -> tuple[str, ...]:
        """Those with patients in the validation or the test split."""
        without = self.untested if split == "test" else self.unscored
        return tuple(name for name in self.everyone if name not in without)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a run can go on from: the server's state and each site's opaque one."""

    server: ServerState
    sites: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known before the first round. private_layout: of the weights that each site keeps for itself.

    notes: what every report must say of a site's data
    samples: of the initial network, where shift is measured; empty if the run goes on from a snapshot
    """

    train_slices: Mapping[str, int]
    zero_filled: Mapping[str, Scores]
    layout: Layout
    private_layout: Layout
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: Mapping[str, Sample] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a run: each site's scores on its test patients, pictures, what crossed after the last round.

    private: [R] what each site that trained keeps for itself, if the method is a personal one
    samples: of the trained network, where shift is measured
    """

    test: Mapping[str, SiteScores]
    zero_filled: Mapping[str, SiteScores]
    private: Mapping[str, Array]
    previews: Sequence[Preview]
    ledger: Mapping[str, int]
    samples: Mapping[str, Sample] = field(default_factory=dict)


class Stopwatch:
    """Seconds by phase: each `lap` books the time since the last one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Book the time since the last lap under a phase."""
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now
