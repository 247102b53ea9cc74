"""Commands of a shift session that train, branch and compare."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.algorithms import ALGORITHMS
from engine.checkpoint import write_atomically
from engine.weights import sha256
from sites.config import RunConfig
from sites.federation import resolve
from sites.launch import roles_of
from sites.studio.answers import Compared, Curves, Forked, Ran, Told, Tree
from sites.studio.bench import Bench, SiteView
from sites.studio.branch import Branch, Difference, differences, site_of
from sites.studio.words import Fork, Run

if TYPE_CHECKING:
    from sites.studio.session import Session


# ---- rounds -------------------------------------------------------------------------------------------------


def run(session: Session, rounds: int) -> Ran:
    """So many rounds, each kept as it is done; fewer if the watch stops them. Raises ValueError, TrainingStopped."""
    if rounds < 1:
        raise ValueError(f"run: count is {rounds}; take at least 1")
    start = session.branch
    bench = Bench(start.config, session.snapshot(start, start.round), session.workshop)
    complete = False
    session.watch.phase(f"round 1 of {rounds}")
    try:
        for report, snapshot in bench.run(rounds):
            branch = session.branch.grown(report, sha256(snapshot.server.weights))
            session.folders.append(branch, snapshot)
            session.update(branch)
            session.watch.update(branch)
            if session.watch.stopping():
                break
            session.watch.phase(f"round {branch.round - start.round + 1} of {rounds}")
        complete = True
    finally:
        done = session.branch.round - start.round
        session.go_to(session.branch, bench if complete else None)
        if done:
            session.record(Run(done))
    return Ran(branch=session.branch, reports=session.branch.reports[start.round :], asked=rounds)


def curves(session: Session) -> Curves:
    """The rounds so far, beside the zero-filled images as they are now."""
    zero_filled = {view.site.name: view.zero_filled for view in session.views()}
    return Curves(branch=session.branch, zero_filled=zero_filled)


# ---- settings -----------------------------------------------------------------------------------------------


def target(session: Session, name: str) -> Told:
    """Make an institution the target. Raises ValueError if it cannot be."""
    branch = session.branch
    branch.site(name)
    config = resolve(replace(branch.config, target=name))
    _refuse_untrained(session, config)
    _set(session, config)
    session.go_to(session.branch, None)
    return Told(lines=[f"the target is {name}; its sources are {', '.join(roles_of(config).sources)}"])


def _refuse_untrained(session: Session, config: RunConfig) -> None:
    """A personal method cannot go on with a site that has nothing of its own yet. Raises ValueError."""
    branch = session.branch
    snapshot = session.snapshot(branch, branch.round)
    if snapshot is None or not config.algorithm.personal:
        return
    new = sorted(set(roles_of(config).sources) - snapshot.sites.keys())
    if new:
        raise ValueError(
            f"{config.algorithm_name} keeps weights at each site, and {', '.join(new)} has trained none yet; "
            "set the target before the first round (branch NAME 0)"
        )


def align(session: Session, how: str) -> Told:
    """Set the alignment weight: off is 0, on what it last was. Raises ValueError for a method without."""
    algorithm: Any = session.branch.config.algorithm  # some have a weight
    now = getattr(algorithm, "alignment_weight", None)
    if now is None:
        those = ", ".join(name for name, kind in ALGORITHMS.items() if hasattr(kind, "alignment_weight"))
        raise ValueError(f"{session.branch.config.algorithm_name} aligns nothing; begin with --algorithm {those}")
    weight = 0.0 if how == "off" else _last_weight(session.branch) if how == "on" else _weight(how)
    changed = replace(algorithm, alignment_weight=weight)
    _set(session, resolve(replace(session.branch.config, algorithm=changed)))
    words = "is off: observed, with weight 0" if weight == 0 else f"has weight {weight:g}"
    return Told(lines=[f"alignment {words} (it was {now:g})"])


def _last_weight(branch: Branch) -> float:
    """The last that was not 0, or the method's own."""
    weights = [getattr(config.algorithm, "alignment_weight", 0.0) for _, config in branch.history]
    standard = float(type(branch.config.algorithm)().alignment_weight)  # type: ignore[attr-defined]
    return next((float(weight) for weight in reversed(weights) if weight), standard)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"align: {text!r} is no weight; give on, off or a number from 0") from None


