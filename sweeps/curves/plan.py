"""Curves against the strength of a shift: one dial at the target, from none to full, by methods and seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from engine.algorithms import FlMr
from engine.types import RoundReport
from engine.validation import require
from sites.config import RunConfig, flat_fields
from sites.federation import resolve
from sites.shifts import of_target, parse_shift
from sweeps import settings
from sweeps.curves.scores import DIGITS, Point, PointScore, PointShift, column
from sweeps.directory import fingerprint
from sweeps.jobs import Job
from sweeps.methods import Method, chosen_methods
from sweeps.settings import IN_ONE_PROCESS, refuse_decided
from sweeps.shares import Auto, PoolConfig

MOST = 101  # strengths
FORM = "write DIAL=FROM:TO:STEP or DIAL=STRENGTH,STRENGTH,…, for example contrast=0:1:0.25"
OWN: dict[str, Any] = {"scenario": "contrast", "target_trains": False, "algorithm": FlMr(), "keep_checkpoints": 0}
RUN = RunConfig(rounds=15, **OWN)  # the demonstration's; a shift hurts a target most that gives no labels


@dataclass(frozen=True, kw_only=True)
class CurvesConfig:
    """What a shift of the target costs, and what methods give back: curves against its strength, over federations."""

    sweep: str = "contrast=0:1:0.25"
    """A dial of the target and its strengths: DIAL=FROM:TO:STEP or DIAL=STRENGTH,STRENGTH,…, each from 0 (none) to 1
    (full); in place of what shift the scenario gives the target."""
    methods: str = "fl-mr,fl-mrcm"
    """Separated by commas: NAME or NAME:setting=value:setting=value, a setting of the method, of the training or of
    the network, for example fl-mr,fl-mrcm:alignment_weight=0.1; the first is what the others are tested against."""
    seeds: int = 3
    """Repetitions, from --seed on; each draws other subjects, noise and initial weights."""
    parallel: int | Auto = "auto"
    """Federations that train side by side, each in one process; auto: one a core, or one a GPU."""
    run: OmitArgPrefixes[RunConfig] = field(default_factory=lambda: RUN)

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that no sweep can have, or one that a sweep decides itself."""
        parse_sweep(self.sweep)
        require(
            self,
            [
                ("seeds", self.seeds >= 1, "at least 1"),
                ("parallel", self.parallel == "auto" or self.parallel >= 1, "at least 1, or auto"),
                ("methods", bool(self.methods.strip(", ")), "at least one, for example fl-mr"),
            ],
        )
        refuse_decided(self.run, RUN, DECIDED, "sweep")

    @property
    def pool(self) -> PoolConfig:
        """Where its federations run."""
        return PoolConfig.of(self.parallel, self.run)


DECIDED = {"shift_every": "measures the shift after the last round", **IN_ONE_PROCESS}
"""Settings of a run that a sweep sets itself, and how."""

GROWING = {"sweep", *settings.GROWING}
"""Settings that add federations or say where they run: a directory goes on under others."""


def parse_sweep(text: str) -> tuple[str, tuple[float, ...]]:
    """The dial and its strengths, ascending.

    Raises ValueError, in one line, for a text of another form, an unknown dial, strengths that are not in 0 … 1, or
    fewer than two.
    """
    dial, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not values:
        raise ValueError(f"sweep is {text!r}; {FORM}")
    strengths = _stepped(text, values) if ":" in values else [_number(text, item) for item in values.split(",")]
    for strength in strengths:
        if not 0 <= strength <= 1:
            raise ValueError(f"sweep {text!r}: {strength} is no strength; take 0 (none) to 1 (full)")
    parse_shift(f"{dial}=0")  # refuses an unknown dial
    found = sorted({round(float(strength), DIGITS) for strength in strengths})
    if len(found) < 2:
        raise ValueError(f"sweep {text!r} has one strength, which makes no curve; take at least two")
    return dial, tuple(found)


def _stepped(text: str, values: str) -> list[Decimal]:
    """FROM:TO:STEP, TO among them; in decimals: 0.1 + 0.2 is 0.3."""
    parts = [_number(text, part) for part in values.split(":")]
    if len(parts) != 3:
        raise ValueError(f"sweep is {text!r}; {FORM}")
    start, end, step = parts
    if step <= 0 or end <= start:
        raise ValueError(f"sweep {text!r} does not rise; {FORM}")
    if (end - start) / step > MOST - 1:
        raise ValueError(f"sweep {text!r} has more than {MOST} strengths; take a larger step")
    count, rest = divmod(end - start, step)
    if rest:
        last = start + count * step
        raise ValueError(f"sweep {text!r} goes past its end; let it end at {last:f}, or take a step that meets {end:f}")
    return [start + i * step for i in range(int(count) + 1)]


