"""Tables that fit: columns have ranks, a narrow terminal drops the highest, and a row never wraps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.text import Text

R = TypeVar("R")
GAP = 2  # between columns


@dataclass(frozen=True)
class Column(Generic[R]):
    """rank: 0 always stays; most: how wide it may grow; cell: what a row shows, given the width."""

    title: str
    rank: int
    width: int
    cell: Callable[[R, int], Text]
    right: bool = False
    most: int = 0


def fit(columns: Sequence[Column[R]], width: int) -> list[Column[R]]:
    """Those whose ranks fit in `width`, in the given order; the first that may grow get what is left over."""
    kept = [column for column in columns if column.rank == 0]
    for rank in sorted({column.rank for column in columns} - {0}):
        more = [column for column in columns if column.rank <= rank]
        if _needed(more) > width:
            break
        kept = more
    spare = max(0, width - _needed(kept))
    for i, column in enumerate(kept):
        grown = min(spare, max(0, column.most - column.width))
        kept[i] = replace(column, width=column.width + grown)
        spare -= grown
    return kept


def titles(columns: Sequence[Column[R]]) -> Text:
    """The line above the rows."""
    return _line([Text(column.title, "bright_black") for column in columns], columns)


def line(columns: Sequence[Column[R]], row: R) -> Text:
    """A row."""
    return _line([column.cell(row, column.width) for column in columns], columns)


def longest(words: Iterable[str], least: int = 0) -> int:
    """In terminal columns."""
    return max([least, *map(cell_len, words)])


def cut(text: Text, width: int) -> Text:
    """To at most `width` columns, with … for what is left out."""
    text.no_wrap, text.overflow = True, "ellipsis"
    text.truncate(width, overflow="ellipsis")
    return text


def shorten(text: str, width: int) -> str:
    """To at most `width` columns, with … in the middle: names tend to differ at the end."""
    if cell_len(text) <= width:
        return text
    head, tail = "", ""
    for left in range(len(text)):
        if cell_len(head + text[left] + tail) > width - 1:
            break
        head += text[left]
        if cell_len(head + text[-1 - left] + tail) > width - 1:
            break
        tail = text[-1 - left] + tail
    return head + "…" + tail if width > 0 else ""


def _needed(columns: Sequence[Column[R]]) -> int:
    return sum(column.width + GAP for column in columns) - GAP


def _line(cells: Sequence[Text], columns: Sequence[Column[R]]) -> Text:
    joined = Text()
    for i, (cell, column) in enumerate(zip(cells, columns, strict=True)):
        cut(cell, column.width).align("right" if column.right else "left", column.width)
        joined.append(" " * GAP if i else "").append_text(cell)
    return joined
