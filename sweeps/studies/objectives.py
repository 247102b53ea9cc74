"""What a sweep optimises: numbers of a federation's rounds, all of validation patients; test patients are never asked.

An objective is that of the last round, not of the best: what the network is that a run of these settings leaves. While
a run goes on, its value so far is the same number of its rounds so far, which is what pruners compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from engine.types import RoundReport, Scores
from engine.validation import closest
from sites.config import RunConfig, names

Pick = Callable[[Scores], float]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What is measured. zero_filled: scores of the sites' zero-filled validation images; target: a site's name."""

    reports: Sequence[RoundReport]
    zero_filled: Mapping[str, Scores]
    target: str

    def last(self, pick: Pick) -> dict[str, float]:
        """One of the last round's scores by site, of those that have validation patients."""
        scored = [name for name, scores in self.zero_filled.items() if not math.isnan(scores.psnr)]
        return {name: pick(self.reports[-1].sites[name].scores) for name in scored}

    def gains(self) -> dict[str, float]:
        """PSNR over that of the zero-filled images by site, dB."""
        return {name: score - self.zero_filled[name].psnr for name, score in self.last(psnr).items()}

    def total(self, what: Literal["seconds", "ledger"]) -> float:
        """Of all rounds: seconds, or bytes."""
        return math.fsum(amount for report in self.reports for amount in getattr(report, what).values())


@dataclass(frozen=True, kw_only=True)
class Objective:
    """measure: of rounds that have been scored; needs: whose validation patients it takes."""

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str
    words: str
    measure: Callable[[Rounds], float]
    needs: Literal["target", "any", "none"] = "any"


def psnr(scores: Scores) -> float:
    """dB."""
    return scores.psnr


def ssim(scores: Scores) -> float:
    """At most 1."""
    return scores.ssim


def _score(name: str, unit: str, words: str, measure: Callable[[Rounds], float]) -> Objective:
    """One that is the better the higher."""
    needs: Literal["target", "any"] = "target" if name.startswith("target") else "any"
    return Objective(name=name, direction="maximize", unit=unit, words=words, measure=measure, needs=needs)


def _cost(name: str, unit: str, words: str, measure: Callable[[Rounds], float]) -> Objective:
    """One that is the better the lower."""
    return Objective(name=name, direction="minimize", unit=unit, words=words, measure=measure, needs="none")


OBJECTIVES: dict[str, Objective] = {
    each.name: each
    for each in (
        _score("target-psnr", "dB", "PSNR at the target", lambda r: r.last(psnr)[r.target]),
        _score("target-ssim", "", "SSIM at the target", lambda r: r.last(ssim)[r.target]),
        _score("mean-psnr", "dB", "PSNR, the mean over sites", lambda r: fmean(r.last(psnr).values())),
        _score("mean-ssim", "", "SSIM, the mean over sites", lambda r: fmean(r.last(ssim).values())),
        _score("worst-psnr", "dB", "PSNR at the worst site", lambda r: np.min([*r.last(psnr).values()])),
        _score("gain", "dB", "PSNR over zero-filled, the mean over sites", lambda r: fmean(r.gains().values())),
        _score("target-gain", "dB", "PSNR over zero-filled at the target", lambda r: r.gains()[r.target]),
        _cost("seconds", "s", "time of all rounds", lambda r: r.total("seconds")),
        _cost("bytes", "B", "what crossed the sites' boundaries in all rounds", lambda r: r.total("ledger")),
    )
}
"""What `--objective` offers."""


def objectives(text: str) -> tuple[Objective, ...]:
    """Those named, separated by commas. Raises ValueError, in one line, for one that is unknown or stands twice."""
    for name in names(text):
        if name not in OBJECTIVES:
            raise ValueError(f"objective {name!r} is unknown; {closest(name, OBJECTIVES)}")
    if not names(text):
        raise ValueError(f"there is no objective; choose of {', '.join(OBJECTIVES)}")
    return tuple(OBJECTIVES[name] for name in names(text))


def check(objective: Objective, config: RunConfig) -> None:
    """Raises ValueError, in one line, if a resolved run has no validation patients that this objective asks for."""
    scored = {site.name for site in config.institutions if site.val_patients}
    if objective.needs == "target" and config.target not in scored:
        raise ValueError(
            f"objective {objective.name} is of the target's validation patients, and {config.target!r} has none; "
            "take another --target, or mean-psnr"
        )
    if objective.needs == "any" and not scored:
        raise ValueError(f"objective {objective.name} is of validation patients, and no site has any; take other data")


def value(
    objective: Objective, reports: Sequence[RoundReport], zero_filled: Mapping[str, Scores], target: str
) -> float:
    """The objective of a run's rounds, one at least; NaN if a score is. zero_filled: of validation patients by site."""
    return float(objective.measure(Rounds(reports=reports, zero_filled=zero_filled, target=target)))
