"""The methods beside FL-MR and FL-MRCM: their papers' laws, bit for bit, and a golden of each from its equations.

A golden has two sites of four slices (one batch), two parameters and two rounds of two local steps of SGD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.algorithms import (
    ALGORITHMS,
    Adcol,
    Algorithm,
    FedBn,
    FedMri,
    FedOpt,
    FedProx,
    FlCoral,
    FlMmd,
    FlMr,
    Moon,
    Scaffold,
)
from engine.config import ModelConfig, TrainConfig
from engine.driver import Driver
from engine.models.base import Model
from engine.streams import rng
from engine.types import Array, Scan
from tests.arrays import random_arrays
from tests.engine.federations import NAMES, TINY, TwoWeightNetwork, TwoWeights, driver, rounds, setting
from tests.engine.test_algorithms import pooled

SITES = NAMES[:3]
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 1e-3}
BATCH = replace(TINY, norm="batch")
LR = 0.05


def trained(algorithm: Algorithm, names: list[str] = SITES, count: int = 3, **settings: Any) -> Array:
    """The server's weights after some rounds."""
    federation = driver(setting(algorithm, "clara", **settings), names)
    rounds(federation, count)
    return federation.server.weights


# ---- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm",
    [
        FedProx(mu=0),
        Moon(mu=0),
        FlMmd(alignment_weight=0),
        FlCoral(alignment_weight=0),
        Adcol(alignment_weight=0),
        FedOpt(server_optimizer="sgd", server_lr=1.0),
    ],
)
@pytest.mark.parametrize("state", ["fresh", "kept"])
def test_reduces_to_fl_mr(algorithm: Algorithm, state: str) -> None:
    same = {"optimizer_state": state, "local_epochs": 2, **ADAM}
    assert np.array_equal(trained(algorithm, **same), trained(FlMr(), **same))


@pytest.mark.parametrize(
    "algorithm",
    [FedProx(mu=1.0), Moon(), FlMmd(), FlCoral(), Adcol(), FedOpt(), FedMri()],
)
def test_differs_from_fl_mr_once_it_is_on(algorithm: Algorithm) -> None:
    plain = FedMri(contrast_weight=0) if isinstance(algorithm, FedMri) else FlMr()
    assert not np.array_equal(trained(algorithm, local_epochs=2, **ADAM), trained(plain, local_epochs=2, **ADAM))


def test_scaffolds_first_round_is_fl_mr_and_its_second_is_not() -> None:
    for count, same in ((1, True), (2, False)):
        assert np.array_equal(trained(Scaffold(), count=count), trained(FlMr(), count=count)) is same


@pytest.mark.parametrize("weighting", ["slices", "uniform"])
def test_scaffolds_server_control_is_the_mean_of_the_sites(weighting: str) -> None:
    arrays = random_arrays(["anna"], 8, 16) | random_arrays(["berta"], 4, 16, seed=1)
    algorithm = Scaffold(weighting=weighting)  # type: ignore[arg-type]
    federation = driver(setting(algorithm), ["anna", "berta"], arrays)
    rounds(federation, 3)
    own = {name: federation.cohort._institutions[name]._memory["control"] for name in ("anna", "berta")}  # type: ignore[attr-defined]
    share = 8 / 12 if weighting == "slices" else 1 / 2
    mean = share * own["anna"] + (1 - share) * own["berta"]
    np.testing.assert_allclose(federation.server.extra["control"], mean.numpy(), atol=1e-6)
    assert not torch.equal(own["anna"], own["berta"])


@pytest.mark.parametrize(("algorithm", "model"), [(FedBn(), BATCH), (FedMri(contrast_weight=0), TINY)])
def test_a_personal_method_with_one_source_is_centralised_training(algorithm: Algorithm, model: ModelConfig) -> None:
    """Shared and private weights together are those of federated averaging with one source."""
    whole = driver(setting(FlMr(), model=model, **ADAM), ["anna"])
    split = driver(setting(algorithm, model=model, **ADAM), ["anna"])
    for federation in (whole, split):
        rounds(federation, 2)
    weights, layout, private_layout = split.cohort.initial_weights()
    assert len(weights) + sum(map(np.prod, private_layout.shapes)) == len(whole.server.weights)
    names = layout.split(split.server.weights) | private_layout.split(split.cohort.private(["anna"])[0])
    expected = whole.cohort.initial_weights()[1].split(whole.server.weights)
    assert names.keys() == expected.keys()
    assert all(np.array_equal(names[name], expected[name]) for name in names)


