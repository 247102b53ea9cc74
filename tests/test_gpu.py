"""What only a real GPU can show: `python -m pytest -m gpu`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import run
from engine.algorithms import FlMrcm
from engine.cohort import LocalCohort
from engine.config import Setting
from engine.driver import Driver
from engine.outcomes import Roles
from sites.config import SiteConfig
from tests.engine.federations import setting

pytestmark = pytest.mark.gpu
SMALL = ["--channels", "4", "--matrix", "32", "--preset", "demo", "--rounds", "2"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_a_run_on_the_gpu_repeats_itself_bit_for_bit(precision: str, tmp_path: Path) -> None:
    hashes = []
    for name, workers in (("a", "auto"), ("b", "auto"), ("c", "0")):
        out = str(tmp_path / name)
        options = [*SMALL, "--device", "cuda", "--precision", precision, "--workers", workers, "--out", out]
        assert run.main(options) == 0
        hashes.append(json.loads((tmp_path / name / "summary.json").read_text())["weights_sha256"])
    assert len(set(hashes)) == 1


def test_cpu_and_gpu_agree_to_rounding(tmp_path: Path) -> None:
    psnr = {}
    for device in ("cpu", "cuda"):
        assert run.main([*SMALL, "--device", device, "--workers", "0", "--out", str(tmp_path / device)]) == 0
        sites = json.loads((tmp_path / device / "summary.json").read_text())["sites"]
        psnr[device] = [site["test"]["psnr"] for site in sites]
    np.testing.assert_allclose(psnr["cpu"], psnr["cuda"], atol=0.1)


def test_a_site_s_share_caps_its_memory() -> None:
    import torch

    from engine.cohort import Worker

    Worker(_on_gpu(), gpu=0.01)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(int(0.02 * torch.cuda.get_device_properties(0).total_memory), dtype=torch.uint8, device="cuda")
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_latents_and_state_come_back_to_the_cpu() -> None:
    from sites.anatomy import load_maps
    from sites.launch import BuildSite

    cohort = LocalCohort(_on_gpu())
    sites = [SiteConfig(name=n, train_patients=1, val_patients=1, test_patients=1, slices=4) for n in ("anna", "berta")]
    cohort.build({site.name: BuildSite(site, 32, 0) for site in sites}, load_maps())
    roles = Roles(everyone=("anna", "berta"), sources=("anna", "berta"), target="berta")
    driver = Driver(cohort, FlMrcm(alignment_weight=0.1), roles)
    driver.start()
    (report, snapshot), *_ = driver.run(1)
    assert snapshot is not None
    driver.start(snapshot)
    assert [r.round for r, _ in driver.run(2)] == [2]
    assert report.sites["anna"].metrics["adversarial_gradient"] > 0


def _on_gpu() -> Setting:
    from dataclasses import replace

    return replace(setting(FlMrcm(alignment_weight=0.1), "berta", optimizer="adam", lr=1e-3), device="cuda")
