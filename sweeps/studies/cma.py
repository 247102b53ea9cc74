"""CMA-ES, its state rebuilt from the trials themselves.

Hansen, The CMA evolution strategy: a tutorial, arXiv 1604.00772.

Optuna's own sampler pickles its optimizer into the storage, which is then neither readable nor safe to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from cmaes import CMA
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.studies.turns import by_turn

if TYPE_CHECKING:
    from sweeps.studies.space import Number, Value

SIGMA = 0.3  # of every range at first (section on the initial values)
RESAMPLED = 10  # times, a parameter: a draw beyond a range; then it is clipped


class CmaSampler(BaseSampler):
    """The values of one turn: the complete trials of earlier turns are told, a generation after the other.

    What a turn draws depends on those and its seed alone. numbers: the whole space, two at least; seed: of this turn.
    """

    def __init__(self, numbers: Sequence[Number], turn: int, seed: int) -> None:
        self._numbers, self._turn, self._seed = numbers, turn, seed

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All parameters."""
        return {each.name: _distribution(each) for each in self._numbers}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """A draw from the distribution that the earlier turns have led to."""
        optimizer = self._led_to(study)
        optimizer.reseed_rng(self._seed)
        drawn = optimizer.ask()
        return {each.name: _value(each, float(x)) for each, x in zip(self._numbers, drawn, strict=True)}

    def sample_independent(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        """Not asked for: all parameters are drawn together."""
        raise ValueError(f"{param_name} is not of the space of cma-es")

    def _led_to(self, study: optuna.Study) -> CMA:
        size = len(self._numbers)
        bounds = np.tile([0.0, 1.0], (size, 1))
        optimizer = CMA(np.full(size, 0.5), SIGMA, bounds, n_max_resampling=RESAMPLED * size, seed=0)
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        told = [(self._point(trial), sign * trial.values[0]) for trial in self._earlier(study)]
        generation = optimizer.population_size
        for start in range(0, len(told) - generation + 1, generation):
            optimizer.tell(told[start : start + generation])
        return optimizer

    def _earlier(self, study: optuna.Study) -> list[FrozenTrial]:
        """In the order of their turns, whoever was done first."""
        found = sorted(by_turn(study).items())
        return [trial for turn, trial in found if turn < self._turn and trial.state == TrialState.COMPLETE]

    def _point(self, trial: FrozenTrial) -> NDArray[np.float64]:
        return np.array([_part(each, trial.params[each.name]) for each in self._numbers])


def _distribution(number: Number) -> BaseDistribution:
    if number.whole:
        return IntDistribution(int(number.low), int(number.high), log=number.log, step=int(number.step or 1))
    return FloatDistribution(number.low, number.high, log=number.log, step=number.step)


def _edges(number: Number) -> tuple[float, float]:
    """Half a step beyond the ends: each value has as much room; their logarithms, if it is logarithmic."""
    half = (number.step or 1) / 2 if number.whole or number.step else 0.0
    low, high = number.low - half, number.high + half
    return (float(np.log(low)), float(np.log(high))) if number.log else (low, high)


def _part(number: Number, value: float) -> float:
    """Where a value is in its range, from 0 to 1."""
    low, high = _edges(number)
    return ((float(np.log(value)) if number.log else value) - low) / (high - low)


def _value(number: Number, part: float) -> Value:
    """The nearest value there is."""
    low, high = _edges(number)
    value = low + part * (high - low)
    value = float(np.exp(value)) if number.log else value
    if number.whole or number.step:
        step = number.step or 1
        value = number.low + step * round((value - number.low) / step)
    value = min(max(value, number.low), number.high)
    return int(value) if number.whole else float(value)
