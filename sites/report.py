"""The figures of a run directory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sites.curves import draw_alignment, draw_curves, figure_of, is_aligned, plain
from sites.run_reader import Image, Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 8  # of pictures
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def draw_figures(run_dir: Path) -> list[Path]:
    """Write `figures/*.png` and return their paths; those that the run holds nothing for are left out."""
    from matplotlib import rc_context

    run = read_run(run_dir)
    folder = run_dir / "figures"
    folder.mkdir(exist_ok=True)
    with rc_context(STYLE):
        figures = {
            "curves": draw_curves(run) if run.rounds else None,
            "reconstructions": draw_reconstructions(run) if run.previews else None,
            "alignment": draw_alignment(run) if is_aligned(run) else None,
        }
        return [_save(figure, folder / f"{name}.png") for name, figure in figures.items() if figure is not None]


def _save(figure: Figure, path: Path) -> Path:
    """A reader never sees half a picture."""
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png", dpi=150)
    return partial.replace(path)


# ---- pictures -------------------------------------------------------------------------------------------


def draw_reconstructions(run: Run) -> Figure:
    """A row a site, the target first; the error enlarged by one factor for all."""
    sites = sorted({key.rsplit("/", 1)[0] for key in run.previews}, key=lambda name: (name != run.target, name))
    rows = [_Row.of(run, name) for name in sites[:ROWS]]
    factor = _error_factor(rows)
    figure = figure_of(8.4, 0.5 + 2.25 * len(rows), f"{run.title}: one test slice a site", run.warnings)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        _draw_row(line, row, factor, titled=row is rows[0])
        line[0].set_ylabel(plain(row.name) + ("\n(target)" if row.name == run.target else ""))
    return figure


def draw_slice(path: Path, title: str, zero_filled: Image, reconstruction: Image, truth: Image | None) -> None:
    """A PNG of one slice [H, W]; where the truth is unknown, with what the network changed in place of the error."""
    from matplotlib import rc_context

    row = _Row("", zero_filled, reconstruction, truth)
    count = 3 if truth is None else 4
    height, width = zero_filled.shape
    with rc_context(STYLE):
        figure = figure_of(2.1 * count, 0.75 + 2.0 * min(height / width, 3), plain(title))
        _draw_row(figure.subplots(1, count), row, _error_factor([row]), titled=True)
        figure.savefig(path, format="png", dpi=150)


def _draw_row(axes: Sequence[Axes], row: _Row, factor: int, titled: bool) -> None:
    pictures = [("zero-filled", row.zero_filled), ("reconstruction", row.reconstruction)]
    pictures += [(f"|{'change' if row.truth is None else 'error'}| × {factor}", row.error * factor)]
    pictures += [] if row.truth is None else [("truth", row.truth)]
    for index, (axis, (title, picture)) in enumerate(zip(axes, pictures, strict=True)):
        axis.imshow(picture, cmap="inferno" if index == 2 else "gray", vmin=0, vmax=row.top, interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=title if titled else "")
        axis.spines[:].set_visible(False)
        axis.set_xlabel(f"{_psnr(picture, row.truth):.1f} dB" if row.truth is not None and index < 2 else "")


@dataclass(frozen=True)
class _Row:
    """truth: None if unknown; then the zero-filled image stands in for it."""

    name: str
    zero_filled: Image
    reconstruction: Image
    truth: Image | None

    @staticmethod
    def of(run: Run, name: str) -> _Row:
        return _Row(name, *(run.previews[f"{name}/{kind}"] for kind in ("zero_filled", "reconstruction", "truth")))

    @property
    def error(self) -> Image:
        error: Image = np.abs(self.reconstruction - (self.zero_filled if self.truth is None else self.truth))
        return error

    @property
    def top(self) -> float:
        """What is drawn white."""
        return max(float((self.zero_filled if self.truth is None else self.truth).max()), 1e-30)


def _error_factor(rows: Sequence[_Row]) -> int:
    """The largest that leaves all but 1 % of the pixels below white."""
    largest = max(float(np.percentile(row.error, 99)) / row.top for row in rows)
    return next((factor for factor in (20, 10, 5, 2) if factor * largest <= 1), 1)


def _psnr(image: Image, truth: Image) -> float:
    """Of the slice, with its own maximum as the peak; the table's is of whole volumes."""
    error = float(np.mean(np.square(image.astype(np.float64) - truth)))
    return 10 * math.log10(float(truth.max()) ** 2 / error) if error > 0 else math.inf
