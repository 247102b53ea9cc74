"""Which of a folder's recordings an institution uses, and how its patients are divided. Headers only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from engine.types import Split
from sites.config import SiteConfig
from sites.sources.measured import UNDERSAMPLED
from sites.sources.names import contrast_of, contrast_of_path
from sites.sources.recordings import Problem, Recording

SPLITS: tuple[Split, ...] = get_args(Split)
PARTS = (0.7, 0.15, 0.15)  # of the patients, or of the slices of one, by split
USED: Mapping[str, tuple[Split, ...]] = {"both": SPLITS, "train": ("train", "val"), "test": ("test",)}
BLOCK = 1 << 16  # bytes of a file that its fingerprint is made of, at each of so many places
PLACES = 8

Patients = dict[Split, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What an institution's files come to.

    contrast: the one used, spelt as the recordings do; splits: patients, in an order of their own
    recordings: of each patient, by path; problems: what was left out; fingerprint: of what was not
    """

    contrast: str
    splits: Patients
    recordings: Mapping[str, tuple[Recording, ...]]
    problems: tuple[Problem, ...]
    fingerprint: str

    @property
    def slices(self) -> int:
        """Of all patients together, as the headers say."""
        return sum(each.shape[0] for group in self.recordings.values() for each in group)


def select(config: SiteConfig, skip_bad: bool) -> Selection:
    """What a site of files uses. skip_bad: leave out what cannot be used, instead of refusing all.

    Raises ValueError, in one line that names the site, and the file where there is one.
    """
    from sites.sources.find import find

    root = Path(config.path)
    recordings, problems = find(root, "" if config.source == "files" else config.source)
    try:
        if not recordings and config.source != "files" and [each.path for each in problems] == [root]:
            raise ValueError(f"{root} holds nothing that the reader {config.source} takes; see run.py data inspect")
        if not recordings:
            raise ValueError(_told(problems))
        contrast = choose_contrast(recordings, config.contrast)
        problems = [each for each in problems if _may_be(contrast, each.path, root)]
        if problems and not skip_bad:
            raise ValueError(_told(problems))
        everyone = {each.patient for each in recordings if each.complete}
        usable, partial = _usable(config, [each for each in recordings if each.contrast == contrast])
        if partial and not (skip_bad and usable):
            raise ValueError(_told(partial))
        for twice in split_problems(usable):
            raise ValueError(f"{twice.path}: {twice.reason}")
        _check_samples(config, usable)
        by_patient = _by_patient(usable)
        splits = divide(config, {name: group[0].split for name, group in by_patient.items()}, everyone)
    except ValueError as error:
        raise ValueError(f"site {config.name!r}: {error}") from error
    used = {part.removesuffix(f"/{split}") for split, names in splits.items() for part in names}
    chosen = {name: group for name, group in by_patient.items() if name in used}
    return Selection(
        contrast=contrast,
        splits=splits,
        recordings=chosen,
        problems=(*problems, *partial),
        fingerprint=_fingerprint(root, by_patient, splits),
    )


def choose_contrast(recordings: Sequence[Recording], asked: str) -> str:
    """The contrast to use. Raises ValueError, listing what is there, if it is not said or not there."""
    count = Counter(each.contrast for each in recordings)
    there = ", ".join(f"{name or 'no contrast named'} ({count[name]})" for name in sorted(count))
    if asked:
        for name in count:
            if name.lower() == asked.lower() or name == contrast_of(asked) != "":
                return name
        raise ValueError(f"there is no contrast {asked}; there is {there}: choose with contrast = … or --contrast")
    if len(count) > 1:
        raise ValueError(f"there are several contrasts, {there}: choose with contrast = … or --contrast")
    return next(iter(count))


