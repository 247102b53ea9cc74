"""One way to refuse a setting: a line that names the field, its value and what it may be."""

from __future__ import annotations

from collections.abc import Iterable

Rule = tuple[str, bool, str]
"""A field's name, whether its value will do, and what would do."""


def require(owner: object, rules: Iterable[Rule], where: str = "") -> None:
    """Raises ValueError for the first rule that does not hold. where: what stands before, for example a site."""
    for name, valid, allowed in rules:
        if not valid:
            raise ValueError(f"{where}{name} is {getattr(owner, name)!r}; take {allowed}")
