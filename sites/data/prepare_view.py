"""What `run.py data prepare` shows at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from engine.columns import Column, cut, fit, line, longest, titles
from engine.standings import byte_size, clock_time
from engine.types import Split
from sites.data.inspection_notes import listed
from sites.data.prepare import NAMELESS
from sites.data.prepared import Converted, Outcome
from sites.data.view import between, bullet, counted, problem_lines
from sites.sources.measured import SYNTHESISED
from sites.sources.select import SPLITS

Row = Sequence[Converted]  # the files of one contrast of an institution


def outcome_view(outcome: Outcome, width: int, seconds: float) -> Group:
    """What was written, by institution and contrast; what was left out; what to do with it."""
    rows: dict[tuple[str, str], list[Converted]] = {}
    for each in outcome.files:
        rows.setdefault((each.institution, each.contrast), []).append(each)
    columns = _columns(list(rows.values()), width - 2)
    lines = [cut(Text(" ").append_text(titles(columns)), width)]
    lines += [cut(Text(" ").append_text(line(columns, row)), width) for row in rows.values()]
    told = list(_notes(outcome.files))
    lines += [Text()] if told else []
    lines += [each for note in told for each in bullet("·", note, width, "cyan")]
    lines += problem_lines(outcome.skipped, width, every=False)
    return Group(*lines, Text(), _end(outcome, seconds))


def _end(outcome: Outcome, seconds: float) -> Text:
    before = sum(each.before for each in outcome.files)
    done = [counted(len(outcome.files), "file"), byte_size(outcome.bytes), clock_time(seconds)]
    done += [f"{before} there already"] if before else []
    dst = outcome.plan.dst
    text = Text.assemble(f" {dst}: ", (", ".join(done), "bold"))
    if outcome.skipped:
        text.append(f", {len(outcome.skipped)} left out", "red")
    return text.append(f"\n run.py --data {dst} trains on it", "bright_black")


def _columns(rows: Sequence[Row], width: int) -> list[Column[Row]]:
    name = longest((row[0].institution for row in rows), 11)
    matrices = longest(map(_matrix, rows), 6)

    def patients(split: Split) -> Column[Row]:
        return Column(split, 0, 5, lambda row, _: Text(str(_patients(row)[split])), right=True)

    every = [
        Column("institution", 0, min(name, 24), lambda row, _: Text(row[0].institution, "bold"), most=name),
        Column("contrast", 0, 8, lambda row, _: Text(_contrast(row), "cyan")),
        *map(patients, SPLITS),
        Column("slices", 0, 6, lambda row, _: Text(str(sum(each.shape[0] for each in row))), right=True),
        Column("matrix", 1, matrices, lambda row, _: Text(_matrix(row)), right=True),
        Column("coils", 2, 5, lambda row, _: Text(_range(row, 1)), right=True),
        Column("k-space", 3, 11, lambda row, _: Text("synthesised" if row[0].synthesised else "measured")),
    ]
    return fit(every, width)


def _patients(row: Row) -> Counter[Split]:
    """By split."""
    return Counter(split for _, split in {(each.patient, each.split) for each in row})


def _range(row: Row, axis: int) -> str:
    sides = [each.shape[axis] for each in row]
    return between((min(sides), max(sides)))


def _contrast(row: Row) -> str:
    return row[0].contrast or NAMELESS


def _matrix(row: Row) -> str:
    return f"{_range(row, 2)}×{_range(row, 3)}"


def _notes(files: Sequence[Converted]) -> Iterator[str]:
    institutions = sorted({each.institution for each in files})
    for split, what in (("train", "train on"), ("val", "validate on"), ("test", "test on")):
        having = {each.institution for each in files if each.split == split}
        lacking = [name for name in institutions if name not in having]
        if lacking:
            yield f"{listed(lacking)}: nobody to {what}"
    shapes: dict[tuple[str, str], set[tuple[int, ...]]] = {}
    for each in files:
        shapes.setdefault((each.institution, each.contrast), set()).add(each.shape[1:])
    mixed = sorted({name for (name, _), found in shapes.items() if len(found) > 1})
    if mixed:
        yield f"{listed(mixed)}: matrices or coils differ; --matrix N and --virtual-coils N make them equal"
    if any(each.synthesised for each in files):
        yield f"{SYNTHESISED}; reports will say so"
