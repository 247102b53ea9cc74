"""Synthetic scores for the tests, and for looking at what they make: `python -m tests.sweeps.tables.scores 4 160`."""

from __future__ import annotations

import sys

from engine.streams import rng
from sweeps.scores import ZERO_FILLED, PatientScore, Study

METHODS = {"Fused": 0.5, "FL-MR": 0.0, "FL-MRCM": 0.15, "fed-prox:mu=0.1": -0.2, "fed-prox:mu=0.01": 0.02}


def synthetic(sites: int = 4, seeds: int = 5, patients: int = 3, study: Study = "within") -> list[PatientScore]:
    """Shift in two dimensions: a network loses 1.5 dB per unit of distance between its site and the tested one."""
    names = [f"site-{k + 1:02}" for k in range(sites)] if sites > 4 else ["fastmri", "hpks", "ixi", "brats"][:sites]
    places = rng(0, "places").normal(size=(sites, 2))
    scores: list[PatientScore] = []

    def add(row: str, column: str, trained_at: str, seed: int, patient: int, psnr: float) -> None:
        random = rng(seed, "score", f"{row} {column} {trained_at} {patient}")
        psnr = float(psnr + random.normal(0, 0.15))
        nmse = 10 ** (-(psnr - 8) / 10)
        kind = {"study": study, "row": row, "column": column, "trained_at": trained_at}
        where = {"seed": seed, "patient": patient}
        scores.append(PatientScore(**kind, **where, psnr=psnr, ssim=1 - 5 * nmse, nmse=nmse))  # type: ignore[arg-type]

    for k, column in enumerate(names):
        for seed in range(seeds):
            for patient in range(patients):
                base = 25 + 0.5 * places[k, 0] + rng(seed, "patient", f"{column} {patient}").normal(0, 0.5)
                add(ZERO_FILLED, column, "", seed, patient, base - 4)
                for other, name in enumerate(names):
                    far = float(((places[k] - places[other]) ** 2).sum() ** 0.5)
                    if name == column and study == "within":
                        add("Local", column, name, seed, patient, base - 0.1)
                    elif name != column:
                        add("Cross", column, name, seed, patient, base - 1.5 * far)
                for row, gain in METHODS.items():
                    add(row, column, "", seed, patient, base + gain)
    return scores


if __name__ == "__main__":
    from rich.console import Console

    from sweeps.statistics import summarize
    from sweeps.tables.view import table_view

    both = synthetic(int(sys.argv[1])) + synthetic(int(sys.argv[1]), study="leave-one-out")
    Console(width=int(sys.argv[2]), force_terminal=len(sys.argv) > 3).print(table_view(summarize(both)))
