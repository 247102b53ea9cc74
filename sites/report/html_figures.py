"""Figures as they stand in a page: charts as SVG that takes the page's colours and letters, pictures as PNG."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sites.report import curves
from sites.report.curves import COLORS, FAINT, TARGET, keys
from sites.report.html_page import Html, Key, html, legend
from sites.run_reader import Image, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, EDGE, GRID, PAPER = TARGET, "#5b6470", "#9aa3ae", "#e9ecf0", "#ffffff"
STYLE: dict[Any, Any] = {
    **curves.STYLE,
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": EDGE,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": EDGE,
    "ytick.color": EDGE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.formatter.limits": (-3, 4),
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "page",
}
VARIABLES = {INK: "--ink", MUTED: "--muted", EDGE: "--faint", FAINT: "--faint", GRID: "--grid", PAPER: "--paper"}
VARIABLES |= {color: f"--s{number}" for number, color in enumerate(COLORS, start=1)}
VARIABLES = {color.lower(): f"var({name})" for color, name in VARIABLES.items()}
WIDTH, HEIGHT = 4.7, 2.7  # inches, of a chart that stands beside another
BELOW, LABELS = 0.42, 0.42  # inches, for numbers and what they are of; for numbers left of the axes


def css(color: str) -> str:
    """A colour of the charts as the page calls it, which in the dark is another."""
    return VARIABLES[color.lower()]


def run_legend(run: Run, *more: Key, target: bool = True) -> Html:
    """Of the charts that draw a run's sites. target: whether it has a line."""
    return legend([*(Key(label, css(color), shape) for label, color, shape in keys(run, target)), *more])


def chart(
    draw: Callable[[Axes], None],
    name: str,
    alt: str,
    width: float = WIDTH,
    height: float = HEIGHT,
    labels: float | None = None,
) -> Html:
    """What `draw` puts on the axes of a figure of its own. name: unique in the page; alt: what it shows, in words.

    labels: inches for what stands left of the axes; None: as needed, which takes twice the time.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    if labels is None:
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
    else:
        figure = Figure(figsize=(width, height))
        box = (labels, BELOW, width - labels - 0.05, height - BELOW - 0.16)
        draw(figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height)))
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(text, metadata=nothing)  # savefig would draw twice, once for the layout
    return Html(_inline(text.getvalue(), name, alt))


def _inline(svg: str, name: str, alt: str) -> str:
    """Without the file's head and namespaces, its ids its own, its colours the page's."""
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;]*;", "", body).replace("xlink:href", "href")
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"#[0-9a-f]{6}\b", lambda color: VARIABLES.get(color[0], color[0]), body)
    body = re.sub(r">\s+<", "><", body)
    return f'<svg {box[0]} role="img" aria-label="{html(alt)}">{body.strip()}'


def png(picture: Image, top: float, colors: Literal["gray", "inferno"]) -> str:
    """A data URI of [H, W], black at 0 and white at `top`."""
    from matplotlib import colormaps
    from PIL import Image as Pillow

    levels = np.clip(np.nan_to_num(picture / top, nan=0, posinf=1, neginf=0) * 255, 0, 255).round().astype(np.uint8)
    image = Pillow.fromarray(levels)
    if colors != "gray":
        image.putpalette(colormaps[colors](np.arange(256), bytes=True)[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
