"""A table: which federations it takes, and which of its entries each of them fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes

from engine.algorithms import FlMr
from engine.validation import require
from sites.config import RunConfig, flat_fields, names
from sites.federation import resolve
from sites.overrides import SOURCES, TARGET, parsed
from sites.shifts import of_target
from sweeps import settings
from sweeps.directory import fingerprint
from sweeps.jobs import Job
from sweeps.methods import Method, methods
from sweeps.scores import STUDIES, ZERO_FILLED, Layout, PatientScore, Study
from sweeps.settings import IN_ONE_PROCESS, refuse_decided
from sweeps.shares import Auto, PoolConfig

OWN: dict[str, Any] = {"algorithm": FlMr(), "shift_every": 0, "keep_checkpoints": 0}
RUN = RunConfig(**OWN)  # what its federations start from


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Guo et al., CVPR 2021, section 4: methods by targets. Rows have the same patients, masks, initial weights."""

    methods: str = ""
    """Further rows, separated by commas: NAME or NAME:setting=value:setting=value, a setting of the method, of the
    training or of the network, for example fl-mrcm:alignment_weight=0.1,fed-prox,scaffold:optimizer=sgd:lr=0.1"""
    studies: Literal["both", "within", "leave-one-out"] = "both"
    """within: every site trains, each is tested; leave-one-out: the tested site gives no labels, at most latents."""
    targets: str = ""
    """The sites to test, separated by commas; empty: all."""
    seeds: int = 3
    """Repetitions, from --seed on; each draws other subjects, noise and initial weights."""
    parallel: int | Auto = "auto"
    """Federations that train side by side, each in one process; auto: one a core, or one a GPU."""
    run: OmitArgPrefixes[RunConfig] = field(default_factory=lambda: RUN)

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that no table can have."""
        require(
            self,
            [
                ("seeds", self.seeds >= 1, "at least 1"),
                ("parallel", self.parallel == "auto" or self.parallel >= 1, "at least 1, or auto"),
            ],
        )
        refuse_decided(self.run, RUN, DECIDED, "table")
        _refuse_the_target(self.run)

    @property
    def pool(self) -> PoolConfig:
        """Where its federations run."""
        return PoolConfig.of(self.parallel, self.run)


DECIDED = {
    "target": "takes each of --targets in turn",
    "target_trains": "has a study of each (see --studies)",
    "train_sites": "has each site train alone",
    "fused": "has a row for it",
    "shift_every": "measures no shift",
    **IN_ONE_PROCESS,
}
"""Settings of a run that a table sets itself, and how."""

GROWING = {"studies", "targets", *settings.GROWING}
"""Settings that add federations or say where they run: a directory goes on under others."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one federation's test scores mean to the table: entries of one row at some sites."""

    study: Study
    row: str
    sites: tuple[str, ...]
    trained_at: str = ""


@dataclass(frozen=True, kw_only=True)
class Federation(Job):
    """One federation. name: of its directory below `runs/`; config: resolved, with that directory as `out`."""

    readings: tuple[Reading, ...]


Entries = list[tuple[Study, str, tuple[str, ...]]]  # study, row, tested sites


