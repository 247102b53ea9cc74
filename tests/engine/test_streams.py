"""Random streams: golden numbers, so that no run ever changes unnoticed, and independence."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.streams import rng, stable_hash, torch_seed

# `int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")`, Python 3.11
HASHES = {"": 13020603013274838756, "masks": 17854064204615774843, "fastmri": 5478444714527129812}


@pytest.mark.parametrize(("text", "expected"), HASHES.items())
def test_golden_hashes(text: str, expected: int) -> None:
    assert stable_hash(text) == expected


def test_golden_draws() -> None:
    """`numpy.random.default_rng([seed, hash of stream, hash of name, *counters])`, numpy 2.3, PCG64."""
    assert rng(0, "masks", "fastmri", 0, 0).integers(2**32, size=3).tolist() == [225556947, 831573524, 3966046672]
    assert rng(7, "order", "hpks", 2, 1).permutation(6).tolist() == [3, 4, 0, 2, 1, 5]
    assert torch_seed(0, "model") == 5903726773787353210
    assert torch_seed(3, "companions", "ixi") == 5807641722549748134


def test_the_same_in_every_process() -> None:
    code = "from engine.streams import torch_seed; print(torch_seed(5, 'order', 'a site', 3))"
    seeds = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": salt}
        ).stdout
        for salt in ("1", "2")
    }
    assert seeds == {f"{torch_seed(5, 'order', 'a site', 3)}\n"}


arguments = st.tuples(
    st.integers(0, 2**32),
    st.sampled_from(["order", "masks", "model"]),
    st.text(max_size=8),
    st.lists(st.integers(0, 1000), max_size=3).map(tuple),
)


@given(arguments, arguments)
def test_other_arguments_give_another_stream(
    first: tuple[int, str, str, tuple[int, ...]], second: tuple[int, str, str, tuple[int, ...]]
) -> None:
    draws = [rng(seed, stream, name, *counters).integers(2**63) for seed, stream, name, counters in (first, second)]
    assert (draws[0] == draws[1]) == (first == second)


def test_neighbouring_streams_are_uncorrelated() -> None:
    draws = [
        rng(seed, stream, name, round).standard_normal(2000)
        for seed in (0, 1)
        for stream in ("order", "masks")
        for name in ("site-01", "site-02")
        for round in (0, 1)
    ]
    correlations = np.asarray(np.corrcoef(draws))
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 0.1  # 4.5 deviations


def test_name_and_stream_are_not_interchangeable() -> None:
    assert torch_seed(0, "a", "b") != torch_seed(0, "b", "a")
    assert torch_seed(0, "ab", "") != torch_seed(0, "a", "b")


def test_torch_accepts_the_seeds() -> None:
    assert all(0 <= torch_seed(seed, "model") < 2**63 for seed in range(50))
