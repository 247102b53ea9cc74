"""A table: which federations it takes, and which of its entries each of them fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Suppress

from engine.algorithms import FlMr
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from engine.validation import require
from sites.config import Division, RunConfig, SiteConfig, names
from sites.federation import resolve
from sweeps.directory import fingerprint
from sweeps.jobs import Job
from sweeps.methods import Method, methods
from sweeps.scores import STUDIES, ZERO_FILLED, Layout, PatientScore, Study
from sweeps.shares import PoolConfig

Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Guo et al., CVPR 2021, section 4: methods by targets. Rows have the same patients, masks, initial weights."""

    scenario: str = "cvpr21"
    """A named scenario (`run.py scenarios` lists them) or a TOML file of the same form."""
    data: str = ""
    """Folder of real data, in place of a scenario: each of its sub-folders is an institution, named after it."""
    contrast: str = ""
    """Which contrast to take of institutions of files that do not say it themselves: T1, T2, FLAIR, …"""
    split: Division = "patients"
    """Of institutions of files that have one patient only: slices divides that patient's slices, with a warning."""
    only_train: str = ""
    """Names, separated by commas, of institutions of files that are trained on and not tested (`use = "train"`)."""
    only_test: str = ""
    """Names, separated by commas, of institutions of files that are tested and never trained on (`use = "test"`)."""
    skip_bad: bool = False
    """Leave out files that cannot be used, and say how many, rather than stop at the first."""
    memory_gb: float = 2.0
    """K-space that each institution of files keeps in memory, GB (1e9 bytes); what is beyond is read when needed."""
    sites: int | Auto = "auto"
    """Number of institutions: the scenario's first N, or all and further ones drawn; auto: the scenario's own."""
    methods: str = ""
    """Further rows, separated by commas: NAME or NAME:setting=value:setting=value, a setting of the method, of the
    training or of the network, for example fl-mrcm:alignment_weight=0.1,fed-prox,scaffold:optimizer=sgd:lr=0.1"""
    studies: Literal["both", "within", "leave-one-out"] = "both"
    """within: every site trains, each is tested; leave-one-out: the tested site gives no labels, at most latents."""
    targets: str = ""
    """The sites to test, separated by commas; empty: all."""
    seeds: int = 3
    """Repetitions; each draws other subjects, noise and initial weights."""
    seed: int = 0
    """The first of the seeds, at least 0."""
    rounds: int = 20
    """Federated rounds of every federation."""
    matrix: int = 64
    """Rows and columns of k-space and image."""
    parallel: int | Auto = "auto"
    """Federations that train side by side, each in one process; auto: one a core, or one a GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; auto: on the GPUs if there are any."""
    threads: int = 1
    """CPU threads a federation computes with; part of what makes it repeatable."""
    checkpoint_every: int = 1
    """Write a checkpoint of an unfinished federation every N rounds; a finished one keeps none."""
    out: str = ""
    """Directory of the table; empty: runs/table-<scenario>-<fingerprint>, so that the same command goes on."""
    ray_address: str = ""
    """Address of a running Ray cluster, which must see the same files; empty: a Ray of its own on this machine."""
    train: TrainConfig = field(default_factory=TrainConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    institutions: Suppress[tuple[SiteConfig, ...]] = ()
    """The sites themselves, in place of the scenario's (a stored table has them)."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that no table can have."""
        require(
            self,
            [
                ("seeds", self.seeds >= 1, "at least 1"),
                ("parallel", self.parallel == "auto" or self.parallel >= 1, "at least 1, or auto"),
            ],
        )

    @property
    def pool(self) -> PoolConfig:
        """Where its federations run."""
        return PoolConfig(
            parallel=self.parallel, device=self.device, threads=self.threads, ray_address=self.ray_address
        )


GROWING = {"methods", "studies", "targets", "seeds", "parallel", "out", "ray_address", "checkpoint_every", "memory_gb"}
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
        base = resolve(_base(config))
        self.config = replace(
            config,
            institutions=base.institutions,
            sites=len(base.institutions),
            scenario=base.scenario,
            data=base.data,
        )
        self.sites = tuple(site.name for site in base.institutions)
        tested = tuple(site.name for site in base.institutions if site.test_patients)
        self.targets = tuple(names(config.targets)) or tested
        for name in self.targets:
            if name not in tested:
                what = "has no test patients" if name in self.sites else "is not a site"
                raise ValueError(f"targets: {name!r} {what}; choose among {', '.join(tested)}")
        if len(self.sites) < 2:
            raise ValueError("a table of one site compares nothing; use more --sites")
        self.methods = methods(config.methods, config.train, config.model)
        self._base = base
        self.out = Path(config.out or self._default_directory())

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
        seeds = range(self.config.seed, self.config.seed + self.config.seeds)
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
        **settings: Any,
    ) -> Federation:
        if method:
            settings |= {"algorithm": method.algorithm, "train": method.train, "model": method.model}
        name = f"seed-{seed}/{name}"
        chosen = {"target": self.sites[0], **settings}
        out = str((self.out / "runs" / name).absolute())  # workers of a cluster may stand elsewhere
        try:
            config = resolve(replace(self._base, seed=seed, out=out, **chosen))
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
        identity = {key: value for key, value in asdict(self.config).items() if key not in GROWING}
        return Path("runs") / f"table-{Path(self.config.scenario).stem}-{fingerprint(identity)}"


def _base(config: TableConfig) -> RunConfig:
    """What all federations of the table have in common."""
    return RunConfig(
        scenario=config.scenario,
        data=config.data,
        contrast=config.contrast,
        split=config.split,
        only_train=config.only_train,
        only_test=config.only_test,
        skip_bad=config.skip_bad,
        memory_gb=config.memory_gb,
        sites=config.sites,
        institutions=config.institutions,
        rounds=config.rounds,
        matrix=config.matrix,
        seed=config.seed,
        shift_every=0,
        checkpoint_every=config.checkpoint_every,
        keep_checkpoints=0,
        algorithm=FlMr(),
        train=config.train,
        model=config.model,
        placement=Placement(device=config.device, workers=0, threads=config.threads),
        ray_address=config.ray_address,
        out="planned",
    )


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
