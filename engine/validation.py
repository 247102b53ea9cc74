"""One way to refuse a setting: a line that names the field, its value and what it may be or what may be meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

Rule = tuple[str, bool, str]
"""A field's name, whether its value will do, and what would do."""


def require(owner: object, rules: Iterable[Rule], where: str = "") -> None:
    """Raises ValueError for the first rule that does not hold. where: what stands before, for example a site."""
    for name, valid, allowed in rules:
        if not valid:
            raise ValueError(f"{where}{name} is {getattr(owner, name)!r}; take {allowed}")


def closest(name: str, known: Iterable[str], besides: str = "") -> str:
    """What may have been meant, for a message; all there is if nothing is close, and what may be given besides."""
    known = list(known)
    match = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {match[0]!r}?" if match else f"choose one of {', '.join(known)}{besides}"
