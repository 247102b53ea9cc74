"""The figures of a run directory exist, show something, and survive odd runs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.records import report_to_json
from engine.types import RoundReport, Scores, SiteRound
from sites.report.figures import draw_figures
from sites.run_reader import read_run
from tests.shifts import mmd_of

EVERY = ["alignment.png", "curves.png", "reconstructions.png", "shift.png"]


def site_round(round: int, k: int, aligned: bool, shift: bool) -> SiteRound:
    gradients = {"adversarial_gradient": 1e-3, "reconstruction_gradient": 1e-2, "alignment_weight": 0.5}
    return SiteRound(
        metrics={"loss": 1 / round} | ({"identifier_accuracy": 0.7, **gradients} if aligned and k else {}),
        scores=Scores(psnr=20.0 + k % 5 + round, ssim=0.6, nmse=0.05),
        shift=mmd_of(0.1 / round) if shift and k and round % 2 else {},
    )


def write_run(folder: Path, count: int, rounds: int = 5, aligned: bool = True, finished: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    names = [f"hospital $_{k}^$" for k in range(count)]
    lines = [
        RoundReport(
            round=r,
            sites={name: site_round(r, k, aligned, shift=True) for k, name in enumerate(names)},
            ledger={},
            seconds={},
        )
        for r in range(1, rounds + 1)
    ]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(report_to_json(line)) + "\n" for line in lines))
    if not finished:
        return folder
    scores = {"psnr": 17.0, "ssim": 0.4, "nmse": 0.1}
    sites = [{"name": name, "zero_filled": scores, "zero_filled_validation": scores, "test": scores} for name in names]
    summary = {"algorithm": "fl-mrcm", "scenario": "cvpr21", "target": names[0], "sites": sites}
    (folder / "summary.json").write_text(json.dumps(summary))
    image = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    pictures = {"zero_filled": image * 0.5, "reconstruction": image * 0.9, "truth": image}
    save_file(
        {f"{name}/{kind}": picture for name in names for kind, picture in pictures.items()},
        folder / "previews.safetensors",
    )
    return folder


def read_png(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    from matplotlib.image import imread

    pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = imread(path)
    return pixels


@pytest.mark.parametrize("count", [4, 64])
def test_figures_are_pictures(tmp_path: Path, count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        paths = draw_figures(write_run(tmp_path, count))
    assert sorted(path.name for path in paths) == EVERY
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == EVERY
    for path in paths:
        pixels = read_png(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.02
        assert len(np.unique(pixels[..., :3].sum(axis=-1))) > 50


def test_one_site_without_alignment(tmp_path: Path) -> None:
    names = [path.name for path in draw_figures(write_run(tmp_path, 1, rounds=1, aligned=False))]
    assert names == ["curves.png", "reconstructions.png"]


def test_an_unfinished_run_has_curves(tmp_path: Path) -> None:
    run = write_run(tmp_path, 4, finished=False)
    assert read_run(run).target is None
    assert "curves.png" in [path.name for path in draw_figures(run)]


def test_drawing_again_replaces(tmp_path: Path) -> None:
    run = write_run(tmp_path, 2, rounds=2, aligned=False)
    (run / "figures").mkdir()
    (run / "figures" / "curves.png").write_bytes(b"old")
    draw_figures(run)
    assert read_png(run / "figures" / "curves.png").size > 0


def test_the_target_comes_first(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, 3))
    assert run.names[0] == run.target == "hospital $_0^$"
