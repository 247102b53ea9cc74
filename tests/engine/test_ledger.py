"""What crossed is counted once for each boundary, in bytes, by kind."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger import Ledger, total


def test_counts_bytes_by_kind_and_by_copy() -> None:
    ledger = Ledger()
    ledger.add("weights", np.zeros(10, np.float32), 4)
    ledger.add("weights", np.zeros(3, np.float64))
    ledger.add("state", np.frombuffer(b"12345", np.uint8))
    ledger.add("scores", 24)
    ledger.add("latents", np.zeros((2, 3), np.float32)[:, :2])  # a view: what it holds, not what it looks into
    assert ledger.close_round() == {"latents": 16, "scores": 24, "state": 5, "weights": 184}


def test_a_round_begins_anew() -> None:
    ledger = Ledger()
    ledger.add("weights", 8)
    assert ledger.close_round() == {"weights": 8}
    assert ledger.close_round() == {}
    ledger.add("weights", 1)
    assert ledger.close_round() == {"weights": 1}


def test_what_nobody_received_is_not_listed() -> None:
    ledger = Ledger()
    ledger.add("state", np.zeros(0, np.uint8))
    ledger.add("latents", np.zeros(5), 0)
    assert ledger.close_round() == {}


def test_kinds_come_in_alphabetical_order() -> None:
    ledger = Ledger()
    for kind in ("weights", "latents", "scores"):
        ledger.add(kind, 1)
    assert list(ledger.close_round()) == ["latents", "scores", "weights"]


entries = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 2**40), st.integers(0, 9)), max_size=20)


@given(entries, st.integers(0, 20))
def test_the_total_of_rounds_is_that_of_one_long_round(adds: list[tuple[str, int, int]], cut: int) -> None:
    rounds, whole = Ledger(), Ledger()
    closed = []
    for index, (kind, size, copies) in enumerate(adds):
        if index == cut:
            closed.append(rounds.close_round())
        rounds.add(kind, size, copies)
        whole.add(kind, size, copies)
    closed.append(rounds.close_round())
    assert total(list(closed)) == whole.close_round()


def test_total_of_nothing() -> None:
    assert total([]) == {}
    assert total([{"b": 1}, {}, {"a": 2, "b": 3}]) == {"a": 2, "b": 4}
