"""What a shift session answers: numbers, words and pictures, nothing drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.types import RoundReport, Scores, Shift
from sites.studio.bench import SiteView
from sites.studio.branch import Branch, Difference
from sites.studio.words import Command


@dataclass(frozen=True, kw_only=True)
class Helped:
    """command: the one that was asked about; None: all of them."""

    command: type[Command] | None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Named scenarios, and what each is about."""

    scenarios: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A scenario has begun, on a branch of its own. warnings: what must be known of its data."""

    branch: Branch
    summary: str
    warnings: Sequence[str]
    views: Sequence[SiteView]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Every institution that can be looked at."""

    branch: Branch
    views: Sequence[SiteView]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One institution. shift: to the target, by measure; empty of the target itself."""

    branch: Branch
    view: SiteView
    shift: Mapping[str, Shift]


@dataclass(frozen=True, kw_only=True)
class Turned:
    """An institution before and after a dial was turned or a setting set, under the same network.

    what: changed so; shift: by measure, before and after: of the institution to the target, or, if it is the target, of
    its sources in the mean; of: whose
    """

    branch: Branch
    what: str
    before: SiteView
    after: SiteView
    of: str
    shift: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """Rounds were done, fewer than asked for if someone stopped them."""

    branch: Branch
    reports: Sequence[RoundReport]
    asked: int


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The rounds of a branch. zero_filled: of the institutions as they are now."""

    branch: Branch
    zero_filled: Mapping[str, Scores]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Shifts to the target by institution and measure. measure: the one asked for; empty: all."""

    branch: Branch
    measure: str
    shifts: Mapping[str, Mapping[str, Shift]]


@dataclass(frozen=True, kw_only=True)
class Forked:
    """A new branch, now the current one. since: what its settings are against the parent's now."""

    branch: Branch
    since: Sequence[Difference]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Every branch, a parent before its children, and how deep it lies."""

    branches: Sequence[tuple[int, Branch]]
    current: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two branches after the last round that both have done.

    differences: in settings, and the rounds that had them, the next included; sites: the institutions of both
    views: of each one's target as it was then
    """

    first: Branch
    second: Branch
    round: int
    differences: Sequence[tuple[Difference, Sequence[int]]]
    sites: Sequence[str]
    views: tuple[SiteView, SiteView]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A line or two."""

    lines: Sequence[str]


Answer = Helped | Listed | Opened | Shown | Looked | Turned | Ran | Curves | Measured | Forked | Tree | Compared | Told
