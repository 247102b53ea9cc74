"""One slice of a site: its pictures, their errors and how these are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sites.run_reader import Image, Run


@dataclass(frozen=True)
class Panels:
    """The pictures of one slice, [H, W] each. truth: None if unknown; then the zero-filled image stands in for it."""

    name: str
    zero_filled: Image
    reconstruction: Image
    truth: Image | None

    @staticmethod
    def of(run: Run, name: str) -> Panels:
        """A site's, which must be among `run.pictured`."""
        return Panels(name, *(run.previews[f"{name}/{kind}"] for kind in ("zero_filled", "reconstruction", "truth")))

    @property
    def error(self) -> Image:
        """Of the reconstruction."""
        return self.error_of(self.reconstruction)

    def error_of(self, picture: Image) -> Image:
        """Its absolute difference from the truth."""
        with np.errstate(invalid="ignore"):
            error: Image = np.abs(picture - self._known)
        return error

    @property
    def top(self) -> float:
        """What is drawn white: above 0."""
        return max(float(_finite(self._known).max(initial=0)), 1e-30)

    @property
    def _known(self) -> Image:
        return self.zero_filled if self.truth is None else self.truth


def error_factor(panels: Sequence[Panels]) -> int:
    """By which errors are enlarged: the largest that leaves all but 1 % of the pixels below white."""
    largest = max(float(np.percentile(np.append(_finite(each.error), 0), 99)) / each.top for each in panels)
    return next((factor for factor in (20, 10, 5, 2) if factor * largest <= 1), 1)


def slice_psnr(picture: Image, truth: Image) -> float:
    """dB, of the slice, with its own maximum as the peak; the table's is of whole volumes. NaN if it means nothing."""
    with np.errstate(invalid="ignore"):
        error, peak = float(np.mean(np.square(picture.astype(np.float64) - truth))), float(truth.max())
    if not (math.isfinite(error) and 0 < peak < math.inf):
        return math.nan
    return 10 * math.log10(peak**2 / error) if error > 0 else math.inf


def _finite(picture: Image) -> Image:
    """Its pixels that are numbers."""
    pixels: Image = picture[np.isfinite(picture)]
    return pixels
