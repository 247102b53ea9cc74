"""What files of text hold: comma-separated values, and names in Markdown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from engine.standings import one_line


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """RFC 4180 but for the line ends; None is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def markdown_text(text: str) -> str:
    """Whatever a name holds, GitHub shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", one_line(text))
