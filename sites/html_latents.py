"""A report's latent space: where the sites lie before and after training, and how far from the target by round."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sites.curves import FAINT, SINGLE
from sites.html_figures import chart, css, run_legend
from sites.html_page import Html, Key, Section, figure, grid, join, legend, paragraph, table, tag
from sites.html_results import written
from sites.html_setting import site_name
from sites.latent_figures import draw_measure, draw_points, label_of, measures, point_keys
from sites.projections import WORDS, Projection
from sites.run_reader import Run

POINTS = (4.7, 3.7)  # inches, of a chart of points


def latents_section(run: Run, flat: Sequence[Projection]) -> Section:
    """The latents in the plane."""
    name, title = "latents", "Latent space"
    if not flat:
        text = "No latents are stored: the shift was not measured (--shift-every 0), or the run is of an older version."
        return Section(name, title, paragraph(text, absent=True))
    figures = [
        figure(
            chart(partial(draw_points, run=run, projection=each), f"latents{index}", _alt(each), *POINTS),
            f"{each.method}, {WORDS[each.when]}",
            _explained(each),
        )
        for index, each in enumerate(flat)
    ]
    what = paragraph(
        "A point is the pooled latent features of one slice of a site's validation patients, under the initial and "
        "under the trained network. Each panel has axes of its own: compare how the sites lie to each other, not "
        "where. Slices of one patient lie close together and are no independent samples; distances between groups in "
        "t-SNE or UMAP mean little.",
        note=True,
    )
    return Section(
        name,
        title,
        join([what, legend(Key(label, css(c), "dot") for label, c in point_keys(run)), grid(figures)]),
        "Latents",
    )


def _alt(each: Projection) -> str:
    return f"{each.method} of the latents {WORDS[each.when]}, coloured by site"


def _explained(each: Projection) -> str:
    few = f"{each.drawn} of {each.of} points" if each.of > each.drawn else f"{each.drawn} points"
    if each.explained is None:
        return few
    first, second = (100 * part for part in each.explained)
    return f"{few}; the two components explain {first:.0f} % + {second:.0f} % of the variance"


# ---- shift ----------------------------------------------------------------------------------------------


def shift_section(run: Run) -> Section:
    """Every measure by round, and what it was at the first and at the last."""
    name, title = "shift", "Latent shift to the target"
    shown = measures(run)
    if not shown:
        return Section(name, title, paragraph("Not measured (--shift-every 0, or no other site).", absent=True))
    figures = [
        figure(
            chart(partial(draw_measure, run=run, measure=each), f"shift{index}", f"{label_of(each)} by round"),
            label_of(each),
        )
        for index, each in enumerate(shown)
    ]
    dots = " A full dot: p < 0.05; an empty one: not." * (len(run.names) <= SINGLE)
    what = paragraph(
        "How far each site's latents lie from the target's, on validation patients. Grey: the middle 95 % of what is "
        f"measured when patients are exchanged at random between the two, in the mean over the sites.{dots}",
        note=True,
    )
    keys = run_legend(run, Key("chance alone", css(FAINT), "band"), target=False)
    return Section(name, title, join([what, keys, grid(figures), _first_and_last(run, shown)]), "Shift")


def _first_and_last(run: Run, shown: Sequence[str]) -> Html:
    rows = []
    for name in run.names:
        cells = [_change(run, name, measure) for measure in shown]
        if any(cells):
            rows.append([site_name(run, name), *cells])
    rounds = [report.round for report in run.rounds if any(site.shift for site in report.sites.values())]
    words = paragraph(f"From round {rounds[0]} to round {rounds[-1]}; p of the latter.", note=True)
    return join([tag("h3", "First and last"), words, table(["Site", *map(label_of, shown)], rows, name="shifts")])


def _change(run: Run, name: str, measure: str) -> Html | str:
    """From the first measurement to the last."""
    found = [r.sites[name].shift[measure] for r in run.rounds if name in r.sites and measure in r.sites[name].shift]
    if not found:
        return ""
    p = tag("span", f" p {written(found[-1].p, 3)}", cls="pm")
    return join([f"{written(found[0].value, 3)} → {written(found[-1].value, 3)}", p])