def _number(text: str, part: str) -> Decimal:
    if not re.fullmatch(r"-?\d*\.?\d+|-?\d+\.", part.strip()):
        raise ValueError(f"sweep {text!r}: {part.strip()!r} is no number; {FORM}")
    return Decimal(part.strip())


# ---- federations ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Federation(Job):
    """One federation: a method, by its label, at a strength. config: with a directory below `runs/` as `out`."""

    method: str
    strength: float


class CurvesPlan:
    """The federations of a sweep, seed by seed. Raises ValueError, in one line, for what cannot be planned."""

    def __init__(self, config: CurvesConfig) -> None:
        self.dial, self.strengths = parse_sweep(config.sweep)
        shift = config.run.shift
        if self.dial in parse_shift(",".join(of_target(shift))):
            raise ValueError(f"shift is {shift!r}, and {self.dial} is what the sweep turns; leave it out of --shift")
        base = resolve(replace(config.run, shift="", shift_every=config.run.rounds, out="planned"))
        sites = tuple(replace(s, shift="") if s.name == base.target else s for s in base.institutions)
        self.target = base.target
        if not next(site for site in sites if site.name == self.target).test_patients:
            raise ValueError(f"target {self.target!r} has no test patients; a sweep scores them; choose another")
        self._base = replace(base, institutions=sites, shift=shift)
        self.config = replace(
            config,
            run=replace(
                self._base,
                shift_every=config.run.shift_every,
                placement=config.run.placement,
                out=config.run.out,
            ),
        )
        self.methods = chosen_methods(config.methods, config.run.train, config.run.model)
        self.out = Path(config.run.out or self._default_directory())

    @cached_property
    def federations(self) -> tuple[Federation, ...]:
        """Those of one seed together, so that a process builds its sources once."""
        return tuple(self._federations())

    def _federations(self) -> Iterator[Federation]:
        first = self._base.seed
        for seed in range(first, first + self.config.seeds):
            for strength in self.strengths:
                for method in self.methods:
                    yield self._federation(seed, strength, method)

    def _federation(self, seed: int, strength: float, method: Method) -> Federation:
        name = f"seed-{seed}/{self.dial}-{column(strength)}-{method.slug}"
        base = self._base
        asked = replace(
            method.of(base),
            seed=seed,
            shift=",".join(part for part in (base.shift, f"{self.dial}={column(strength)}") if part),
            placement=replace(base.placement, workers=0),
            out=str((self.out / "runs" / name).absolute()),  # workers of a cluster may stand elsewhere
        )
        try:
            config = resolve(asked)
        except ValueError as error:
            raise ValueError(f"{method.label} at {self.dial} {column(strength)}: {error}") from error
        return Federation(name=name, config=config, method=method.label, strength=strength)

    def _default_directory(self) -> Path:
        settings = {key: value for key, value in flat_fields(self.config).items() if key not in GROWING}
        settings["institutions"] = [asdict(site) for site in self.config.run.institutions]
        scenario = Path(self.config.run.scenario).stem
        return Path("runs") / f"shift-{self.dial}-{scenario}-{fingerprint(settings)}"


def read_point(federation: Federation, summary: Mapping[str, Any], last: RoundReport) -> Point:
    """What a finished federation says. last: its last round.

    Raises ValueError if it has no scores by patient.
    """
    target = federation.config.target
    site: dict[str, Any] = next((site for site in summary["sites"] if site["name"] == target), {})
    where: dict[str, Any] = {
        "method": federation.method,
        "strength": federation.strength,
        "seed": federation.config.seed,
    }
    try:
        scores = tuple(
            PointScore(
                **where,
                patient=number,
                **patient["test"],
                **{f"zero_filled_{metric}": value for metric, value in patient["zero_filled"].items()},
            )
            for number, patient in enumerate(site["test_patients"])
        )
    except KeyError as error:
        raise ValueError(f"{federation.config.out}/summary.json lacks {error}; delete that directory") from error
    shifts = tuple(
        PointShift(**where, source=source, measure=measure, **asdict(shift))
        for source, round in sorted(last.sites.items())
        for measure, shift in round.shift.items()
    )
    return Point(scores=scores, shifts=shifts)
