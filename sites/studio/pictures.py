"""A shift session's answers that have pictures: institutions seen through a network, before and after, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.pictures import GAP, HalfBlocks, half_blocks
from engine.shift import MEASURES
from engine.standings import number, one_line
from engine.types import Array, Scores, Shift
from sites.config import SiteConfig
from sites.shifts import shifted
from sites.studio.answers import Looked, Shown, Turned
from sites.studio.bench import SiteView
from sites.studio.branch import Branch

NARROWEST = 15  # columns of a thumbnail
BRIGHTEST = 0.99  # of the truth's pixels are darker than white
FEWEST = 6  # rows of a picture, whatever else there is to show


def shown(answer: Shown, width: int, rows: int) -> list[RenderableType]:
    """Thumbnails: a line of zero-filled images, below each its reconstruction."""
    views = answer.views
    each = min(len(views), max(1, width // NARROWEST))
    strips = [views[start : start + each] for start in range(0, len(views), each)]
    room = max(FEWEST, (rows - 1) // (2 * len(strips)) - 1)
    parts: list[RenderableType] = [bold(f"zero-filled, below it reconstructed: {state(answer.branch)}")]
    for strip in strips:
        above = [(f"{mark(view, answer.branch)}{view.site.name} {view.zero_filled.psnr:.2f}", view) for view in strip]
        below = [(f"{view.site.name} → {view.scores.psnr:.2f} dB", view) for view in strip]
        parts.append(pictures([(words, bright(v, v.preview.zero_filled)) for words, v in above], width, room))
        parts.append(pictures([(words, bright(v, v.preview.reconstruction)) for words, v in below], width, room))
    return parts


def looked(answer: Looked, width: int, rows: int) -> list[RenderableType]:
    """Truth, zero-filled, reconstruction and error; scores, settings and shift below."""
    view, branch = answer.view, answer.branch
    words = f", {one_line(view.site.description)}" if view.site.description else ""
    below: list[RenderableType] = [*scores(view), *(cut(text, width) for text in settings(view.site, width))]
    if answer.shift:
        below += [bold(f"shift to {branch.config.target}"), *shift_lines(answer.shift, width)]
    error = np.abs(view.preview.reconstruction - view.preview.truth)
    images = [
        ("truth", bright(view, view.preview.truth)),
        ("zero-filled", bright(view, view.preview.zero_filled)),
        ("reconstruction", bright(view, view.preview.reconstruction)),
        ("error", error),
    ]
    heading = cut(bold(f"{mark(view, branch)}{view.site.name}{words}: {state(branch)}"), width)
    return [heading, pictures(images, width, rows - 2 - len(below), heat=("error",)), *below]


def turned(answer: Turned, width: int, rows: int) -> list[RenderableType]:
    """Zero-filled before and after, the reconstruction and the truth after; scores and shift before and after."""
    before, after = answer.before, answer.after
    below: list[RenderableType] = [
        _change("zero-filled", before.zero_filled, after.zero_filled),
        _change("reconstruction", before.scores, after.scores),
        *_shift_change(answer, width),
    ]
    images = [
        ("zero-filled before", bright(before, before.preview.zero_filled)),
        ("zero-filled", bright(after, after.preview.zero_filled)),
        ("reconstruction", bright(after, after.preview.reconstruction)),
        ("truth", bright(after, after.preview.truth)),
    ]
    heading = cut(bold(f"{mark(after, answer.branch)}{after.site.name}: {answer.what}, {state(answer.branch)}"), width)
    return [heading, pictures(images, width, rows - 2 - len(below)), *below]


# ---- pictures -----------------------------------------------------------------------------------------------


def pictures(images: Sequence[tuple[str, Array]], width: int, rows: int, heat: Sequence[str] = ()) -> HalfBlocks:
    """Side by side in at most so many columns, and rows where that leaves a picture."""
    height, columns = images[0][1].shape
    widest = max(1, 2 * max(rows, FEWEST) * columns // height)
    return half_blocks(images, min(width, len(images) * (widest + GAP) - GAP), heat)


def bright(view: SiteView, image: Array) -> Array:
    """Of a slice, in parts of nearly its truth's largest value: institutions' units differ, and fluid may outshine."""
    return np.clip(image / max(float(np.quantile(view.preview.truth, BRIGHTEST)), 1e-12), 0, 1)


# ---- words --------------------------------------------------------------------------------------------------


def mark(view: SiteView, branch: Branch) -> str:
    """Which one the target is."""
    return "◎ " if view.site.name == branch.config.target else ""


def state(branch: Branch) -> str:
    """Which network this is."""
    return f"{branch.name}, {when(branch.round)}"


def when(round: int) -> str:
    """In words."""
    return f"after round {round}" if round else "before the first round"


def setting(value: object) -> str:
    """A setting's value."""
    return "–" if value in ("", None) else str(value)


