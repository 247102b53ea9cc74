"""A round as a JSON object, the line of `rounds.jsonl`, and back: `report_from_json(report_to_json(r)) == r`.

JSON has no NaN and no infinity: a number that is not finite is written as the string `float` reads back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from engine.types import RoundReport, Scores, Shift, SiteRound, Speed

Json = dict[str, Any]


def report_to_json(report: RoundReport) -> Json:
    """{"round", "sites": {name: {"metrics", "psnr", "ssim", "nmse", "shift"}}, "ledger", "seconds"}, and perhaps
    "speed": {name: {"input_slices_per_second", "training_slices_per_second"}}.

    "shift": {measure: {"value", "low", "high", "p"}}, see `engine.types.Shift`.
    """
    speed = {"speed": {name: speed_to_json(each) for name, each in report.speed.items()}} if report.speed else {}
    return {
        "round": report.round,
        "sites": {name: _site_to_json(site) for name, site in report.sites.items()},
        "ledger": {kind: int(count) for kind, count in report.ledger.items()},
        "seconds": _numbers(report.seconds),
        **speed,
    }


def speed_to_json(speed: Speed) -> Json:
    """By names that say the unit."""
    return _numbers({"input_slices_per_second": speed.input, "training_slices_per_second": speed.training})


def report_from_json(record: Mapping[str, Any]) -> RoundReport:
    """Raises KeyError, TypeError or ValueError if the record is not one that `report_to_json` wrote."""
    return RoundReport(
        round=int(record["round"]),
        sites={name: _site_from_json(site) for name, site in record["sites"].items()},
        ledger={kind: int(count) for kind, count in record["ledger"].items()},
        seconds={phase: float(value) for phase, value in record["seconds"].items()},
        speed={name: _speed_from_json(each) for name, each in record.get("speed", {}).items()},
    )


def encoded(value: Any) -> Any:
    """A JSON value with every number that is not finite as a string."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {key: encoded(item) for key, item in value.items()}
    return [encoded(item) for item in value] if isinstance(value, list) else value


def decoded(value: Any) -> Any:
    """What `encoded` was given."""
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, Mapping):
        return {key: decoded(item) for key, item in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value


def _speed_from_json(record: Mapping[str, Any]) -> Speed:
    return Speed(input=float(record["input_slices_per_second"]), training=float(record["training_slices_per_second"]))


def _site_to_json(site: SiteRound) -> Json:
    scores = site.scores
    return {
        "metrics": _numbers(site.metrics),
        **_numbers({"psnr": scores.psnr, "ssim": scores.ssim, "nmse": scores.nmse}),
        "shift": {measure: _numbers(asdict(shift)) for measure, shift in site.shift.items()},
    }


def _site_from_json(record: Mapping[str, Any]) -> SiteRound:
    return SiteRound(
        metrics={key: float(value) for key, value in record["metrics"].items()},
        scores=Scores(psnr=float(record["psnr"]), ssim=float(record["ssim"]), nmse=float(record["nmse"])),
        shift={
            measure: Shift(**{key: float(value) for key, value in shift.items()})
            for measure, shift in record["shift"].items()
        },
    )


def _number(value: float) -> float | str:
    value = float(value)
    return value if math.isfinite(value) else str(value)


def _numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    return {key: _number(value) for key, value in values.items()}
