"""What `run.py data` shows. Pictures first: on a small terminal what was found and what is wrong stay in sight."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.pictures import GAP, HalfBlocks, half_blocks, sparkline
from engine.standings import number
from sites.data.inspection import Group, Inspection, Values
from sites.data.inspection_notes import listed, notes, similar
from sites.sources.recordings import Image, Problem
from sites.sources.select import SPLITS

NARROWEST = 12  # columns of a picture,
WIDEST = 40  # and at most
FEW = 8  # problems that are shown one by one
EXAMPLES = 2  # files named of many with the same problem
NO_CONTRAST = "–"


@dataclass(frozen=True)
class InspectionView:
    """Pictures, a block an institution, notes and problems. every: all problems one by one."""

    inspection: Inspection
    every: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        words = [*self._table(width), *self._notes(width), *problem_lines(self.inspection.problems, width, self.every)]
        pictured = [group for group in self.inspection.groups if group.picture.size]
        for strip in _strips(pictured, width - 2, console.height - len(words) - 4):
            for row in console.render_lines(strip, options, pad=False):
                yield Text(" ", end="")
                yield from row
                yield Text()
        if pictured:
            yield Text()
        yield from words

    def _table(self, width: int) -> Iterator[Text]:
        columns = _columns(self.inspection.groups, width - 2)
        yield cut(Text(" ").append_text(titles(columns)), width)
        for name, groups in self.inspection.institutions().items():
            yield cut(Text.assemble(" ", (name, "bold"), f"  {_about(groups)}"), width)
            for group in groups:
                yield cut(Text(" ").append_text(line(columns, group)), width)

    def _notes(self, width: int) -> Iterator[Text]:
        told = notes(self.inspection)
        if told:
            yield Text()
        for note in told:
            yield from bullet("·", note, width, "cyan")


def headline(inspection: Inspection) -> Text:
    """How much there is, the last line."""
    groups = inspection.groups
    patients = {(group.institution, patient) for group in groups for patient in group.patients}
    found = [
        counted(len(inspection.institutions()), "institution"),
        counted(len(patients), "patient"),
        counted(inspection.volumes, "volume"),
        counted(sum(group.slices for group in groups), "slice"),
    ]
    count = len(inspection.problems)
    trouble = (f", {counted(count, 'problem')}" if count else "", "red")
    return Text.assemble(f"{inspection.path}: ", (", ".join(found), "bold"), trouble)


def problem_lines(problems: Sequence[Problem], width: int, every: bool) -> Iterator[Text]:
    """A line or more each; of many with the same reason the number and some names."""
    if not problems:
        return
    yield Text()
    if every or len(problems) <= FEW:
        for each in problems:
            yield from bullet("✗", f"{each.path}: {each.reason}", width, "red")
        return
    for group in similar(problems):
        named = ", ".join(each.path.name for each in group[:EXAMPLES])
        if len(group) == 1:
            yield from bullet("✗", f"{group[0].path}: {group[0].reason}", width, "red")
        else:
            more = f" and {len(group) - EXAMPLES} more" if len(group) > EXAMPLES else ""
            yield from bullet("✗", f"{len(group)} files: {group[0].reason} ({named}{more})", width, "red")
    yield from bullet(" ", "--all names every file", width, "")


def bullet(mark: str, words: str, width: int, color: str) -> Iterator[Text]:
    """A paragraph that hangs behind its mark."""
    for index, part in enumerate(textwrap.wrap(words, max(20, width - 4), break_on_hyphens=False)):
        yield Text.assemble(" ", (mark if index == 0 else " ", color), " ", part)


def counted(count: int, what: str) -> str:
    """1 patient, 2 patients."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def between(pair: tuple[int, int]) -> str:
    """A value, or the range of several."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}–{pair[1]}"


# ---- the table ------------------------------------------------------------------------------------------


def _about(groups: Sequence[Group]) -> str:
    """What an institution's groups have in common."""
    patients = {patient: split for group in groups for patient, split in group.patients.items()}
    count = Counter(split for split in patients.values() if split is not None)
    parts = ", ".join(f"{split} {count[split]}" for split in SPLITS if count[split])
    told = [counted(len(patients), "patient") + (f" ({parts})" if parts else "")]
    fields = sorted({strength for group in groups for strength in group.fields})
    told += [f"{listed([f'{strength:g}' for strength in fields])} T"] if fields else []
    scanners = sorted({scanner for group in groups for scanner in group.scanners})
    told += [listed(scanners, 3)] if scanners else []
    return " · ".join(told)


