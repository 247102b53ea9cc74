"""The boundary: whatever an institution returns, its images and k-space are not in it, but for two named exceptions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

import engine.algorithms
import engine.types
from engine.algorithms import Algorithm, FedBn, FlMr, FlMrcm
from engine.cohort import Cohort, LocalCohort, RayCohort
from engine.config import ModelConfig, Setting, TrainConfig
from engine.driver import Driver
from engine.institution import Institution
from engine.outcomes import Roles
from engine.training import Workspace
from engine.types import Array, Broadcast, Preview, Sample, ServerState, SiteScores, SiteUpdate
from sites.config import SiteConfig
from sites.site import Site
from sites.sources.base import KSpace

HEIGHT, WIDTH = 20, 24  # of no other array
Call = Callable[[Institution, Broadcast], Any]

# every public name of an institution: what it returns, and how it is called here
METHODS: dict[str, tuple[object, Call]] = {
    "name": (str, lambda site, _: site.name),
    "slices": (int, lambda site, _: site.slices()),
    "notes": (tuple[str, ...], lambda site, _: site.notes()),
    "train": (SiteUpdate, lambda site, broadcast: site.train(broadcast)),
    "encode": (Array, lambda site, broadcast: site.encode(broadcast)),
    "evaluate": (
        SiteScores,
        lambda site, broadcast: [site.evaluate(broadcast, split) for split in ("train", "val", "test")],
    ),
    "sample": (Sample, lambda site, broadcast: site.sample(broadcast)),
    "zero_filled": (SiteScores, lambda site, _: [site.zero_filled(split) for split in ("train", "val", "test")]),
    "private": (Array, lambda site, _: site.private() if site._setting.algorithm.personal else None),
    "state": (Array, lambda site, _: site.state()),
    "restore": (type(None), lambda site, _: site.restore(site.state())),
}
EXCEPTIONS: dict[str, tuple[object, Call]] = {
    "raw": (Array, lambda site, broadcast: site.raw(broadcast)),
    "preview": (
        Preview,
        lambda site, broadcast: [site.preview(broadcast, split) for split in ("train", "val", "test")],
    ),
}
OF_COHORT = {
    "train", "encode", "raw", "evaluate", "samples",
    "zero_filled", "slices", "notes", "previews", "private", "states", "restore",
}  # fmt: skip
NO_SITES_DATA = {"build", "call", "initial_weights", "revive", "close"}  # `call` returns what the methods above do


class NoiseSource:
    """Patients of smooth noise; no two rows are alike."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def patients(self) -> Sequence[str]:
        return [f"p{i}" for i in range(4)]

    def kspace(self, patient: str) -> KSpace:
        random = np.random.default_rng([self.seed, *patient.encode()])
        real, imaginary = random.standard_normal((2, 3, 1, HEIGHT, WIDTH))
        return np.asarray(real + 1j * imaginary, np.complex64)


def site(name: str, seed: int = 0) -> Site:
    config = SiteConfig(name=name, train_patients=2, val_patients=1, test_patients=1, slices=3, acceleration=2)
    return Site(config, NoiseSource(seed), seed)


def setting(algorithm: Algorithm) -> Setting:
    model = ModelConfig(channels=2, pool_layers=2, norm="batch" if isinstance(algorithm, FedBn) else "instance")
    train = TrainConfig(batch_size=3, local_epochs=2)
    return Setting(algorithm=algorithm, model=model, train=train, seed=0, target="target")


def institution(data: Site, algorithm: Algorithm) -> tuple[Institution, Broadcast]:
    """An institution that has trained for a round already, so that its state is full."""
    chosen = setting(algorithm)
    workspace = Workspace(chosen.model, chosen.train, algorithm, "cpu", 0)
    made = Institution(data, workspace, chosen)
    broadcast = Broadcast(round=0, weights=workspace.weights.dump())
    if algorithm.latents == "target":
        other = Institution(site("target", 1), workspace, chosen)
        kind = algorithm.exchange
        broadcast = replace(broadcast, **{kind: getattr(other, "raw" if kind == "raw" else "encode")(broadcast)})
    if algorithm.latents == "all":
        server, own = ServerState(round=0, weights=broadcast.weights), made.encode(broadcast)
        server = algorithm.observe(server, {"a": own, "b": own + 1}, np.random.default_rng(0))
        broadcast = algorithm.broadcast(server)
    made.train(broadcast)
    return made, replace(broadcast, round=1)


# ---- what is in a value ---------------------------------------------------------------------------------


