"""A study in words: what its objectives, values, parameters and trials are called, and what must be said of them."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from engine.standings import byte_size, one_line
from sites.intervals import spelled, written
from sites.overrides import to_text
from sweeps.studies.objectives import Objective
from sweeps.studies.plan import StudyPlan
from sweeps.studies.space import Choice, Parameter
from sweeps.studies.winners import Estimate, Means, Tested, Winner

State = Literal["complete", "pruned", "failed", "running", "interrupted"]
"""The last: its process ended, and the next to work on the study repeats it."""
STATES: tuple[State, ...] = get_args(State)
NOTE = "trials were compared on validation patients; test patients were scored once, for the winners"
DIGITS = {"dB": 2, "": 4, "s": 1}  # behind the point, by unit


# ---- objectives -----------------------------------------------------------------------------------------


def objective_title(objective: Objective, against: str) -> str:
    """target-psnr, dB; measured against a method: target-psnr over fl-mr, dB."""
    over = f" over {one_line(against)}" if against else ""
    return f"{objective.name}{over}" + (f", {objective.unit}" if objective.unit not in ("", "B") else "")


def value_text(objective: Objective, value: float, against: str = "") -> str:
    """A value without its unit, but for bytes; signed, and with a digit more, if it is a difference."""
    if objective.unit == "B" and math.isfinite(value):
        return ("−" if value < 0 else "+" if against else "") + byte_size(abs(value))
    return written(value, DIGITS.get(objective.unit, 4) + bool(against), signed=bool(against))


def goals_text(plan: StudyPlan) -> str:
    """target-psnr, over fl-mr."""
    names = ", ".join(each.name for each in plan.objectives)
    return names + (f", over {one_line(plan.config.against)}" if plan.config.against else "")


def values_text(objectives: Sequence[Objective], values: Sequence[float], against: str = "") -> str:
    """With units: 24.31 dB, 12.5 s."""
    units = (f" {each.unit}" if each.unit not in ("", "B") else "" for each in objectives)
    told = (value_text(each, value, against) for each, value in zip(objectives, values, strict=True))
    return ", ".join(value + unit for value, unit in zip(told, units, strict=True))


def estimate_text(estimate: Estimate, digits: int, signed: bool = False) -> str:
    """22.89 ± 0.98, without the second if it is unknown."""
    return spelled(estimate.mean, estimate.half_width, digits, signed)


def p_text(estimate: Estimate) -> str:
    """Wilcoxon's p; empty if there is none."""
    if estimate.p is None:
        return ""
    return "p < 0.001" if estimate.p < 0.001 else f"p = {estimate.p:.2g}"


# ---- parameters -----------------------------------------------------------------------------------------


def param_text(value: object) -> str:
    """Three figures of a number that is not whole."""
    return f"{value:.3g}" if isinstance(value, float) else one_line(to_text(value))


def params_text(params: Mapping[str, Any]) -> str:
    """lr 0.00213, algorithm fl-mr."""
    return ", ".join(param_parts(params))


def param_parts(params: Mapping[str, Any]) -> list[str]:
    """One each."""
    return [f"{name} {param_text(value)}" for name, value in params.items()]


def wrapped(
    parts: Sequence[str], width: int, lead: str = "", between: str = ", ", most: int | None = None
) -> list[str]:
    """Lines of at most `width` that begin below each other, behind the lead; no part is divided if it fits a line.

    most: lines; what is left out is …
    """
    hard = "\u00a0"  # a space at which no line ends
    text = between.join(part.replace(" ", hard) for part in parts)
    indent = " " * len(lead)
    lines = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, max_lines=most, placeholder=" …",
        break_on_hyphens=False,
    )  # fmt: skip
    told = [line.replace(hard, " ") for line in lines] or [indent]
    return [lead + told[0][len(lead) :], *told[1:]]


def rounds_text(plan: StudyPlan) -> str:
    """20 rounds; 4 to 16 rounds if they are searched."""
    searched = next((each for each in plan.space.parameters if each.name == "rounds"), None)
    return f"{range_text(searched)} rounds" if searched else plural(plan.run.rounds, "round")


