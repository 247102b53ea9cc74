"""A trial's turn: the how-many-th of its study it is, counted from 0; one that is repeated keeps it."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

TURN, SEEDS = "turn", "by_seed"
"""Of a trial's user attributes; the second: its objectives by seed, if there are several."""


def by_turn(study: optuna.Study) -> dict[int, FrozenTrial]:
    """The trial that counts of each turn: the last of those that repeat each other."""
    trials = study.get_trials(deepcopy=False)
    return {trial.user_attrs[TURN]: trial for trial in trials if TURN in trial.user_attrs}
