"""Flat weights: nothing lost or changed on the way, and the mean is a mean."""

from __future__ import annotations

import copy
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from engine.types import Array
from engine.weights import CHUNK, FlatWeights, Layout, sha256, weighted_mean


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Convolutions and batch normalisation (which has float buffers and an integer one), out of the usual order."""
    torch.manual_seed(0)
    layers = [nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)]
    return nn.Sequential(*layers).to(dtype)


IMAGES = torch.rand(5, 2, 4, 4, generator=torch.Generator().manual_seed(1))


# ---- one network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_network_computes_as_before(dtype: torch.dtype) -> None:
    plain = network(dtype)
    flat = copy.deepcopy(plain)
    weights = FlatWeights(flat)
    images = IMAGES.to(dtype)
    for module in (plain, flat):
        module(images).square().sum().backward()
    torch.testing.assert_close(flat(images), plain(images), rtol=0, atol=0)
    expected = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    torch.testing.assert_close(weights.gradient, expected, rtol=0, atol=0)


def test_parameters_come_first_then_float_buffers() -> None:
    module = network()
    weights = FlatWeights(module)
    parameters = dict(module.named_parameters())
    floats = [n for n, b in module.named_buffers() if b.is_floating_point()]
    assert weights.layout.names == (*parameters, *floats)
    assert {n for n, _ in module.named_buffers()} - set(floats) == {"0.num_batches_tracked", "2.num_batches_tracked"}
    assert len(weights.parameters) == sum(p.numel() for p in parameters.values())
    assert len(weights.values) == len(weights.parameters) + 2 * 2 + 2 * 3
    assert weights.parameters.data_ptr() == weights.values.data_ptr()


def test_weights_and_gradients_are_views() -> None:
    module = network()
    weights = FlatWeights(module)
    weights.values.fill_(0.5)
    weights.gradient.fill_(0.25)
    state = module.state_dict()
    assert all(bool((state[name] == 0.5).all()) for name in weights.layout.names)
    assert all(p.grad is not None and bool((p.grad == 0.25).all()) for p in module.parameters())
    weights.gradient.zero_()
    module(IMAGES).sum().backward()  # accumulates into the flat tensor, and running means into the values
    assert float(weights.gradient.norm()) > 0
    assert float((weights.values[len(weights.parameters) :] - 0.5).norm()) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_load_and_dump_are_inverse(dtype: torch.dtype) -> None:
    module = network(dtype)
    weights = FlatWeights(module)
    before = weights.dump()
    random = np.random.default_rng(0).standard_normal(before.shape).astype(before.dtype)
    random.setflags(write=False)  # as the object store gives it
    weights.load(random)
    assert np.array_equal(weights.dump(), random)
    named = weights.layout.split(random)
    for name, tensor in module.state_dict().items():
        if name in named:
            assert np.array_equal(tensor.numpy(), named[name])
    weights.load(before)
    assert np.array_equal(weights.dump(), before)


def test_a_dump_outlives_the_next_step() -> None:
    weights = FlatWeights(network())
    dumped = weights.dump()
    kept = dumped.copy()
    weights.values.add_(1)
    assert np.array_equal(dumped, kept)


def test_a_buffer_of_another_length_is_refused() -> None:
    weights = FlatWeights(network())
    with pytest.raises(AssertionError):
        weights.load(weights.dump()[1:])


# ---- the layout -----------------------------------------------------------------------------------------

layouts = st.dictionaries(
    st.text("abc.", min_size=1, max_size=6), st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=6
).map(lambda shapes: Layout(tuple(shapes), tuple(shapes.values())))


def size(layout: Layout) -> int:
    return sum(int(np.prod(shape)) for shape in layout.shapes)


@given(layouts)
def test_split_and_join_are_inverse(layout: Layout) -> None:
    buffer = np.arange(size(layout), dtype=np.float32)
    named = layout.split(buffer)
    assert tuple(named) == layout.names
    assert tuple(array.shape for array in named.values()) == layout.shapes
    assert all(np.shares_memory(array, buffer) for array in named.values() if array.size)
    joined = layout.join(dict(reversed(named.items())))  # whatever the order of the names
    assert np.array_equal(joined, buffer)
    assert joined.dtype == buffer.dtype


@given(layouts, st.integers(-3, 3).filter(bool))
def test_a_wrong_length_is_refused(layout: Layout, off: int) -> None:
    with pytest.raises(ValueError, match="for a model of"):
        layout.split(np.zeros(max(0, size(layout) + off) if size(layout) + off >= 0 else size(layout) + 5))


def test_join_names_what_is_wrong() -> None:
    layout = Layout(("a", "b"), ((2,), (1, 3)))
    good = {"a": np.zeros(2), "b": np.zeros((1, 3))}
    with pytest.raises(ValueError, match="names differ: b"):
        layout.join({"a": good["a"]})
    with pytest.raises(ValueError, match="names differ: c"):
        layout.join(good | {"c": np.zeros(1)})
    with pytest.raises(ValueError, match=r"b has shape \(3,\) in place of \(1, 3\)"):
        layout.join(good | {"b": np.zeros(3)})


# ---- the mean -------------------------------------------------------------------------------------------


def buffers(count: int, length: int, seed: int, dtype: str = "float32") -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(length).astype(dtype) for _ in range(count)]


positive = st.floats(1e-3, 1e3)


@given(positive, st.integers(0, 100), st.sampled_from(["float32", "float64"]))
def test_one_buffer_comes_back_bit_for_bit(weight: float, seed: int, dtype: str) -> None:
    (buffer,) = buffers(1, 50, seed, dtype)
    mean = weighted_mean([buffer], [weight])
    assert mean.tobytes() == buffer.tobytes()
    assert not np.shares_memory(mean, buffer)


@settings(deadline=None)
@given(st.lists(positive, min_size=1, max_size=6), st.integers(0, 100), st.sampled_from(["float32", "float64"]))
def test_equals_numpys_average(weights: list[float], seed: int, dtype: str) -> None:
    parts = buffers(len(weights), 40, seed, dtype)
    expected = np.average(np.stack(parts).astype(np.float64), axis=0, weights=weights)
    mean = weighted_mean(parts, weights)
    assert mean.dtype == np.dtype(dtype)
    np.testing.assert_allclose(mean, expected, rtol=1e-13 if dtype == "float64" else 1e-7, atol=1e-13)


@given(st.lists(positive, min_size=2, max_size=6), st.integers(0, 100), st.randoms())
def test_order_and_scale_of_the_weights_hardly_matter(weights: list[float], seed: int, random: Random) -> None:
    parts = buffers(len(weights), 40, seed, "float64")
    order = list(range(len(weights)))
    random.shuffle(order)
    expected = weighted_mean(parts, weights)
    permuted = weighted_mean([parts[i] for i in order], [7 * weights[i] for i in order])
    np.testing.assert_allclose(permuted, expected, rtol=1e-12, atol=1e-12)


@given(st.lists(positive, min_size=1, max_size=6), st.floats(-100, 100, width=32))
def test_the_mean_of_a_constant_is_the_constant(weights: list[float], value: float) -> None:
    constant = np.full(9, value, np.float32)
    np.testing.assert_allclose(weighted_mean([constant] * len(weights), weights), constant, rtol=1e-7)


@given(st.integers(1, 5), st.floats(0.1, 10))
def test_a_site_of_weight_zero_does_not_count(seed: int, weight: float) -> None:
    first, second = buffers(2, 30, seed)
    assert weighted_mean([first, second], [weight, 0.0]).tobytes() == first.tobytes()


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_long_buffers_are_averaged_to_their_end(length: int) -> None:
    parts = buffers(3, length, 0)
    expected = np.average(np.stack(parts).astype(np.float64), axis=0, weights=[1, 2, 5])
    np.testing.assert_allclose(weighted_mean(parts, [1, 2, 5]), expected, rtol=1e-6, atol=1e-7)


def test_summed_in_float64() -> None:
    big, small = np.array([1e8], np.float32), np.array([1.0], np.float32)
    mean = weighted_mean([big, -big, small], [1, 1, 1])
    assert float(mean[0]) == pytest.approx(1 / 3, rel=1e-6)  # in float32 the small one would be lost


def test_inputs_stay_as_they_were() -> None:
    parts = buffers(2, 10, 0)
    kept = [part.copy() for part in parts]
    for part in parts:
        part.setflags(write=False)
    weighted_mean(parts, [1, 3])
    assert all(np.array_equal(a, b) for a, b in zip(parts, kept, strict=True))


def test_fingerprint() -> None:
    """Golden: `hashlib.sha256(numpy.arange(3, dtype="<f4").tobytes()).hexdigest()`."""
    buffer = np.arange(3, dtype="<f4")
    assert sha256(buffer) == "75664b4da1c08de9e8fad52303cc458b3e420edde6591e58761e138cc5e3f163"
    assert sha256(np.arange(6, dtype="<f4")[::2] / 2) == sha256(buffer)  # whatever the strides
    assert sha256(np.nextafter(buffer, np.float32(9))) != sha256(buffer)