def configured(name: str) -> dict[str, Any]:
    """What a method needs of network and training."""
    return {"model": BATCH} if name == "fed-bn" else ({} if name == "scaffold" else ADAM)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_order_in_which_sites_are_listed_changes_nothing(name: str) -> None:
    settings = configured(name)
    assert np.array_equal(
        trained(ALGORITHMS[name](), SITES, **settings), trained(ALGORITHMS[name](), SITES[::-1], **settings)
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_resuming_a_snapshot_equals_going_on(name: str) -> None:
    """Also what stays at a site, and how a site that never trained is scored."""
    told = setting(ALGORITHMS[name](), "clara", **configured(name))
    whole = driver(told, SITES, sources=SITES[:2])
    items = list(whole.run(4))
    resumed = driver(told, SITES, sources=SITES[:2])
    resumed.start(items[1][1])
    again = [report for report, _ in resumed.run(4)]
    last = again[-1]
    assert [report.ledger for report in again] == [report.ledger for report, _ in items[2:]]
    assert np.array_equal(resumed.server.weights, whole.server.weights)
    assert {site: r.scores for site, r in last.sites.items()} == {
        site: r.scores for site, r in items[-1][0].sites.items()
    }


# ---- what stays at a site -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "model"), [(FedBn(), BATCH), (FedMri(), TINY)])
def test_a_site_that_never_trained_is_scored_with_the_mean_of_the_others(
    algorithm: Algorithm, model: ModelConfig
) -> None:
    federation = driver(setting(algorithm, "clara", model=model, **ADAM), SITES, sources=SITES[:2])
    report = rounds(federation, 1)[0]
    kept = federation.cohort.private(SITES[:2])
    assert not np.array_equal(kept[0], kept[1])
    size = kept[0].nbytes
    assert report.ledger["private"] == 2 * size + size  # two up, their mean down to clara
    mean = np.mean(np.stack(kept).astype(float), axis=0).astype(np.float32)
    assert federation._current.private is not None
    np.testing.assert_allclose(federation._current.private, mean, rtol=1e-6)
    scores = federation.cohort.evaluate(["clara"], federation._current, "val")
    assert report.sites["clara"].scores == scores[0].scores
    outcome = federation.finish(previews=False)
    assert [outcome.private[name].tolist() for name in SITES[:2]] == [array.tolist() for array in kept]


def test_nothing_private_crosses_where_every_site_trains() -> None:
    federation = driver(setting(FedMri(), "clara", **ADAM), SITES)
    assert "private" not in rounds(federation, 2)[1].ledger


def test_fed_bn_shares_all_but_normalisation_and_fed_mri_the_encoder() -> None:
    model = BATCH.build()
    names = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    layers = {name for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert {n for n in names if not FedBn().is_shared(model, n)} == {n for n in names if n.rpartition(".")[0] in layers}
    assert {n.split(".")[0] for n in names if FedMri().is_shared(model, n)} == {"down_sample_layers", "conv"}


# ---- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "model", "train", "words"),
    [
        (FedBn(), ModelConfig(), TrainConfig(), "norm is 'instance'.*fl-mr; take --norm batch"),
        (FedOpt(), BATCH, TrainConfig(), "norm is 'batch'.*take --norm instance"),
        (Scaffold(), ModelConfig(), TrainConfig(), "optimizer is 'adam'.*take --optimizer sgd"),
    ],
)
def test_refuses_what_would_be_something_else(
    algorithm: Algorithm, model: ModelConfig, train: TrainConfig, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        algorithm.check(model, train)
    algorithm.check(replace(model, norm="instance" if model.norm == "batch" else "batch"), TrainConfig(optimizer="sgd"))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (FedProx, "mu", -1.0),
        (Moon, "mu", float("nan")),
        (Moon, "temperature", 0.0),
        (FlMmd, "alignment_weight", -0.1),
        (FlCoral, "alignment_weight", float("inf")),
        (Adcol, "identifier_epochs", 0),
        (FedOpt, "server_lr", 0.0),
        (FedOpt, "server_momentum", 1.0),
        (FedOpt, "adaptivity", 0.0),
        (FedMri, "contrast_weight", -1.0),
    ],
)
def test_a_value_that_means_nothing_is_named(kind: Callable[..., Algorithm], field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field} is {value!r}; take "):
        kind(**{field: value})


# ---- goldens ------------------------------------------------------------------------------------------------

ARRAYS = {key: array.astype(np.float64) for key, array in random_arrays(["anna", "berta"], 4, 8).items()}


