"""The U-Net and the domain identifier: published names and sizes, and their losses in closed form."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config import ModelConfig
from engine.models.base import Model
from engine.models.identifier import Identifier, IdentifierForm, accuracy, gradient_penalty, identification_loss
from engine.models.unet import pool_latents
from sites.config import RunConfig

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "fl_mrcm_reference.h5"

# `{name: d.shape for name, d in h5py.File("fl_mrcm_reference.h5")["initial/unet"].items()}`: 4 channels, 4 poolings
NAMES: dict[str, tuple[int, ...]] = {
    "down_sample_layers.0.layers.0.weight": (4, 1, 3, 3),
    "down_sample_layers.0.layers.4.weight": (4, 4, 3, 3),
    "down_sample_layers.1.layers.0.weight": (8, 4, 3, 3),
    "down_sample_layers.1.layers.4.weight": (8, 8, 3, 3),
    "down_sample_layers.2.layers.0.weight": (16, 8, 3, 3),
    "down_sample_layers.2.layers.4.weight": (16, 16, 3, 3),
    "down_sample_layers.3.layers.0.weight": (32, 16, 3, 3),
    "down_sample_layers.3.layers.4.weight": (32, 32, 3, 3),
    "conv.layers.0.weight": (64, 32, 3, 3),
    "conv.layers.4.weight": (64, 64, 3, 3),
    "up_transpose_conv.0.layers.0.weight": (64, 32, 2, 2),
    "up_transpose_conv.1.layers.0.weight": (32, 16, 2, 2),
    "up_transpose_conv.2.layers.0.weight": (16, 8, 2, 2),
    "up_transpose_conv.3.layers.0.weight": (8, 4, 2, 2),
    "up_conv.0.layers.0.weight": (32, 64, 3, 3),
    "up_conv.0.layers.4.weight": (32, 32, 3, 3),
    "up_conv.1.layers.0.weight": (16, 32, 3, 3),
    "up_conv.1.layers.4.weight": (16, 16, 3, 3),
    "up_conv.2.layers.0.weight": (8, 16, 3, 3),
    "up_conv.2.layers.4.weight": (8, 8, 3, 3),
    "up_conv.3.0.layers.0.weight": (4, 8, 3, 3),
    "up_conv.3.0.layers.4.weight": (4, 4, 3, 3),
    "up_conv.3.1.weight": (1, 4, 1, 1),
    "up_conv.3.1.bias": (1,),
}


def unet(channels: int = 4, pool_layers: int = 2, residual: bool = False, zero_last: bool = False) -> Model:
    torch.manual_seed(0)
    config = ModelConfig(channels=channels, pool_layers=pool_layers, residual=residual, zero_last=zero_last)
    return config.build().double()


def images(height: int, width: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(count, 1, height, width, dtype=torch.float64, generator=generator)


# ---- U-Net ----------------------------------------------------------------------------------------------


def test_names_and_shapes_are_the_published_ones() -> None:
    module = unet(channels=4, pool_layers=4)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == NAMES
    assert list(module.buffers()) == []


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference figures are not at hand")
def test_the_golden_names_are_the_files() -> None:
    with h5py.File(REFERENCE) as file:
        stored = {name: tuple(d.shape) for name, d in file["initial/unet"].items()}
        assert {k: stored[k] for k in NAMES} == stored == NAMES
        identifier = {name: tuple(d.shape) for name, d in file["initial/identifier_0"].items()}
    assert {name: tuple(p.shape) for name, p in Identifier(4 * 64).named_parameters()} == identifier


def test_size_of_the_papers_network() -> None:
    """fastMRI's 32 channels and 4 poolings: 7.76 million, arXiv 1811.08839, table 7."""
    model = RunConfig.preset("paper").model
    assert (model.channels, model.pool_layers) == (32, 4)
    widths = [32, 64, 128, 256, 512]
    down = sum(9 * (i * o + o * o) for i, o in zip([1, *widths[:-1]], widths, strict=True))
    up = sum(4 * 2 * w * w + 9 * (2 * w * w + w * w) for w in widths[:-1])
    assert sum(p.numel() for p in model.build().parameters()) == down + up + 32 + 1 == 7_756_097


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 16), (17, 19), (18, 23), (9, 8)])
def test_any_size_comes_back(height: int, width: int, residual: bool) -> None:
    module = unet(residual=residual)
    x = images(height, width)
    z, skips = module.encode(x)
    assert z.shape == (2, module.latent_channels, height // 4, width // 4) == (2, 16, height // 4, width // 4)
    y = module.decode(z, skips)
    assert y.shape == x.shape
    assert bool(y.isfinite().all())


def test_plain_forward_pass_written_out() -> None:
    """A network of one pooling, with torch's own functions in the order of Zbontar et al., section 5.1.2."""
    module = unet(channels=2, pool_layers=1)
    w = dict(module.named_parameters())
    x = images(8, 8)

    def rectified(y: Tensor) -> Tensor:
        return F.leaky_relu(F.instance_norm(y), 0.2)

    def block(y: Tensor, name: str) -> Tensor:
        y = rectified(F.conv2d(y, w[f"{name}.layers.0.weight"], padding=1))
        return rectified(F.conv2d(y, w[f"{name}.layers.4.weight"], padding=1))

    skip = block(x, "down_sample_layers.0")
    bottleneck = block(F.avg_pool2d(skip, 2), "conv")
    up = rectified(F.conv_transpose2d(bottleneck, w["up_transpose_conv.0.layers.0.weight"], stride=2))
    y = block(torch.cat([up, skip], 1), "up_conv.0.0")
    expected = F.conv2d(y, w["up_conv.0.1.weight"], w["up_conv.0.1.bias"])
    z, skips = module.encode(x)
    torch.testing.assert_close(z, bottleneck)
    torch.testing.assert_close(module.decode(z, skips), expected)
    residual = unet(channels=2, pool_layers=1, residual=True)
    torch.testing.assert_close(residual.decode(*residual.encode(x)), x + expected)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 22)])
