"""What a folder, or a file, holds: every reader is asked, in one place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sites.sources import arrays, dicom, fastmri, ismrmrd, nifti
from sites.sources.base import KSpace
from sites.sources.checks import reason
from sites.sources.recordings import Found, Image, Problem, Reader, Recording

READERS: tuple[Reader, ...] = (fastmri, ismrmrd, nifti, dicom, arrays)
ENDINGS = (".h5", ".hdf5", ".mrd", ".nii", ".nii.gz", ".dcm", ".npy", ".cfl")
FORMATS = "fastMRI or ISMRMRD HDF5 (.h5, .hdf5, .mrd), NIfTI (.nii, .nii.gz), DICOM, numpy (.npy) and BART (.cfl)"


def find(root: Path, only: str = "") -> Found:
    """The recordings of a file, or of a folder and all below it, and what is wrong with the other files of our formats.

    Hidden files are left out, links are followed, but never in circles. A file that no reader knows is passed over in
    silence, unless it was asked for by name or there is nothing else. Sorted by path; opens headers only.
    only: the name of the one reader that is asked; empty: all are.
    """
    if not root.exists():
        return [], [Problem(path=root, reason="there is no such file or folder")]
    files, problems = _walk(root) if root.is_dir() else ([root], [])
    files, special = _regular(files)
    problems += special
    recordings: list[Recording] = []
    for reader in (each for each in READERS if only in ("", each.NAME)):
        found, told = reader.find(files, root if root.is_dir() else root.parent)
        recordings += found
        problems += told
    if not recordings and not problems:
        what = "nothing here is of a" if root.is_dir() else "it is of no"
        problems = [Problem(path=root, reason=f"{what} format that is read: {FORMATS}")]
    recordings.sort(key=lambda recording: (recording.paths, recording.contrast))
    problems.sort(key=lambda problem: problem.path)
    return recordings, problems


def read(recording: Recording) -> KSpace | Image:
    """The samples of a recording, as its reader gives them (see `Reader.read`). Raises ValueError, in one line."""
    (reader,) = (reader for reader in READERS if recording.reader == reader.NAME)
    return reader.read(recording)


def passed_over(root: Path) -> list[Path]:
    """The files that `find` takes for segmentations or masks, by their names."""
    return nifti.labels(_walk(root)[0] if root.is_dir() else [root])


def _walk(root: Path) -> tuple[list[Path], list[Problem]]:
    """All files below a folder, sorted, and the folders that could not be opened."""
    files: list[Path] = []
    problems: list[Problem] = []

    def closed(error: OSError) -> None:
        problems.append(Problem(path=Path(error.filename), reason=f"the folder cannot be opened ({reason(error)})"))

    seen: set[tuple[int, int]] = set()
    misleading: list[Path] = []
    for folder, below, names in os.walk(root, onerror=closed, followlinks=True):
        place = os.stat(folder)
        if (place.st_dev, place.st_ino) in seen:  # a link leads back here
            below.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        misleading += [Path(folder, name) for name in below if name.lower().endswith(ENDINGS)]
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    told = "it is an empty folder, named as a file is; copy what belongs there again"
    problems += [Problem(path=p, reason=told) for p in misleading if not any(f.is_relative_to(p) for f in files)]
    return sorted(files), problems


def _regular(files: list[Path]) -> tuple[list[Path], list[Problem]]:
    """Without links to nothing, pipes and the like, which would be waited for in vain."""
    regular: list[Path] = []
    problems: list[Problem] = []
    for path in files:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            problems.append(Problem(path=path, reason=f"it cannot be opened ({reason(error)}); is it a broken link?"))
            continue
        if stat.S_ISREG(mode):
            regular.append(path)
        else:
            problems.append(Problem(path=path, reason="it is a pipe or a device, no file"))
    return regular, problems