@dataclass(frozen=True, kw_only=True)
class Shifted(TwoWeights):
    """z = a + x, output = b z: a moves the direction of a latent, not its length alone."""

    def build(self) -> Model:
        return ShiftedNetwork(*self.start)


class ShiftedNetwork(TwoWeightNetwork):
    """z = a + x."""

    def encode(self, x: Tensor, scan: Scan | None = None) -> tuple[Tensor, list[Tensor]]:  # noqa: ARG002
        return self.a + x, []


@dataclass(frozen=True, kw_only=True)
class Normalised(TwoWeights):
    """b counts as normalisation."""

    def build(self) -> Model:
        return NormalisedNetwork(*self.start)


class NormalisedNetwork(TwoWeightNetwork):
    """b counts as normalisation."""

    def is_normalisation(self, name: str) -> bool:
        return name == "b"


def golden(algorithm: Algorithm, model: ModelConfig | None = None, target: str | None = None) -> Driver:
    """Two sites, two parameters, two local steps."""
    told = setting(algorithm, target, model=model or TwoWeights(), precision="fp64", local_epochs=2, lr=LR)
    return driver(told, ["anna", "berta"], ARRAYS)


def images(name: str) -> tuple[Tensor, Tensor]:
    """A site's inputs and targets, [4, 1, 8, 8]."""
    x, t = (torch.from_numpy(ARRAYS[f"{name}/{kind}"])[:, None] for kind in ("input", "target"))
    return x, t


def l1_gradient(name: str, w: Array, rows: slice = slice(None)) -> Array:
    """By hand: d/da = mean(sign(a b x - t) b x), d/db = mean(sign(a b x - t) a x)."""
    a, b = w
    x, t = ARRAYS[f"{name}/input"][rows], ARRAYS[f"{name}/target"][rows]
    sign = np.sign(a * b * x - t)
    return np.array([np.mean(sign * b * x), np.mean(sign * a * x)])


def descended(start: Array, gradient: Callable[[Array], Array]) -> Array:
    """Two steps of gradient descent."""
    w = start
    for _ in range(2):
        w = w - LR * gradient(w)
    return w


def test_golden_fed_prox() -> None:
    federation = golden(FedProx(mu=0.8))
    w = np.array(TwoWeights().start)
    for _ in range(2):
        rounds(federation, 1)
        start = w
        ends = [
            descended(start, lambda v, k=name, w0=start: l1_gradient(k, v) + 0.8 * (v - w0))  # type: ignore[misc]
            for name in ("anna", "berta")
        ]
        w = np.mean(ends, axis=0)
        np.testing.assert_allclose(federation.server.weights, w, atol=1e-12)


