"""Methods as they are written: `fed-prox`, `fl-mrcm:alignment_weight=0.1`, `scaffold:optimizer=sgd:lr=0.1`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tyro.conf import OmitArgPrefixes

from engine.algorithms import ALGORITHMS, Algorithm, FlMr
from engine.config import ModelConfig, TrainConfig
from sites.config import RunConfig, names
from sites.settings import cli
from sweeps.scores import BASELINE

PAPERS = {BASELINE: "fl-mr", "FL-MRCM": "fl-mrcm"}  # the rows that every table has


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row, or line: how sites learn together. slug: its name in a directory's."""

    label: str
    slug: str
    algorithm: Algorithm
    train: TrainConfig
    model: ModelConfig

    @property
    def needs_target(self) -> bool:
        """Whether another target makes another network."""
        return self.algorithm.latents == "target"

    def of(self, run: RunConfig) -> RunConfig:
        """The run under this method."""
        return replace(run, algorithm=self.algorithm, train=self.train, model=self.model)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What a method may set: its own settings, those of training and of the network."""

    algorithm: OmitArgPrefixes[Algorithm] = field(default_factory=FlMr)
    train: OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    model: OmitArgPrefixes[ModelConfig] = field(default_factory=ModelConfig)


def methods(further: str, train: TrainConfig, model: ModelConfig) -> tuple[Method, ...]:
    """FL-MR, FL-MRCM and further ones: what a table has. Raises ValueError as `chosen_methods` does."""
    for spec in names(further):
        if spec in PAPERS.values():
            raise ValueError(f"methods: {spec!r} is in the table already; take it out, or give it a setting")
    return chosen_methods(",".join([*PAPERS.values(), *names(further)]), train, model)


def chosen_methods(specs: str, train: TrainConfig, model: ModelConfig) -> tuple[Method, ...]:
    """`NAME[:setting=value …]`, separated by commas.

    train, model: what a method does not set otherwise. Raises ValueError, in one line, for what is unknown, means
    nothing, or stands there twice.
    """
    labels = {spec: label for label, spec in PAPERS.items()}
    return tuple(_method(labels.get(spec, spec), spec, train, model) for spec in names(specs))


def _method(label: str, spec: str, train: TrainConfig, model: ModelConfig) -> Method:
    name, *settings = spec.split(":")
    if name not in ALGORITHMS:
        raise ValueError(f"methods: {name!r} is unknown; choose among {', '.join(ALGORITHMS)}")
    for setting in settings:
        if not re.fullmatch(r"\w+=.+", setting):
            raise ValueError(f"methods: {setting!r} of {spec!r} is no setting; write {name}:SETTING=VALUE")
    options = [f"--{key.replace('_', '-')}={value}" for key, _, value in (s.partition("=") for s in settings)]
    default = _Settings(algorithm=ALGORITHMS[name](), train=train, model=model)
    chosen = cli(_Settings, options, "table", default=default, where=f"methods: {spec!r}")
    try:
        chosen.algorithm.check(chosen.model, chosen.train)
    except ValueError as error:
        mended = ":".join([spec, *(f"{key}={value}" for key, value in re.findall(r"--([\w-]+) ([\w.]+)", str(error)))])
        raise ValueError(f"methods: {spec!r}: {error}, for this method alone {mended}") from error
    slug = re.sub(r"[^\w.=+-]+", "+", spec)
    return Method(label=label, slug=slug, algorithm=chosen.algorithm, train=chosen.train, model=chosen.model)