def test_a_residual_network_with_a_zero_last_layer_starts_from_its_input(height: int, width: int) -> None:
    module = unet(residual=True, zero_last=True)
    x = images(height, width)
    assert torch.equal(module.decode(*module.encode(x)), x)
    plain = unet(zero_last=True)
    assert torch.equal(plain.decode(*plain.encode(x)), torch.zeros_like(x))


def test_slices_do_not_mix_in_a_batch() -> None:
    module = unet()
    x = images(16, 16, 3)
    together = module.decode(*module.encode(x))
    alone = torch.cat([module.decode(*module.encode(x[i : i + 1])) for i in range(3)])
    torch.testing.assert_close(together, alone)


def test_encoder_weights_are_those_the_bottleneck_depends_on() -> None:
    module = unet()
    module.encode(images(16, 16))[0].square().sum().backward()
    reached = {name for name, p in module.named_parameters() if p.grad is not None}
    named = {id(p): name for name, p in module.named_parameters()}
    assert {named[id(p)] for p in module.encoder_weights()} == reached
    assert all(name.startswith(("down_sample_layers.", "conv.")) for name in reached)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 6), (5, 3), (16, 16)])
def test_pooled_latents(height: int, width: int) -> None:
    z = torch.randn(3, 5, height, width, dtype=torch.float64)
    pooled = pool_latents(z)
    assert pooled.shape == (3, 20)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    torch.testing.assert_close(pooled[:, 0], z[:, 0, :rows, :columns].mean((1, 2)))
    torch.testing.assert_close(pooled[:, 19], z[:, 4, height // 2 :, width // 2 :].mean((1, 2)))


@pytest.mark.parametrize("bad", [{"channels": 0}, {"pool_layers": 0}])
def test_impossible_networks_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="take at least 1"):
        ModelConfig(channels=bad.get("channels", 8), pool_layers=bad.get("pool_layers", 4))


# ---- the domain identifier ------------------------------------------------------------------------------


def entropy(logit: float, label: float) -> float:
    """Binary cross-entropy of one logit: -label log p - (1 - label) log(1 - p), p = 1 / (1 + exp(-logit))."""
    p = 1 / (1 + math.exp(-logit))
    return -label * math.log(p) - (1 - label) * math.log(1 - p)


SOURCE, TARGET = [[0.3, 1.2], [-0.7, 0.1]], [[0.5, -0.4], [1.5, 2.0], [0.2, 0.0]]


def mean_entropy(rows: list[list[float]], label: list[float]) -> float:
    terms = [entropy(logit, wanted) for row in rows for logit, wanted in zip(row, label, strict=True)]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("swapped", [False, True])
def test_loss_of_two_logits(swapped: bool) -> None:
    """Guo 2021, eq. 4 and, swapped, eq. 5: source [0, 1], target [1, 0]."""
    of_source, of_target = ([1.0, 0.0], [0.0, 1.0]) if swapped else ([0.0, 1.0], [1.0, 0.0])
    expected = (mean_entropy(SOURCE, of_source) + mean_entropy(TARGET, of_target)) / 2
    found = identification_loss(torch.tensor(SOURCE).double(), torch.tensor(TARGET).double(), swapped=swapped)
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("swapped", [False, True])
def test_loss_of_one_logit(swapped: bool) -> None:
    source, target = [[0.3], [-0.7]], [[0.5], [1.5], [0.2]]
    expected = (mean_entropy(source, [float(not swapped)]) + mean_entropy(target, [float(swapped)])) / 2
    found = identification_loss(
        torch.tensor(source, dtype=torch.float64), torch.tensor(target, dtype=torch.float64), swapped=swapped
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_undecided_logits_cost_log_2() -> None:
    for width in (1, 2):
        zeros = torch.zeros(4, width, dtype=torch.float64)
        assert float(identification_loss(zeros, zeros)) == pytest.approx(math.log(2))
        assert float(identification_loss(zeros, zeros, swapped=True)) == pytest.approx(math.log(2))


def test_swapping_the_loss_is_swapping_the_sites() -> None:
    source, target = torch.randn(3, 2), torch.randn(5, 2)
    torch.testing.assert_close(identification_loss(source, target, swapped=True), identification_loss(target, source))


def test_accuracy_is_balanced() -> None:
    assert float(accuracy(torch.tensor(SOURCE), torch.tensor(TARGET))) == pytest.approx((2 / 2 + 2 / 3) / 2)
    assert float(accuracy(torch.tensor([[2.0]]), torch.tensor([[1.0], [-1.0], [-2.0], [3.0]]))) == 0.75
    everything_is_source = torch.tensor([[0.0, 1.0]])
    assert float(accuracy(everything_is_source, everything_is_source.expand(7, 2))) == 0.5
    assert float(accuracy(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))) == 1.0


@pytest.mark.parametrize(("form", "width"), [("two_logits", 2), ("one_logit", 1)])
def test_identifier_forward_pass(form: IdentifierForm, width: int) -> None:
    torch.manual_seed(0)
    identifier = Identifier(12, hidden=5, form=form).double()
    latents = torch.randn(6, 12, dtype=torch.float64)
    hidden = latents @ identifier.fc1.weight.T + identifier.fc1.bias
    hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    logits = hidden @ identifier.fc2.weight.T + identifier.fc2.bias
    if form == "two_logits":  # the published form rectifies the logits too
        logits = torch.where(logits > 0, logits, 0.2 * logits)
    assert logits.shape == (6, width)
    torch.testing.assert_close(identifier(latents), logits)


@pytest.mark.parametrize("form", ["two_logits", "one_logit"])
def test_an_identifier_learns_to_tell_and_an_encoder_to_fool_it(form: IdentifierForm) -> None:
    torch.manual_seed(0)
    identifier = Identifier(4, hidden=16, form=form)
    source, target = torch.randn(64, 4) + 1, torch.randn(64, 4) - 1
    for _ in range(60):
        loss = identification_loss(identifier(source), identifier(target))
        weights = list(identifier.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.data -= 0.5 * gradient
    assert float(accuracy(identifier(source), identifier(target))) > 0.95
    moved = source.clone().requires_grad_()
    for _ in range(40):
        loss = identification_loss(identifier(moved), identifier(target), swapped=True)
        moved.data -= 50 * torch.autograd.grad(loss, moved)[0]
    assert float(accuracy(identifier(moved), identifier(target))) < 0.6


# ---- what may stabilise the identifier ----------------------------------------------------------------------


@pytest.mark.parametrize("form", ["two_logits", "one_logit"])
@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothed_labels_are_met_by_a_finite_logit(form: IdentifierForm, smoothing: float) -> None:
    """Binary cross-entropy against 1 - s / 2 is least at the logit log((1 - s / 2) / (s / 2))."""
    sure = math.log((1 - smoothing / 2) / (smoothing / 2))
    says_source = [[-sure, sure]] if form == "two_logits" else [[sure]]
    source = torch.tensor(says_source, dtype=torch.float64, requires_grad=True)
    target = (-source).detach().requires_grad_()
    loss = identification_loss(source, target, smoothing=smoothing)
    gradients = torch.autograd.grad(loss, [source, target])
    assert all(float(g.abs().max()) < 1e-12 for g in gradients)
    plain = identification_loss(source, target)
    assert identification_loss(source, target, smoothing=0).item() == plain.item()


def test_gradient_penalty_of_a_linear_identifier_is_half_its_squared_weight() -> None:
    linear = torch.nn.Linear(6, 1).double()
    batches = [torch.randn(5, 6, dtype=torch.float64) for _ in range(2)]
    penalty = gradient_penalty(linear, *batches)
    assert penalty.item() == pytest.approx(linear.weight.square().sum().item() / 2)
    two = torch.nn.Linear(6, 2).double()
    difference = (two.weight[1] - two.weight[0]).square().sum() / 2
    assert gradient_penalty(two, *batches).item() == pytest.approx(difference.item())
    (gradient,) = torch.autograd.grad(penalty, [linear.weight])
    torch.testing.assert_close(gradient, linear.weight.detach())
