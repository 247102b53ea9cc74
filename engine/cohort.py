"""The institutions as the driver addresses them: in this process, or spread over Ray actors. Same bits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.placement import Plan
from engine.types import (
    Array,
    Broadcast,
    MemoryExhausted,
    Preview,
    Sample,
    SiteLike,
    SiteScores,
    SiteUpdate,
    Split,
    WorkerLost,
)
from engine.weights import Layout

if TYPE_CHECKING:
    from engine.config import Setting
    from engine.institution import Institution

SiteFactory = Callable[[Any, str], SiteLike]
"""Builds a site in the process it lives in, from what all sites share (the anatomy) and the device's name."""


class Cohort(ABC):
    """Typed calls over `call`; results come in the order of the names, whatever the order of arrival."""

    @abstractmethod
    def build(self, factories: Mapping[str, SiteFactory], shared: Any) -> None:
        """Build the sites. Raises ValueError for data a site cannot be built from."""

    @abstractmethod
    def call(self, method: str, names: Sequence[str], *args: Any) -> list[Any]:
        """Call a method of the named institutions."""

    @abstractmethod
    def initial_weights(self) -> tuple[Array, Layout, Layout]:
        """The shared weights of the seeded initial network, [P], their layout, and that of the weights kept back."""

    def slices(self, names: Sequence[str]) -> list[int]:
        """Training slices of each."""
        return self.call("slices", names)

    def notes(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """What every report must say of each one's data."""
        return self.call("notes", names)

    def train(self, names: Sequence[str], broadcast: Broadcast) -> list[SiteUpdate]:
        """Local training at each."""
        return self.call("train", names, broadcast)

    def encode(self, names: Sequence[str], broadcast: Broadcast) -> list[Array]:
        """Pooled training latents [N, D] of each."""
        return self.call("encode", names, broadcast)

    def private(self, names: Sequence[str]) -> list[Array]:
        """The weights each keeps for itself, [R]."""
        return self.call("private", names)

    def raw(self, name: str, broadcast: Broadcast) -> Array:
        """One site's network inputs [N, 1, H, W] themselves; parity only."""
        images: Array = self.call("raw", [name], broadcast)[0]
        return images

    def evaluate(self, names: Sequence[str], broadcast: Broadcast, split: Split) -> list[SiteScores]:
        """Scores of the broadcast network at each."""
        return self.call("evaluate", names, broadcast, split)

    def samples(self, names: Sequence[str], broadcast: Broadcast) -> list[Sample]:
        """What the broadcast encoder makes of each one's validation patients."""
        return self.call("sample", names, broadcast)

    def zero_filled(self, names: Sequence[str], split: Split) -> list[SiteScores]:
        """Scores of the zero-filled images at each."""
        return self.call("zero_filled", names, split)

    def previews(self, names: Sequence[str], broadcast: Broadcast, split: Split = "test") -> list[Preview]:
        """One slice's pictures of each."""
        return self.call("preview", names, broadcast, split)

    def states(self, names: Sequence[str]) -> list[Array]:
        """What a checkpoint needs of each: opaque uint8."""
        return self.call("state", names)

    def restore(self, states: Mapping[str, Array]) -> None:
        """Hand each site the state a checkpoint holds for it."""
        for name, state in states.items():
            self.call("restore", [name], state)

    def revive(self) -> None:  # noqa: B027  not abstract: most cohorts lose nobody
        """Start workers again that were lost; their sites begin anew. Nothing to do in this process."""


class LocalCohort(Cohort):
    """All institutions in this process, one after the other."""

    def __init__(self, setting: Setting) -> None:
        import torch

        from engine.streams import torch_seed
        from engine.training import Workspace, repeatable

        torch.set_num_threads(setting.threads)
        repeatable(setting.device)
        self._setting = setting
        seed = torch_seed(setting.seed, "model")
        self._workspace = Workspace(setting.model, setting.train, setting.algorithm, setting.device, seed)
        self._initial = self._workspace.weights.dump()
        self._institutions: dict[str, Institution] = {}

    def build(self, factories: Mapping[str, SiteFactory], shared: Any) -> None:
        from engine.institution import Institution

        for name, factory in factories.items():
            site = factory(shared, self._setting.device)
            self._institutions[name] = Institution(site, self._workspace, self._setting)

    def call(self, method: str, names: Sequence[str], *args: Any) -> list[Any]:
        import torch

        assert not method.startswith("_"), method  # the boundary is the public methods
        try:
            return [getattr(self._institutions[name], method)(*args) for name in names]
        except torch.OutOfMemoryError as error:
            mend = "take a smaller --batch-size, or a larger --gpus-per-site"
            raise MemoryExhausted(f"{', '.join(names)}: the share of the GPU's memory is used up; {mend}") from error

    def train(self, names: Sequence[str], broadcast: Broadcast) -> list[SiteUpdate]:
        """Local training at each; the weights are copied before the next site takes its turn in the network."""
        updates = (self.call("train", [name], broadcast)[0] for name in names)
        return [replace(update, weights=np.array(update.weights)) for update in updates]

    def initial_weights(self) -> tuple[Array, Layout, Layout]:
        return self._initial, self._workspace.weights.layout, self._workspace.weights.private_layout


class RayCohort(Cohort):
    """Institutions in Ray actors, each a LocalCohort of its own, at most `plan.at_once` of them computing.

    A call raises WorkerLost if one of them dies (killed for its memory, say); `revive` starts it again.
    """

    def __init__(self, setting: Setting, plan: Plan) -> None:
        import ray
        from ray.util.placement_group import placement_group

        self._setting, self._plan = setting, plan
        self._group = placement_group([dict(b) for b in plan.bundles], strategy="PACK")
        self._ray = ray
        self._workers = [self._start(i) for i in range(len(plan.workers))]
        self._lost: set[int] = set()
        self.state_references: dict[str, Any] = {}
        self._sent: tuple[Broadcast, Any] | None = None

    def build(self, factories: Mapping[str, SiteFactory], shared: Any) -> None:
        self._factories, self._shared = factories, shared
        building = {index: self._build(index) for index in range(len(self._workers))}
        for index, reference in building.items():
            self._get(index, reference)

    def call(self, method: str, names: Sequence[str], *args: Any) -> list[Any]:
        arguments = [self._put(a) if isinstance(a, Broadcast) else a for a in args]
        waiting = [i for i, worker in enumerate(self._plan.workers) if set(names) & set(worker.sites)]
        results: dict[str, Any] = {}
        running: dict[Any, tuple[int, str]] = {}
        while waiting or running:
            while waiting and len({index for index, _ in running.values()}) < self._plan.at_once:
                index = waiting.pop(0)
                for name in self._plan.workers[index].sites:  # they queue at the worker, and answer one by one
                    if name in names:
                        running[self._workers[index].call.remote(method, [name], *arguments)] = (index, name)
            done, _ = self._ray.wait(list(running), num_returns=1)
            index, name = running.pop(done[0])
            (results[name],) = self._get(index, done[0])
        return [results[name] for name in names]

    def states(self, names: Sequence[str]) -> list[Array]:
        """Site by site: together they are large, and `state_references` can be handed on without another copy."""
        index = {name: i for i, worker in enumerate(self._plan.workers) for name in worker.sites}
        self.state_references = {name: self._workers[index[name]].call.remote("state", [name]) for name in names}
        return [self._get(index[name], reference)[0] for name, reference in self.state_references.items()]

    def initial_weights(self) -> tuple[Array, Layout, Layout]:
        answer: tuple[Array, Layout, Layout] = self._get(0, self._workers[0].initial_weights.remote())
        return answer

    def revive(self) -> None:
        for index in self._lost:
            self._ray.kill(self._workers[index])
            self._workers[index] = self._start(index)
        rebuilt = {index: self._build(index) for index in self._lost}
        self._lost.clear()
        for index, reference in rebuilt.items():
            self._get(index, reference)

    def close(self) -> None:
        """Give the actors and their resources back."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._ray.util.remove_placement_group(self._group)

    def _start(self, index: int) -> Any:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        worker = self._plan.workers[index]
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=worker.bundle)
        actor = self._ray.remote(Worker).options(num_cpus=worker.cpu, num_gpus=worker.gpu, scheduling_strategy=strategy)
        return actor.remote(self._setting, worker.gpu)

    def _build(self, index: int) -> Any:
        own = {name: self._factories[name] for name in self._plan.workers[index].sites}
        return self._workers[index].build.remote(own, self._shared)

    def _get(self, index: int, reference: Any) -> Any:
        """A worker's answer. Raises WorkerLost if it died."""
        try:
            return self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError) as error:
            self._lost.add(index)
            sites = ", ".join(self._plan.workers[index].sites)
            raise WorkerLost(f"the worker of {sites} died; is there enough memory? try fewer --workers") from error

    def _put(self, broadcast: Broadcast) -> Any:
        """One copy in the object store however many workers read it."""
        if self._sent is None or self._sent[0] is not broadcast:
            self._sent = broadcast, self._ray.put(broadcast)
        return self._sent[1]


def cap_memory(gpu: float) -> None:
    """Of its GPU's memory this process may use the share it has of the GPU; 0: it has none."""
    if gpu:
        import torch

        torch.cuda.set_per_process_memory_fraction(gpu)


class Worker:
    """The Ray actor: a LocalCohort in a process of its own. gpu: its share of a GPU, also its memory cap."""

    def __init__(self, setting: Setting, gpu: float) -> None:
        cap_memory(gpu if setting.device == "cuda" else 0)
        self._cohort = LocalCohort(setting)

    def build(self, factories: Mapping[str, SiteFactory], shared: Any) -> None:
        """Build this worker's sites."""
        self._cohort.build(factories, shared)

    def call(self, method: str, names: Sequence[str], *args: Any) -> list[Any]:
        """Call a method of this worker's institutions."""
        return self._cohort.call(method, names, *args)

    def initial_weights(self) -> tuple[Array, Layout, Layout]:
        """`LocalCohort.initial_weights`."""
        return self._cohort.initial_weights()
