"""Masks: fastMRI's, and laws that hold for every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.config import MaskKind
from sites.masks import column_mask, num_low_frequencies
from tests import mask_parity

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "fastmri_masks.h5"

# fastmri 0.3.0 from PyPI: CLASS([center_fraction], [acceleration])((1, columns, 1), seed=seed)
GOLDEN: list[tuple[MaskKind, int, int, float, Any, int, str]] = [
    ("random", 32, 4, 0.08, 5, 3, "00000000001001011100000001100010"),
    ("random", 31, 3, 0.1, (102, 105), 3, "1000000010001011101000000110100"),
    ("equispaced", 32, 4, 0.08, 5, 3, "00010001000100011101000100010001"),
    ("equispaced", 31, 3, 0.1, (102, 105), 3, "1001001001001011101001001001001"),
    ("equispaced_fraction", 32, 4, 0.08, 5, 3, "00010000010000011100100000100000"),
    ("equispaced_fraction", 31, 3, 0.1, (102, 105), 3, "1000100010010011100100010001000"),
    ("magic", 32, 4, 0.08, 5, 3, "01000100010001011100010001000100"),
    ("magic", 40, 5, 0.05, 123, 2, "1000010000100001000110010000100001000010"),
    ("magic_fraction", 32, 4, 0.08, 5, 3, "01000001000001011100010000010000"),
    ("magic_fraction", 31, 3, 0.1, (102, 105), 3, "1000100010001011100010001000100"),
]
KINDS: tuple[MaskKind, ...] = get_args(MaskKind)


@pytest.mark.parametrize(("kind", "columns", "acceleration", "fraction", "seed", "low", "expected"), GOLDEN)
def test_equals_fastmri(
    kind: MaskKind, columns: int, acceleration: int, fraction: float, seed: Any, low: int, expected: str
) -> None:
    mask = column_mask(kind, columns, acceleration, fraction, seed)
    assert "".join("1" if m else "0" for m in mask) == expected
    assert num_low_frequencies(kind, columns, acceleration, fraction) == low


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference figures are not at hand")
def test_equals_the_reference_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert mask_parity.main([str(REFERENCE)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{kind}: 4 of 4 equal" for kind in sorted(KINDS)]


@given(st.sampled_from(KINDS), st.integers(32, 400), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_laws(kind: MaskKind, columns: int, acceleration: int, seed: int) -> None:
    fraction = 0.4 / acceleration
    mask = column_mask(kind, columns, acceleration, fraction, seed)
    low = num_low_frequencies(kind, columns, acceleration, fraction)
    start = (columns - low + 1) // 2
    assert mask.shape == (columns,)
    assert mask.dtype == bool
    assert mask[start : start + low].all()
    assert np.array_equal(mask, column_mask(kind, columns, acceleration, fraction, seed))


@pytest.mark.parametrize("kind", ["random", "equispaced_fraction"])
def test_measures_the_stated_share_in_the_mean(kind: MaskKind) -> None:
    share = np.mean([column_mask(kind, 368, 4, 0.08, seed).mean() for seed in range(200)])
    assert share == pytest.approx(1 / 4, rel=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_acceleration_1_measures_everything(kind: MaskKind) -> None:
    assert column_mask(kind, 33, 1, 0.08, 0).all()


def test_a_centre_that_is_all_asked_for_stands_alone() -> None:
    """fastMRI's probability of a further column is then zero or less."""
    for fraction in (0.25, 0.3, 1.0):
        assert column_mask("random", 64, 4, fraction, 0).sum() == round(64 * fraction)


def test_an_integer_and_its_list_are_different_seeds() -> None:
    assert not np.array_equal(column_mask("random", 64, 4, 0.08, 3), column_mask("random", 64, 4, 0.08, [3]))


@pytest.mark.parametrize(
    ("kind", "acceleration", "fraction", "message"),
    [
        ("radial", 4, 0.08, "mask 'radial' is unknown"),
        ("random", 0, 0.08, "acceleration 0 is outside 1 to 64"),
        ("random", 65, 0.08, "acceleration 65 is outside 1 to 64"),
        ("random", 4, 1.5, "center_fraction 1.5 is outside 0 to 1"),
        ("equispaced_fraction", 4, 0.25, "center_fraction 0.25 measures 16 of 64"),
    ],
)
def test_refuses_the_impossible(kind: Any, acceleration: int, fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        column_mask(kind, 64, acceleration, fraction, 0)


def write_reference(path: Path, flip: bool) -> None:
    mask = column_mask("random", 64, 4, 0.08, 7)
    mask[0] ^= flip
    with h5py.File(path, "w") as file:
        case = file.create_dataset("random/0", data=mask)
        case.attrs.update({"columns": 64, "acceleration": 4, "center_fraction": 0.08, "seed": [7]})
        case.attrs["num_low_frequencies"] = 5


def test_parity_check_tells_equal_from_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_reference(tmp_path / "same.h5", flip=False)
    assert mask_parity.main([str(tmp_path / "same.h5")]) == 0
    write_reference(tmp_path / "other.h5", flip=True)
    assert mask_parity.main([str(tmp_path / "other.h5")]) == 1
    assert "random/0: 1 of 64 columns differ" in capsys.readouterr().out


def test_parity_check_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.h5").write_text("no masks")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["random/0"] = np.zeros(3)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for name in ("missing.h5", "text.h5", "foreign.h5", "empty.h5"):
        assert mask_parity.main([str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(str(tmp_path / name))
        assert len(captured.err.splitlines()) == 1
