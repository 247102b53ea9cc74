"""The train x test picture: right numbers in the right cells, and a file that is a picture."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweeps.scores import ZERO_FILLED, PatientScore
from sweeps.tables.heatmap import draw_heat_map, write_heat_map
from sweeps.tables.train_test import train_test
from tests.sites.report.test_report import read_png
from tests.sweeps.tables.scores import synthetic


def texts(scores: list[PatientScore], panel: int) -> dict[tuple[int, float], str]:
    """By place: column, and row from the top."""
    matrix = train_test(scores)
    assert matrix is not None
    axis = draw_heat_map(matrix).axes[panel]
    return {(int(x), y): text.get_text() for text in axis.texts for x, y in [text.get_position()]}


def test_the_matrix_by_hand() -> None:
    def score(row: str, column: str, trained_at: str, patient: int, psnr: float) -> PatientScore:
        where = {"column": column, "trained_at": trained_at, "seed": 0, "patient": patient}
        return PatientScore(study="within", row=row, **where, psnr=psnr, ssim=0.5, nmse=0.1)  # type: ignore[arg-type]

    scores = [
        score("Local", "a", "a", 0, 30.0),
        score("Local", "a", "a", 1, 32.0),
        score("Cross", "a", "b", 0, 25.0),
        score("Local", "b", "b", 0, 28.0),
        score("Cross", "b", "a", 0, 29.0),
        score(ZERO_FILLED, "a", "", 0, 20.0),
        score("FL-MR", "b", "", 0, 28.004),
    ]
    matrix = train_test(scores)
    assert matrix is not None
    assert (matrix.sites, matrix.trained, matrix.methods) == (("a", "b"), ("a", "b"), ("FL-MR", ZERO_FILLED))
    np.testing.assert_array_equal(matrix.single, [[31, 29], [25, 28]])
    np.testing.assert_array_equal(matrix.joint, [[math.nan, 28.004], [20, math.nan]])
    np.testing.assert_array_equal(matrix.own, [31, 28])
    gains = [text for _, text in sorted(texts(scores, 1).items(), key=lambda item: (item[0][1], item[0][0]))]
    assert gains == ["0.00", "+1.00", "−6.00", "0.00", "", "0.00", "−11.00", ""]


@pytest.mark.parametrize("sites", [2, 4, 12, 25])
def test_the_picture_is_one(tmp_path: Path, sites: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write_heat_map(tmp_path / "figures" / "train_test.png", synthetic(sites, seeds=1, patients=1))
    assert path == tmp_path / "figures" / "train_test.png"
    assert [each.name for each in (tmp_path / "figures").iterdir()] == ["train_test.png"]
    pixels = read_png(path)
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels[..., :3].sum(axis=-1))) > 50


def test_without_local_the_gain_is_over_zero_filled() -> None:
    scores = synthetic(3, seeds=1, patients=1, study="leave-one-out")
    matrix = train_test(scores)
    assert matrix is not None
    assert np.isnan(matrix.own).all()
    panel = draw_heat_map(matrix).axes[1]
    assert panel.get_title(loc="left") + panel.get_title() == "Gain over zero-filled, dB"


def test_there_is_nothing_to_draw_without_single_sites(tmp_path: Path) -> None:
    scores = [score for score in synthetic(3, seeds=1) if not score.trained_at]
    assert write_heat_map(tmp_path / "train_test.png", scores) is None
    assert write_heat_map(tmp_path / "train_test.png", synthetic(1, seeds=1)) is None
    assert not list(tmp_path.iterdir())


def test_odd_scores_and_names_draw(tmp_path: Path) -> None:
    scores = [
        replace(score, row="$x^" if score.row == "Fused" else score.row, psnr=math.inf if score.seed else math.nan)
        if score.row in ("Fused", "FL-MR", "Local") and score.column == "hpks"
        else score
        for score in synthetic(3, seeds=2, patients=1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write_heat_map(tmp_path / "train_test.png", scores) is not None
        single = [score for score in scores if score.trained_at]
        assert write_heat_map(tmp_path / "train_test.png", single) is not None


def test_tables_import_nothing_heavy() -> None:
    from tests.test_imports import HEAVY, imported

    packages, _ = imported(
        "-c", "import sweeps.statistics, sweeps.tables.view, sweeps.tables.files, sweeps.tables.heatmap"
    )
    assert packages & HEAVY == set()