def leaves(value: object) -> Iterator[object]:
    """All that a value holds, down to arrays, bytes and plain values."""
    if is_dataclass(value) and not isinstance(value, type):
        assert type(value).__module__ == engine.types.__name__, f"{type(value)} crosses"
        for item in fields(value):
            yield from leaves(getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(key)
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        assert value is None or isinstance(value, (str, int, float, bytes, np.ndarray)), f"{type(value)} crosses"
        yield value


def private_rows(data: Site) -> set[bytes]:
    """A row of each image and of k-space of every batch that two rounds see, as the bytes it would cross in."""
    batches = [b for split in ("train", "val", "test") for b in data.eval_batches(split, 4)]
    batches += [b for round in (0, 1) for epoch in (0, 1) for b in data.train_batches(round, epoch, 3)]
    shards = [shard.kspace for shard in data._shards.values()]
    rows: set[bytes] = set()
    for planes in [*shards, *(getattr(b, n) for b in batches for n in ("input", "target", "truth", "zero_filled"))]:
        for row in planes.reshape(-1, HEIGHT, WIDTH)[:, HEIGHT // 2]:
            for part in (row.real, row.imag) if row.is_complex() else (row,):
                rows |= {part.contiguous().numpy().tobytes(), part.double().numpy().tobytes()}
            rows.add(row.contiguous().numpy().tobytes())
    return rows


def leaks(value: object, rows: set[bytes]) -> list[str]:
    """Why a value must not cross: planes of an image's shape, or an image's rows in whatever shape."""
    found = []
    for leaf in leaves(value):
        if isinstance(leaf, np.ndarray):
            if leaf.shape[-2:] == (HEIGHT, WIDTH) or leaf.size == HEIGHT * WIDTH:
                found.append(f"planes of shape {leaf.shape}")
            leaf = np.ascontiguousarray(leaf).tobytes()
        if isinstance(leaf, bytes) and any(row in leaf for row in rows):
            found.append("an image's row")
    return found


# ---- the tests ------------------------------------------------------------------------------------------

ALGORITHMS = {
    "fl-mr": FlMr(),
    "latents": FlMrcm(),
    "raw": FlMrcm(exchange="raw"),
    "one-logit": FlMrcm(identifier_form="one_logit"),
    **{name: kind() for name, kind in engine.algorithms.ALGORITHMS.items()},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
@pytest.mark.parametrize("method", METHODS)
def test_no_image_crosses(method: str, algorithm: Algorithm) -> None:
    data = site("a")
    made, broadcast = institution(data, algorithm)
    assert leaks(METHODS[method][1](made, broadcast), private_rows(data)) == []


@pytest.mark.parametrize("method", EXCEPTIONS)
def test_the_two_exceptions_are_found(method: str) -> None:
    """Which also shows that the search finds what it looks for."""
    data = site("a")
    found = leaks(EXCEPTIONS[method][1](*institution(data, FlMr())), private_rows(data))
    assert any(text.startswith("planes") for text in found)
    assert "an image's row" in found


def test_hidden_images_are_found() -> None:
    data = site("a")
    rows, image = private_rows(data), next(data.eval_batches("val", 3)).truth.numpy()
    update = SiteUpdate(site="a", weights=np.zeros(5), samples=1, steps=1, metrics={"loss": 0.0})
    assert leaks(update, rows) == []
    for hidden in (image.ravel(), image.astype(np.float64).ravel(), np.frombuffer(b"head" + image.tobytes(), np.uint8)):
        assert leaks(replace(update, extra={"control": hidden}), rows) == ["an image's row"]
    with pytest.raises(AssertionError, match="Tensor'> crosses"):
        leaks(replace(update, extra={"control": torch.zeros(3)}), rows)  # type: ignore[dict-item]


def test_every_public_method_is_looked_at() -> None:
    """A new one belongs into METHODS, with the type it returns, or it does not cross."""
    public = {name for name in vars(Institution) if not name.startswith("_")}
    assert public == METHODS.keys() | EXCEPTIONS.keys()
    for cohort in (Cohort, LocalCohort, RayCohort):
        offered = {name for name, _ in inspect.getmembers(cohort, callable) if not name.startswith("_")}
        assert offered <= OF_COHORT | NO_SITES_DATA


@pytest.mark.parametrize("method", [*METHODS, *EXCEPTIONS])
def test_declared_types(method: str) -> None:
    attribute = inspect.getattr_static(Institution, method)
    function = attribute.fget if isinstance(attribute, property) else inspect.unwrap(attribute)
    declared = (METHODS | EXCEPTIONS)[method][0]
    assert get_type_hints(function)["return"] == declared


class Watched(LocalCohort):
    """Remembers what was asked of sites, and what they answered."""

    def call(self, method: str, names: Sequence[str], *args: Any) -> list[Any]:
        answers = super().call(method, names, *args)
        self.seen = [*getattr(self, "seen", []), (method, answers)]
        return answers


@pytest.mark.parametrize("algorithm", [kind() for kind in engine.algorithms.ALGORITHMS.values()])
def test_a_federations_rounds_use_no_exception(algorithm: Algorithm) -> None:
    names = ("a", "b", "target")
    data = {name: site(name, seed) for seed, name in enumerate(names)}
    cohort = Watched(setting(algorithm))
    cohort.build({name: lambda _shared, _device, name=name: data[name] for name in names}, None)  # type: ignore[misc]
    driver = Driver(cohort, algorithm, Roles(everyone=names, sources=names, target="target"))
    driver.start()
    for report, snapshot in driver.run(2):
        assert snapshot is not None
        kinds = {"weights", "latents", "intensities", "scores", "state"}
        assert report.ledger.keys() <= kinds | {"control", "encoders", "identifier"}
    driver.finish(previews=False)
    assert {method for method, _ in cohort.seen} <= METHODS.keys()
    rows = set().union(*map(private_rows, data.values()))
    assert [leaks(answers, rows) for _, answers in cohort.seen] == [[]] * len(cohort.seen)
    asked_for = driver.finish(previews=True)
    assert [preview.site for preview in asked_for.previews] == list(names)
    assert "previews" in asked_for.ledger
