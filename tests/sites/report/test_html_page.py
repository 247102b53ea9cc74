"""The shell of a page: escaped, nested, self-contained."""

from __future__ import annotations

from sites.report.html_page import (
    Html,
    Key,
    Section,
    callout,
    code,
    details,
    facts,
    figure,
    html,
    join,
    legend,
    page,
    paragraph,
    picture,
    table,
    tag,
    tiles,
)
from tests.sites.report.pages import Page

EVIL = "<script>alert(\"x\")</script> & 'y'"


def test_text_is_escaped_wherever_it_stands() -> None:
    body = join(
        [
            paragraph(EVIL),
            callout(EVIL, [EVIL, EVIL]),
            tiles([(EVIL, EVIL, EVIL)]),
            facts([(EVIL, EVIL)]),
            code(EVIL),
            details(EVIL, paragraph(EVIL)),
            table([EVIL, EVIL], [[EVIL, EVIL]], groups=[(EVIL, 2)], foot=[[EVIL, EVIL]]),
            legend([Key(EVIL, EVIL)]),
            figure(picture("data:,", EVIL, EVIL), EVIL, EVIL),
        ]
    )
    read = Page(page(EVIL, [Section("one", EVIL, body, EVIL)], kicker=EVIL, subtitle=EVIL, top=EVIL))
    assert "script" not in read.tags
    assert read.text.count(EVIL) > 20
    assert read.loads == ["data:,"]


def test_markup_is_not_escaped_again() -> None:
    assert html(html("<")) == "&lt;"
    assert tag("p", "<", Html("<br>"), cls="a b", title='"') == '<p class="a b" title="&quot;">&lt;<br></p>'
    assert join(["a", Html("<i>b</i>"), "&"], ", ") == "a, <i>b</i>, &amp;"
    assert html(join(["<"])) == "&lt;"


def test_sections_are_linked() -> None:
    read = Page(
        page("Title", [Section("one", "First", paragraph("x"), "1st"), Section("two", "Second", paragraph("y"))])
    )
    assert read.ids == ["one", "two"]
    assert read.uses == ["one", "two"]
    assert "1st" in read.text
    assert read.loads == []


def test_a_table_reads_back() -> None:
    markup = table(
        ["site", "a", "b"], [["x", "1", "2"]], name="t", foot=[["all", "3", "4"]], groups=[("", 1), ("both", 2)]
    )
    assert Page(markup).tables["t"] == [["", "both"], ["site", "a", "b"], ["x", "1", "2"], ["all", "3", "4"]]


def test_a_long_table_scrolls() -> None:
    assert "tall" in table(["a"], [["1"]] * 21)
    assert "tall" not in table(["a"], [["1"]] * 20)
