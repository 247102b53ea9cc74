"""Points and lines in a terminal: braille dots, with axes and what stands out as characters. Knows nothing of studies.

Legend: h, w cells; a cell is 4 dots high and 2 wide; dots are bool [4 h, 2 w].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len
from rich.text import Text

from engine.columns import cut
from engine.pictures import BRAILLE

Dots = npt.NDArray[np.bool_]
Point = tuple[float, float]
FRAME = "bright_black"
FIRST = 0x2800  # of Unicode's braille: no dot


@dataclass(frozen=True)
class Axis:
    """low, high: at its ends; text: how a number on it is written."""

    title: str
    low: float
    high: float
    text: Callable[[float], str]

    @staticmethod
    def over(title: str, values: Sequence[float], text: Callable[[float], str], room: float = 0.0) -> Axis:
        """As far as the finite values go, with some room, a part of their range, at both ends."""
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(finite), max(finite)
        gap = room * (high - low) if high > low else 0.05 * abs(low) or 1.0
        return Axis(title, low - gap, high + gap, text)

    def part(self, value: float) -> float:
        """Of the way from low to high, 0 to 1."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


@dataclass(frozen=True)
class Layer:
    """Points as single dots, or joined by a line. style: of rich."""

    points: Sequence[Point]
    style: str
    joined: bool = False


@dataclass(frozen=True)
class Mark:
    """A character that stands out, and a few more beside it."""

    at: Point
    sign: str
    style: str
    label: str = ""


@dataclass
class _Cells:
    """Characters and styles of [h][w]."""

    width: int
    height: int
    signs: list[list[str]] = field(init=False)
    styles: list[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.signs = [[" "] * self.width for _ in range(self.height)]
        self.styles = [[""] * self.width for _ in range(self.height)]

    def put(self, row: int, column: int, sign: str, style: str) -> None:
        self.signs[row][column], self.styles[row][column] = sign, style

    def dots(self, row: int, column: int, bits: int, style: str) -> None:
        """Of braille, besides those that are there."""
        there = ord(self.signs[row][column]) - FIRST
        self.put(row, column, chr(FIRST + (bits | there if there > 0 else bits)), style)

    def label(self, row: int, column: int, text: str, style: str) -> None:
        """To the right of a mark, else to its left, if nothing but dots is there."""
        for first in (column + 1, column - len(text)):
            columns = range(first, first + len(text))
            if first >= 0 and columns.stop <= self.width and all(self._free(row, each) for each in columns):
                for each, sign in zip(columns, text, strict=True):
                    self.put(row, each, sign, style)
                return

    def _free(self, row: int, column: int) -> bool:
        sign = self.signs[row][column]
        return sign == " " or FIRST <= ord(sign) < FIRST + 256

    def line(self, row: int) -> Text:
        return Text.assemble(*zip(self.signs[row], self.styles[row], strict=True))


def plot(x: Axis, y: Axis, layers: Sequence[Layer], marks: Sequence[Mark], width: int, height: int) -> list[Text]:
    """`height` lines of at most `width` columns, axes and their titles among them; later layers lie above."""
    ends = [y.text(y.high), y.text(y.low)]
    left = max(map(cell_len, ends)) + 3
    cells = _Cells(max(4, width - left), max(2, height - 3))
    for layer in layers:
        _draw(cells, x, y, layer)
    for mark in marks:
        row, column = _cell(cells, x, y, mark.at)
        cells.put(row, column, mark.sign, mark.style)
    for mark in marks:
        cells.label(*_cell(cells, x, y, mark.at), mark.label, mark.style)
    lines = [Text(f"{'':{left}}{y.title}", FRAME)]
    for row in range(cells.height):
        end = ends[0] if row == 0 else ends[1] if row == cells.height - 1 else ""
        lines.append(Text.assemble((f"{end:>{left - 3}} │", FRAME), " ").append_text(cells.line(row)))
    lines.append(Text(f"{'':{left - 2}}└─{'─' * cells.width}", FRAME))
    low, high = x.text(x.low), x.text(x.high)
    between = max(1, cells.width - cell_len(low) - cell_len(high))
    lines.append(Text(f"{'':{left}}{low}{_centred(x.title, between)}{high}", FRAME))
    return [cut(line, width) for line in lines]


def _centred(title: str, width: int) -> str:
    """In `width` columns; cut, if it must be, or left out."""
    if width < 5:
        return " " * width
    shown = cut(Text(title), width - 2).plain
    spare = width - cell_len(shown)
    return " " * (spare // 2) + shown + " " * (spare - spare // 2)


def _dot(cells: _Cells, x: Axis, y: Axis, point: Point) -> tuple[int, int]:
    """Row and column of a point's dot."""
    return (
        round((1 - y.part(point[1])) * (4 * cells.height - 1)),
        round(x.part(point[0]) * (2 * cells.width - 1)),
    )


def _cell(cells: _Cells, x: Axis, y: Axis, point: Point) -> tuple[int, int]:
    row, column = _dot(cells, x, y, point)
    return row // 4, column // 2


def _draw(cells: _Cells, x: Axis, y: Axis, layer: Layer) -> None:
    dots: Dots = np.zeros((4 * cells.height, 2 * cells.width), dtype=np.bool_)
    there = [_dot(cells, x, y, point) for point in layer.points if all(map(math.isfinite, point))]
    for row, column in there:
        dots[row, column] = True
    for (row, column), (down, right) in pairwise(there) if layer.joined else ():
        steps = max(abs(down - row), abs(right - column), 1)
        for step in range(steps + 1):
            dots[round(row + (down - row) * step / steps), round(column + (right - column) * step / steps)] = True
    bits = (dots.reshape(cells.height, 4, cells.width, 2) * BRAILLE[:, None, :]).sum(axis=(1, 3))
    for row, column in zip(*np.nonzero(bits), strict=True):
        cells.dots(int(row), int(column), int(bits[row, column]), layer.style)
