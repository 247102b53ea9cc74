"""Which parameters decided an objective: fANOVA, as Optuna computes it.

Hutter, Hoos, Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014: of the variance
that a random forest predicts over the space, the part that each parameter explains by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeps.studies.objectives import Objective
from sweeps.studies.space import Space

LEAST = 4  # complete trials
NEEDS = f"{LEAST} complete trials of different values, with two parameters or more that differ in them,"


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Of the parameters that every complete trial has.

    parts: by parameter, the largest first, of a sum of 1; left_out: parameters that some trials do not have
    trials: complete ones, which the forest has learned from
    """

    objective: str
    parts: Mapping[str, float]
    left_out: tuple[str, ...]
    trials: int


def importances(
    study: optuna.Study, objectives: Sequence[Objective], space: Space, seed: int
) -> tuple[Importance | None, ...]:
    """By objective; None where there is nothing to learn from (`NEEDS`). seed: of the forest."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = [each.name for each in space.parameters]
    common = [name for name in names if all(name in trial.params for trial in complete)]
    if len(complete) < LEAST or len(common) < 2:
        return (None,) * len(objectives)
    found: list[Importance | None] = []
    for index, objective in enumerate(objectives):
        parts = _parts(study, index, common, seed) if _differ(complete, index) else None
        left_out = tuple(name for name in names if name not in common)
        found.append(
            Importance(objective=objective.name, parts=parts, left_out=left_out, trials=len(complete))
            if parts
            else None
        )
    return tuple(found)


def _parts(study: optuna.Study, index: int, names: Sequence[str], seed: int) -> dict[str, float] | None:
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # and scikit-learn with them

    def target(trial: FrozenTrial) -> float:
        return float(trial.values[index])

    try:
        evaluator = FanovaImportanceEvaluator(seed=seed % 2**32)
        parts = get_param_importances(study, evaluator=evaluator, params=[*names], target=target)
    except RuntimeError:  # no tree has split: the values differ by rounding only
        return None
    return {name: float(part) for name, part in sorted(parts.items(), key=lambda item: -item[1])}


def _differ(trials: Sequence[FrozenTrial], index: int) -> bool:
    return len({trial.values[index] for trial in trials}) > 1
