"""The papers' laws, bit for bit, and a hand-sized golden of each method computed from its equations."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.algorithms import Algorithm, FlMr, FlMrcm
from engine.streams import rng, torch_seed
from engine.training import seeded
from engine.types import Array, TrainingStopped
from tests.arrays import random_arrays
from tests.engine.federations import NAMES, TINY, TwoWeights, driver, rounds, setting

SITES = NAMES[:3]
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 1e-3}


def trained(algorithm: Algorithm, names: list[str] = SITES, target: str | None = "clara", **train: Any) -> Array:
    """Global weights after three rounds."""
    federation = driver(setting(algorithm, target, **train), names)
    rounds(federation, 3)
    return federation.server.weights


# ---- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["fresh", "kept"])
@pytest.mark.parametrize("form", ["two_logits", "one_logit"])
def test_alignment_weight_zero_is_fl_mr(state: str, form: str) -> None:
    mrcm = FlMrcm(alignment_weight=0, identifier_form=form)  # type: ignore[arg-type]
    assert np.array_equal(trained(mrcm, optimizer_state=state, **ADAM), trained(FlMr(), optimizer_state=state, **ADAM))


def test_a_positive_alignment_weight_changes_the_weights() -> None:
    assert not np.array_equal(trained(FlMrcm(alignment_weight=0.1)), trained(FlMr()))


def test_the_first_warm_up_round_has_its_share_of_the_weight() -> None:
    algorithm = FlMrcm(alignment_weight=0.9, alignment_warmup=2)
    assert [algorithm.weight(r) for r in range(4)] == pytest.approx([0.3, 0.6, 0.9, 0.9])


def test_ganins_schedule_rises_from_little_to_the_full_weight() -> None:
    """Ganin 2016, section 5.2.2: 2 / (1 + exp(-10 p)) - 1, tanh(5 p) in other words."""
    algorithm = FlMrcm(alignment_weight=0.5, alignment_warmup=9, alignment_schedule="ganin")
    weights = [algorithm.weight(r) for r in range(12)]
    assert weights[:9] == pytest.approx([0.5 * np.tanh(5 * (r + 1) / 10) for r in range(9)])
    assert weights[9:] == [0.5] * 3
    constant = FlMrcm(alignment_weight=0.5, alignment_schedule="ganin")
    assert [constant.weight(r) for r in range(2)] == [0.5, 0.5]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_one_source_is_centralised_training(optimizer: str) -> None:
    """A plain torch loop over the same batches ends with the same weights; the optimiser runs through."""
    arrays = random_arrays(["anna"], slices=10, size=16)
    federation = driver(setting(FlMr(), optimizer=optimizer, lr=1e-3), ["anna"], arrays)
    model = seeded(torch_seed(3, "model"), TINY.build)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
    plain = kinds[optimizer](model.parameters(), lr=1e-3)
    inputs, targets = (torch.from_numpy(arrays[f"anna/{kind}"])[:, None] for kind in ("input", "target"))
    for _ in range(3):
        rounds(federation, 1)
        for start in range(0, 10, 4):
            plain.zero_grad()
            output = model.decode(*model.encode(inputs[start : start + 4]))
            F.l1_loss(output, targets[start : start + 4]).backward()
            plain.step()
    expected = torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    np.testing.assert_allclose(federation.server.weights, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("algorithm", [FlMr(), FlMrcm(alignment_weight=0.1)])
def test_the_order_in_which_sites_are_listed_changes_nothing(algorithm: Algorithm) -> None:
    assert np.array_equal(trained(algorithm, SITES), trained(algorithm, SITES[::-1]))


def test_resuming_a_snapshot_equals_going_on() -> None:
    told = setting(FlMrcm(alignment_weight=0.1), "clara", **ADAM)
    whole = driver(told, SITES)
    snapshots = [snapshot for _, snapshot in whole.run(4)]
    resumed = driver(told, SITES)
    resumed.start(snapshots[1])
    rounds(resumed, 2)
    assert np.array_equal(resumed.server.weights, whole.server.weights)


def test_slices_weigh_in_the_average_unless_uniform() -> None:
    arrays = random_arrays(["anna"], 8, 16) | random_arrays(["berta"], 4, 16, seed=1)
    weights: dict[str, Array] = {}
    kinds: tuple[Literal["slices", "uniform"], ...] = ("slices", "uniform")
    for weighting in kinds:
        federation = driver(setting(FlMr(weighting=weighting)), ["anna", "berta"], arrays)
        updates = federation.cohort.train(["anna", "berta"], federation._current)
        weights[weighting] = federation.algorithm.aggregate(federation.server, updates).weights
        share = 8 / 12 if weighting == "slices" else 1 / 2
        mean = share * updates[0].weights + (1 - share) * updates[1].weights
        np.testing.assert_allclose(weights[weighting], mean, atol=1e-6)
    assert not np.array_equal(weights["slices"], weights["uniform"])


# ---- goldens: two sites, two parameters, two rounds ---------------------------------------------------------


def test_golden_fl_mr() -> None:
    """L1 of y = a b x by hand: dL/da = mean(sign(a b x - t) b x), dL/db = mean(sign(a b x - t) a x)."""
    arrays = random_arrays(["anna", "berta"], 4, 8)
    told = setting(FlMr(), model=TwoWeights())
    federation = driver(told, ["anna", "berta"], arrays)
    a, b = TwoWeights().start
    for _ in range(2):
        rounds(federation, 1)
        ends = []
        for name in ("anna", "berta"):
            x, t = arrays[f"{name}/input"].astype(float), arrays[f"{name}/target"].astype(float)
            sign = np.sign(a * b * x - t)
            ends.append((a - 0.05 * np.mean(sign * b * x), b - 0.05 * np.mean(sign * a * x)))
        a, b = np.mean(ends, axis=0)
        np.testing.assert_allclose(federation.server.weights, [a, b], atol=1e-6)


@pytest.mark.parametrize("exchange", ["latents", "raw"])
@pytest.mark.parametrize(
    ("steps", "smoothing", "penalty"), [(1, 0.0, 0.0), (3, 0.0, 0.0), (1, 0.2, 0.0), (1, 0.0, 0.7), (2, 0.2, 0.7)]
)
def test_golden_fl_mrcm(exchange: str, steps: int, smoothing: float, penalty: float) -> None:
    """Algorithm 1 of Guo 2021 with SGD: identifier step (eq. 4), then L1 + w * confusion (eq. 5 and 6).

    Two sites, one of them the target, which also trains. With latents the target's side is a constant; with raw
    images the source's encoder makes the target's latents too, and the gradient flows through both. The identifier
    may take several steps, on labels smoothed, with its gradient penalised.
    """
    arrays = random_arrays(["anna", "berta"], 4, 8)
    algorithm = FlMrcm(
        alignment_weight=0.5,
        identifier_lr=0.1,
        exchange=exchange,  # type: ignore[arg-type]
        identifier_steps=steps,
        label_smoothing=smoothing,
        identifier_penalty=penalty,
    )
    told = setting(algorithm, "berta", model=TwoWeights(), precision="fp64")
    federation = driver(told, ["anna", "berta"], {k: v.astype(np.float64) for k, v in arrays.items()})
    images = {key: torch.from_numpy(array.astype(np.float64))[:, None] for key, array in arrays.items()}
    weights = torch.tensor(TwoWeights().start).double()
    phi = initial_identifier()
    for number in range(2):
        rounds(federation, 1)
        latents = pooled(weights[0] * images["berta/input"])
        drawn = rng(3, "training", "anna", number).integers(4, size=4)
        ends = []
        for name in ("anna", "berta"):
            a, b = (w.clone().requires_grad_() for w in weights)
            x, t = images[f"{name}/input"], images[f"{name}/target"]
            loss = (a * b * x - t).abs().mean()
            if name == "anna":
                source = pooled(a * x)
                target = pooled(a * images["berta/input"]) if exchange == "raw" else latents[drawn]
                for _ in range(steps):
                    known = source.detach(), target.detach()
                    told_apart = confusion(phi, *known, [smoothing / 2, 1 - smoothing / 2])
                    told_apart = told_apart + penalty * sum(half_squared_slope(phi, z) for z in known) / 2
                    phi = [p - 0.1 * g for p, g in zip(phi, torch.autograd.grad(told_apart, phi), strict=True)]
                    phi = [p.detach().requires_grad_() for p in phi]
                loss = loss + 0.5 * confusion(phi, source, target, [1.0, 0.0])
            gradients = torch.autograd.grad(loss, [a, b])
            ends.append(torch.stack([w - 0.05 * g for w, g in zip((a, b), gradients, strict=True)]).detach())
        weights = torch.stack(ends).mean(0)
        np.testing.assert_allclose(federation.server.weights, weights.numpy(), atol=1e-12)


def initial_identifier() -> list[torch.Tensor]:
    """anna's identifier before the first round: 4 -> 256 -> 2, torch's own initialisation from her stream."""

    def build() -> list[torch.nn.Linear]:
        return [torch.nn.Linear(4, 256), torch.nn.Linear(256, 2)]

    layers = seeded(torch_seed(3, "companions", "anna"), build)
    return [p.detach().double().requires_grad_() for layer in layers for p in layer.parameters()]


def pooled(z: torch.Tensor) -> torch.Tensor:
    """[B, 1, 8, 8] -> [B, 4]: the mean of each quarter."""
    return z.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2)).flatten(1)


def confusion(phi: list[torch.Tensor], source: torch.Tensor, target: torch.Tensor, label: list[float]) -> torch.Tensor:
    """Mean of the two binary cross-entropies; the source is labelled `label`, the target the reverse."""

    def entropy(latents: torch.Tensor, one_hot: list[float]) -> torch.Tensor:
        probability, wanted = torch.sigmoid(two_logits(phi, latents)), torch.tensor(one_hot).double()
        return -(wanted * probability.log() + (1 - wanted) * (1 - probability).log()).mean()

    return (entropy(source, label) + entropy(target, label[::-1])) / 2


def two_logits(phi: list[torch.Tensor], latents: torch.Tensor) -> torch.Tensor:
    """[B, 4] -> [B, 2]: the published identifier."""
    w1, b1, w2, b2 = phi
    hidden = latents @ w1.T + b1
    logits = torch.where(hidden > 0, hidden, 0.2 * hidden) @ w2.T + b2
    return torch.where(logits > 0, logits, 0.2 * logits)


def half_squared_slope(phi: list[torch.Tensor], latents: torch.Tensor) -> torch.Tensor:
    """Mescheder 2018, eq. 9, of the difference of the logits: the slope written out layer by layer."""
    w1, b1, w2, b2 = phi
    hidden = latents @ w1.T + b1
    first = torch.where(hidden > 0, 1.0, 0.2)
    second = torch.where(torch.where(hidden > 0, hidden, 0.2 * hidden) @ w2.T + b2 > 0, 1.0, 0.2)
    outer = second[:, 1:] * w2[1] - second[:, :1] * w2[0]  # [B, 256]
    slope = (outer * first) @ w1
    return (slope**2).sum(1).mean() / 2


# ---- alignment health ---------------------------------------------------------------------------------------


def test_every_round_reports_the_health_of_the_alignment() -> None:
    federation = driver(setting(FlMrcm(alignment_weight=0.1), "clara"), SITES, shift_every=1)
    report = rounds(federation, 1)[0]
    for name in ("anna", "berta"):
        metrics = report.sites[name].metrics
        assert 0 <= metrics["identifier_accuracy"] <= 1
        assert metrics["adversarial_gradient"] > 0
        assert metrics["alignment_weight"] == pytest.approx(0.1)
        assert metrics["reconstruction_gradient"] > 0
        assert "mmd" in report.sites[name].shift
    assert "identifier_accuracy" not in report.sites["clara"].metrics  # the target trains without
    assert not report.sites["clara"].shift


def test_the_reported_gradients_are_those_of_the_first_batch() -> None:
    """With SGD, one batch and one round the encoder's step is lr * (reconstruction + w * adversarial)."""
    algorithm = FlMrcm(alignment_weight=0.5)
    arrays = random_arrays(["anna", "berta"], 4, 8)
    told = setting(algorithm, "berta", model=TwoWeights())
    federation = driver(told, ["anna", "berta"], arrays)
    broadcast = federation._with_latents(federation._current)
    update = federation.cohort.train(["anna"], broadcast)[0]
    step = abs(float(broadcast.weights[0] - update.weights[0])) / 0.05
    reconstruction, adversarial = (update.metrics[f"{k}_gradient"] for k in ("reconstruction", "adversarial"))
    candidates = [abs(reconstruction + 0.5 * adversarial), abs(reconstruction - 0.5 * adversarial)]
    assert min(abs(step - c) for c in candidates) < 1e-5