def range_text(parameter: Parameter) -> str:
    """0.0005 to 0.005, logarithmic; or its choices."""
    if isinstance(parameter, Choice):
        return ", ".join(map(param_text, parameter.values))
    how = ", logarithmic" if parameter.log else "" if parameter.step is None else f" in steps of {parameter.step:g}"
    return f"{parameter.low:g} to {parameter.high:g}{how}"


# ---- trials and winners ---------------------------------------------------------------------------------


def counts_text(counts: Mapping[State, int]) -> str:
    """17 complete, 2 pruned, 1 failed."""
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no trial has ended"


def sampler_text(plan: StudyPlan) -> str:
    """What auto means, said."""
    auto = "tpe" if len(plan.objectives) == 1 else "nsga2"
    return auto if plan.config.sampler == "auto" else plan.config.sampler


def plural(count: int, noun: str) -> str:
    """2 trials."""
    return f"{count} {noun}{'s' * (count != 1)}"


def of_trials(count: int, asked: int) -> str:
    """3 of 12 trials. A directory may hold more than were asked for."""
    return f"{count} of {plural(max(count, asked), 'trial')}"


def seeds_text(seeds: Sequence[int]) -> str:
    """seed 0, or seeds 1 to 3; they follow each other."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {seeds[0]} {'and' if len(seeds) == 2 else 'to'} {seeds[-1]}"


def at_target(target: str) -> str:
    """At brats; or at whatever target each trial has."""
    return f"at {one_line(target)}" if target else "at each trial's own target"


def units_text(tested: Means) -> str:
    """4 patients × 2 seeds; of means by seed: 2 seeds."""
    if not isinstance(tested, Tested):
        return plural(len(tested.seeds), "seed")
    return f"{plural(tested.psnr.count // len(tested.seeds), 'patient')} × {plural(len(tested.seeds), 'seed')}"


def command_lines(command: str, width: int) -> list[str]:
    """A command on several lines, to be copied as they stand; an option stays with its value where both fit."""
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        bare = bool(parts) and parts[-1].startswith("--") and " " not in parts[-1]
        if bare and not word.startswith("--") and len(parts[-1]) + len(word) + 5 <= width:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"  {part}")
    return lines


def notes(plan: StudyPlan, winners: Sequence[Winner], tested_before: Sequence[int] = ()) -> list[str]:
    """What the numbers are, and what they are not: a sentence or some each.

    tested_before: the trials that won before the study was extended.
    """
    mean = f", the mean of {plan.config.seeds} seeds" if plan.config.seeds > 1 else ""
    chosen = (
        f"validation patients alone ({', '.join(each.name for each in plan.objectives)} after the last round{mean})"
    )
    tests = [test for winner in winners for test in (winner.searched, winner.confirmed) if test]
    if not tests:
        return [f"Trials are compared on {chosen}. Test patients are scored once, at the end, for the winners."]
    told = f"Trials were compared on {chosen}. Test patients were scored once, at the end, for the winners only"
    before = ", ".join(map(str, tested_before))
    told += f" (and for those before the study went on: {before})." if before else "."
    targets = {each.target for each in tests}
    about = (
        f"Test scores: {at_target(targets.pop() if len(targets) == 1 else '')}, mean ± half the 95 % t-interval over "
        "units, patients × seeds, never slices. Differences are paired by unit"
    )
    about += "; p: Wilcoxon's signed-rank test, two-sided. " if plan.config.against else ". "
    fresh = "Confirmed: the same settings, trained again on seeds that the search has not seen."
    return [told, about + _what_seeds_say(tests), *[fresh] * bool(plan.config.confirm)]


def _what_seeds_say(tests: Sequence[Tested]) -> str:
    """What intervals over patients do not tell, and those over seeds do."""
    share = "Patients of one seed share a network: an interval over them is too narrow for networks of other seeds. "
    several = sorted({len(test.seeds) for test in tests if test.by_seed})
    if not several:
        return share + "For those the sample is one seed; take more --seeds or --confirm."
    counts = " and ".join(map(str, several))
    return share + f"By seed: the mean of each seed's patients, and its t-interval over the {counts} seeds."
