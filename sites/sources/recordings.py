"""What readers make of a folder: recordings, known from names and headers, and the files that are none, with reasons.

A reader is a module with `NAME`, `find` and `read` (see `Reader`); `sites.sources.find` asks all of them.

Legend: S slices, C coils, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from engine.types import Split
from sites.sources.base import KSpace

Kind = Literal["kspace", "image"]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One volume of one patient. Its samples are read when asked for, and its files closed again.

    patient: the same in all of a patient's recordings, and fit to be a file's name
    contrast: T1, T1c, T2, T2*, PD, PDFS, FLAIR, DWI, MRA, or empty if nothing tells
    reader: `NAME` of the reader; paths: all its files
    shape: S, C, H, W as `read` gives them, but that of an image the empty slices are dropped, so that S may be smaller
    kind: measured (or prepared) k-space, or an image that k-space has to be synthesised from
    split: what the layout says (a folder train, val or test); None: nothing
    complete: whether k-space is fully sampled, so that it can be trained on, to judge by some slices; images are
    field_strength: tesla; scanner: what the header says of it; None and empty: nothing
    notes: what the user should know of how it is read, a line each
    readout: of k-space's rows as many as the field of view has, in the middle of the image, by the header; 0: unknown
    synthesised: whether this k-space was once made from an image (prepared files say so in an attribute of that name)
    """

    patient: str
    contrast: str = ""
    reader: str
    paths: tuple[Path, ...]
    shape: tuple[int, int, int, int]
    kind: Kind
    split: Split | None = None
    complete: bool = True
    field_strength: float | None = None
    scanner: str = ""
    notes: tuple[str, ...] = ()
    readout: int = 0
    synthesised: bool = False


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file that is no recording, or of no use. reason: what is wrong and how to mend it, without the path."""

    path: Path
    reason: str


Found = tuple[list[Recording], list[Problem]]


class Reader(Protocol):
    """A format. `find` is cheap, `read` is not."""

    NAME: str

    def find(self, files: Sequence[Path], root: Path) -> Found:
        """The recordings among these files (all below root, sorted), and problems of those that are of this format.

        Files of other formats are passed over in silence. Opens headers only.
        """
        ...

    def read(self, recording: Recording) -> KSpace | Image:
        """kind kspace: complex64 [S, C, H, W], zero where not measured; image: float32 [S, H, W], at least 0.

        Zero frequency at (H // 2, W // 2), phase encoding along W. Pixels of images are square; slices without any
        signal are dropped from images and kept, as zeros, in k-space.

        Raises ValueError, in one line that names the file, for what is truncated, empty, not finite or not as found.
        """
        ...
