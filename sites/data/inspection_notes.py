"""What a user should know of data that were inspected, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from sites.data.inspection import Group, Inspection
from sites.sources.measured import TOO_GOOD, UNDERSAMPLED
from sites.sources.recordings import Problem


def notes(inspection: Inspection) -> list[str]:
    """A sentence or two each, and whom it is about."""
    told: dict[str, list[str]] = {}
    for group in inspection.groups:
        for note in _of_group(group):
            told.setdefault(note, []).append(group.institution)
    for name, groups in inspection.institutions().items():
        patients = {patient for group in groups for patient in group.patients}
        if len(patients) == 1 and any(group.complete for group in groups):
            told.setdefault("one patient, who can be trained on or tested on, not both", []).append(name)
    all_of_them = len(inspection.institutions())
    return [*(f"{_names(names, all_of_them)}: {note}" for note, names in told.items()), *_of_all(inspection)]


def _of_group(group: Group) -> Iterator[str]:
    if not group.complete:
        yield UNDERSAMPLED
    if group.synthesised:
        yield f"k-space was synthesised from images (the file says so, or it has no phase), {TOO_GOOD}"
    if group.kind == "image":
        yield f"images; their k-space has to be synthesised, {TOO_GOOD}; every report will say so"
    if group.rows[0] < group.rows[1] or group.columns[0] < group.columns[1]:
        yield "matrices differ; --matrix N brings them to one size, undistorted"
    yield from group.notes


def _of_all(inspection: Inspection) -> Iterator[str]:
    institutions = inspection.institutions().values()
    if len(institutions) > 2 and all(len({p for g in groups for p in g.patients}) == 1 for groups in institutions):
        yield "if these sub-folders are patients of one institution, say --institution NAME"
    empty = sum(group.empty for group in inspection.groups)
    if empty:
        yield f"{empty} slice{'s have' if empty > 1 else ' has'} no signal; data prepare --skip-bad leaves such out"
    if inspection.passed_over:
        files = "file is" if inspection.passed_over == 1 else "files are"
        yield f"{inspection.passed_over} {files} named as a segmentation or mask and passed over; rename what is none"
    if inspection.looked_at < inspection.volumes:
        yield f"quick: the samples of {inspection.looked_at} of {inspection.volumes} volumes were read"


def _names(names: Sequence[str], all_of_them: int) -> str:
    once = list(dict.fromkeys(names))
    return f"all {all_of_them}" if len(once) == all_of_them > 1 else listed(once)


def listed(words: Sequence[str], most: int = 4) -> str:
    """A, B and C; or the first few and how many more."""
    if len(words) > most:
        return f"{', '.join(words[: most - 1])} and {len(words) - most + 1} more"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def similar(problems: Iterable[Problem]) -> list[list[Problem]]:
    """Problems whose reasons differ in numbers at most, the most frequent first."""

    found: dict[str, list[Problem]] = {}
    for each in problems:
        found.setdefault(re.sub(r"\d+(\.\d+)?", "#", each.reason), []).append(each)
    return sorted(found.values(), key=len, reverse=True)