def divide(config: SiteConfig, layout: Mapping[str, Split | None], everyone: Iterable[str] = ()) -> Patients:
    """Patients by split. layout: what the folders say of each patient; everyone: those of other contrasts too.

    In the layout's own splits, or as the counts say, or 70, 15 and 15 % of everyone. The order is drawn from the
    patients' names alone: the contrasts of one folder, as sites of their own, train on and test the same. Of two
    patients one is trained on, the other tested, and none scored between the rounds. One patient is divided by slices
    where that is asked for: as PATIENT/train, PATIENT/val and PATIENT/test.
    Raises ValueError if a split would be empty, or too few patients are there.
    """
    order = drawn(layout)
    counts = config.counts
    if config.split == "slices":
        if len(order) > 1:
            raise ValueError(f'split is "slices" and there are {len(order)} patients; divide them by patient')
        return {split: (f"{order[0]}/{split}",) for split in SPLITS}
    if any(layout.values()):
        return _by_layout(config, layout, order)
    if not any(counts.values()):
        return _automatic(config, order, drawn({*everyone, *layout}))
    if sum(counts.values()) > len(order):
        raise ValueError(
            f"there are {len(order)} patients, its splits need {sum(counts.values())}; "
            "lower train_patients, val_patients or test_patients"
        )
    _refuse_empty(config, counts, "set")
    return _blocks(order, counts)


def drawn(names: Iterable[str], seed: int = 0) -> list[str]:
    """Patients in an order that their names decide: more patients do not change that of two."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{seed}/{name}".encode()).digest())


def shares(count: int) -> tuple[int, int, int]:
    """How many of `count` things go to training, validation and test: at least one to each of three or more."""
    val, test = (max(1, round(part * count)) for part in PARTS[1:])
    return (count - val - test, val, test) if count >= 3 else (count - 1, 0, 1)


def _automatic(config: SiteConfig, order: Sequence[str], everyone: Sequence[str]) -> Patients:
    """70, 15 and 15 %, or all to the one split there is. Raises ValueError for one patient who is to be in both.

    Of everyone, unless nobody of the order would be left to train on or to test.
    """
    if config.use != "both":
        return {split: tuple(order) if split == config.use else () for split in SPLITS}
    _refuse_one(config, order)
    whole = _blocks(everyone, dict(zip(SPLITS, shares(len(everyone)), strict=True)))
    splits: Patients = {split: tuple(name for name in whole[split] if name in order) for split in SPLITS}
    if splits["train"] and splits["test"]:
        return splits
    return _blocks(order, dict(zip(SPLITS, shares(len(order)), strict=True)))


def _blocks(order: Sequence[str], counts: Mapping[Split, int]) -> Patients:
    first, splits = 0, Patients()
    for split, count in counts.items():
        splits[split] = tuple(order[first : first + count])
        first += count
    return splits


def _refuse_one(config: SiteConfig, order: Sequence[str]) -> None:
    """Raises ValueError for one patient who would have to be both trained on and tested on."""
    if len(order) == 1:
        raise ValueError(
            f'there is one patient ({order[0]}); set use = "train" or "test" (--only-train, --only-test '
            f'{config.name}), or divide the slices, as reports will then say: split = "slices" (--split slices)'
        )


def _by_layout(config: SiteConfig, layout: Mapping[str, Split | None], order: Sequence[str]) -> Patients:
    """The folders' own splits; counts, if there are any, take the first of each."""
    outside = [name for name in order if layout[name] is None]
    if outside:
        raise ValueError(f"patient {min(outside)} lies outside of the folders train, val and test; move it into one")
    used = USED[config.use]
    splits: Patients = {s: tuple(n for n in order if layout[n] == s) if s in used else () for s in SPLITS}
    counts = config.counts
    if not any(counts.values()):
        if config.use == "both":
            _refuse_one(config, order)
        _refuse_empty(config, {split: len(names) for split, names in splits.items()}, "layout")
        return splits
    for split, names in splits.items():
        if counts[split] > len(names):
            raise ValueError(f"there are {len(names)} patients in {split}, and {split}_patients is {counts[split]}")
    _refuse_empty(config, counts, "set")
    return {split: names[: counts[split]] for split, names in splits.items()}


