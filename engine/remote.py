"""The driver as an actor, and that actor seen from the process the user started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray

from engine.cohort import RayCohort, SiteFactory
from engine.config import Setting
from engine.driver import Driver
from engine.outcomes import Facts, Outcome, Roles, Snapshot
from engine.placement import Plan
from engine.types import RoundReport, ServerState


class RemoteDriver:
    """`Driver` behind Ray: the same calls, the same numbers; errors come out as the driver raised them."""

    def __init__(self, setting: Setting, plan: Plan, roles: Roles, shift_every: int) -> None:
        """Returns at once: the actors start while the caller does something else.

        Raises ValueError if the plan asks for more than the whole cluster has.
        """
        _refuse_impossible(plan)
        self._actor: Any = ray.remote(DriverActor).options(num_cpus=0).remote(setting, plan, roles, shift_every)

    def start(self, factories: Mapping[str, SiteFactory], shared: Any, snapshot: Snapshot | None) -> Facts:
        """Build the sites. shared crosses once, through the object store."""
        with _as_raised():
            facts: Facts = ray.get(self._actor.start.remote(factories, [ray.put(shared)], snapshot))
            return facts

    def run(self, rounds: int, snapshot_every: int = 1) -> Iterator[tuple[RoundReport, Snapshot | None]]:
        """Stream the rounds as they end."""
        stream = self._actor.run.options(num_returns="streaming").remote(rounds, snapshot_every)
        for reference in stream:
            with _as_raised():
                report, handed = ray.get(reference)
                snapshot = _snapshot(*handed) if handed else None
            del handed, reference  # what the caller drops is gone: the states of many sites are large
            yield report, snapshot
            del snapshot

    def finish(self, previews: bool = True) -> Outcome:
        """Score the test patients."""
        with _as_raised():
            outcome: Outcome = ray.get(self._actor.finish.remote(previews))
            return outcome

    def close(self) -> None:
        """Free the actors and what they hold."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._actor.close.remote(), timeout=2)  # it may be in the middle of a round
        ray.kill(self._actor)


def _snapshot(server: ServerState, references: Mapping[str, Any]) -> Snapshot:
    """The sites' states as the workers put them into the object store: no copy."""
    states = ray.get(list(references.values()))
    return Snapshot(server=server, sites={name: state for name, (state,) in zip(references, states, strict=True)})


def _refuse_impossible(plan: Plan) -> None:
    total = ray.cluster_resources()
    for kind in ("GPU", "CPU"):
        asked = sum(bundle.get(kind, 0.0) for bundle in plan.bundles)
        if asked > total.get(kind, 0.0) + 1e-9:
            raise ValueError(f"this federation asks for {asked:.4g} {kind}s, the cluster has {total.get(kind, 0):.4g}")


@contextlib.contextmanager
def _as_raised() -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        cause: BaseException = error
        while isinstance(cause, ray.exceptions.RayTaskError) and cause.cause is not None:
            cause = cause.cause
        raise cause from error


Handed = tuple[ServerState, Mapping[str, Any]]


class DriverActor:
    """The Ray actor around a driver: it owns the workers, and streams its rounds."""

    def __init__(self, setting: Setting, plan: Plan, roles: Roles, shift_every: int) -> None:
        self._cohort = RayCohort(setting, plan)
        self._driver = Driver(self._cohort, setting.algorithm, roles, shift_every, setting.seed)

    def start(self, factories: Mapping[str, SiteFactory], shared: Sequence[Any], snapshot: Snapshot | None) -> Facts:
        """Build the sites. shared: a list of one object reference, which only the workers resolve."""
        self._cohort.build(factories, shared[0])
        return self._driver.start(snapshot)

    def run(self, rounds: int, snapshot_every: int) -> Iterator[tuple[RoundReport, Handed | None]]:
        """`Driver.run`; of a snapshot the server's state, and references to the sites'."""
        for report, snapshot in self._driver.run(rounds, snapshot_every):
            references = self._cohort.state_references
            yield report, (snapshot.server, {n: references[n] for n in snapshot.sites}) if snapshot else None

    def finish(self, previews: bool) -> Outcome:
        """`Driver.finish`."""
        return self._driver.finish(previews)

    def close(self) -> None:
        """Give the workers back."""
        self._cohort.close()