def test_a_cut_off_alignment_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the published code was for 13 months: latents detached before the adversarial loss."""
    from engine import training

    monkeypatch.setattr(training, "pool_latents", lambda z: z.detach().mean((-1, -2)).repeat(1, 4))
    federation = driver(setting(FlMrcm(alignment_weight=0.1), "clara"), SITES)
    with pytest.raises(TrainingStopped, match=r"site anna, round 1.*adversarial gradient.*zero"):
        rounds(federation, 1)
    observing = driver(setting(FlMrcm(alignment_weight=0), "clara"), SITES)
    assert rounds(observing, 1)[0].sites["anna"].metrics["adversarial_gradient"] == 0


@pytest.mark.parametrize("lr", [1e20, 1e30])
def test_an_update_that_is_not_finite_stops_the_run(lr: float) -> None:
    federation = driver(setting(FlMr(), lr=lr), SITES)
    before = federation.server
    with pytest.raises(TrainingStopped, match=r"site anna, round 1.*not finite"):
        rounds(federation, 2)
    assert federation.server is before  # the last good round stands


def test_a_target_that_does_not_train_gets_no_update() -> None:
    federation = driver(setting(FlMrcm(alignment_weight=0.1), "clara"), SITES, sources=SITES[:2])
    report = rounds(federation, 1)[0]
    assert not report.sites["clara"].metrics
    assert report.sites["clara"].scores.psnr > 0


# ---- the ledger of a round ----------------------------------------------------------------------------------


def test_what_a_round_exchanges_is_counted() -> None:
    federation = driver(setting(FlMrcm(alignment_weight=0.1), "clara"), SITES, shift_every=1)
    weights = federation.server.weights.nbytes
    latent = 4 * 4 * TINY.channels * 2**TINY.pool_layers  # bytes of one pooled latent
    report = rounds(federation, 1)[0]
    assert report.ledger["weights"] == 3 * weights + 3 * weights  # down to everyone, up from everyone
    shown = 3 * 10 * latent  # all for the shift: of the initial network, and after the round
    assert report.ledger["latents"] == 10 * latent * (1 + 2) + 2 * shown
    assert report.ledger["scores"] == 3 * 2 * 24
    assert "raw" not in report.ledger
    assert "state" not in report.ledger
