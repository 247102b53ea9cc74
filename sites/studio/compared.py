"""Two branches of a shift session, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.standings import number
from sites.studio.answers import Compared
from sites.studio.pictures import bold, bright, pictures, setting, when


def compared(answer: Compared, width: int, rows: int) -> list[RenderableType]:
    """What differs, PSNR and shift by institution, the target's pictures."""
    first, second, (a, b) = answer.first, answer.second, answer.views
    told: list[RenderableType] = [cut(bold(f"{first.name} | {second.name}, {when(answer.round)}"), width)]
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
    drawn = [(words, bright(view, image)) for (words, image), view in zip(images, owners, strict=True)]
    return [*told, pictures(drawn, width, rows - 1 - len(told))]


def _differences(answer: Compared, width: int) -> list[Text]:
    if not answer.differences:
        return [Text("the same settings in every round", "bright_black")]
    lines = [
        Text(f"{name}: {setting(a)} | {setting(b)}  ").append(f"rounds {_spans(rounds, answer.round)}", "bright_black")
        for (name, a, b), rounds in answer.differences
    ]
    most = 4
    more = [Text(f"… and {len(lines) - most} more settings", "bright_black")] if len(lines) > most else []
    return [cut(each, width) for each in [*lines[:most], *more]]


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
    names = (_cut(first.name), _cut(second.name))

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


def _cut(name: str) -> str:
    """To a column's width."""
    return name if len(name) <= 8 else name[:7] + "…"
