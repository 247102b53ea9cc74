"""What a person would rather look at: the figures of a run directory, and its report."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.checkpoint import write_atomically
from sites.report.alignment_figures import draw_alignment, is_aligned
from sites.report.curves import STYLE, draw_curves, figure_of, plain
from sites.report.html_report import report_html
from sites.report.latent_figures import draw_projection, draw_shift, measures
from sites.report.panels import Panels, error_factor, slice_psnr
from sites.report.projections import Projection, projections
from sites.run_reader import Image, Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT = "report.html"
ROWS = 8  # of pictures
DPI = 150


def draw_figures(run_dir: Path) -> list[Path]:
    """Write `figures/*.png`, whose paths are returned, and `report.html`; what the run holds nothing for is left out.

    Raises ValueError, in one line, if a file of the directory is damaged.
    """
    run = read_run(run_dir)
    (run_dir / "figures").mkdir(exist_ok=True)
    with _no_collections():
        flat = projections(run)
        paths = _save_figures(run, flat)
        write_atomically(run_dir / REPORT, report_html(run, flat).encode())
    return paths


def _save_figures(run: Run, flat: Sequence[Projection]) -> list[Path]:
    from matplotlib import rc_context

    with rc_context(STYLE):
        figures = {
            "curves": draw_curves(run) if run.rounds else None,
            "reconstructions": draw_reconstructions(run) if run.pictured else None,
            "alignment": draw_alignment(run) if is_aligned(run) else None,
            "shift": draw_shift(run) if measures(run) else None,
            "latents": draw_projection(run, flat) if flat else None,
        }
        drawn = {name: figure for name, figure in figures.items() if figure is not None}
        return [_save(figure, run.path / "figures" / f"{name}.png") for name, figure in drawn.items()]


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Figures make many objects, and a full collection walks all that the process holds: a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def report_of(run_dir: Path) -> Path:
    """The path of a run's report, which is written first if it is not there or older than what it tells of."""
    report = run_dir / REPORT
    files = [run_dir / name for name in ("config.toml", "rounds.jsonl", "summary.json")]
    newest = max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)
    if not report.exists() or report.stat().st_mtime_ns < newest:
        draw_figures(run_dir)
    return report


def _save(figure: Figure, path: Path) -> Path:
    """A reader never sees half a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    partial = path.with_suffix(".partial")
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(partial)  # savefig would draw twice, once for the layout
    return partial.replace(path)


# ---- pictures -------------------------------------------------------------------------------------------


def draw_reconstructions(run: Run) -> Figure:
    """A row a site, the target first; the error enlarged by one factor for all."""
    rows = [Panels.of(run, name) for name in run.pictured[:ROWS]]
    factor = error_factor(rows)
    figure = figure_of(8.4, 0.5 + 2.25 * len(rows), f"{run.title}: one test slice a site", run.warnings)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        _draw_row(line, row, factor, titled=row is rows[0])
        line[0].set_ylabel(plain(row.name) + ("\n(target)" if row.name == run.target else ""))
    return figure


def draw_slice(path: Path, title: str, zero_filled: Image, reconstruction: Image, truth: Image | None) -> None:
    """A PNG of one slice [H, W]; where the truth is unknown, with what the network changed in place of the error."""
    from matplotlib import rc_context

    row = Panels("", zero_filled, reconstruction, truth)
    count = 3 if truth is None else 4
    height, width = zero_filled.shape
    with rc_context(STYLE):
        figure = figure_of(2.1 * count, 0.75 + 2.0 * min(height / width, 3), title)
        _draw_row(figure.subplots(1, count), row, error_factor([row]), titled=True)
        figure.savefig(path, format="png", dpi=DPI)


def _draw_row(axes: Sequence[Axes], row: Panels, factor: int, titled: bool) -> None:
    pictures = [("zero-filled", row.zero_filled), ("reconstruction", row.reconstruction)]
    pictures += [(f"|{'change' if row.truth is None else 'error'}| × {factor}", row.error * factor)]
    pictures += [] if row.truth is None else [("truth", row.truth)]
    for index, (axis, (title, picture)) in enumerate(zip(axes, pictures, strict=True)):
        axis.imshow(picture, cmap="inferno" if index == 2 else "gray", vmin=0, vmax=row.top, interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=title if titled else "")
        axis.spines[:].set_visible(False)
        axis.set_xlabel(f"{slice_psnr(picture, row.truth):.1f} dB" if row.truth is not None and index < 2 else "")
