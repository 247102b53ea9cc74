"""Commands of a shift session that look at institutions and change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, get_type_hints

from engine.shift import MEASURES
from engine.standings import mean
from engine.validation import closest
from sites.config import SiteConfig
from sites.federation import resolve
from sites.overrides import FIXED, from_text
from sites.shifts import with_shift
from sites.studio.answers import Looked, Measured, Turned
from sites.studio.branch import with_site

if TYPE_CHECKING:
    from sites.studio.bench import SiteView
    from sites.studio.session import Session
    from sites.studio.words import Set, Turn

KEPT = (*FIXED, "contrast", "use", "split", "virtual_coils", "gpus")
"""What `set` leaves alone: who an institution is, and where its patients are from."""


def look(session: Session, name: str) -> Looked:
    """One institution, and how far it lies from the target. Raises ValueError."""
    branch = session.branch
    view, target = session.view(branch.site(name)), seen_target(session)
    shift = session.bench().shift(view, target) if target is not None and view.site.name != target.site.name else {}
    return Looked(branch=branch, view=view, shift=shift)


def measure(session: Session, name: str) -> Measured:
    """Every institution's shift to the target. Raises ValueError for a measure there is not, or a target unseen."""
    if name and name not in MEASURES:
        raise ValueError(f"there is no measure {name!r}; {closest(name, MEASURES)}")
    branch, bench = session.branch, session.bench()
    target = session.view(branch.site(branch.config.target))
    others = [view for view in session.views() if view.site.name != target.site.name]
    return Measured(branch=branch, measure=name, shifts={v.site.name: bench.shift(v, target) for v in others})


def turn(session: Session, command: Turn) -> Turned:
    """Turn a dial. Raises ValueError for one that cannot be turned so."""
    site = with_shift(session.branch.site(command.site), command.dial, command.strength)
    return _change(session, site, f"{command.dial} {command.strength:g}")


def set_fields(session: Session, command: Set) -> Turned:
    """Set what describes an institution. Raises ValueError for what it cannot be."""
    site, words = session.branch.site(command.site), [command.field, command.value, *command.more]
    if len(words) % 2:
        raise ValueError(f"set: {words[-1]!r} has no value; write fields and values in turn")
    twice = next((name for name in words[::2] if words[::2].count(name) > 1), None)
    if twice:
        raise ValueError(f"set: {twice} stands twice; set it once")
    values = dict(_values(site, zip(words[::2], words[1::2], strict=True)))
    return _change(session, replace(site, **values), ", ".join(f"{name} {value}" for name, value in values.items()))


def settable(site: SiteConfig) -> list[str]:
    """The fields that `set` takes: of files only the undersampling, which is ours."""
    if site.of_files:
        return ["mask", "acceleration", "center_fraction"]
    return [item.name for item in fields(SiteConfig) if item.name not in KEPT]


def _values(site: SiteConfig, pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, Any]]:
    types, known = get_type_hints(SiteConfig), settable(site)
    for name, text in pairs:
        if name not in known:
            raise ValueError(f"set: {name!r} cannot be set; {closest(name, known)}")
        try:
            yield name, from_text(text, types[name])
        except ValueError as error:
            raise ValueError(f"set: {name}: {error}") from error


def _change(session: Session, site: SiteConfig, what: str) -> Turned:
    """An institution is another one from now on: what that does to its images, scores and shift."""
    branch, name = session.branch, site.name
    config = resolve(with_site(branch.config, site))
    session.watch.phase(f"scanning the patients of {name}")
    before, after = session.view(branch.site(name)), session.view(site)
    if name == config.target:
        sources = [view for view in session.views() if view.site.name != name]
        of, pairs = f"the others to {name}", [((view, before), (view, after)) for view in sources]
    else:
        target = seen_target(session)
        of = f"{name} to {config.target}"
        pairs = [] if target is None else [((before, target), (after, target))]
    bench = session.bench()
    first, then = ([bench.shift_values(*pair[when]) for pair in pairs] for when in (0, 1))
    shift = {key: (value, _means(then)[key]) for key, value in _means(first).items()}
    session.update(branch.changed(config))
    session.folders.describe(session.branch)
    return Turned(branch=session.branch, what=what, before=before, after=after, of=of, shift=shift)


def _means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By measure, over those that have it."""
    names = dict.fromkeys(name for each in found for name in each)
    return {name: mean(each[name] for each in found if name in each) for name in names}


def seen_target(session: Session) -> SiteView | None:
    """The target as it is now; None if it has no validation patients."""
    branch = session.branch
    seen = branch.config.target in session.bench().scored
    return session.view(branch.site(branch.config.target)) if seen else None
