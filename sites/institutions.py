"""Whose a recording is: each sub-folder of a folder of data is an institution."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sites.sources.names import CONTRASTS, safe, split_of
from sites.sources.recordings import Found, Problem, Recording

PAPERS = {".md", ".txt", ".pdf", ".csv", ".tsv", ".xls", ".xlsx", ".json", ".toml", ".xml", ".html", ".log", ".sh"}


def survey(root: Path, only: str = "") -> tuple[dict[str, list[Recording]], list[Problem]]:
    """Recordings by institution, in order of name, and problems; what readers' `find` gives, headers only.

    A sub-folder is an institution, unless `root` is a file, or has none, or they are contrasts and splits: then all
    is one institution, as it is if `only` names it. Files beside the sub-folders belong to one of root's name.
    """
    institutions: dict[str, list[Recording]] = {}
    problems: list[Problem] = []
    for name, (recordings, told) in _parts(root, only):
        problems += told
        if recordings:
            institutions.setdefault(name, []).extend(recordings)
    return dict(sorted(institutions.items())), problems


def _parts(root: Path, only: str) -> Iterator[tuple[str, Found]]:
    from sites.sources.find import find

    name = only or institution_name(root)
    folders = sub_folders(root)
    if only or not folders:
        yield name, find(root)
        return
    for folder in folders:
        recordings, problems = find(folder)
        yield institution_name(folder), (recordings, [each for each in problems if recordings or each.path != folder])
    if beside_folders(root):
        recordings, problems = find(root)
        beside = [each for each in recordings if each.paths[0].parent == root]
        yield name, (beside, [each for each in problems if each.path.parent == root])


def sub_folders(root: Path) -> list[Path]:
    """Those that are institutions; none if they are a layout's."""
    if not root.is_dir():
        return []
    try:
        folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    except OSError:  # `find` says why
        return []
    return [] if all(_is_layout(folder) for folder in folders) else folders


def _is_layout(folder: Path) -> bool:
    """Whether it is named for a contrast or a split, as in FL-MRCM's and fastMRI's trees."""
    name = folder.name.lower()
    contrast = any(name in (contrast.lower(), *words.split()) for contrast, words in CONTRASTS.items())
    return contrast or split_of(folder / "any", folder.parent) is not None


def beside_folders(root: Path) -> list[Path]:
    """Files of a folder's own that may be data."""
    return [file for file in sorted(root.iterdir()) if file.is_file() and _may_be_data(file)]


def _may_be_data(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix.lower() not in PAPERS


def institution_name(root: Path) -> str:
    """A folder's, or a file's folder's, as a site may be named."""
    folder = Path(os.path.abspath(root if root.is_dir() else root.parent))
    return safe(folder.name).lstrip("-") if folder.name else "data"
