"""What a conversion will do: any recordings -> FL-MRCM's layout, DST/INSTITUTION/CONTRAST/{train,val,test}/PATIENT.h5.

A plan is made from headers alone, before anything is written; `sites.data.convert` carries it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.types import Split
from engine.validation import require
from sites.data.inspection import size
from sites.institutions import survey
from sites.sources.measured import UNDERSAMPLED
from sites.sources.names import contrast_of, safe
from sites.sources.recordings import Problem, Recording
from sites.sources.select import drawn, split_problems

NAMELESS = "unknown"  # the folder of recordings whose contrast nothing tells
SMALLEST = 8  # matrix
ROUNDED = 1e-9  # 0.9 + 0.1 is 1


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What a conversion does."""

    matrix: int = 0
    """Rows and columns of all k-space: cropped or zero-padded, proportions kept; 0: as it is."""
    contrast: str = ""
    """Convert these contrasts only, separated by commas: T1,T2; empty: all."""
    institution: str = ""
    """SRC is one institution, of this name; empty: each of its sub-folders is one."""
    val: float = 0.15
    """Part of an institution's patients to validate on, from 0 to 1, where SRC has no train, val and test folders."""
    test: float = 0.15
    """Part of them to test on, likewise; the others are trained on."""
    seed: int = 0
    """Which patients these are, at least 0."""
    coils: int = 1
    """Coils that k-space of images is synthesised for, at least 1."""
    phase: float = 1.0
    """Largest smooth object phase given to images, radians; 0: none, and k-space is Hermitian."""
    virtual_coils: int = 0
    """Compress measured coils to so many; 0: as they are."""

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be done."""
        matrix = self.matrix == 0 or self.matrix >= SMALLEST
        require(
            self,
            [
                ("matrix", matrix, f"0, or at least {SMALLEST}"),
                ("val", 0 <= self.val <= 1, "a part from 0 to 1"),
                (
                    "test",
                    0 <= self.test <= 1 - self.val + ROUNDED,
                    f"a part from 0 to {1 - self.val:g}, what val leaves",
                ),
                ("seed", self.seed >= 0, "at least 0"),
                ("coils", 1 <= self.coils <= 64, "1 to 64"),
                ("phase", 0 <= self.phase <= math.pi, "radians from 0 to pi"),
                ("virtual_coils", self.virtual_coils >= 0, "at least 0"),
                ("institution", self.institution == safe(self.institution) or not self.institution, "a folder's name"),
            ],
        )

    @property
    def contrasts(self) -> tuple[str, ...]:
        """As recordings name them; t2w is T2."""
        words = [word.strip() for word in self.contrast.split(",") if word.strip()]
        return tuple(contrast_of(word) or word for word in words)


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file to be written. out: its path below DST."""

    institution: str
    patient: str
    split: Split
    out: str
    recording: Recording


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A conversion, before it begins. problems: files that it leaves out."""

    src: Path
    dst: Path
    config: PrepareConfig
    items: tuple[Item, ...]
    problems: tuple[Problem, ...]

    @property
    def samples(self) -> int:
        """Of all that is read."""
        return sum(size(item.recording) for item in self.items)


# ---- what will be done ----------------------------------------------------------------------------------


def make_plan(src: Path, dst: Path, config: PrepareConfig, skip_bad: bool = False) -> Plan:
    """From headers alone; nothing is written. skip_bad: leave out what has problems.

    Raises ValueError for the first problem otherwise; for a patient in two splits always, and if nothing is left.
    """
    if not src.exists():
        raise ValueError(f"{src} does not exist; name a folder of data, or a file")
    if dst.resolve() == src.resolve() or src.resolve() in dst.resolve().parents:
        raise ValueError(f"{dst} lies in {src}, and would be read as data the next time; choose a DST elsewhere")
    institutions, problems = survey(src, config.institution)
    for recordings in institutions.values():
        for twice in split_problems(recordings):
            raise ValueError(f"{twice.path}: {twice.reason}")
    wanted = {name: [r for r in group if _wanted(r, config)] for name, group in institutions.items()}
    partial = [r for group in wanted.values() for r in group if not r.complete]
    problems += [Problem(path=r.paths[0], reason=UNDERSAMPLED) for r in partial]
    if problems and not skip_bad:
        more = f" (and {len(problems) - 1} more: run.py data inspect)" if len(problems) > 1 else ""
        mend = "; --skip-bad leaves such files out" if institutions else ""
        raise ValueError(f"{problems[0].path}: {problems[0].reason}{more}{mend}")
    items = [item for name, group in wanted.items() for item in _items(name, [r for r in group if r.complete], config)]
    if not items:
        raise ValueError(f"{src} holds nothing to convert{_why(institutions, problems, config)}")
    return Plan(src=src, dst=dst, config=config, items=tuple(items), problems=tuple(problems))


def _wanted(recording: Recording, config: PrepareConfig) -> bool:
    return not config.contrasts or recording.contrast in config.contrasts


def _why(institutions: Mapping[str, Sequence[Recording]], problems: Sequence[Problem], config: PrepareConfig) -> str:
    held = sorted({r.contrast or NAMELESS for group in institutions.values() for r in group if not _wanted(r, config)})
    if held:
        return f" of contrast {config.contrast}; it has {', '.join(held)}"
    return f": {problems[0].path}: {problems[0].reason}" if problems else "; see run.py data inspect"


def _items(institution: str, recordings: Sequence[Recording], config: PrepareConfig) -> Iterator[Item]:
    """In order of path. Several volumes of one contrast are PATIENT.h5, PATIENT-2.h5, …"""
    splits = assign(recordings, config)
    taken: set[Path] = set()
    for recording in recordings:
        split = splits[recording.patient]
        folder = Path(institution, folder_of(recording.contrast), split)
        out, number = folder / f"{safe(recording.patient)}.h5", 1
        while out in taken:
            number += 1
            out = folder / f"{safe(recording.patient)}-{number}.h5"
        taken.add(out)
        yield Item(
            institution=institution, patient=recording.patient, split=split, out=out.as_posix(), recording=recording
        )


def folder_of(contrast: str) -> str:
    """A folder's name that tells the contrast again."""
    return safe(contrast.replace("*", "star")) if contrast else NAMELESS


def assign(recordings: Sequence[Recording], config: PrepareConfig) -> dict[str, Split]:
    """The split of each patient: what the layout says, else drawn from the seed and the patients' names.

    A part above 0 is a patient at least, as long as one is left to train on; testing goes before validation. With the
    defaults these are the splits of `sites.sources.select`, which training on SRC itself would have.
    """
    told = {recording.patient: recording.split for recording in recordings if recording.split is not None}
    order = drawn({recording.patient for recording in recordings} - told.keys(), config.seed)
    everyone = config.val + config.test > 1 - ROUNDED  # nobody is trained on
    room = max(0, len(order) - (not everyone))
    test = min(room, _part(config.test, len(order)))
    val = room - test if everyone and config.val else min(room - test, _part(config.val, len(order)))
    test = len(order) - val if everyone and config.test else test
    train = len(order) - val - test
    splits: dict[str, Split] = dict(told)
    splits |= dict.fromkeys(order[:train], "train")
    splits |= dict.fromkeys(order[train : train + val], "val")
    splits |= dict.fromkeys(order[train + val :], "test")
    return splits


def _part(part: float, count: int) -> int:
    return max(1, round(part * count)) if part > 0 else 0
