"""A shift session's answers that have pictures: institutions seen through a network, before and after, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

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
from sites.studio_answers import Compared, Looked, Shown, Turned
from sites.studio_bench import SiteView
from sites.studio_branch import Branch

NARROWEST = 15  # columns of a thumbnail
BRIGHTEST = 0.99  # of the truth's pixels are darker than white
FEWEST = 6  # rows of a picture, whatever else there is to show


def shown(answer: Shown, width: int, rows: int) -> list[RenderableType]:
    """Thumbnails: a line of zero-filled images, below each its reconstruction."""
    views = answer.views
    each = min(len(views), max(1, width // NARROWEST))
    strips = [views[start : start + each] for start in range(0, len(views), each)]
    room = max(FEWEST, (rows - 1) // (2 * len(strips)) - 1)
    parts: list[RenderableType] = [_bold(f"zero-filled, below it reconstructed: {state(answer.branch)}")]
    for strip in strips:
        above = [(f"{mark(view, answer.branch)}{view.site.name} {view.zero_filled.psnr:.2f}", view) for view in strip]
        below = [(f"{view.site.name} → {view.scores.psnr:.2f} dB", view) for view in strip]
        parts.append(_pictures([(words, _bright(v, v.preview.zero_filled)) for words, v in above], width, room))
        parts.append(_pictures([(words, _bright(v, v.preview.reconstruction)) for words, v in below], width, room))
    return parts


def looked(answer: Looked, width: int, rows: int) -> list[RenderableType]:
    """Truth, zero-filled, reconstruction and error; scores, settings and shift below."""
    view, branch = answer.view, answer.branch
    words = f", {one_line(view.site.description)}" if view.site.description else ""
    below: list[RenderableType] = [*scores(view), *(cut(text, width) for text in settings(view.site, width))]
    if answer.shift:
        below += [_bold(f"shift to {branch.config.target}"), *shift_lines(answer.shift, width)]
    error = np.abs(view.preview.reconstruction - view.preview.truth)
    images = [
        ("truth", _bright(view, view.preview.truth)),
        ("zero-filled", _bright(view, view.preview.zero_filled)),
        ("reconstruction", _bright(view, view.preview.reconstruction)),
        ("error", error),
    ]
    heading = cut(_bold(f"{mark(view, branch)}{view.site.name}{words}: {state(branch)}"), width)
    return [heading, _pictures(images, width, rows - 2 - len(below), heat=("error",)), *below]


def turned(answer: Turned, width: int, rows: int) -> list[RenderableType]:
    """Zero-filled before and after, the reconstruction and the truth after; scores and shift before and after."""
    before, after = answer.before, answer.after
    below: list[RenderableType] = [
        _change("zero-filled", before.zero_filled, after.zero_filled),
        _change("reconstruction", before.scores, after.scores),
        *_shift_change(answer, width),
    ]
    images = [
        ("zero-filled before", _bright(before, before.preview.zero_filled)),
        ("zero-filled", _bright(after, after.preview.zero_filled)),
        ("reconstruction", _bright(after, after.preview.reconstruction)),
        ("truth", _bright(after, after.preview.truth)),
    ]
    heading = cut(_bold(f"{mark(after, answer.branch)}{after.site.name}: {answer.what}, {state(answer.branch)}"), width)
    return [heading, _pictures(images, width, rows - 2 - len(below)), *below]


def compared(answer: Compared, width: int, rows: int) -> list[RenderableType]:
    """What differs, PSNR and shift by institution, the target's pictures."""
    first, second, (a, b) = answer.first, answer.second, answer.views
    told: list[RenderableType] = [cut(_bold(f"{first.name} | {second.name}, {_after(answer.round)}"), width)]
    told += _differences(answer, width)
    told += _table(answer, width)
    same = a.site == b.site
    images = [
        ("zero-filled" if same else f"truth of {first.name}", a.preview.zero_filled if same else a.preview.truth),
        (f"{first.name} {a.scores.psnr:.2f} dB", a.preview.reconstruction),
        (f"{second.name} {b.scores.psnr:.2f} dB ", b.preview.reconstruction),
        ("truth" if same else f"truth of {second.name} ", b.preview.truth),
    ]
    owners = (a, a, b, b)
    bright = [(words, _bright(view, image)) for (words, image), view in zip(images, owners, strict=True)]
    return [*told, _pictures(bright, width, rows - 1 - len(told))]


