"""Settings of single institutions as one text: `hpks.snr=20,target.tr=3000,sources.acceleration=8`."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.validation import closest
from sites.site_config import SIMULATED, SiteConfig, one_of

TARGET, SOURCES = "target", "sources"
"""In place of an institution's name: the target; all others."""
FIXED = ("name", "source", "path", "description", "shift", "fingerprint")
"""What `--site-settings` and a shift session's `set` leave alone: who a site is. (`--shift` is a text of its own.)"""
DIVIDED = ("contrast", "use", "split", *SIMULATED)  # of files: what a stored run has divided its patients by
NOUNS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def overridden(text: str, sites: Sequence[SiteConfig], target: Callable[[], str]) -> tuple[SiteConfig, ...]:
    """The sites with a text's settings, of which a later one wins. target: its name, asked for where it is needed.

    Raises ValueError, in one line, for what cannot be read, for whom there is not, or what no site can have.
    """
    present = [site.name for site in sites]
    changes: dict[str, dict[str, Any]] = {name: {} for name in present}
    for key, value in parsed(text).items():
        who, _, field = key.rpartition(".")
        for name in _meant(who, present, target):
            changes[name][field] = value
    return tuple(_changed(site, changes[site.name]) if changes[site.name] else site for site in sites)


def parsed(text: str) -> dict[str, Any]:
    """WHO.FIELD -> value of the field's type. Raises ValueError, in one line."""
    found: dict[str, Any] = {}
    for item in (part.strip() for part in text.split(",") if part.strip()):
        key, equals, value = item.partition("=")
        if not equals or not key.rpartition(".")[0]:
            raise ValueError(f"site_settings: {item!r} is no setting of a site; write SITE.FIELD=VALUE")
        if key in found:
            raise ValueError(f"site_settings: {key!r} stands twice in {text!r}; set it once")
        try:
            found[key] = from_text(value, kind_of(key.rpartition(".")[2]))
        except ValueError as error:
            raise ValueError(f"site_settings: {item!r}: {error}") from error
    return found


def joined(text: str, further: Mapping[str, Any]) -> str:
    """A text with further settings, WHO.FIELD -> value, in place of those of the same key."""
    return ",".join(f"{key}={to_text(value)}" for key, value in {**parsed(text), **further}.items())


def kind_of(field: str) -> Any:
    """The type of a setting of sites. Raises ValueError if there is no such setting, with the closest there is."""
    kinds = {name: kind for name, kind in get_type_hints(SiteConfig).items() if name not in FIXED}
    if field not in kinds:
        raise ValueError(f"{field!r} is no setting of a site; {closest(field, kinds)}")
    return kinds[field]


def from_text(text: str, kind: Any) -> Any:
    """A value as a command line writes it, as a type, Literal or union of them. Raises ValueError: what to give."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for each in kinds:
        if get_origin(each) is Literal and text in map(str, get_args(each)):
            return next(choice for choice in get_args(each) if str(choice) == text)
        if each is bool and text in ("true", "false"):
            return text == "true"
        if each is str:
            return text
        if each in (int, float):
            try:
                return each(text)
            except ValueError:
                continue
    nouns = [NOUNS.get(each) or one_of(each) for each in kinds if each is not type(None)]
    raise ValueError(f"{text!r} is not {' or '.join(nouns)}")


def to_text(value: Any) -> str:
    """What `from_text` reads."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meant(who: str, present: Sequence[str], target: Callable[[], str]) -> list[str]:
    if who in present:
        return [who]
    if who not in (TARGET, SOURCES):
        raise ValueError(f"site_settings: {who!r} is not a site; {closest(who, [*present, TARGET, SOURCES])}")
    chosen = target()
    return [name for name in present if (name == chosen) == (who == TARGET)]


def _changed(site: SiteConfig, settings: Mapping[str, Any]) -> SiteConfig:
    divided = [name for name in settings if name in DIVIDED] if site.fingerprint else []
    if divided:
        raise ValueError(
            f"site_settings: {divided[0]} of {site.name!r}, and the run that this configuration is of has divided "
            "its patients already; give --data or --scenario anew"
        )
    words = ", ".join(f"{name} {value}" for name, value in settings.items())
    description = f"{site.description} ({words})" if site.description else ""
    try:
        return replace(site, description=description, **settings)
    except ValueError as error:
        raise ValueError(f"site_settings: {error}") from error
