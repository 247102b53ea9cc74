"""Where a shift session looks at sites and trains them: one federation in this process, at one state of its network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.cohort import LocalCohort
from engine.driver import Driver
from engine.ledger import SCORE_BYTES
from engine.outcomes import Snapshot
from engine.shift import shift_values, shifts
from engine.streams import rng
from engine.types import Array, Broadcast, Preview, RoundReport, Sample, Scores, Shift, SiteScores, Split
from sites.config import RunConfig, SiteConfig
from sites.launch import Workshop, factories, roles_of, setting_of
from sites.studio.branch import site_of, with_site

if TYPE_CHECKING:
    from engine.config import Setting

NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """An institution seen through a network: its validation patients' mean scores, and one slice of the first.

    zero_filled: scores of the zero-filled image; scores: of the reconstruction; sample: what its shift is measured on
    """

    site: SiteConfig
    zero_filled: Scores
    scores: Scores
    sample: Sample
    preview: Preview


class Bench:
    """A federation of a resolved run, taken up at a snapshot, or at its beginning.

    Sites are scanned when they are looked at or train. What was looked at is kept: a site under another configuration
    is another one, and the network stays as it is until `run`.
    """

    def __init__(self, config: RunConfig, snapshot: Snapshot | None, workshop: Workshop) -> None:
        """Raises ValueError for a site that cannot be."""
        self.config = config
        self._workshop = workshop
        self._roles = roles_of(config)
        self._cohort = _Remembering(setting_of(config, config.placement.device))
        self._cohort.build(factories(config, {}), workshop)
        self._driver = Driver(self._cohort, config.algorithm, self._roles, config.shift_every, config.seed)
        self._snapshot = snapshot or Snapshot(server=config.algorithm.init_server(self._cohort.initial_weights()[0]))
        self._driver.take_up(self._snapshot)
        self._installed = {site.name: site for site in config.institutions}
        self._views: dict[SiteConfig, SiteView] = {}
        self._values: dict[tuple[SiteConfig, SiteConfig], dict[str, float]] = {}

    @property
    def round(self) -> int:
        """Rounds that its network has been through."""
        return self._driver.server.round

    @property
    def weights(self) -> Array:
        """[P] the global weights."""
        return self._driver.server.weights

    @property
    def scored(self) -> tuple[str, ...]:
        """The institutions with validation patients, in name order."""
        return self._roles.scored("val")

    @property
    def notes(self) -> dict[str, tuple[str, ...]]:
        """By institution: what every report must say of its data."""
        names = self._roles.everyone
        return dict(zip(names, self._cohort.notes(names), strict=True))

    def run(self, rounds: int) -> Iterator[tuple[RoundReport, Snapshot]]:
        """So many rounds more. A site that does not train keeps what it had. Raises TrainingStopped.

        To be called first: not once a site has been looked at under another configuration.
        """
        assert self._installed == {site.name: site for site in self.config.institutions}
        for report, snapshot in self._driver.run(self.round + rounds):
            assert snapshot is not None
            self._snapshot = replace(snapshot, sites={**self._snapshot.sites, **snapshot.sites})
            self._views.clear()
            self._values.clear()
            yield report, self._snapshot

    def view(self, site: SiteConfig) -> SiteView:
        """An institution as it is configured there, which may differ from how it trains.

        Raises ValueError if it cannot be, or has no validation patients.
        """
        if site not in self._views:
            self._views[site] = self._look(site)
        return self._views[site]

    def shift(self, view: SiteView, target: SiteView) -> dict[str, Shift]:
        """By measure: how far a site lies from the target. Nothing if either has one slice only."""
        if min(len(view.sample.latents), len(target.sample.latents)) < 2:
            return {}
        return shifts(view.sample, target.sample, rng(self.config.seed, "shift", view.site.name, self.round))

    def shift_values(self, view: SiteView, target: SiteView) -> dict[str, float]:
        """The same without what chance alone would show, which takes longer than all the rest of a look."""
        key = view.site, target.site
        if key not in self._values:
            few = min(len(view.sample.latents), len(target.sample.latents)) < 2
            self._values[key] = {} if few else shift_values(view.sample, target.sample)
        return self._values[key]

    def close_ledger(self) -> dict[str, int]:
        """Bytes that crossed the sites' boundaries by kind since the last call, while looking."""
        return self._driver.ledger.close_round()

    def _look(self, site: SiteConfig) -> SiteView:
        name, broadcast = site.name, self._driver.broadcast
        if name not in self.scored:
            raise ValueError(f"site {name!r} has no validation patients to look at")
        self._install(site)
        known = self._cohort.latest if site == site_of(self.config, name) else _Latest()
        scored = known.scores.get(name) or self._cohort.call("evaluate", [name], broadcast, "val")[0]
        sample = known.samples.get(name) or self._cohort.call("sample", [name], broadcast)[0]
        (zero_filled,) = self._cohort.zero_filled([name], "val")
        (preview,) = self._cohort.previews([name], broadcast, "val")
        view = SiteView(
            site=site,
            zero_filled=zero_filled.scores,
            scores=scored.scores,
            sample=sample,
            preview=preview,
        )
        self._driver.ledger.add("weights", broadcast.weights)
        self._count(view, len(scored.per_volume))
        return view

    def _install(self, site: SiteConfig) -> None:
        """Have the institution in the cohort as it is configured there, with what it keeps for itself."""
        name = site.name
        if self._installed[name] == site:
            return
        self._cohort.build({name: factories(with_site(self.config, site), {})[name]}, self._workshop)
        if name in self._roles.sources:
            self._cohort.restore({name: self._snapshot.sites.get(name, NOTHING)})
        self._installed[name] = site

    def _count(self, view: SiteView, volumes: int) -> None:
        ledger, sample, preview = self._driver.ledger, view.sample, view.preview
        ledger.add("scores", 2 * SCORE_BYTES * volumes)
        for kind, arrays in (
            ("latents", [sample.latents]),
            ("intensities", [sample.intensities]),
            ("previews", [preview.zero_filled, preview.reconstruction, preview.truth]),
        ):
            for array in arrays:
                ledger.add(kind, array)


@dataclass(frozen=True)
class _Latest:
    """By institution: its scores after the last round, and its sample if shift was measured."""

    scores: dict[str, SiteScores] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)


class _Remembering(LocalCohort):
    """Keeps what the last round's evaluation said of the sites it trained as they are."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.latest = _Latest()

    def evaluate(self, names: Sequence[str], broadcast: Broadcast, split: Split) -> list[SiteScores]:
        """As every cohort."""
        answers = super().evaluate(names, broadcast, split)
        self.latest = _Latest(scores=dict(zip(names, answers, strict=True)))
        return answers

    def samples(self, names: Sequence[str], broadcast: Broadcast) -> list[Sample]:
        """As every cohort, after the scores."""
        answers = super().samples(names, broadcast)
        self.latest.samples.update(zip(names, answers, strict=True))
        return answers
