"""What is known of a federation so far, as the console shows it: rows of numbers and words, nothing drawn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from engine.types import RoundReport, SiteInfo, Speed


@dataclass(frozen=True)
class Header:
    """A run, before it starts. note: what kind of institutions these are; out: the run directory.

    warnings: what must be known of their data, a line each
    """

    scenario: str
    note: str
    algorithm: str
    target: str | None
    devices: str
    out: str
    rounds: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clock:
    """Seconds: since the start-up began, of each round of this session, since the last of them ended."""

    elapsed: float = 0.0
    rounds: tuple[float, ...] = ()
    since: float = 0.0

    def left(self, rounds: int) -> float | None:
        """Seconds that `rounds` more take; None before the first. The first is slow, hence the median."""
        if not self.rounds:
            return None
        return max(0.0, statistics.median(self.rounds[-9:]) * rounds - self.since)


# ---- rows -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """A site at its latest round, or the mean of all. NaN: not known, or not yet."""

    name: str
    role: str = ""
    scanner: str = ""
    slices: int = 0
    share: str = ""
    is_target: bool = False
    loss: float = math.nan
    psnr: float = math.nan
    psnr_gain: float = math.nan
    ssim: float = math.nan
    ssim_gain: float = math.nan
    shift: float = math.nan
    history: tuple[float, ...] = ()


def _site_row(info: SiteInfo, state: State) -> Row:
    row = Row(
        name=one_line(info.name),
        role=info.role,
        scanner=one_line(info.description),
        slices=info.train_slices,
        share=info.share,
        is_target=info.name == state.header.target,
    )
    rounds = [report.sites[info.name] for report in state.reports if info.name in report.sites]
    if not rounds:
        return row
    last, before = rounds[-1], info.zero_filled
    return replace(
        row,
        loss=last.metrics.get("loss", math.nan),
        psnr=last.scores.psnr,
        psnr_gain=last.scores.psnr - before.psnr,
        ssim=last.scores.ssim,
        ssim_gain=last.scores.ssim - before.ssim,
        shift=last.mmd,
        history=tuple(site.scores.psnr for site in rounds),
    )


def mean_row(rows: Sequence[Row]) -> Row:
    """Every column's mean over the sites that have a value there; the shift's without the target's own."""
    return Row(
        name=f"mean of {len(rows)}",
        slices=sum(row.slices for row in rows),
        loss=mean(row.loss for row in rows),
        psnr=mean(row.psnr for row in rows),
        psnr_gain=mean(row.psnr_gain for row in rows),
        ssim=mean(row.ssim for row in rows),
        ssim_gain=mean(row.ssim_gain for row in rows),
        shift=mean(row.shift for row in rows if not row.is_target),
        history=tuple(mean(values) for values in zip(*(row.history for row in rows), strict=False)),
    )


@dataclass(frozen=True)
class State:
    """All there is to show but the time. phase: what is being done besides rounds, if anything."""

    header: Header
    sites: tuple[SiteInfo, ...]
    reports: tuple[RoundReport, ...] = ()
    phase: str = ""

    @cached_property
    def rows(self) -> list[Row]:
        """The target first, then as given. Kept, for the board is drawn far more often than a round ends."""
        infos = sorted(self.sites, key=lambda info: info.name != self.header.target)
        return [_site_row(info, self) for info in infos]

    @cached_property
    def mean(self) -> Row:
        """Of all sites."""
        return mean_row(self.rows)

    @cached_property
    def gains(self) -> list[float]:
        """PSNR over zero-filled by round, dB: the target's, the mean without one."""
        row = next((row for row in self.rows if row.is_target), self.mean)
        return [psnr - (row.psnr - row.psnr_gain) for psnr in row.history]

    @cached_property
    def losses(self) -> list[float]:
        """Mean over the sites that trained, by round."""
        return [metric(report, "loss") for report in self.reports]

    @cached_property
    def accuracies(self) -> list[float]:
        """The identifiers' mean accuracy by round; NaN where nothing was aligned."""
        return [metric(report, "identifier_accuracy") for report in self.reports]


# ---- numbers and words ----------------------------------------------------------------------------------


def mean(values: Iterable[float]) -> float:
    """Of those that are not NaN; NaN if none is left."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def metric(report: RoundReport, key: str) -> float:
    """Mean over the sites that report it."""
    return mean(site.metrics[key] for site in report.sites.values() if key in site.metrics)


def number(value: float, digits: int) -> str:
    """Fixed point, or two figures with an exponent where that would show nothing; – for NaN."""
    if math.isnan(value):
        return "–"
    lost = value != 0 and abs(value) < 10.0**-digits
    return f"{value:.0e}" if lost or abs(value) >= 1e4 else f"{value:.{digits}f}"


def clock_time(seconds: float) -> str:
    """m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def tightest(report: RoundReport) -> tuple[str, Speed] | None:
    """The site whose input is closest to holding its training up, and its speed; None where nobody measured."""
    if not report.speed:
        return None
    return min(report.speed.items(), key=lambda item: item[1].input / item[1].training)


def byte_size(count: float) -> str:
    """In decimal units: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def round_seconds(report: RoundReport) -> float:
    """The round's own total where it has one, else the sum of its phases."""
    return report.seconds.get("total", sum(report.seconds.values()))


def one_line(text: str) -> str:
    """What a user wrote, fit for a row."""
    return " ".join(text.split())
