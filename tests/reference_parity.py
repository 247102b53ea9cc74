"""`python -m tests.reference_parity FILE`: FL-MR and FL-MRCM against the published implementation, in float64.

FILE holds initial weights, images and the weights and losses after some rounds; its README says how they came about.
Prints the largest relative differences and exits 1 above 1e-8 (weights, L1) or 1e-6 (adversarial and total losses).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy

from engine.algorithms import Algorithm, FlMr, FlMrcm
from engine.cohort import LocalCohort, SiteFactory
from engine.config import ModelConfig, Setting, TrainConfig
from engine.driver import Driver
from engine.outcomes import Roles, Snapshot
from engine.types import Array, RoundReport, ServerState, TrainingStopped
from engine.weights import Layout
from tests.arrays import ArraySite

EXACT, ROUNDED = 1e-8, 1e-6  # the published labels and logs pass through float32
LOSSES = {"L1": "l1", "adv_d": "identifier_loss", "adv_g": "adversarial_loss", "total_loss": "loss"}
REQUIRED = {"fl_mr": ["L1"], "fl_mrcm": ["L1", "adv_d", "adv_g", "total_loss"]}
IDENTIFIER = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")  # the order of its flat weights


@dataclass(frozen=True)
class Comparison:
    """One line of the result: the largest relative difference of a quantity, and the bound it must meet."""

    method: str
    quantity: str
    difference: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the bound (NaN is not)."""
        return self.difference <= self.bound

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "DIFFERS"
        return f"{self.method:<8} {self.quantity:<28} {self.difference:9.2e}  (bound {self.bound:.0e})  {verdict}"


def main(argv: list[str]) -> int:
    """Run both methods and print the comparison."""
    if len(argv) != 1:
        print("usage: python -m tests.reference_parity FILE", file=sys.stderr)
        return 2
    try:
        comparisons = compare(Path(argv[0]))
    except (OSError, KeyError, ValueError) as error:
        print(f"reference_parity: {argv[0]}: {error}", file=sys.stderr)
        return 2
    except TrainingStopped as error:
        print(f"reference_parity: {argv[0]}: {error}")
        return 1
    print(*comparisons, sep="\n")
    return 0 if all(c.passed for c in comparisons) else 1


def compare(path: Path) -> list[Comparison]:
    """Both methods of a reference file. Raises OSError, KeyError or ValueError for a file of another layout."""
    with h5py.File(path, "r") as file:
        algorithms: dict[str, tuple[Algorithm, str]] = {
            "fl_mr": (FlMr(weighting="uniform"), "fresh"),
            "fl_mrcm": (
                FlMrcm(
                    weighting="uniform",
                    exchange="raw",
                    alignment_weight=1.0,
                    identifier_lr=float(file.attrs["identifier_lr"]),
                ),
                "kept",
            ),
        }
        return [line for name, (a, state) in algorithms.items() for line in _compare(file, name, a, state)]


def _compare(file: h5py.File, method: str, algorithm: Algorithm, optimizer_state: str) -> list[Comparison]:
    group = file[f"{method}_float64"]
    rounds = 1 + max(int(key.removeprefix("round_")) for key in group)
    driver, layout = _driver(file, algorithm, optimizer_state)
    reports = [report for report, _ in driver.run(rounds)]
    expected = {name: np.asarray(d) for name, d in group[f"round_{rounds - 1}/unet"].items()}
    ours = layout.split(driver.server.weights)
    lines = [Comparison(method, "global weights", worst(_apart(ours[n], expected[n]) for n in layout.names), EXACT)]
    identifiers = [k for k in group[f"round_{rounds - 1}"] if k.startswith("identifier_")]
    if identifiers:
        lines.append(Comparison(method, "identifiers' last layer", _identifiers(driver, group, rounds), EXACT))
    return lines + _losses(method, group.attrs, reports)


