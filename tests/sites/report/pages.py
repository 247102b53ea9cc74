"""A page read back, as strictly as a browser does not: tags, ids, links, tables, words."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADING = {"src", "srcset", "data", "poster", "action", "background"}  # attributes that fetch; href does but in <a>


class Page(HTMLParser):
    """tables: rows of cells' texts by id; loads: what a browser would fetch; raises AssertionError for bad nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.uses: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[str] = []
        self.text = ""
        self._rows: list[list[str]] | None = None
        self.feed(text)
        self.close()
        assert self.open == []
        self.loads += re.findall(r"@import|url\((?!#)[^)]*\)", text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._attributes(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs).get("id") or "", [])
        if tag == "tr" and self._rows is not None:
            self._rows.append([])
        if tag in ("td", "th") and self._rows is not None:
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._attributes(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()
        if tag == "table":
            self._rows = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            return
        self.text += data
        if self._rows and self._rows[-1] and {"td", "th"} & set(self.open):
            self._rows[-1][-1] += data

    def _attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            value = value or ""
            if name == "id":
                self.ids.append(value)
            if name == "href" and value.startswith("#"):
                self.uses.append(value[1:])
            elif name == "href" and tag == "a":
                self.links.append(value)
            elif name in LOADING or name.endswith("href"):
                self.loads.append(value)
            self.uses += re.findall(r"url\(#([^)]*)\)", value)