def _columns(groups: Sequence[Group], width: int) -> list[Column[Group]]:
    matrices = [_matrix(group) for group in groups]
    every = [
        Column("  contrast", 0, 2 + longest(map(_contrast, groups), 8), lambda g, _: Text(f"  {_contrast(g)}", "cyan")),
        Column("patients", 1, 8, lambda g, _: Text(str(len(g.patients))), right=True),
        Column("slices", 0, 6, lambda g, _: Text(str(g.slices)), right=True),
        Column("matrix", 0, longest(matrices, 6), lambda g, _: Text(_matrix(g)), right=True),
        Column("coils", 0, 5, lambda g, _: Text(between(g.coils) if g.kind == "kspace" else "–"), right=True),
        Column("kind", 0, longest(map(_kind, groups), 4), lambda g, _: Text(_kind(g), _kind_color(g))),
        Column("intensities", 0, 11, _histogram, most=48),
        Column("brightest", 3, 9, lambda g, _: Text(number(g.top, 3 if g.top < 1 else 1), "bright_black"), right=True),
    ]
    return fit(every, width)


def _contrast(group: Group) -> str:
    return group.contrast or NO_CONTRAST


def _matrix(group: Group) -> str:
    return f"{between(group.rows)}×{between(group.columns)}"


def _kind(group: Group) -> str:
    if group.kind == "image":
        return "images"
    if not group.complete:
        return "undersampled"
    return "synthesised" if group.synthesised else "k-space"


def _kind_color(group: Group) -> str:
    return {"images": "", "k-space": "green"}.get(_kind(group), "yellow")


def _histogram(group: Group, width: int) -> Text:
    """From dark to bright, without the darkest, which is air; roots of the counts, for tails to be seen."""
    if not group.histogram.size:
        return Text("not read", "red")
    roots: Values = np.sqrt(group.histogram[1:])
    return Text(sparkline(roots.tolist(), min(width, len(roots)), low=0.0), "cyan")


# ---- pictures -------------------------------------------------------------------------------------------


def _strips(groups: Sequence[Group], width: int, rows: int) -> list[HalfBlocks]:
    """Pictures side by side, as large and as many as fit in so many rows; one strip at least, of small ones."""
    if not groups:
        return []
    each = _picture_width(len(groups), width, rows)
    across = max(1, (width + GAP) // (each + GAP))
    strips = max(1, rows // (each // 2 + 1))
    shown = _first(groups, across * strips)
    return [_strip(shown[first : first + across], each) for first in range(0, len(shown), across)]


def _first(groups: Sequence[Group], most: int) -> list[Group]:
    """As many, of every institution before a second of any, in the order given."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for index, group in enumerate(groups):
        turns.append((seen[group.institution], index))
        seen[group.institution] += 1
    return [groups[index] for index in sorted(index for _, index in sorted(turns)[:most])]


def _picture_width(count: int, width: int, rows: int) -> int:
    """The widest, even, with which all fit; NARROWEST if none does."""
    for each in range(WIDEST, NARROWEST, -2):
        across = (width + GAP) // (each + GAP)
        if across and -(-count // across) * (each // 2 + 1) <= rows:
            return each
    return NARROWEST


def _strip(groups: Sequence[Group], each: int) -> HalfBlocks:
    pictures = [(_caption(group, each), _square(group.picture, each)) for group in groups]
    return half_blocks(pictures, len(groups) * (each + GAP) - GAP)


def _caption(group: Group, width: int) -> str:
    """The contrast is what tells pictures of an institution apart: its name gives way."""
    contrast = f" {group.contrast}" if group.contrast else ""
    room = max(1, width - cell_len(contrast))
    name = group.institution if cell_len(group.institution) <= room else f"{group.institution[: room - 1]}…"
    return name + contrast


def _square(picture: Image, least: int) -> Values:
    """[H, W] -> a square of at least `least` pixels, its brightest (but for a few) 1, nothing distorted."""
    top = float(np.percentile(picture, 98.5)) or float(picture.max())
    scaled = np.clip(picture / top, 0, 1)
    side = max(scaled.shape)
    rows, columns = ((side - length) // 2 for length in scaled.shape)
    square = np.zeros((side, side))
    square[rows : rows + scaled.shape[0], columns : columns + scaled.shape[1]] = scaled
    times = max(1, -(-least // side))
    return np.asarray(np.kron(square, np.ones((times, times))), np.float64)
