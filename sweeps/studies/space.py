"""What a sweep searches: parameters by the names they have on the command line, of numbers or of choices.

A setting that only some methods have is a parameter of the trials of those methods only: spaces are defined as they
run, the method first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from engine.algorithms import ALGORITHMS
from engine.validation import require

if TYPE_CHECKING:
    import optuna

Value = float | int | str | bool
Values = dict[str, Any]
"""A trial's values by parameter; of the parameters that its method has."""
ALGORITHM = "algorithm"


@dataclass(frozen=True, kw_only=True)
class Number:
    """Numbers from low to high, both taken; whole ones, or with a step between them, are finitely many."""

    name: str
    low: float
    high: float
    log: bool = False
    """Drawn evenly by their logarithms."""
    step: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a range that has no numbers or that the step does not divide."""
        rules = (
            ("low", math.isfinite(self.low), "a finite number"),
            ("high", math.isfinite(self.high), "a finite number"),
            ("low", self.low < self.high, f"a number below high, {self.high:g}"),
            ("low", not self.log or self.low > 0, "a number above 0 for a logarithmic scale"),
            ("step", self.step is None or self.step > 0, "a number above 0"),
            ("step", self.step is None or not self.log, "none with a logarithmic scale"),
        )
        require(self, rules)
        if self.step:
            steps, rest = divmod(exact(self.high) - exact(self.low), exact(self.step))
            if rest:
                last = exact(self.low) + max(Decimal(1), steps) * exact(self.step)
                raise ValueError(f"high is {self.high:g}; take low plus a number of steps, for example {last}")

    @property
    def ends(self) -> tuple[Value, ...]:
        """The lowest and the highest."""
        return (self.low, self.high)

    @property
    def values(self) -> tuple[Value, ...] | None:
        """All of them in order; None if there is no end of them."""
        if self.step is None and not self.whole:
            return None
        step = exact(self.step or 1)
        count = int((exact(self.high) - exact(self.low)) / step)
        values = (exact(self.low) + number * step for number in range(count + 1))
        return tuple(int(value) if self.whole else float(value) for value in values)

    def suggest(self, trial: optuna.Trial) -> Value:
        """A trial's value."""
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values, without an order."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, if there is nothing to choose."""
        twice = [value for value in self.values if self.values.count(value) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice among its values; name it once")
        if len(self.values) < 2:
            raise ValueError("one value is no choice; set it with its own option, or give several")

    @property
    def ends(self) -> tuple[Value, ...]:
        """All of them."""
        return self.values

    def suggest(self, trial: optuna.Trial) -> Value:
        """A trial's value."""
        return cast(Value, trial.suggest_categorical(self.name, self.values))


Parameter = Number | Choice


@dataclass(frozen=True)
class Space:
    """Parameters in order, the method before all others."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        first = sorted(self.parameters, key=lambda parameter: parameter.name != ALGORITHM)
        object.__setattr__(self, "parameters", tuple(first))

    @property
    def algorithms(self) -> tuple[str | None, ...]:
        """The methods that are searched; None alone if the method is not: then every trial has all parameters."""
        names = [str(name) for each in self.parameters if each.name == ALGORITHM for name in each.ends]
        return tuple(names) or (None,)

    def of(self, algorithm: str | None) -> tuple[Parameter, ...]:
        """The parameters of a trial of this method, one of `algorithms`."""
        return tuple(each for each in self.parameters if algorithm is None or algorithm in owners(each.name))

    @property
    def conditional(self) -> tuple[str, ...]:
        """The parameters that not every trial has."""
        trials = [self.of(algorithm) for algorithm in self.algorithms]
        return tuple(each.name for each in self.parameters if any(each not in parameters for parameters in trials))

    def suggest(self, trial: optuna.Trial) -> Values:
        """A trial's values, the method's first."""
        values: Values = {}
        for parameter in self.parameters:
            if _has(values, parameter):
                values[parameter.name] = parameter.suggest(trial)
        return values

    def grid(self) -> list[Values]:
        """Every combination once, in order. Raises ValueError, in one line, for a range without an end of values."""
        rows: list[Values] = [{}]
        for parameter in self.parameters:
            if parameter.values is None:
                name = parameter.name
                raise ValueError(
                    f"a grid needs values that can be counted, and {name} has a range without a step; list them, "
                    f"{name}=A,B,C, or give a step, {name}=LOW:HIGH:STEP"
                )
            further = [{parameter.name: value} for value in parameter.values]
            rows = [{**row, **each} for row in rows for each in (further if _has(row, parameter) else [{}])]
        return rows


def owners(name: str) -> frozenset[str]:
    """The methods that have a parameter: those with a setting of that name, or all if it is of no method's own."""
    having = {each for each, kind in ALGORITHMS.items() if name in {item.name for item in fields(kind)}}
    return frozenset(having or ALGORITHMS)


def exact(number: float) -> Decimal:
    """A number as it is written in decimals, so that 0.1 is a tenth."""
    return Decimal(str(number))


def _has(values: Values, parameter: Parameter) -> bool:
    """Whether a trial with these values so far has a parameter."""
    return ALGORITHM not in values or values[ALGORITHM] in owners(parameter.name)
