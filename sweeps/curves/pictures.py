"""What the target's test slice looks like at each strength, for the page: zero-filled, each method's, the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sites.report.html_figures import png
from sites.report.html_page import Html, Section, join, paragraph, picture, tag
from sites.report.panels import slice_psnr
from sites.run_reader import Image, read_previews
from sweeps.curves.plan import CurvesPlan
from sweeps.curves.scores import column
from sweeps.curves.statistics import Curves

SHOWN = 5  # strengths with pictures

Slices = Mapping[tuple[float, str], Mapping[str, Image]]
"""By strength and method, of the first seed: the target's slice by kind (zero_filled, reconstruction, truth)."""


def slices(plan: CurvesPlan) -> Slices:
    """Of those federations of the first seed whose pictures left."""
    found = {}
    for federation in plan.federations:
        stored = read_previews(Path(federation.config.out)) if federation.config.seed == plan.config.run.seed else {}
        of_target = {
            key.rpartition("/")[2]: image for key, image in stored.items() if key.rpartition("/")[0] == plan.target
        }
        if of_target:
            found[federation.strength, federation.method] = of_target
    return found


def pictures_section(curves: Curves, found: Slices) -> Section:
    name, title = "pictures", "Reconstructions"
    strengths = [s for s in curves.strengths if any((s, method) in found for method in curves.methods)]
    if not strengths:
        return Section(name, title, paragraph("No pictures left the sites (--no-previews).", absent=True), "Pictures")
    few = {round(k * (len(strengths) - 1) / max(1, min(SHOWN, len(strengths)) - 1)) for k in range(SHOWN)}
    strips = [_strip(curves, strengths[i], found) for i in sorted(few) if i < len(strengths)]
    what = paragraph(
        f"One test slice of {curves.target} under the first seed, by strength: the same head. White is the maximum of "
        "the slice's truth; PSNR is here of the slice alone.",
        note=True,
    )
    return Section(name, title, join([what, *strips]), "Pictures")


def _strip(curves: Curves, strength: float, found: Slices) -> Html:
    """Zero-filled, each method's, and the truth."""
    there = [(method, found[strength, method]) for method in curves.methods if (strength, method) in found]
    truth = there[0][1]["truth"]
    pictures = [("zero-filled", there[0][1]["zero_filled"])]
    pictures += [(method, kinds["reconstruction"]) for method, kinds in there]
    top = max(float(truth.max()), 1e-30)
    drawn = [
        picture(png(image, top, "gray"), f"{name} at {column(strength)}", f"{name}, {slice_psnr(image, truth):.1f} dB")
        for name, image in pictures
    ]
    drawn.append(picture(png(truth, top, "gray"), f"truth at {column(strength)}", "truth"))
    return tag("div", tag("h3", f"Strength {column(strength)}"), tag("div", *drawn, cls="strip"), cls="site")