def _driver(file: h5py.File, algorithm: Algorithm, optimizer_state: str) -> tuple[Driver, Layout]:
    """A driver over the file's sites, at the file's initial weights."""
    attrs = file.attrs
    sources = [f"site_{k}" for k in range(int(attrs["sources"]))]
    sites = {name: _site(name, file[name]) for name in [*sources, "target"]}
    unet = ModelConfig(
        channels=int(attrs["channels"]), pool_layers=int(attrs["pool_layers"]), residual=False, zero_last=False
    )
    train = TrainConfig(
        optimizer="rmsprop",
        lr=float(attrs["lr"]),
        batch_size=int(attrs["batch_size"]),
        local_epochs=int(attrs["local_epochs"]),
        optimizer_state="kept" if optimizer_state == "kept" else "fresh",
        precision="fp64",
    )
    cohort = LocalCohort(Setting(algorithm=algorithm, model=unet, train=train, seed=0, target="target"))
    cohort.build({name: _factory(site) for name, site in sites.items()}, None)
    _, layout, _ = cohort.initial_weights()
    weights = layout.join({name: np.asarray(d) for name, d in file["initial/unet"].items()})
    states: dict[str, Array] = (
        {name: _identifier_state(file, k) for k, name in enumerate(sources)} if algorithm.latents == "target" else {}
    )
    roles = Roles(everyone=tuple(sorted(sites)), sources=tuple(sorted(sources)), target="target")
    driver = Driver(cohort, algorithm, roles, shift_every=0)
    driver.start(Snapshot(server=ServerState(round=0, weights=weights), sites=states))
    return driver, layout


def _site(name: str, group: h5py.Group) -> ArraySite:
    return ArraySite(name, np.asarray(group["input"], np.float64), np.asarray(group["target"], np.float64))


def _factory(site: ArraySite) -> SiteFactory:
    return lambda _shared, _device: site


def _identifier_state(file: h5py.File, k: int) -> Array:
    """The file's initial identifier as a site's checkpoint would hold it, its RMSprop at rest."""
    group = file[f"initial/identifier_{k}"]
    weights = np.concatenate([np.ravel(group[name]) for name in IDENTIFIER])
    at_rest = {"identifier/square": np.zeros_like(weights), "identifier/steps": np.zeros((), np.float32)}
    return np.frombuffer(safetensors.numpy.save({"identifier/weights": weights, **at_rest}), np.uint8)


def _identifiers(driver: Driver, group: h5py.Group, rounds: int) -> float:
    """The largest difference of the identifiers' last layers."""
    differences = []
    for key, identifier in group[f"round_{rounds - 1}"].items():
        if key.startswith("identifier_"):
            expected = np.asarray(identifier["fc2.weight"])
            site = f"site_{key.removeprefix('identifier_')}"
            state = safetensors.numpy.load(driver.cohort.states([site])[0].tobytes())
            ours = state["identifier/weights"][-expected.size - 2 : -2].reshape(expected.shape)
            differences.append(_apart(ours, expected))
    return worst(differences)


def _losses(method: str, attrs: Mapping[str, float], reports: list[RoundReport]) -> list[Comparison]:
    """The largest relative difference of each logged loss over sites and rounds."""
    differences: dict[str, list[float]] = {loss: [] for loss in REQUIRED[method]}
    for key, expected in attrs.items():
        _, loss, site, round = key.split("/")
        metrics = reports[int(round.removeprefix("round_"))].sites[f"site_{site.removeprefix('s')}"].metrics
        differences.setdefault(loss, []).append(abs(metrics[LOSSES[loss]] - expected) / abs(expected))
    bounds = {loss: EXACT if loss == "L1" else ROUNDED for loss in differences}
    return [Comparison(method, loss, worst(d), bounds[loss]) for loss, d in differences.items()]


def worst(differences: Iterable[float]) -> float:
    """The largest; NaN if one is NaN or if there is nothing to compare."""
    return float(np.max([*differences] or [np.nan]))


def _apart(ours: Array, expected: Array) -> float:
    """Largest |a - b| over largest |b|."""
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
