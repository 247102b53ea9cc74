"""Which values a trial tries, and which trials end early: Optuna's samplers and pruners as a sweep uses them.

A sampler is made anew for every trial, from the study's seed and the trial's turn: what a trial draws depends on
neither who asked before nor on whether the study was interrupted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import (
    BaseSampler,
    NSGAIISampler,
    PartialFixedSampler,
    RandomSampler,
    TPESampler,
)

from engine.streams import rng
from sweeps.studies.cma import CmaSampler
from sweeps.studies.objectives import Objective
from sweeps.studies.space import Number, Space
from sweeps.studies.turns import TURN

T = TypeVar("T")
SamplerName = Literal["auto", "tpe", "random", "grid", "cma-es", "nsga2"]
PrunerName = Literal["none", "median", "halving", "hyperband"]
Sampling = Callable[[int], BaseSampler]
"""The sampler of a turn, which counts from 0."""

POPULATION = 16
"""Trials a generation of NSGA-II; Optuna's 50 would leave a study of some dozen trials at its random first."""
FACTOR = 3
"""Of the trials that reach a rung, one in so many goes on (Li et al., JMLR 2018, section 2)."""


def sampling(name: SamplerName, space: Space, objectives: Sequence[Objective], seed: int) -> Sampling:
    """The samplers of a study by turn. auto: tpe for one objective, nsga2 for several.

    Raises ValueError, in one line, where a sampler does not fit the space or the objectives.
    """
    if name == "auto":
        name = "tpe" if len(objectives) == 1 else "nsga2"
    if name == "grid":
        return _grid(space, seed)
    if name == "cma-es":
        numbers = _numbers(space, objectives)
        return lambda turn: CmaSampler(numbers, turn, _draw(seed, turn))
    return lambda turn: quietly(lambda: _sampler(name, _draw(seed, turn)))


def most_trials(name: SamplerName, space: Space) -> int | None:
    """After how many trials a sampler has nothing left to try; None: never. Raises ValueError as `sampling`."""
    return len(space.grid()) if name == "grid" else None


def pruner(name: PrunerName, rounds: int, objectives: Sequence[Objective]) -> BasePruner:
    """What ends a trial early, by its value after each round; rounds: of a trial that does not end early.

    Raises ValueError, in one line, with several objectives: there is no single value to compare.
    """
    if name != "none" and len(objectives) > 1:
        raise ValueError(f"pruner is {name!r}, and of {len(objectives)} objectives none decides alone; take none")
    first = max(1, rounds // FACTOR**2)
    match name:
        case "none":
            return NopPruner()
        case "median":  # below the median of the others at its round (Golovin et al., KDD 2017)
            return MedianPruner(n_startup_trials=5, n_warmup_steps=first)
        case "halving":  # Li et al., MLSys 2020, arXiv 1810.05934
            return SuccessiveHalvingPruner(min_resource=first, reduction_factor=FACTOR)
        case "hyperband":  # Li et al., JMLR 2018, arXiv 1603.06560
            return quietly(lambda: _Hyperband(min_resource=1, max_resource=rounds, reduction_factor=FACTOR))


class _Hyperband(HyperbandPruner):
    """Optuna draws a trial's bracket from the study's name and the trial's number; here its turn decides."""

    def _get_bracket_id(self, study: Any, trial: Any) -> int:  # noqa: ARG002
        turn = trial.user_attrs.get(TURN, trial.number)
        return super()._get_bracket_id(SimpleNamespace(study_name=""), SimpleNamespace(number=turn))  # type: ignore[arg-type]


def _sampler(name: SamplerName, seed: int) -> BaseSampler:
    match name:
        case "random":
            return RandomSampler(seed=seed)
        case "nsga2":  # Deb et al., 2002
            return NSGAIISampler(population_size=POPULATION, seed=seed)
        case _:  # parameters that only some trials have are groups of their own
            return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)


def _grid(space: Space, seed: int) -> Sampling:
    """Every combination, in an order drawn from the seed: a part of the grid is spread over the whole."""
    rows = space.grid()
    order = rng(seed, "grid").permutation(len(rows))
    return lambda turn: quietly(lambda: PartialFixedSampler(rows[order[turn]], RandomSampler(seed=_draw(seed, turn))))


def _numbers(space: Space, objectives: Sequence[Objective]) -> list[Number]:
    """What CMA-ES searches, which is for nothing but numbers."""
    mend = "take --sampler tpe"
    if len(objectives) > 1:
        raise ValueError(f"sampler cma-es is for one objective, and there are {len(objectives)}; take --sampler nsga2")
    for parameter in space.parameters:
        if not isinstance(parameter, Number):
            raise ValueError(f"sampler cma-es is for numbers, and {parameter.name} is a choice; {mend}")
        if parameter.name in space.conditional:
            raise ValueError(f"sampler cma-es has all parameters in every trial, {parameter.name} is not; {mend}")
    if len(space.parameters) < 2:
        raise ValueError(f"sampler cma-es is for two parameters or more; {mend}")
    return [each for each in space.parameters if isinstance(each, Number)]


def _draw(seed: int, turn: int) -> int:
    return int(rng(seed, "trial", "", turn).integers(2**31))


def quietly(make: Callable[[], T]) -> T:
    """What Optuna calls experimental is used on purpose here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()
