"""A report's costs: what crossed the sites' boundaries, and what took how long."""

from __future__ import annotations

import math
import statistics
from functools import partial

from engine.ledger import total
from engine.records import speed_to_json
from engine.standings import byte_size, clock_time
from sites.intervals import fixed
from sites.report.html_page import Html, Section, facts, join, paragraph, share_bar, table, tag
from sites.report.html_setting import site_name
from sites.run_reader import Run

KINDS = {
    "weights": "the network, to the sites and back",
    "latents": "pooled features: the target's to align with, the validation patients' to measure the shift",
    "intensities": "histograms of the network's input, to measure the shift",
    "raw": "the target's images themselves (exchange raw, for parity with the authors' code)",
    "scores": "three numbers a patient",
    "state": "what a checkpoint needs of a site; kept by the driver, never sent on",
    "previews": "the pictures of this report: one test slice a site",
    "private": "weights that sites otherwise keep for themselves",
    "control": "control variates (SCAFFOLD)",
    "encoders": "all sites' last encoders (FedMRI)",
    "identifier": "the one identifier of all sites",
}
PHASES = {
    "encode": "the target's latents, for alignment",
    "train": "local training at all sites, and the way of the weights",
    "aggregate": "the server's mean",
    "evaluate": "scoring the validation patients, and the latent shift",
}


# ---- ledger ---------------------------------------------------------------------------------------------


def crossed(run: Run) -> dict[str, int]:
    """Bytes by kind in the whole run, so far."""
    ledger: dict[str, int] = run.summary.get("ledger") or total([report.ledger for report in run.rounds])
    return ledger


def ledger_section(run: Run) -> Section:
    """What left the sites, or reached them."""
    section = partial(Section, "ledger", "What crossed the boundaries", link="Ledger")
    whole = crossed(run)
    everything = sum(whole.values())
    if not everything:
        return section(paragraph("Nothing was counted.", absent=True))
    rows = [
        [
            kind,
            tag("div", KINDS.get(kind, "sent by the algorithm"), cls="wide"),
            _typical(run, kind),
            byte_size(count),
            _part(count / everything),
        ]
        for kind, count in sorted(whole.items(), key=lambda item: -item[1])
    ]
    rounds = [sum(report.ledger.values()) for report in run.rounds]
    foot = [["All", "", byte_size(statistics.median(rounds)) if rounds else "–", byte_size(everything), ""]]
    text = (
        "Bytes between the sites and the driver, both ways and over all sites. No image and no k-space is among them, "
        "but for previews and raw, where they are listed. What crosses once, at the start or the end, is in no round."
    )
    head = ["Kind", "What it is", "A round (median)", "In all", "Share"]
    return section(join([paragraph(text, note=True), table(head, rows, name="bytes", foot=foot, words=2)]))


def _typical(run: Run, kind: str) -> str:
    counts = [report.ledger.get(kind, 0) for report in run.rounds]
    typical = statistics.median(counts) if counts else 0
    return byte_size(typical) if typical else "–"


def _part(part: float) -> Html:
    words = "< 0.1 %" if 0 < part < 0.001 else f"{100 * part:.1f} %"
    return join([words, share_bar(part)])


# ---- time -----------------------------------------------------------------------------------------------


def timing_section(run: Run) -> Section:
    """Seconds by phase, slices a second by site."""
    seconds = run.summary.get("seconds", {})
    known = [
        ("Whole run", clock_time(seconds["total"]) if _finite(seconds.get("total")) else None),
        ("Start-up", _seconds(seconds.get("startup"))),
        ("First round", _seconds(seconds.get("first_round"), "done at {:.2f} s")),
        ("Each round", _seconds(seconds.get("median_round"), "{:.2f} s (median)")),
    ]
    parts = [facts((name, text) for name, text in known if text)] if seconds else []
    phases = _phases(run)
    whole = sum(sum(values) for values in phases.values())
    rows = [
        [
            phase,
            tag("div", PHASES.get(phase, ""), cls="wide"),
            f"{statistics.median(values):.3f}",
            f"{sum(values):.2f}",
            _part(sum(values) / whole),
        ]
        for phase, values in phases.items()
    ]
    if rows and whole > 0:
        foot = [["Rounds", f"{len(run.rounds)} of them", f"{_median_round(run):.3f}", f"{whole:.2f}", ""]]
        head = ["Phase", "What it is", "A round (median), s", "All rounds, s", "Share"]
        parts.append(table(head, rows, name="seconds", foot=foot, words=2))
    speeds = _speeds(run)
    if speeds:
        parts.append(tag("h3", "Slices a second, while a site trains"))
        head = ["Site", "Input (how fast batches are made)", "Training (the wait for input left out)"]
        parts.append(table(head, [[site_name(run, name), *each] for name, each in speeds.items()], name="speeds"))
    body = join(parts) if parts else paragraph("Nothing was measured.", absent=True)
    return Section("time", "Time", body)


def _phases(run: Run) -> dict[str, list[float]]:
    """Seconds of every round, those that are numbers."""
    found: dict[str, list[float]] = {}
    for report in run.rounds:
        for phase, value in report.seconds.items():
            if math.isfinite(value):
                found.setdefault(phase, []).append(value)
    return found


def _median_round(run: Run) -> float:
    return statistics.median(sum(report.seconds.values()) for report in run.rounds)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _seconds(value: float | None, words: str = "{:.2f} s") -> str | None:
    return words.format(value) if _finite(value) else None


def _speeds(run: Run) -> dict[str, list[str]]:
    """By site, input and training: the median over the rounds."""
    keys = ("input_slices_per_second", "training_slices_per_second")
    found: dict[str, list[str]] = {}
    for name in run.names:
        each = [speed_to_json(report.speed[name]) for report in run.rounds if name in report.speed]
        if each:
            found[name] = [_rate(statistics.median(float(one[key]) for one in each)) for key in keys]
    return found


def _rate(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if math.isfinite(value) else fixed(value, 0)
