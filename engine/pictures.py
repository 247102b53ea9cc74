"""Numbers as pictures in a terminal: sparklines, bars, images in half blocks. Knows nothing of federations.

Legend: H, W pixels of an image; h, w pixels drawn, two of them (one above the other) in a character cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from engine.types import Array

Image = npt.NDArray[np.float64]

BARS = "▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
BRAILLE = np.array([(0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)])  # bit of each dot in a cell
GAP = 1
GRAY = np.array([(0, 0, 0), (255, 255, 255)], dtype=np.float64)
# inferno at 0, 1/8 … 1, for errors: black, violet, red, orange, pale yellow
INFERNO = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    dtype=np.float64,
)


# ---- lines ----------------------------------------------------------------------------------------------


def sparkline(values: Sequence[float], width: int, low: float | None = None, high: float | None = None) -> str:
    """At most `width` characters, scaled from `low` to `high` (else the values' own); blank where not finite.

    More values than characters are averaged in groups; the last group ends with the last value.
    """
    shown = values
    if len(values) > width:
        ends = [len(values) * i // width for i in range(width + 1)]
        shown = [_finite_mean(values[start:end]) for start, end in pairwise(ends)]
    finite = [value for value in shown if math.isfinite(value)]
    low = min(finite, default=0.0) if low is None else low
    high = max(finite, default=0.0) if high is None else high
    return "".join(_bar(value, low, high) for value in shown)


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    if high <= low:  # nothing changed: a flat line in the middle
        return BARS[3]
    if math.isinf(high - low):
        return _bar(value / 2, low / 2, high / 2)
    part = max(0.0, min((value - low) / (high - low), 1.0))
    return BARS[min(int(len(BARS) * part), len(BARS) - 1)]


def line_chart(values: Sequence[float], total: int, width: int, height: int, low: float, high: float) -> list[str]:
    """`height` lines of `width` braille characters, from the top; `total` values would fill the width."""
    dots = np.zeros((4 * height, 2 * width), dtype=bool)
    there = [i for i, value in enumerate(values) if math.isfinite(value)]
    if there:
        at = np.linspace(0, max(total - 1, 1), dots.shape[1])
        known = np.interp(at, there, [values[i] for i in there])[(at >= there[0]) & (at <= there[-1])]
        first = int(np.searchsorted(at, there[0]))
        scaled = (known - low) / (high - low) if high > low else np.zeros_like(known)
        levels = np.rint((1 - np.clip(scaled, 0, 1)) * (4 * height - 1)).astype(int).tolist()
        for x, (before, level) in enumerate(pairwise([*levels[:1], *levels]), first):
            step = 1 if before < level else -1
            dots[range(level, before, -step) if before != level else level, x] = True
    cells = (dots.reshape(height, 4, width, 2) * BRAILLE[:, None, :]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in cells.tolist()]


def progress_bar(done: int, total: int, width: int) -> Text:
    """`width` characters, filled in half-character steps."""
    halves = 2 * width * min(done, total) // max(total, 1)
    full, half = "━" * (halves // 2), "╸" * (halves % 2)
    rest = "━" * (width - len(full) - len(half))
    return Text.assemble((full + half, "green" if done >= total else "cyan"), (rest, "bright_black"))


def _finite_mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan
    mean = 2 * math.fsum(value / 2 / len(finite) for value in finite)  # by halves: of the largest floats it overflows
    return max(min(finite), min(mean, max(finite)))


# ---- images ---------------------------------------------------------------------------------------------


def half_blocks(images: Sequence[tuple[str, Array]], width: int, heat: Sequence[str] = ()) -> HalfBlocks:
    """Captioned grayscale images [H, W] side by side in at most `width` columns, never enlarged.

    Images share one gray scale, 0 to the largest value. Those whose caption is in `heat` (errors) get a
    scale of colours of their own, likewise from 0.
    """
    return HalfBlocks(tuple((caption, np.asarray(image, np.float64)) for caption, image in images), width, tuple(heat))


@dataclass(frozen=True)
class HalfBlocks:
    """What `half_blocks` returns. Without colours it draws with ░▒▓█."""

    images: tuple[tuple[str, Image], ...]
    width: int
    heat: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = min(self.width, options.max_width)
        share = (columns - GAP * (len(self.images) - 1)) // len(self.images)
        small = [(caption, shrink(image, share)) for caption, image in self.images]
        plain = console.color_system is None or console.no_color
        draw = _shade_cells if plain else _color_cells
        blocks = [draw(image / _top(small, caption, self.heat), caption in self.heat) for caption, image in small]
        widths = [image.shape[1] for _, image in small]
        for row in range(max(map(len, blocks))):
            for i, block in enumerate(blocks):
                yield Segment(" " * GAP if i else "")
                yield from block[row] if row < len(block) else [Segment(" " * widths[i])]
            yield Segment.line()
        for i, (caption, _) in enumerate(small):
            yield Segment(" " * GAP if i else "")
            yield Segment(caption[: widths[i]].center(widths[i]), Style(dim=True))
        yield Segment.line()


def _top(images: Sequence[tuple[str, Image]], caption: str, heat: Sequence[str]) -> float:
    """The value drawn brightest."""
    group = [caption] if caption in heat else [name for name, _ in images if name not in heat]
    largest = max(float(image.max()) for name, image in images if name in group)
    return largest if largest > 0 else 1.0


def shrink(image: Image, columns: int) -> Image:
    """[H, W] -> [h, w] with w = min(W, columns) and h even: means over the area each new pixel covers."""
    height, width = image.shape
    w = max(1, min(width, columns))
    h = max(2, 2 * round(height * w / width / 2))
    result: Image = _area_weights(height, h) @ np.nan_to_num(image) @ _area_weights(width, w).T
    return result


def _area_weights(old: int, new: int) -> Image:
    """[new, old]: the part of each new pixel that every old pixel covers; rows sum to 1."""
    edges = np.linspace(0, old, new + 1)
    left, right = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old)
    covered = np.minimum(right, pixels + 1) - np.maximum(left, pixels)
    result: Image = np.clip(covered, 0, None) * new / old
    return result


def _color_cells(image: Image, hot: bool) -> list[list[Segment]]:
    """image: [h, w] from 0 to 1."""
    ramp = INFERNO if hot else GRAY
    position = np.clip(image, 0, 1) * (len(ramp) - 1)
    stops = np.arange(len(ramp))
    rgb = np.stack([np.interp(position, stops, channel) for channel in ramp.T], axis=-1)
    colors = np.rint(rgb).astype(int).tolist()
    return [
        [
            Segment("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
            for above, below in zip(upper, lower, strict=True)
        ]
        for upper, lower in zip(colors[::2], colors[1::2], strict=True)
    ]


def _shade_cells(image: Image, hot: bool) -> list[list[Segment]]:  # noqa: ARG001 (one shade fits all)
    cells = (image[::2] + image[1::2]) / 2
    levels = np.clip(cells * len(SHADES), 0, len(SHADES) - 1).astype(int)
    return [[Segment("".join(SHADES[level] for level in row))] for row in levels]
