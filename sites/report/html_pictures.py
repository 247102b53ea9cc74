"""A report's pictures: a test slice of every site, what the network made of it, and the errors."""

from __future__ import annotations

import math
from functools import partial

from sites.intervals import written
from sites.report.html_figures import png
from sites.report.html_page import Html, Section, html, join, paragraph, picture, tag
from sites.report.html_setting import site_name
from sites.report.panels import Panels, error_factor, slice_psnr
from sites.run_reader import Image, Run

PIXELS = 1_600_000  # of all pictures of a page; beyond, they are made smaller


def pictures_section(run: Run) -> Section:
    """Every site that a picture left."""
    section = partial(Section, "pictures", "Reconstructions", link="Pictures")
    if not run.pictured:
        text = (
            "No pictures left the sites (--no-previews, or nobody has test patients)."
            if run.summary
            else "Pictures are taken at a run's end."
        )
        return section(paragraph(text, absent=True))
    panels = [Panels.of(run, site) for site in run.pictured]
    factor = error_factor(panels)
    shrink = math.ceil(math.sqrt(sum(5 * each.zero_filled.size for each in panels) / PIXELS))
    what = paragraph(
        "One test slice a site. White is the maximum of the slice's truth; the errors are absolute differences from "
        "the truth, from 0 ",
        tag("span", cls="scale"),
        f" to {100 / factor:g} % of that maximum. PSNR is here of the slice alone."
        + f" Shown at 1/{shrink} of the resolution: a pixel is the mean of {shrink} × {shrink}." * (shrink > 1),
        note=True,
    )
    return section(join([what, *(_strip(run, each, factor, shrink) for each in panels)]))


def _strip(run: Run, panels: Panels, factor: int, shrink: int) -> Html:
    """A site's five pictures."""
    assert panels.truth is not None
    scored = (("zero-filled", panels.zero_filled), ("reconstruction", panels.reconstruction))
    pictures = [(name, image, False, _decibels(image, panels.truth)) for name, image in scored]
    pictures.append(("truth", panels.truth, False, ""))
    pictures += [(f"error, {name}", panels.error_of(image) * factor, True, "") for name, image in scored]
    drawn = [
        picture(
            png(_smaller(image, shrink), panels.top, "inferno" if heat else "gray"),
            f"{panels.name}: {name}",
            join([html(name), *([", ", tag("strong", decibels)] * bool(decibels))]),
        )
        for name, image, heat, decibels in pictures
    ]
    return tag("div", tag("h3", site_name(run, panels.name)), tag("div", *drawn, cls="strip"), cls="site")


def _decibels(image: Image, truth: Image) -> str:
    return f"{written(slice_psnr(image, truth), 1)} dB"


def _smaller(image: Image, factor: int) -> Image:
    """The mean of every factor × factor pixels; what is left over at the far edges is cut off."""
    height, width = (max(side // factor, 1) for side in image.shape)
    cells = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    means: Image = cells.mean(axis=(1, 3), dtype="float64").astype("float32")
    return means
