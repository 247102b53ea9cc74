"""A report's latent space: where the sites lie before and after training, and how far from the target by round."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sites.report.curves import FAINT, MEAN, SINGLE
from sites.report.html_figures import LABELS, chart, css, run_legend
from sites.report.html_page import Html, Key, Section, figure, grid, join, legend, paragraph, table, tag
from sites.report.html_results import significant
from sites.report.html_setting import site_name
from sites.report.latent_figures import DISTINCT, draw_measure, draw_points, label_of, measures, point_looks
from sites.report.projections import WORDS, Projection
from sites.run_reader import Run

POINTS = (4.7, 3.7)  # inches, of a chart of points


def latents_section(run: Run, flat: Sequence[Projection]) -> Section:
    """The latents in the plane."""
    section = partial(Section, "latents", "Latent space", link="Latents")
    if not flat:
        text = "No latents are stored: the shift was not measured (--shift-every 0), or the run is of an older version."
        return section(paragraph(text, absent=True))
    figures = [
        figure(
            chart(partial(draw_points, run=run, projection=each), f"latents{index}", _alt(each), *_room(each)),
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
    return section(join([what, _point_legend(run), grid(figures)]))


def _point_legend(run: Run) -> Html:
    looks = point_looks(run)
    keys = [
        Key(f"{name} (target)" if name == run.target else name, css(color), shape)
        for name, (color, shape) in looks.items()
        if name == run.target or len(looks) <= 1 + DISTINCT
    ]
    more = (
        []
        if len(looks) <= 1 + DISTINCT
        else [Key("other sites, by colour and shape; these come again", css(MEAN), "dot")]
    )
    return legend([*keys, *more])


def _room(each: Projection) -> tuple[float, float, float]:
    """Inches: width, height, left of the axes. Where there are no numbers, nothing."""
    return *POINTS, 0.55 if each.explained else 0.05


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
    section = partial(Section, "shift", "Latent shift to the target", link="Shift")
    shown = measures(run)
    if not shown:
        return section(paragraph("Not measured (--shift-every 0, or no other site).", absent=True))
    figures = [
        figure(
            chart(
                partial(draw_measure, run=run, measure=each),
                f"shift{index}",
                f"{label_of(each)} by round",
                labels=LABELS,
            ),
            _titled(each),
        )
        for index, each in enumerate(shown)
    ]
    what = [
        "How far each site lies from the target, on validation patients. Grey: the middle 95 % of what is measured "
        "when patients are exchanged at random between the two, in the mean over the sites; p is the part of these "
        "exchanges that lie at least as far apart.",
        "A full dot: p < 0.05; an empty one: not." if len(run.names) <= SINGLE else "",
        "Few patients have few exchanges and no small p: with two a site 1/3 at best.",
        "The Wasserstein distance is between input intensities: training cannot change it."
        if "wasserstein" in shown
        else "",
    ]
    words = paragraph(" ".join(filter(None, what)), note=True)
    keys = run_legend(run, Key("chance alone", css(FAINT), "band"), target=False)
    return section(join([words, keys, grid(figures), _first_and_last(run, shown)]))


def _first_and_last(run: Run, shown: Sequence[str]) -> Html:
    rows = []
    for name in run.names:
        cells = [_change(run, name, measure) for measure in shown]
        if any(cells):
            rows.append([site_name(run, name), *cells])
    rounds = [report.round for report in run.rounds if any(site.shift for site in report.sites.values())]
    words = paragraph(f"From round {rounds[0]} to round {rounds[-1]}; p of the latter.", note=True)
    return join([tag("h3", "First and last"), words, table(["Site", *map(_titled, shown)], rows, name="shifts")])


def _change(run: Run, name: str, measure: str) -> Html | str:
    """From the first measurement to the last."""
    found = [r.sites[name].shift[measure] for r in run.rounds if name in r.sites and measure in r.sites[name].shift]
    if not found:
        return ""
    p = tag("span", f" p {significant(found[-1].p)}", cls="pm below")
    return join([f"{significant(found[0].value)} → {significant(found[-1].value)}", p])


def _titled(measure: str) -> str:
    label = label_of(measure)
    return label[:1].upper() + label[1:]