class Plan:
    """A table's federations, seed by seed. Raises ValueError, in one line, for what cannot be planned."""

    def __init__(self, config: TableConfig) -> None:
        base = resolve(replace(config.run, out="planned", placement=replace(config.run.placement, workers=0)))
        stored = replace(base, target="auto", placement=config.run.placement, out=config.run.out)
        self.config = replace(config, run=stored)
        self.sites = tuple(site.name for site in base.institutions)
        tested = tuple(site.name for site in base.institutions if site.test_patients)
        self.targets = tuple(names(config.targets)) or tested
        for name in self.targets:
            if name not in tested:
                what = "has no test patients" if name in self.sites else "is not a site"
                raise ValueError(f"targets: {name!r} {what}; choose among {', '.join(tested)}")
        if len(self.sites) < 2:
            raise ValueError("a table of one site compares nothing; use more --sites")
        self.methods = methods(config.methods, config.run.train, config.run.model)
        self._base = base
        self.out = Path(config.run.out or self._default_directory())

    @property
    def studies(self) -> tuple[Study, ...]:
        """Those asked for."""
        return tuple(study for study in STUDIES if self.config.studies in ("both", study))

    @property
    def layout(self) -> dict[Study, Layout]:
        """Rows and tested sites of each study."""
        rows = (ZERO_FILLED, "Local", "Cross", "Fused", *(method.label for method in self.methods))
        return {study: Layout(rows=rows, sites=self.targets) for study in self.studies}

    @cached_property
    def federations(self) -> tuple[Federation, ...]:
        """All federations: those of one seed together, the longest first."""
        first = self.config.run.seed
        seeds = range(first, first + self.config.seeds)
        return tuple(one for seed in seeds for one in sorted(self._of_seed(seed), key=lambda each: -each.work))

    def _of_seed(self, seed: int) -> Iterator[Federation]:
        for site in (site.name for site in self._base.institutions if site.train_patients):
            yield self._federation(seed, f"only-{site}", self._single(site), target=site, train_sites=site)
        if "within" in self.studies:
            yield self._federation(seed, "fused", [("within", "Fused", self.targets)], fused=True)
            for method in self.methods:
                for target in self.targets if method.needs_target else (self.sites[0],):
                    name = f"{method.slug}-to-{target}" if method.needs_target else method.slug
                    tested = (target,) if method.needs_target else self.targets
                    yield self._federation(seed, name, [("within", method.label, tested)], method, target=target)
        if "leave-one-out" in self.studies:
            for target in self.targets:
                name = f"without-{target}"
                left_out: dict[str, Any] = {"target": target, "target_trains": False}
                yield self._federation(
                    seed, f"{name}-fused", [("leave-one-out", "Fused", (target,))], fused=True, **left_out
                )
                for method in self.methods:
                    entries: Entries = [("leave-one-out", method.label, (target,))]
                    yield self._federation(seed, f"{name}-{method.slug}", entries, method, **left_out)

    def _single(self, site: str) -> Entries:
        """What training at one site says: at home it is Local, elsewhere Cross; the same in both studies."""
        elsewhere = tuple(target for target in self.targets if target != site)
        rows = {"Local": tuple(target for target in self.targets if target == site), "Cross": elsewhere}
        return [(study, row, tested) for study in self.studies for row, tested in rows.items() if tested]

    def _federation(
        self,
        seed: int,
        name: str,
        entries: Entries,
        method: Method | None = None,
        **changes: Any,
    ) -> Federation:
        name = f"seed-{seed}/{name}"
        chosen = {"target": self.sites[0], **changes}
        out = str((self.out / "runs" / name).absolute())  # workers of a cluster may stand elsewhere
        try:
            config = resolve(replace(method.of(self._base) if method else self._base, seed=seed, out=out, **chosen))
        except ValueError as error:
            raise ValueError(f"methods: {method.label!r}: {error}" if method else str(error)) from error
        trained_at = config.train_sites
        return Federation(
            name=name,
            config=config,
            readings=tuple(
                Reading(study=study, row=row, sites=tested, trained_at=trained_at) for study, row, tested in entries
            ),
        )

    def _default_directory(self) -> Path:
        identity = {key: value for key, value in flat_fields(self.config).items() if key not in GROWING}
        identity["institutions"] = [asdict(site) for site in self.config.run.institutions]
        return Path("runs") / f"table-{Path(self.config.run.scenario).stem}-{fingerprint(identity)}"


def _refuse_the_target(run: RunConfig) -> None:
    """Raises ValueError, in one line, for a setting of the target, which is another one in each federation."""
    if shifts := of_target(run.shift):
        raise ValueError(f"shift is {run.shift!r}, and a table has many targets; name the site: SITE:{shifts[0]}")
    meant = [key for key in parsed(run.site_settings) if key.rpartition(".")[0] in (TARGET, SOURCES)]
    if meant:
        raise ValueError(f"site_settings has {meant[0]!r}, and a table has many targets; name the site")


def read_scores(federation: Federation, summary: Mapping[str, Any]) -> Iterator[PatientScore]:
    """The entries a finished federation fills, from its summary.json; the zero-filled images' too.

    Raises ValueError if it has no scores by patient.
    """
    try:
        patients = {site["name"]: site["test_patients"] for site in summary["sites"]}
    except KeyError as error:
        raise ValueError(f"{federation.config.out}/summary.json lacks {error}; delete that directory") from error
    for reading in federation.readings:
        for site in reading.sites:
            for number, patient in enumerate(patients[site]):
                where: dict[str, Any] = {"study": reading.study, "column": site, "seed": federation.config.seed}
                where["patient"] = number
                yield PatientScore(row=reading.row, trained_at=reading.trained_at, **where, **patient["test"])
                if reading.row == "Local":  # one federation a site has it once
                    yield PatientScore(row=ZERO_FILLED, **where, **patient["zero_filled"])
