"""A table in words: headings, what rows mean, how a number is written, and the notes below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sites.intervals import fixed
from sweeps.scores import BASELINE, MEAN, ZERO_FILLED, Entry, Metric, Study, StudyTable, Summary, Verdict

HEADINGS: Mapping[Study, tuple[str, str]] = {
    "within": ("within", "the tested site trains too; its test patients are new to every network"),
    "leave-one-out": ("leave one out", "the tested site trains in no row but Local"),
}
TITLES: Mapping[Metric, str] = {
    "psnr": "PSNR, dB (higher is better)",
    "ssim": "SSIM (higher is better)",
    "nmse": "NMSE (lower is better)",
}
DIGITS: Mapping[Metric, int] = {"psnr": 2, "ssim": 3, "nmse": 4}
MARKS: Mapping[Verdict | None, str] = {"better": "▲", "worse": "▼", "same": "", None: ""}
MARK_COLORS = {"▲": "green", "▼": "red"}
MISSING = "…"  # not trained yet
MEANINGS = {
    ZERO_FILLED: "no network",
    "Local": "trained at the tested site alone",
    "Cross": "trained at one other site, mean over these",
    "Fused": "trained on pooled data",
    BASELINE: "federated averaging",
}
ALPHA = 0.05  # of a test


def column_title(column: str) -> str:
    """A site's name, or "mean"."""
    return "mean" if column == MEAN else column


def entry_parts(entry: Entry, metric: Metric) -> tuple[str, str]:
    """The mean and half its interval; the latter is empty if unknown."""
    digits = DIGITS[metric]
    return fixed(entry.mean, digits), "" if math.isnan(entry.half_width) else fixed(entry.half_width, digits)


def footnotes(summary: Summary, facts: Sequence[str] = ()) -> list[str]:
    """What the numbers are, and what they are not: a sentence or some each. Empty if there is no score yet.

    facts: what must be known besides.
    """
    tables = [table for table in summary if table.seeds]
    if not tables:
        return []
    rows = dict.fromkeys(row for table in tables for row in table.rows if row in MEANINGS)
    notes = ["; ".join(f"{row}: {MEANINGS[row]}" for row in rows) + "."] if rows else []
    notes.append(f"Mean ± half its 95 % t-interval over units: {_units(tables)}, never slices.")
    if any(MEAN in table.columns for table in tables):
        notes[-1] += " mean: of the site means, weighted alike; its interval is for these very sites."
    tested = max(table.comparisons for table in tables)
    if tested:
        family = f"the {tested} comparisons of a study and metric"
        notes.append(meaning_of_marks(BASELINE, "unit (in the mean: all sites' units)", family))
        notes.append(
            f"Bold: the best of a column, if significantly better than {BASELINE}; {BASELINE}, if all others are "
            f"significantly worse."
        )
        units = max(table.seeds * table.patients[1] for table in tables)
        if too_few(units, tested):
            notes.append(
                f"With {units} units a site no difference at a single site can be significant here; take more --seeds."
            )
    uneven = dict.fromkeys(column_title(column) for table in tables for column in table.uneven)
    if uneven:
        notes.append(f"Nothing is bold in {', '.join(uneven)} as long as rows there lack units that others have.")
    notes.append(what_seeds_say(max(table.seeds for table in tables)))
    return [*notes, *facts]


def meaning_of_marks(baseline: str, unit: str, family: str) -> str:
    """Of ▲ and ▼. unit: what pairs; family: what Holm's correction is over."""
    return (
        f"▲ better, ▼ worse than {baseline}: p < 0.05 by Wilcoxon's signed-rank test, two-sided, paired by {unit}, "
        f"with Holm's correction over {family}."
    )


def too_few(units: int, tested: int) -> bool:
    """Whether no p of so many pairs, with Holm's correction over so many tests, can be significant."""
    return 2.0 ** (1 - units) * tested > ALPHA  # the smallest p that so many signs can give


def what_seeds_say(seeds: int) -> str:
    """What intervals over patients do not tell."""
    return (
        "Patients of one seed share a network. For networks of other seeds the sample is "
        f"{'one seed' if seeds == 1 else f'the {seeds} seeds'}, and these intervals are too narrow."
    )


def _units(tables: Sequence[StudyTable]) -> str:
    """5 seeds × 3 to 4 test patients a site."""
    seeds = max(table.seeds for table in tables)
    fewest, most = min(table.patients[0] for table in tables), max(table.patients[1] for table in tables)
    patients = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{seeds} seed{'s' * (seeds != 1)} × {patients} test patient{'s' * (most != 1)} a site"