def _refuse_empty(config: SiteConfig, counts: Mapping[Split, int], where: str) -> None:
    """Raises ValueError if a split that the use needs is empty. where: layout, or set by the user."""
    needed: Mapping[str, tuple[Split, ...]] = {"both": ("train", "test"), "train": ("train",), "test": ("test",)}
    if where == "layout":
        for split in needed[config.use]:
            if not counts[split]:
                mend = "set use, or the numbers of patients" if config.use == "both" else "use another use"
                raise ValueError(f"its folders hold no patient for {split}; add some, or {mend}")
    elif config.use != "test" and not counts["train"]:
        raise ValueError('no patient is left to train on; set train_patients, or use = "test"')
    elif config.use != "train" and not (counts["test"] or counts["val"]):
        raise ValueError('no patient is left to score; set test_patients, or use = "train"')


def _usable(config: SiteConfig, recordings: Iterable[Recording]) -> tuple[list[Recording], list[Problem]]:
    """Of the splits that are used; what is undersampled is a problem. Of one patient alone the use decides."""
    recordings = list(recordings)
    if len({each.patient for each in recordings}) == 1 == len({each.split for each in recordings}):
        recordings = [replace(each, split=None) for each in recordings]
    used = [each for each in recordings if each.split in (None, *USED[config.use])]
    partial = [Problem(path=each.paths[0], reason=UNDERSAMPLED) for each in used if not each.complete]
    return [each for each in used if each.complete], partial


def _may_be(contrast: str, path: Path, root: Path) -> bool:
    """Whether a file that could not be read may have been of this contrast: its name tells no other."""
    inside = path.is_relative_to(root) and path != root
    return contrast_of_path(path, root if inside else path.parent) in ("", contrast)


def _check_samples(config: SiteConfig, recordings: Sequence[Recording]) -> None:
    """Raises ValueError for what the headers rule out."""
    if config.coils > 1 and any(each.kind == "kspace" for each in recordings):
        raise ValueError(f"coils is {config.coils}, and k-space has its own; leave coils out")
    slices = sum(each.shape[0] for each in recordings)
    if config.split == "slices" and slices < len(SPLITS):
        raise ValueError(f'split is "slices", and {slices} cannot be divided among three splits; set use instead')


def split_problems(recordings: Iterable[Recording]) -> list[Problem]:
    """The patients of an institution whose files lie in more than one of train, val and test, or inside and outside."""
    splits: dict[str, dict[Split | None, Path]] = {}
    for each in recordings:
        splits.setdefault(each.patient, {}).setdefault(each.split, each.paths[0])
    return [
        Problem(
            path=list(where.values())[1],
            reason=f"patient {patient} is in {' and in '.join(each or 'no split' for each in where)}; "
            "keep a patient in one split",
        )
        for patient, where in splits.items()
        if len(where) > 1
    ]


def _by_patient(recordings: Iterable[Recording]) -> dict[str, tuple[Recording, ...]]:
    groups: dict[str, list[Recording]] = {}
    for each in recordings:
        groups.setdefault(each.patient, []).append(each)
    return {name: tuple(sorted(groups[name], key=lambda r: r.paths)) for name in sorted(groups)}


def _told(problems: Sequence[Problem]) -> str:
    more = f" (and {len(problems) - 1} more such files)" if len(problems) > 1 else ""
    return f"{problems[0].path}: {problems[0].reason}{more}; --skip-bad leaves such files out"


def _fingerprint(root: Path, patients: Mapping[str, Sequence[Recording]], splits: Patients) -> str:
    """Of all files that could be used, by name, size and content, and of how they are; not of where the root is."""
    digest = hashlib.sha256(repr(sorted(splits.items())).encode())
    for patient, recordings in patients.items():
        for each in recordings:
            files = [(str(path.relative_to(root)) if path != root else path.name, _content(path))
                     for path in each.paths]  # fmt: skip
            digest.update(repr((patient, each.contrast, each.split, each.shape, files)).encode())
    return digest.hexdigest()[:16]


def _content(path: Path) -> str:
    """Of a file's size and of blocks from its first to its last: what is rewritten differs, and no file is read whole.

    Raises ValueError if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.blake2b(str(size).encode(), digest_size=16)
            for place in range(PLACES):
                file.seek(max(0, size - BLOCK) * place // (PLACES - 1))
                digest.update(file.read(BLOCK))
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()
