"""Pages that need nothing but themselves: a shell, tables, figures, lists. Knows nothing of what they are about.

Text is escaped wherever it comes from; what is markup already is an `Html`, which these functions return and take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

TALL = 20  # rows; a longer table scrolls in a frame
NARROW = 3  # columns; a table of more is as wide as the page


class Html(str):
    """Markup, left as it is. (What f-strings and `+` make of it is a str again: escaped, unless wrapped anew.)"""

    __slots__ = ()


@dataclass(frozen=True)
class Section:
    """A part of a page. name: its id, unique in the page; link: what the page's top calls it, else its title."""

    name: str
    title: str
    body: Html
    link: str = ""


def html(text: str) -> Html:
    """Any text as markup that shows it."""
    return text if isinstance(text, Html) else Html(escape(text))


def join(parts: Iterable[str], between: str = "") -> Html:
    """One after the other."""
    return Html(html(between).join(html(part) for part in parts))


def tag(name: str, *parts: str, **attributes: str) -> Html:
    """<name …>parts</name>; an attribute that is empty is left out, `cls` is class."""
    named = (("class" if key == "cls" else key.replace("_", "-"), value) for key, value in attributes.items() if value)
    opening = "".join(f' {key}="{escape(value)}"' for key, value in named)
    return Html(f"<{name}{opening}>{join(parts)}</{name}>")


def page(title: str, sections: Sequence[Section], *, kicker: str = "", subtitle: str = "", top: str = "") -> Html:
    """A whole document. kicker: a line above the title; top: what comes before the first section."""
    links = tag("ul", *(tag("li", tag("a", each.link or each.title, href=f"#{each.name}")) for each in sections))
    header = tag("header", tag("p", kicker, cls="kicker"), tag("h1", title), tag("p", subtitle, cls="subtitle"), top)
    parts = (tag("section", tag("h2", each.title), each.body, id=each.name) for each in sections)
    return Html(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', title)}\n<style>\n{_style()}</style>\n</head>\n"
        f"<body>\n{header}\n{tag('nav', links)}\n<main>\n{join(parts, Html(chr(10)))}\n</main>\n</body>\n</html>\n"
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("html_style.css").read_text(encoding="utf-8")


# ---- words ----------------------------------------------------------------------------------------------


def paragraph(*parts: str, note: bool = False, absent: bool = False) -> Html:
    """note: in small grey; absent: in a frame, in place of what is not there."""
    return tag("p", *parts, cls="absent" if absent else "note" if note else "")


def callout(title: str, lines: Sequence[str], plain: bool = False) -> Html:
    """What must not be missed. plain: in no colour of warning."""
    items = tag("ul", *(tag("li", line) for line in lines)) if len(lines) > 1 else join(lines)
    return tag("div", tag("strong", title), items, cls="callout plain" if plain else "callout")


def tiles(items: Iterable[tuple[str, str, str]]) -> Html:
    """The few numbers that sum it up: what, the value, and a line below."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", what), tag("dd", value, cls="value"), tag("dd", more, cls="more"))
            for what, value, more in items
        ),
        cls="tiles",
    )


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and what they are, in columns."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), cls="facts")


def code(text: str) -> Html:
    """As it would be typed, or stands in a file."""
    return tag("pre", tag("code", text))


def details(title: str, body: Html) -> Html:
    """What is shown when asked for."""
    return tag("details", tag("summary", title), body)


# ---- tables ---------------------------------------------------------------------------------------------


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    name: str = "",
    foot: Sequence[Sequence[str]] = (),
    groups: Sequence[tuple[str, int]] = (),
    words: int = 1,
) -> Html:
    """A table that scrolls by itself, its first column a row's name.

    groups: titles above the head, each over so many columns; words: columns from the left that hold text, not numbers.
    """
    starts, column = set(), 0
    for _, span in groups:
        starts.add(column)
        column += span

    def line(cells: Sequence[str], cell: str) -> Html:
        return tag(
            "tr",
            *(
                tag(
                    "th" if index == 0 else cell,
                    text,
                    cls=" ".join(["w"] * (index < words) + ["first"] * (index in starts and index > 0)),
                    scope="" if index and cell == "td" else "row" if cell == "td" else "col",
                )
                for index, text in enumerate(cells)
            ),
        )

    over = [tag("tr", *(tag("th", text, colspan=str(span)) for text, span in groups), cls="groups")] if groups else []
    parts = [tag("thead", *over, line(head, "th")), tag("tbody", *(line(row, "td") for row in rows))]
    parts += [tag("tfoot", *(line(row, "td") for row in foot))] if foot else []
    body = tag("table", *parts, id=name, cls="narrow" if len(head) <= NARROW else "")
    return tag("div", body, cls="table tall" if len(rows) > TALL else "table", tabindex="0")


def badge(text: str) -> Html:
    """A word that marks a row."""
    return tag("span", text, cls="tag")


def share_bar(part: float) -> Html:
    """How much of the whole, 0 to 1, as a bar."""
    return tag("span", tag("i", style=f"width:{100 * min(max(part, 0), 1):.1f}%"), cls="bar")


# ---- figures --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """An entry of a legend. color: CSS; shape: line, heavy, dash, band, dot, square, triangle or diamond."""

    label: str
    color: str
    shape: str = "line"


def legend(keys: Iterable[Key]) -> Html:
    """What the colours of the figures below it mean."""
    return tag(
        "ul",
        *(tag("li", tag("i", cls=key.shape, style=f"color:{key.color}"), key.label) for key in keys),
        cls="legend",
    )


def figure(drawing: Html, title: str, note: str = "") -> Html:
    """A chart with its title above."""
    below = [tag("span", note, cls="note")] if note else []
    return tag("figure", tag("figcaption", title, *below), drawing, cls="chart")


def grid(figures: Sequence[Html]) -> Html:
    """Side by side as far as there is room."""
    return tag("div", *figures, cls="grid")


def picture(source: str, alt: str, caption: str) -> Html:
    """An image with its caption below. source: a data URI."""
    image = Html(f'<img src="{escape(source)}" alt="{escape(alt)}">')
    return tag("figure", image, tag("figcaption", caption))
