"""Checkpoints: what was saved comes back, or one line says why it cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import checkpoint
from engine.outcomes import Snapshot
from engine.types import Array, ServerState


def snapshot(round: int = 3, dtype: str = "float32") -> Snapshot:
    random = np.random.default_rng(round)
    server = ServerState(
        round=round,
        weights=random.standard_normal(20).astype(dtype),
        extra={"momentum": random.standard_normal((2, 3)), "count": np.array(7)},
    )
    sites = {name: random.integers(0, 256, 9, np.uint8) for name in ("ixi", "a.b-c")}
    return Snapshot(server=server, sites=sites)


def same_arrays(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    return first.keys() == second.keys() and all(
        (first[k].dtype, first[k].shape, first[k].tobytes()) == (second[k].dtype, second[k].shape, second[k].tobytes())
        for k in first
    )


def same(first: Snapshot, second: Snapshot) -> bool:
    one, other = first.server, second.server
    weights = same_arrays({"": one.weights}, {"": other.weights})
    return one.round == other.round and weights and same_arrays(one.extra, other.extra) and same_arrays(
        first.sites, second.sites
    )  # fmt: skip


def refuses(path: Path) -> str:
    """The message of the refusal: one line that names the file and how to mend it."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "delete it to go on from the one before" in message
    return message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("round", [1, 99_999, 123_456])
def test_round_trip(tmp_path: Path, round: int, dtype: str) -> None:
    stored = snapshot(round, dtype)
    path = checkpoint.save(tmp_path / "checkpoint", stored)
    assert path.name == f"round-{round:05d}.safetensors"
    assert same(checkpoint.load(path), stored)


def test_bare_snapshot(tmp_path: Path) -> None:
    bare = Snapshot(server=ServerState(round=1, weights=np.zeros(3, np.float32)))
    assert same(checkpoint.load(checkpoint.save(tmp_path, bare)), bare)


def test_views_are_saved_as_what_they_show(tmp_path: Path) -> None:
    server = ServerState(round=1, weights=np.arange(10.0)[::2], extra={"t": np.arange(6.0).reshape(2, 3).T})
    stored = Snapshot(server=server)
    assert same(checkpoint.load(checkpoint.save(tmp_path, stored)), stored)


@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (2, [4, 5]), (3, [3, 4, 5]), ("all", [1, 2, 3, 4, 5])])
def test_the_newest_are_kept(tmp_path: Path, keep: Any, left: list[int]) -> None:
    for round in range(1, 6):
        checkpoint.save(tmp_path, snapshot(round), keep)
    assert [checkpoint.load(path).server.round for path in checkpoint.saved(tmp_path)] == left


def test_rounds_are_ordered_as_numbers(tmp_path: Path) -> None:
    for round in (99_999, 100_000, 100_001):
        checkpoint.save(tmp_path, snapshot(round))
    assert [path.stem for path in checkpoint.saved(tmp_path)] == ["round-100000", "round-100001"]


def test_only_checkpoints_are_listed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, snapshot())
    for name in (".round-00004.safetensors.tmp", "round-00009.safetensors.tmp", "round-x.safetensors", "notes.txt"):
        (tmp_path / name).write_bytes(b"half a file")
    assert checkpoint.saved(tmp_path) == [path]
    assert checkpoint.saved(tmp_path / "missing") == []


def test_a_crash_while_writing_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = checkpoint.save(tmp_path, snapshot(1))

    def crash(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, snapshot(2))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write_atomically(first, b"other")
    monkeypatch.undo()
    assert checkpoint.saved(tmp_path) == [first]
    assert same(checkpoint.load(first), snapshot(1))
    second = checkpoint.save(tmp_path, snapshot(2))
    assert same(checkpoint.load(second), snapshot(2))


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, snapshot(1))
    assert [p.name for p in tmp_path.iterdir()] == ["round-00001.safetensors"]


# ---- damage ---------------------------------------------------------------------------------------------


def test_foreign_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "round-00001.safetensors"
    for metadata in (None, {"round": "1"}, {"format": "pt"}):
        path.write_bytes(safetensors.numpy.save({"layer": np.zeros(3)}, metadata=metadata))
        assert "not one of this program" in refuses(path)
    path.write_bytes(safetensors.numpy.save({"weights": np.zeros(3)}, metadata={"round": "one", "run": ""}))
    assert "damaged" in refuses(path)


@pytest.mark.parametrize("content", [b"", b"x", b"[run]\nrounds = 3\n" * 9, b"\xff" * 64, b"\0" * 64])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "round-00001.safetensors"
    path.write_bytes(content)
    assert "cannot be read" in refuses(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    refuses(tmp_path / "round-00001.safetensors")
    refuses(tmp_path)


def test_metadata_of_another_round(tmp_path: Path) -> None:
    """The round is covered by the fingerprint too: a flipped bit must not send the run elsewhere."""
    path = checkpoint.save(tmp_path, snapshot(3))
    content = path.read_bytes()
    assert content.count(b'"round":"3"') == 1
    path.write_bytes(content.replace(b'"round":"3"', b'"round":"7"'))
    assert "damaged" in refuses(path)


@pytest.mark.parametrize(("was", "becomes"), [(b"F32", b"I32"), (b"[2,3]", b"[3,2]"), (b"site/ixi", b"site/iyi")])
def test_the_header_is_covered_too(tmp_path: Path, was: bytes, becomes: bytes) -> None:
    path = checkpoint.save(tmp_path, snapshot())
    content = path.read_bytes()
    assert content.count(was) == 1
    path.write_bytes(content.replace(was, becomes))
    refuses(path)


def attempt(path: Path) -> Snapshot | str:
    try:
        return checkpoint.load(path)
    except ValueError as error:
        return str(error)


damages = st.tuples(st.sampled_from(["flip", "cut", "insert", "zero"]), st.floats(0, 1), st.integers(1, 255))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages)
def test_any_damage_is_noticed_or_harmless(tmp_path: Path, damage: tuple[str, float, int]) -> None:
    kind, where, value = damage
    path = checkpoint.save(tmp_path / "checkpoint", snapshot())
    content = bytearray(path.read_bytes())
    at = min(int(where * len(content)), len(content) - 1)
    match kind:
        case "flip":
            content[at] ^= value
        case "cut":
            del content[at:]
        case "insert":
            content.insert(at, value)
        case _:
            content[at:] = bytes(len(content) - at)
    path.write_bytes(bytes(content))
    loaded = attempt(path)
    if isinstance(loaded, Snapshot):
        assert same(loaded, snapshot())
    else:
        assert str(path) in loaded
        assert "\n" not in loaded