def _set(session: Session, config: RunConfig) -> None:
    session.update(session.branch.changed(config))
    session.folders.describe(session.branch)


# ---- branches -----------------------------------------------------------------------------------------------


def fork(session: Session, command: Fork) -> Forked:
    """A branch of the current one, and go there. Raises ValueError for a name that is taken, or a round not done."""
    parent = session.branch
    number = parent.round if command.round is None else command.round
    if not re.fullmatch(r"\w[\w.-]*", command.name):
        raise ValueError(f"branch: name is {command.name!r}; take letters, digits, '_', '-' and '.'")
    if not 0 <= number <= parent.round:
        raise ValueError(f"branch: {parent.name} has done {parent.round} rounds; take a round from 0 to {parent.round}")
    branch, bench = parent.branched(command.name, number), session.bench() if number == parent.round else None
    session.add(branch)
    session.go_to(branch, bench)
    return Forked(branch=branch, since=differences(parent.config, branch.config))


def switch(session: Session, name: str) -> Told:
    """Go to another branch. Raises ValueError if there is none of that name."""
    branch = _named(session, name)
    session.go_to(branch, None)
    where = f"after round {branch.round}" if branch.round else "before the first round"
    return Told(lines=[f"on {name}, {where}, target {branch.config.target}"])


def tree(session: Session) -> Tree:
    """All branches, as they came from each other."""
    return Tree(branches=list(_descend(session.branches, "", 0)), current=session.branch.name)


def _descend(branches: Mapping[str, Branch], parent: str, depth: int) -> Iterator[tuple[int, Branch]]:
    for name, branch in branches.items():
        if branch.parent == parent:
            yield depth, branch
            yield from _descend(branches, name, depth + 1)


def compare(session: Session, first: str, second: str) -> Compared:
    """Two branches after the last round that both have done. Raises ValueError for a name that is none."""
    a, b = _named(session, first), _named(session, second)
    number = min(a.round, b.round)
    session.watch.phase(f"comparing {first} and {second}")
    views = _seen(session, a, number), _seen(session, b, number)
    names = [site.name for site in a.config.institutions if site.name in {s.name for s in b.config.institutions}]
    return Compared(
        first=a,
        second=b,
        round=number,
        differences=_differences(a, b, number + 1),
        sites=names,
        views=views,
    )


def _differences(first: Branch, second: Branch, rounds: int) -> list[tuple[Difference, list[int]]]:
    """In settings, up to a round, and the rounds that had them."""
    found: dict[Difference, list[int]] = {}
    for number in range(1, rounds + 1):
        one, other = first.settings(number - 1), second.settings(number - 1)
        for difference in differences(one, other) if one != other else ():
            found.setdefault(difference, []).append(number)
    return list(found.items())


def _seen(session: Session, branch: Branch, number: int) -> SiteView:
    """The target after a round, as it was then."""
    config = branch.settings(max(number - 1, 0))
    bench = Bench(config, session.snapshot(branch, number), session.workshop)
    return bench.view(site_of(config, config.target))


def _named(session: Session, name: str) -> Branch:
    if name not in session.branches:
        raise ValueError(f"there is no branch {name!r}; choose one of {', '.join(session.branches)}")
    return session.branches[name]


# ---- files --------------------------------------------------------------------------------------------------


def save(file: str, scenario: str) -> Told:
    """Write a scenario; its first line says what trains it. Raises ValueError for a file that is none."""
    if not file.endswith(".toml"):
        raise ValueError(f"save: {file!r} would be no scenario; let its name end in .toml")
    how = scenario.splitlines()[0].removeprefix("# ").replace("THIS_FILE", shlex.quote(file))
    return Told(lines=[*write(file, scenario).lines, f"trained as here by {how}"])


def write(file: str, text: str) -> Told:
    """Write a text, unless it is there already. Raises ValueError if the file holds another one, or cannot be."""
    path = Path(file)
    try:
        if path.exists() and path.read_bytes() != text.encode():
            raise ValueError(f"{file} exists and holds something else; take another name")
        write_atomically(path, text.encode())
    except OSError as error:
        raise ValueError(f"{file} cannot be written ({error.strerror or error}); take another name") from error
    return Told(lines=[f"written: {file}"])