def bold(text: str) -> Text:
    """A heading."""
    return Text(text, "bold")


def scores(view: SiteView) -> list[Text]:
    """Zero-filled and reconstructed, a line."""
    words = [
        f"{name} {number(old, digits)} → {number(new, digits)}{unit}"
        for name, old, new, digits, unit in (
            ("PSNR", view.zero_filled.psnr, view.scores.psnr, 2, " dB"),
            ("SSIM", view.zero_filled.ssim, view.scores.ssim, 3, ""),
            ("NMSE", view.zero_filled.nmse, view.scores.nmse, 3, ""),
        )
    ]
    gain = view.scores.psnr - view.zero_filled.psnr
    return [Text("  ".join(words)).append(f"  {gain:+.2f} dB", "green" if gain > 0 else "red")]


def settings(site: SiteConfig, width: int) -> list[Text]:
    """The acquisition as its dials leave it, and the dials."""
    there = shifted(site)
    words = [] if site.of_files else [
        f"{there.field_strength:.3g} T", there.sequence.replace("_", " "), f"TR {there.tr:.4g}", f"TE {there.te:.3g}",
        *[f"TI {there.ti:.4g}"] * bool(there.ti), *[f"{there.flip_angle:.3g}°"] * (there.flip_angle != 90),
        f"SNR {there.snr:.3g}", f"bias {there.bias_field:.2g}", *["glioma"] * (there.lesions != "none"),
    ]  # fmt: skip
    words.append(f"{there.mask} ×{there.acceleration}")
    lines = [Text(", ".join(words), "bright_black")]
    return [*lines, cut(Text(f"dials: {site.shift.replace(',', ', ')}", "cyan"), width)] if site.shift else lines


def shift_lines(shift: Mapping[str, Shift], width: int, title: str = "shift") -> list[Text]:
    """By measure: its value, and where chance alone would leave it."""
    return measure_lines(
        {
            title: {name: each.value for name, each in shift.items()},
            "chance": {name: each.low for name, each in shift.items()},
            "to": {name: each.high for name, each in shift.items()},
            "p": {name: each.p for name, each in shift.items()},
        },
        width,
    )


def measure_lines(rows: Mapping[str, Mapping[str, float]], width: int) -> list[Text]:
    """A column a measure, as many as fit."""
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    first = longest(rows, 6)

    def column(index: int, name: str) -> Column[str]:
        return Column(label(name), index, 10, lambda row, _: Text(number(rows[row][name], 3)), right=True)

    columns = [Column[str]("", 0, first, lambda row, _: Text(row, "bright_black"))]
    columns += [column(index, name) for index, name in enumerate(names)]
    kept = fit(columns, width)
    return [titles(kept), *(line(kept, row) for row in rows)]


def label(measure: str) -> str:
    """A measure's name in at most ten columns."""
    return {"identifier_accuracy": "identifier", "wasserstein": "Wasserst."}.get(measure, MEASURES[measure].label)


def _change(what: str, before: Scores, after: Scores) -> Text:
    gain = after.psnr - before.psnr
    color = "green" if gain > 0 else "red" if gain < 0 else "bright_black"
    return (
        Text(f"{what:15} {before.psnr:.2f} → {after.psnr:.2f} dB  ")
        .append(f"{gain:+.2f}", color)
        .append(f"  SSIM {before.ssim:.3f} → {after.ssim:.3f}", "bright_black")
    )


def _shift_change(answer: Turned, width: int) -> list[Text]:
    if not answer.shift:
        return [Text(f"no shift of {answer.of}: nobody to compare with", "bright_black")]
    rows = {
        row: {name: pair[index] for name, pair in answer.shift.items()} for index, row in enumerate(("before", "after"))
    }
    return [Text(f"shift of {answer.of}"), *measure_lines(rows, width)]
