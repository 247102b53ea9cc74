"""What is trained at a time: one federation, or several in step; and the Ray actor that does it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.cohort import cap_memory
from engine.console import Header
from engine.types import RoundReport, Scores, SiteInfo
from sites.anatomy import Maps
from sites.config import RunConfig
from sites.federation import federate
from sites.launch import Workshop


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker trains at a time: one federation, or several in step, round by round.

    name: its own among those of a pool; config, beside: resolved, in one process (workers 0), of as many rounds
    tested: whether the test patients are scored at the end; else it begins anew, and is left after its last round, to
        be gone on with as one that is tested
    """

    name: str
    config: RunConfig
    beside: tuple[RunConfig, ...] = ()
    tested: bool = True

    @property
    def configs(self) -> tuple[RunConfig, ...]:
        """All its federations."""
        return (self.config, *self.beside)

    @property
    def work(self) -> float:
        """Training slices in all rounds."""
        return sum(map(_work, self.configs))


def _work(config: RunConfig) -> float:
    sites = [site for site in config.institutions if site.name in config.training]
    return config.rounds * config.train.local_epochs * float(sum(site.train_patients * site.slices for site in sites))


@dataclass(frozen=True)
class Round:
    """A round of each of a job's federations; zero_filled: of each, the zero-filled validation images by site."""

    reports: tuple[RoundReport, ...]
    zero_filled: tuple[Mapping[str, Scores], ...]


class FederationWorker:
    """The Ray actor."""

    def __init__(self, gpu: float, shelf: Path | None) -> None:
        import sites.site  # noqa: F401  torch comes with them, which takes a second: while the anatomy is on its way

        cap_memory(gpu)
        self._shelf = shelf
        self._workshop: Workshop | None = None
        self._streams: list[Iterator[RoundReport]] = []

    def begin(self, job: Job, maps: Maps | None) -> None:
        """Take up a job's federations: one that is tested where its run directory is, another from its beginning.

        What was not left is. maps: the same every time.
        """
        self.leave()
        self._workshop = self._workshop or Workshop(maps, self._shelf)
        if not job.tested:  # what an earlier try left does not count
            for config in job.configs:
                shutil.rmtree(config.out, ignore_errors=True)
        self._job, self._round = job, 0
        self._starts = [_Start() for _ in job.configs]
        self._streams = [
            federate(replace(config, ray_address=""), start, figures=False, workshop=self._workshop)
            for config, start in zip(job.configs, self._starts, strict=True)
        ]  # `auto` is what this machine has

    def advance(self) -> Round | None:
        """The next round of all of them; None when they are done."""
        if not self._job.tested and self._round == self._job.config.rounds:
            self.leave()
            return None
        reports = [next(stream, None) for stream in self._streams]
        there = tuple(report for report in reports if report is not None)
        assert self._job.tested or len(there) == len(reports), "federations of a job have as many rounds"
        if not there:
            return None
        self._round = there[0].round
        return Round(there, tuple(start.zero_filled for start in self._starts))

    def leave(self) -> None:
        """Close the run directories as they are."""
        for stream in self._streams:
            stream.close()  # type: ignore[attr-defined]
        self._streams = []


class _Start:
    """An `engine.console.Watcher` that only remembers the zero-filled scores."""

    def __init__(self) -> None:
        self.zero_filled: Mapping[str, Scores] = {}

    def __enter__(self) -> _Start:
        return self

    def __exit__(self, *_: object) -> None: ...

    def phase(self, text: str) -> None: ...

    def start(self, header: Header, sites: Sequence[SiteInfo], reports: Sequence[RoundReport] = ()) -> None:  # noqa: ARG002
        self.zero_filled = {site.name: site.zero_filled for site in sites}

    def update(self, report: RoundReport) -> None: ...

    def message(self, text: str) -> None: ...
