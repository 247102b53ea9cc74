"""What `run.py reconstruct` leaves: HDF5, a numpy array or a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.checkpoint import atomically
from engine.records import encoded
from engine.types import Scores
from sites.reconstruct import Reconstruction
from sites.report.figures import draw_slice
from sites.sources.measured import SYNTHESISED, ZERO_PHASE

Write = Callable[[Path, Reconstruction], None]


def check_out(out: Path, overwrite: bool, file: str) -> None:
    """Raises ValueError if nothing can be written there, or something would be lost."""
    if out.suffix.lower() not in WRITERS:
        raise ValueError(f"{out}: OUT must end in {', '.join(WRITERS)}, which says what is written")
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"{out} cannot be written: {'it' if out.is_dir() else out.parent} is "
                         f"{'a' if out.is_dir() else 'no'} directory")  # fmt: skip
    if out.exists() and Path(file).exists() and out.samefile(file):
        raise ValueError(f"{out} is FILE itself; choose another OUT")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists; choose another OUT, or --overwrite")
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out} cannot be written: {out.parent} is not yours to write to")


def write(out: Path, result: Reconstruction) -> None:
    """All of it under its name, or nothing."""
    with atomically(out) as temporary:
        WRITERS[out.suffix.lower()](temporary, result)


def _write_hdf5(path: Path, result: Reconstruction) -> None:
    """In fastMRI's form: it can be FILE again."""
    import h5py

    kspace = result.volume.kspace
    with h5py.File(path, "w") as file:
        file["reconstruction"] = result.reconstruction
        file["zero_filled"] = result.zero_filled
        file["kspace"] = kspace[:, 0] if kspace.shape[1] == 1 else kspace
        file["mask"] = result.volume.shared_mask
        if result.truth is not None:
            file["truth"] = result.truth
        file.attrs["run"] = str(result.run)
        file.attrs["weights_sha256"] = result.weights_sha256
        file.attrs["algorithm"] = result.algorithm
        file.attrs["sampling"] = result.volume.sampling
        file.attrs["synthesised"] = bool({SYNTHESISED, ZERO_PHASE} & {*result.volume.notes})  # a reader says so again
        if result.scores is not None:
            scores = {image: asdict(scores) for image, scores in result.scores.items()}
            file.attrs["scores"] = json.dumps(encoded(scores), allow_nan=False)


def _write_npy(path: Path, result: Reconstruction) -> None:
    with path.open("wb") as file:
        np.save(file, result.reconstruction)


def _write_png(path: Path, result: Reconstruction) -> None:
    middle = result.middle
    truth = None if result.truth is None else result.truth[middle]
    title = f"{result.algorithm}: {result.volume.name}, slice {middle + 1} of {len(result.reconstruction)}"
    draw_slice(path, title, result.zero_filled[middle], result.reconstruction[middle], truth)


WRITERS: dict[str, Write] = {".h5": _write_hdf5, ".npy": _write_npy, ".png": _write_png}


def facts(result: Reconstruction) -> list[tuple[str, str]]:
    """What a person wants to read of it: a line each, with what it is about."""
    slices, coils, rows, columns = result.volume.kspace.shape
    counts = [f"{slices} slice{'s' * (slices > 1)}", f"{coils} coil{'s' * (coils > 1)}", f"{rows} × {columns}"]
    told = [
        ("k-space", f"{result.volume.name}: {', '.join(counts)}"),
        ("measured", f"{100 * result.volume.fraction:.1f} %: {result.volume.sampling}"),
        ("network", result.network),
        ("weights", ", ".join([f"sha256 {result.weights_sha256[:12]}", *([result.own] if result.own else [])])),
        ("scores", _score_words(result.scores)),
    ]
    return told + [("note", note) for note in result.notes]


def _score_words(scores: Mapping[str, Scores] | None) -> str:
    if scores is None:
        return "none: the k-space is not fully sampled, so the truth is unknown"
    before, after = scores["zero_filled"], scores["reconstruction"]
    psnr = f"{before.psnr:.2f}→{after.psnr:.2f} dB {after.psnr - before.psnr:+.2f}"
    others = f"SSIM {before.ssim:.3f}→{after.ssim:.3f}, NMSE {before.nmse:.3f}→{after.nmse:.3f}"
    return f"PSNR {psnr}, {others}\n(zero-filled → reconstruction)"
