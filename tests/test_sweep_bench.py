"""The sweep's bench compares like with like: its plain loop is the engine's training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from engine.algorithms import FlMrcm
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from sites.config import RunConfig, SiteConfig
from sites.federation import federate
from sites.site import Site
from tests.sweep_bench import Simulated, main, plain_trial, work_of
from tests.sweeps.tables.test_table_command import SCENARIO, SITE
from tests.test_command_line import SMALL

COUNTS = {"train_patients": 2, "val_patients": 1, "test_patients": 1, "slices": 4, "center_fraction": 0.2}


def blurred(name: str, seed: int) -> Simulated:
    """Smooth images and noise, as k-space complex64 [4, 1, 16, 16] a patient."""
    random = np.random.default_rng(seed)
    frequencies = np.hypot(*np.meshgrid(np.arange(-8, 8), np.arange(-8, 8)))
    shape = (4, 1, 16, 16)
    volumes = [random.normal(size=shape) + 1j * random.normal(size=shape) for _ in range(4)]
    return Simulated({f"{name}-{i}": (v / (1 + frequencies**2)).astype(np.complex64) for i, v in enumerate(volumes)})


def test_the_plain_loop_is_the_engines_training(tmp_path: Path) -> None:
    names = ("anna", "berta", "carl")
    sources = {name: blurred(name, seed) for seed, name in enumerate(names)}
    config = RunConfig(
        institutions=tuple(SiteConfig(name=name, source="Simulated", **COUNTS) for name in names),  # type: ignore[arg-type]
        target="berta", rounds=3, matrix=16, shift_every=0, out=str(tmp_path / "trials" / "0"),
        model=ModelConfig(channels=2, pool_layers=2), train=TrainConfig(lr=3e-3, batch_size=4),
        placement=Placement(workers=0, device="cpu"), algorithm=FlMrcm(alignment_weight=20, identifier_lr=2e-3),
    )  # fmt: skip
    reports = list(federate(config, sources=sources, figures=False))
    sites = {site.name: Site(site, sources[site.name], config.seed) for site in config.institutions}
    work: Counter[str] = Counter()
    values = {"alignment_weight": 20, "identifier_lr": 2e-3, "lr": 3e-3}
    psnr, _ = plain_trial(sites, config, values, work)
    assert psnr == pytest.approx(reports[-1].sites["berta"].scores.psnr, abs=1e-4)
    assert psnr != pytest.approx(reports[0].sites["berta"].scores.psnr, abs=1e-2)  # it has been a way
    unlike, _ = plain_trial(sites, config, {**values, "alignment_weight": 0.0}, Counter())
    assert psnr != pytest.approx(unlike, abs=1e-3)
    tested = Counter({"slices scored": 3 * 1 * 4})  # the loop's, by its caller
    assert work + tested == work_of(tmp_path)


@pytest.mark.slow
def test_the_bench_runs_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pair.toml"
    file.write_text(SCENARIO + "".join(SITE.format(name=name, tr=tr) for name, tr in (("anna", 400), ("berta", 900))))
    small = ["--pairs", "1", "--trials", "3", "--rounds", "2", "--patience", "0"]
    assert main([*small, "--", "--scenario", str(file), *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "each did: 24 optimiser steps, 12 steps of identifiers" in printed
    assert "pair 1" in printed
