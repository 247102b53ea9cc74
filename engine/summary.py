"""The end of a run: what the test patients say, what crossed the boundary, and the target's pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.pictures import GAP, HalfBlocks, half_blocks
from engine.standings import byte_size, clock_time, mean, one_line
from engine.types import Array, Preview

Site = Mapping[str, Any]  # of summary.json
WIDEST = 160  # columns of the pictures


def summary_view(summary: Mapping[str, Any], preview: Preview | None) -> RenderableType:
    """summary: the content of `summary.json`; preview: one slice of the target."""
    parts: list[RenderableType] = [Text()]
    if preview is not None:  # first: on a small terminal the table must stay in sight
        parts += [Text(f" one slice of {preview.site}", "bright_black"), pictures(preview, WIDEST), Text()]
    return Group(*parts, Scores(summary), Text(), facts_table(summary), warnings_view(summary.get("warnings", ())))


def warnings_view(warnings: Sequence[str]) -> Table:
    """What must be known of the data, a mark and a text each."""
    table = Table.grid(padding=(0, 1))
    for text in warnings:
        table.add_row(Text(" ⚠", "yellow"), Text(one_line(text), "yellow"))
    return table


def pictures(preview: Preview, width: int) -> HalfBlocks:
    """Zero-filled, reconstruction, error and truth side by side."""
    return slice_pictures(preview.zero_filled, preview.reconstruction, preview.truth, width)


def slice_pictures(
    zero_filled: Array, reconstruction: Array, truth: Array | None, width: int, rows: int | None = None
) -> HalfBlocks:
    """The same of one slice [H, W]; where the truth is unknown, what the network changed. rows: at most so many."""
    known = zero_filled if truth is None else truth
    third = "change" if truth is None else "error"
    images = [
        ("zero-filled", zero_filled),
        ("reconstruction", reconstruction),
        (third, np.abs(np.subtract(reconstruction, known, dtype=np.float64))),
    ]
    images += [] if truth is None else [("truth", truth)]
    if rows is not None:
        height, columns = zero_filled.shape
        width = min(width, len(images) * (max(1, 2 * rows * columns // height) + GAP) - GAP)
    return half_blocks(images, width, heat=[third])


@dataclass(frozen=True)
class Scores:
    """The table of the test patients: zero-filled → reconstructed, the target first, their mean last."""

    summary: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sites = sorted(self.summary["sites"], key=lambda site: bool(site["name"] != self.summary["target"]))
        rows = [*sites, mean_site(sites)] if len(sites) > 1 else sites
        columns = score_columns(rows, self.summary["target"], options.max_width - 2)
        lines = [Text("test patients, zero-filled → reconstructed", "bold"), titles(columns)]
        lines += [line(columns, row) for row in rows]
        if len(sites) > 1:
            lines[-1].stylize("bold")
        for each in lines:
            yield cut(Text(" ").append_text(each), options.max_width)


def score_columns(rows: Sequence[Site], target: str | None, width: int) -> list[Column[Site]]:
    """Of rows as in `summary.json`."""
    name = longest((row["name"] for row in rows), 4) + 2

    def site(row: Site, _: int) -> Text:
        is_target = row["name"] == target
        return Text(f"◎ {row['name']}", "bold cyan") if is_target else Text(f"  {row['name']}")

    def change(key: str, digits: int) -> Callable[[Site, int], Text]:
        def cell(row: Site, _: int) -> Text:
            before, after = row["zero_filled"][key], row["test"][key]
            return Text("–" if math.isnan(after) else f"{before:.{digits}f}→{after:.{digits}f}")

        return cell

    def psnr(row: Site, width: int) -> Text:
        gain = row["test"]["psnr"] - row["zero_filled"]["psnr"]
        cell = change("psnr", 2)(row, width)
        return cell if math.isnan(gain) else cell.append(f" {gain:+.2f}", "green" if gain > 0 else "red")

    every = [
        Column("  site", 0, min(name, 16), site, most=name),
        Column("role", 3, 6, lambda row, _: Text(row["role"])),
        Column("trained", 4, 7, lambda row, _: Text(str(row["train_slices"])), right=True),
        Column("PSNR dB", 0, 18, psnr, right=True),
        Column("SSIM", 1, 11, change("ssim", 3), right=True),
        Column("NMSE", 2, 11, change("nmse", 3), right=True),
    ]
    return fit(every, width)


def mean_site(sites: Sequence[Site]) -> Site:
    """A row of means, of the same layout."""
    row: dict[str, Any] = {"name": f"mean of {len(sites)}", "role": ""}
    row["train_slices"] = sum(site["train_slices"] for site in sites)
    for when in ("zero_filled", "test"):
        row[when] = {key: mean(site[when][key] for site in sites) for key in ("psnr", "ssim", "nmse")}
    return row


def facts_table(summary: Mapping[str, Any]) -> Table:
    """What crossed, how long it took, which weights came out."""
    seconds = summary["seconds"]
    crossed = ", ".join(f"{kind} {byte_size(count)}" for kind, count in summary["ledger"].items())
    first = seconds["first_round"]  # None if the last session had no round left to do
    took = [f"{clock_time(seconds['total'])}: start-up {seconds['startup']:.1f} s"]
    took += [] if first is None else [f"first round done at {first:.1f} s"]
    took += [f"{seconds['median_round']:.2f} s a round"]
    facts = [("crossed", crossed), ("took", ", ".join(took))]
    facts.append(("weights", f"sha256 {summary['weights_sha256'][:12]}, seed {summary['seed']}"))
    return labelled(facts)


def labelled(facts: Sequence[tuple[str, str]]) -> Table:
    """A line each: what it is about, and the words."""
    table = Table.grid(padding=(0, 2, 0, 1))
    for label, text in facts:
        table.add_row(Text(label, "bright_black"), Text(text))
    return table
