"""The parity checks themselves: they pass where the reference is at hand, and fail when it differs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.reference_parity import main

REFERENCE = Path(__file__).parents[2] / "shared/reference/fl_mrcm_reference.h5"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="the published figures are not at hand")


def _nan_weights(file: Any) -> None:
    file["fl_mr_float64/round_2/unet/up_conv.0.layers.0.weight"][...] = np.nan


def _other_loss(file: Any) -> None:
    file["fl_mr_float64"].attrs["TrainLoss/L1/s0/round_1"] *= 1 + 1e-6


def _no_losses(file: Any) -> None:
    for key in [*file["fl_mr_float64"].attrs]:
        del file["fl_mr_float64"].attrs[key]


@needs_reference
@pytest.mark.slow
@pytest.mark.parametrize("change", [None, _nan_weights, _other_loss, _no_losses])
def test_a_changed_reference_is_noticed(change: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "reference.h5"
    shutil.copyfile(REFERENCE, copy)
    if change is not None:
        with h5py.File(copy, "r+") as file:
            change(file)
    assert main([str(copy)]) == (1 if change else 0)
    assert ("DIFFERS" in capsys.readouterr().out) == bool(change)


def test_another_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.h5").write_text("hello")
    h5py.File(tmp_path / "empty.h5", "w").close()
    for arguments in ([], [str(tmp_path / "none.h5")], [str(tmp_path / "text.h5")], [str(tmp_path / "empty.h5")]):
        assert main(arguments) == 2
        assert capsys.readouterr().err