# ---- pictures -----------------------------------------------------------------------------------------------


def _pictures(images: Sequence[tuple[str, Array]], width: int, rows: int, heat: Sequence[str] = ()) -> HalfBlocks:
    """Side by side in at most so many columns, and rows where that leaves a picture."""
    height, columns = images[0][1].shape
    widest = max(1, 2 * max(rows, FEWEST) * columns // height)
    return half_blocks(images, min(width, len(images) * (widest + GAP) - GAP), heat)


def _bright(view: SiteView, image: Array) -> Array:
    """Of a slice, in parts of nearly its truth's largest value: institutions' units differ, and fluid may outshine."""
    return np.clip(image / max(float(np.quantile(view.preview.truth, BRIGHTEST)), 1e-12), 0, 1)


# ---- words --------------------------------------------------------------------------------------------------


def mark(view: SiteView, branch: Branch) -> str:
    """Which one the target is."""
    return "◎ " if view.site.name == branch.config.target else ""


def state(branch: Branch) -> str:
    """Which network this is."""
    return f"{branch.name}, {_after(branch.round)}"


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
        when: {name: pair[index] for name, pair in answer.shift.items()}
        for index, when in enumerate(("before", "after"))
    }
    return [Text(f"shift of {answer.of}"), *measure_lines(rows, width)]


def _after(round: int) -> str:
    return f"after round {round}" if round else "before the first round"


def _bold(text: str) -> Text:
    return Text(text, "bold")


# ---- two branches -------------------------------------------------------------------------------------------


def _differences(answer: Compared, width: int) -> list[Text]:
    if not answer.differences:
        return [Text("the same settings in every round", "bright_black")]
    lines = [
        Text(f"{name}: {_shown(a)} | {_shown(b)}  ").append(f"rounds {_spans(rounds, answer.round)}", "bright_black")
        for (name, a, b), rounds in answer.differences
    ]
    most = 4
    more = [Text(f"… and {len(lines) - most} more settings", "bright_black")] if len(lines) > most else []
    return [cut(each, width) for each in [*lines[:most], *more]]


def _shown(value: object) -> str:
    return "–" if value in ("", None) else str(value)


def _spans(rounds: Sequence[int], done: int) -> str:
    """1–3, 5, next."""
    groups = [
        [number for _, number in group] for _, group in groupby(enumerate(rounds), lambda pair: pair[1] - pair[0])
    ]
    words = []
    for group in groups:
        past = [number for number in group if number <= done]
        if past:
            words.append(f"{past[0]}" if len(past) == 1 else f"{past[0]}–{past[-1]}")
        words += ["next"] if group[-1] > done else []
    return ", ".join(words)


def _table(answer: Compared, width: int) -> list[Text]:
    first, second, done = answer.first, answer.second, answer.round
    if not done:
        return []
    reports = first.reports[done - 1].sites, second.reports[done - 1].sites
    names = (cut_name(first.name), cut_name(second.name))

    def psnr(which: int) -> Column[str]:
        return Column(names[which], 0, 8, lambda n, _: Text(number(reports[which][n].scores.psnr, 2)), right=True)

    def shift(which: int) -> Column[str]:
        return Column(names[which], 1, 8, lambda n, _: Text(number(reports[which][n].mmd, 4)), right=True)

    def gain(name: str, _: int) -> Text:
        value = reports[1][name].scores.psnr - reports[0][name].scores.psnr
        return Text(f"{value:+.2f}", "green" if value > 0 else "red" if value < 0 else "")

    target = first.config.target
    column = longest(answer.sites, 4) + 2
    columns = [
        Column("PSNR", 0, column, lambda n, _: Text(f"◎ {n}" if n == target else f"  {n}")),
        psnr(0), psnr(1), Column("dB", 0, 6, gain, right=True),
        Column("MMD²", 1, 4, lambda _n, _: Text()), shift(0), shift(1),
    ]  # fmt: skip
    kept = fit(columns, width)
    weights = first.weights[done][:12], second.weights[done][:12]
    same = f"the same weights, {weights[0]}" if weights[0] == weights[1] else f"weights {weights[0]} | {weights[1]}"
    return [titles(kept), *(line(kept, name) for name in answer.sites), Text(same, "bright_black")]


def cut_name(name: str) -> str:
    """To a column's width."""
    return name if len(name) <= 8 else name[:7] + "…"