def test_golden_scaffold() -> None:
    federation = golden(Scaffold())
    x, c = np.array(TwoWeights().start), np.zeros(2)
    own = {"anna": np.zeros(2), "berta": np.zeros(2)}
    for _ in range(2):
        rounds(federation, 1)
        ends = []
        for name, c_k in own.items():
            y = descended(x, lambda v, k=name, c_k=c_k, c=c: l1_gradient(k, v) - c_k + c)  # type: ignore[misc]
            own[name] = c_k - c + (x - y) / (2 * LR)
            ends.append(y)
        x, c = np.mean(ends, axis=0), np.mean([*own.values()], axis=0)
        np.testing.assert_allclose(federation.server.weights, x, atol=1e-12)
        np.testing.assert_allclose(federation.server.extra["control"], c, atol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam", "yogi", "adagrad"])
def test_golden_fed_opt(kind: str) -> None:
    algorithm = FedOpt(
        server_optimizer=kind,  # type: ignore[arg-type]
        server_lr=0.3,
        server_momentum=0.8,
        server_decay=0.7,
        adaptivity=0.01,
    )
    federation = golden(algorithm)
    x, m, v = np.array(TwoWeights().start), np.zeros(2), np.full(2, 0.01**2)
    for _ in range(2):
        rounds(federation, 1)
        ends = [descended(x, lambda w, k=name: l1_gradient(k, w)) for name in ("anna", "berta")]  # type: ignore[misc]
        delta = np.mean(ends, axis=0) - x
        if kind == "sgd":
            x = x + 0.3 * delta
        elif kind == "momentum":
            m = 0.8 * m + delta
            x = x + 0.3 * m
        else:
            m = 0.8 * m + 0.2 * delta
            v = {
                "adam": 0.7 * v + 0.3 * delta**2,
                "yogi": v - 0.3 * delta**2 * np.sign(v - delta**2),
                "adagrad": v + delta**2,
            }[kind]
            x = x + 0.3 * m / (np.sqrt(v) + 0.01)
        np.testing.assert_allclose(federation.server.weights, x, atol=1e-12)


def test_golden_fed_bn() -> None:
    federation = golden(FedBn(), Normalised())
    a, b = TwoWeights().start
    own = {"anna": b, "berta": b}
    for _ in range(2):
        rounds(federation, 1)
        ends = []
        for name in own:
            end, own[name] = descended(np.array([a, own[name]]), lambda w, k=name: l1_gradient(k, w))  # type: ignore[misc]
            ends.append(end)
        a = np.mean(ends)
        np.testing.assert_allclose(federation.server.weights, [a], atol=1e-12)
        np.testing.assert_allclose(np.ravel(federation.cohort.private([*own])), [*own.values()], atol=1e-12)


def test_golden_fed_mri() -> None:
    """Batches of two, so that an epoch has a second step: two epochs are four, every second with the term."""
    told = setting(
        FedMri(contrast_weight=0.01), model=TwoWeights(), precision="fp64", local_epochs=2, lr=LR, batch_size=2
    )
    federation = driver(told, ["anna", "berta"], ARRAYS)
    a, b = TwoWeights().start
    own, before = {"anna": b, "berta": b}, list[float]()
    for _ in range(2):
        rounds(federation, 1)
        ends = []
        for name in own:
            w = np.array([a, own[name]])
            for step in range(4):
                g = l1_gradient(name, w, rows=slice(2 * (step % 2), 2 * (step % 2) + 2))
                if before and step % 2:
                    p, n = abs(w[0] - a), sum(abs(w[0] - other) for other in before)
                    g[0] += 0.01 * (np.sign(w[0] - a) / n - p * sum(np.sign(w[0] - other) for other in before) / n**2)
                w = w - LR * g
            ends.append(w[0])
            own[name] = w[1]
        before, a = ends, np.mean(ends)
        np.testing.assert_allclose(federation.server.weights, [a], atol=1e-10)
        np.testing.assert_allclose(np.ravel(federation.cohort.private([*own])), [*own.values()], atol=1e-10)


def by_autograd(start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Two steps of gradient descent."""
    w = start
    for _ in range(2):
        w = w.detach().requires_grad_()
        w = w - LR * torch.autograd.grad(loss(w), [w])[0]
    return w.detach()


def test_golden_moon() -> None:
    federation = golden(Moon(mu=0.7, temperature=0.4), Shifted())
    w = torch.tensor(TwoWeights().start).double()
    last: dict[str, Tensor] = {}
    for _ in range(2):
        rounds(federation, 1)
        ends = []
        for name in ("anna", "berta"):
            x, t = images(name)

            own = last.get(name)

            def loss(v: Tensor, own: Tensor | None = own, w: Tensor = w, x: Tensor = x, t: Tensor = t) -> Tensor:
                reconstruction = (v[1] * (v[0] + x) - t).abs().mean()
                if own is None:
                    return reconstruction
                z, z_broadcast, z_last = (pooled(a + x) for a in (v[0], w[0], own[0]))
                s_broadcast, s_last = (
                    (z * other).sum(1) / (z.norm(dim=1) * other.norm(dim=1)) / 0.4 for other in (z_broadcast, z_last)
                )
                contrast = -torch.log(s_broadcast.exp() / (s_broadcast.exp() + s_last.exp())).mean()
                return reconstruction + 0.7 * contrast

            ends.append(by_autograd(w, loss))
        last = dict(zip(("anna", "berta"), ends, strict=True))
        w = torch.stack(ends).mean(0)
        np.testing.assert_allclose(federation.server.weights, w.numpy(), atol=1e-12)


def gaussian_mmd(s: Tensor, t: Tensor) -> Tensor:
    """Long 2015 by loops over pairs, five bandwidths around the median distance of different rows."""
    rows = torch.cat([s, t])
    pairs = [((rows[i] - rows[j]) ** 2).sum() for i in range(len(rows)) for j in range(len(rows)) if i != j]
    median = torch.stack(pairs).detach().sort().values[(len(pairs) - 1) // 2]

    def mean_kernel(first: Tensor, second: Tensor) -> Tensor:
        squares = torch.stack([((u - v) ** 2).sum() for u in first for v in second])
        return torch.stack([(-squares / (median * b)).exp().mean() for b in (0.25, 0.5, 1, 2, 4)]).mean()

    return mean_kernel(s, s) + mean_kernel(t, t) - 2 * mean_kernel(s, t)


def covariance_distance(s: Tensor, t: Tensor) -> Tensor:
    """Eq. 1 of Sun & Saenko 2016."""
    return (torch.cov(s.T) - torch.cov(t.T)).square().sum() / (4 * s.shape[1] ** 2)


@pytest.mark.parametrize(
    ("algorithm", "distance"),
    [(FlMmd(alignment_weight=0.5), gaussian_mmd), (FlCoral(alignment_weight=5.0), covariance_distance)],
)
def test_golden_fl_mmd_and_fl_coral(algorithm: Algorithm, distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    weight: float = algorithm.alignment_weight  # type: ignore[attr-defined]
    federation = golden(algorithm, target="berta")
    w = torch.tensor(TwoWeights().start).double()
    for number in range(2):
        rounds(federation, 1)
        latents = pooled(w[0] * images("berta")[0])
        drawn = rng(3, "training", "anna", number)
        ends = []
        for name in ("anna", "berta"):
            x, t = images(name)

            def loss(
                v: Tensor,
                x: Tensor = x,
                t: Tensor = t,
                latents: Tensor = latents,
                drawn: np.random.Generator | None = drawn if name == "anna" else None,
            ) -> Tensor:
                reconstruction: Tensor = (v[0] * v[1] * x - t).abs().mean()
                if drawn is None:
                    return reconstruction
                apart = distance(pooled(v[0] * x), latents[drawn.integers(4, size=4)])
                return weight * apart + reconstruction

            ends.append(by_autograd(w, loss))
        w = torch.stack(ends).mean(0)
        np.testing.assert_allclose(federation.server.weights, w.numpy(), atol=1e-12)


def test_golden_adcol() -> None:
    """The identifier by torch's own layers and Adam, on all latents at once: 8 rows are one batch."""
    federation = golden(Adcol(alignment_weight=0.5, identifier_lr=0.01, identifier_epochs=2), target="berta")
    identifier = nn.Sequential(nn.Linear(4, 256), nn.LeakyReLU(0.2), nn.Linear(256, 2))
    stream = rng(3, "observe", "", 0)
    bounds = [0.5, 1 / 16]
    sizes = [5 * 256, 257 * 2]
    flat = np.concatenate([stream.uniform(-b, b, n) for b, n in zip(bounds, sizes, strict=True)]).astype(np.float32)
    nn.utils.vector_to_parameters(torch.from_numpy(flat), identifier.parameters())
    w = torch.tensor(TwoWeights().start).double()
    for _ in range(2):
        rounds(federation, 1)
        rows = torch.cat([pooled(w[0] * images(name)[0]) for name in ("anna", "berta")]).float()
        optimizer = torch.optim.Adam(identifier.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            probability = identifier(rows).softmax(1)
            (-torch.cat([probability[:4, 0], probability[4:, 1]]).log().mean()).backward()
            optimizer.step()
        learnt = torch.nn.utils.parameters_to_vector(identifier.parameters()).detach()
        np.testing.assert_allclose(federation.server.extra["identifier"], learnt.numpy(), atol=1e-6)
        exact = nn.Sequential(nn.Linear(4, 256), nn.LeakyReLU(0.2), nn.Linear(256, 2)).double()
        sent = torch.from_numpy(federation.server.extra["identifier"]).double()
        nn.utils.vector_to_parameters(sent, exact.parameters())
        ends = []
        for name in ("anna", "berta"):
            x, t = images(name)

            def loss(v: Tensor, x: Tensor = x, t: Tensor = t, exact: nn.Module = exact) -> Tensor:
                answer = exact(pooled(v[0] * x)).softmax(1)
                confusion: Tensor = (0.5 * (0.5 / answer).log()).sum(1).mean()  # KL(uniform || answer)
                return confusion * 0.5 + (v[0] * v[1] * x - t).abs().mean()

            ends.append(by_autograd(w, loss))
        w = torch.stack(ends).mean(0)
        np.testing.assert_allclose(federation.server.weights, w.numpy(), atol=1e-12)


def test_adcols_cost_grows_with_the_sites_and_not_with_their_pairs() -> None:
    latent = 10 * 4 * TINY.channels * 2**TINY.pool_layers * 4  # bytes of a site's pooled latents
    for count in (2, 3, 4):
        federation = driver(setting(Adcol(), NAMES[0]), NAMES[:count])
        report = rounds(federation, 1)[0]
        assert report.ledger["latents"] == count * latent
        assert report.ledger["identifier"] == count * federation.server.extra["identifier"].nbytes  # one, sent to each
        assert not any(i._companions for i in federation.cohort._institutions.values())  # type: ignore[attr-defined]
