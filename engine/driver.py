"""The driver: federated rounds over a cohort. No torch, no files; it yields what others show and store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from engine.algorithms.base import Algorithm
from engine.cohort import Cohort
from engine.ledger import SCORE_BYTES, Ledger
from engine.outcomes import Facts, Outcome, Roles, Snapshot, Stopwatch
from engine.shift import shifts
from engine.streams import rng
from engine.types import (
    UNSCORED,
    Array,
    Broadcast,
    RoundReport,
    Sample,
    ServerState,
    Shift,
    SiteRound,
    SiteScores,
    SiteUpdate,
    Split,
    WorkerLost,
)
from engine.weights import weighted_mean

MAX_LOST = 3  # workers that may die in a run


class Driver:
    """Runs rounds: broadcast, encode the target, train locally, aggregate, evaluate."""

    def __init__(self, cohort: Cohort, algorithm: Algorithm, roles: Roles, shift_every: int = 1, seed: int = 0) -> None:
        self.cohort = cohort
        self.algorithm = algorithm
        self.roles = roles
        self.shift_every = shift_every
        self.seed = seed
        self.ledger = Ledger()
        self.server: ServerState
        self._current: Broadcast  # of self.server: what sites evaluate now and start the next round with
        self._snapshot: Snapshot
        self._scored: dict[Split, int] = {}  # volumes whose zero-filled scores the sites have sent
        self._lost = 0

    def start(self, snapshot: Snapshot | None = None) -> Facts:
        """Take up a snapshot, or the seeded initial weights, and ask the sites what they have."""
        weights, layout, private_layout = self.cohort.initial_weights()
        self.take_up(snapshot or Snapshot(server=self.algorithm.init_server(weights)))
        everyone = self.roles.everyone
        zero_filled = self._zero_filled("val")
        return Facts(
            train_slices=dict(zip(everyone, self.cohort.slices(everyone), strict=True)),
            zero_filled={name: answer.scores for name, answer in zero_filled.items()},
            layout=layout,
            private_layout=private_layout,
            notes=dict(zip(everyone, self.cohort.notes(everyone), strict=True)),
            samples={} if snapshot else self._samples(),
        )

    @property
    def broadcast(self) -> Broadcast:
        """What everyone is sent of the state it is in."""
        return self._current

    def run(self, rounds: int, snapshot_every: int = 1) -> Iterator[tuple[RoundReport, Snapshot | None]]:
        """Rounds up to number `rounds`, with a snapshot after every `snapshot_every`-th and the last; 0: none.

        If a worker dies, the run goes back to the last snapshot: a round depends on nothing but the state before
        it, so the rounds done again have the same numbers and are not reported twice.
        """
        reported = self.server.round
        while self.server.round < rounds:
            number = self.server.round + 1
            due = snapshot_every > 0 and (number % snapshot_every == 0 or number == rounds)
            try:
                report = self.run_round()
                snapshot = self._take_snapshot() if due else None
            except WorkerLost:
                self._go_back()
                continue
            report = replace(report, ledger=self.ledger.close_round())
            if number > reported:
                reported = number
                yield report, snapshot

    def run_round(self) -> RoundReport:
        """Broadcast, encode the target, train locally, aggregate, evaluate."""
        clock = Stopwatch()
        broadcast = self._with_latents(self._current)
        clock.lap("encode")
        updates = self.cohort.train(self.roles.sources, broadcast)
        self._count_updates(broadcast, updates)
        clock.lap("train")
        self.server = self.algorithm.aggregate(self.server, updates)
        self._current = self._publish()
        clock.lap("aggregate")
        scores, shifts = self._evaluate("val"), self._shifts()
        clock.lap("evaluate")
        metrics = {
            part: update.metrics for update in updates for part in self.roles.parts.get(update.site, (update.site,))
        }
        scored = {s.site: s.scores for s in scores}
        sites = {
            name: SiteRound(
                metrics=metrics.get(name, {}), scores=scored.get(name, UNSCORED), shift=shifts.get(name, {})
            )
            for name in self.roles.everyone
        }
        speed = {update.site: update.speed for update in updates if update.speed}
        return RoundReport(round=self.server.round, sites=sites, ledger={}, seconds=clock.seconds, speed=speed)

    def finish(self, previews: bool = True) -> Outcome:
        """Score the test patients, once, and draw a slice of each site."""
        try:
            return self._finish(previews)
        except WorkerLost:
            self.ledger.close_round()
            self.cohort.revive()
            self._restore(self._snapshot)
            return self._finish(previews)

    def _finish(self, previews: bool) -> Outcome:
        tested = self.roles.scored("test")
        self.ledger.add("weights", self._current.weights, len(tested))
        test = self._evaluate("test")
        pictures = self.cohort.previews(tested, self._current) if previews else []
        for p in pictures:
            self.ledger.add("previews", p.zero_filled.nbytes + p.reconstruction.nbytes + p.truth.nbytes)
        zero_filled = self._zero_filled("test")
        self.ledger.add("scores", SCORE_BYTES * sum(self._scored.values()))
        private = self._private() if self.algorithm.personal else {}
        samples = self._samples()
        return Outcome(
            test={s.site: s for s in test},
            zero_filled=zero_filled,
            private=private,
            previews=pictures,
            ledger=self.ledger.close_round(),
            samples=samples,
        )

    def _zero_filled(self, split: Split) -> dict[str, SiteScores]:
        answers = self.cohort.zero_filled(self.roles.scored(split), split)
        self._scored[split] = sum(len(answer.per_volume) for answer in answers)
        return {answer.site: answer for answer in answers}

    def take_up(self, snapshot: Snapshot) -> None:
        """Go on from there, with sites that are built: the server's state, the sites' own, what everyone is sent."""
        self._snapshot = snapshot
        self.server = snapshot.server
        self._restore(snapshot)
        self._current = self._publish()
        self.ledger.close_round()  # crossed before, and counted then

    def _restore(self, snapshot: Snapshot) -> None:
        beginning = np.empty(0, np.uint8)
        self.cohort.restore({name: snapshot.sites.get(name, beginning) for name in self.roles.sources})

    def _publish(self) -> Broadcast:
        """What everyone is sent of the server's state.

        With a personal method, a site that never trains has no weights of its own: it is scored with the mean of the
        others', the one time that these cross.
        """
        broadcast = self.algorithm.broadcast(self.server)
        without = len(set(self.roles.everyone) - set(self.roles.sources))
        if not (self.algorithm.personal and without and self.server.round):
            return broadcast
        mean = mean_private(self._private())
        self.ledger.add("private", mean, without)
        return replace(broadcast, private=mean)

    def _private(self) -> dict[str, Array]:
        """What each site that trains keeps for itself, counted as it comes."""
        kept = dict(zip(self.roles.sources, self.cohort.private(self.roles.sources), strict=True))
        for array in kept.values():
            self.ledger.add("private", array)
        return kept

    def _take_snapshot(self) -> Snapshot:
        states = self.cohort.states(self.roles.sources)
        for state in states:
            self.ledger.add("state", state)
        sites = dict(zip(self.roles.sources, states, strict=True))
        self._snapshot = Snapshot(server=self.server, sites={n: s for n, s in sites.items() if len(s)})
        return self._snapshot

    def _go_back(self) -> None:
        """To the last snapshot, with lost workers started again. Raises WorkerLost when it happens too often."""
        self._lost += 1
        if self._lost > MAX_LOST:
            raise WorkerLost(f"workers died {self._lost} times; is there enough memory? try fewer --workers")
        self.ledger.close_round()
        self.cohort.revive()
        self.take_up(self._snapshot)

    def _with_latents(self, broadcast: Broadcast) -> Broadcast:
        """Add what an algorithm that aligns learns from latents, or, for parity, from the target's raw images."""
        target, algorithm = self.roles.target, self.algorithm
        if algorithm.latents == "all":
            names = sorted({*self.roles.sources, *([target] if target else [])})
            latents = dict(zip(names, self.cohort.encode(names, broadcast), strict=True))
            for array in latents.values():
                self.ledger.add("latents", array)
            self.server = algorithm.observe(self.server, latents, rng(self.seed, "observe", "", broadcast.round))
            return replace(broadcast, extra=algorithm.broadcast(self.server).extra)
        if algorithm.latents == "none" or target is None:
            return broadcast
        if algorithm.exchange == "raw":
            raw = self.cohort.raw(target, broadcast)
            self.ledger.add("raw", raw, 1 + self._readers())
            return replace(broadcast, raw=raw)
        (own,) = self.cohort.encode([target], broadcast)
        self.ledger.add("latents", own, 1 + self._readers())
        return replace(broadcast, latents=own)

    def _readers(self) -> int:
        return sum(name != self.roles.target for name in self.roles.sources)

    def _count_updates(self, broadcast: Broadcast, updates: Sequence[SiteUpdate]) -> None:
        self.ledger.add("weights", broadcast.weights, len(self.roles.receivers))
        for kind, array in broadcast.extra.items():
            self.ledger.add(kind, array, len(self.roles.sources))
        for update in updates:
            self.ledger.add("weights", update.weights)
            for kind, array in update.extra.items():
                self.ledger.add(kind, array)

    def _evaluate(self, split: Split) -> list[SiteScores]:
        """Everyone's scores."""
        scores = self.cohort.evaluate(self.roles.scored(split), self._current, split)
        for s in scores:
            self.ledger.add("scores", SCORE_BYTES * len(s.per_volume))
        return scores

    def _samples(self) -> dict[str, Sample]:
        """Of everyone who has validation patients, if shift is measured."""
        if not self.shift_every or self.roles.target is None:
            return {}
        names = self.roles.scored("val")
        samples = dict(zip(names, self.cohort.samples(names, self._current), strict=True))
        for sample in samples.values():
            self.ledger.add("latents", sample.latents)
            self.ledger.add("intensities", sample.intensities)
        return samples

    def _shifts(self) -> dict[str, dict[str, Shift]]:
        """Each site's distance to the target, where it is due; one slice has no distribution."""
        if not self.shift_every or self.server.round % self.shift_every:
            return {}
        target = self.roles.target
        known = {name: sample for name, sample in self._samples().items() if len(sample.latents) > 1}
        if target is None or target not in known:
            return {}
        return {
            name: shifts(known[name], known[target], rng(self.seed, "shift", name, self.server.round))
            for name in known
            if name != target
        }


def mean_private(kept: Mapping[str, Array]) -> Array:
    """[R] what stands in for the weights of its own that a site without training has not: the others' mean."""
    return weighted_mean(list(kept.values()), [1.0] * len(kept))
