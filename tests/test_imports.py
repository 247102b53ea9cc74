"""What the process that the user started does not wait for: heavy packages are imported where they work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "ray", "nilearn", "nibabel", "scipy", "sklearn", "pandas", "matplotlib", "h5py", "optuna"}
ROOT = Path(__file__).parents[1]


def imported(*arguments: str) -> tuple[set[str], str]:
    """The top-level packages that `python ARGUMENTS` imports, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}, done.stdout


def test_the_probe_sees_imports() -> None:
    packages, _ = imported("-c", "def f():\n    import h5py\nf()")
    assert "h5py" in packages


@pytest.mark.parametrize(
    "code",
    [
        "import run, sites.commands, sites.federation, engine.driver, engine.cohort, engine.checkpoint",
        "import sites.settings; sites.settings.parse_run(['--rounds', '3'])",
    ],
)
def test_imports_without_heavy_packages(code: str) -> None:
    packages, _ = imported("-c", code)
    assert "engine" in packages
    assert packages & HEAVY == set()


def test_a_driver_needs_ray_but_no_torch() -> None:
    packages, _ = imported("-c", "import engine.remote, sites.federation")
    assert packages & {"torch", "nilearn", "matplotlib"} == set()


@pytest.mark.parametrize("arguments", [["scenarios"], ["--help"]])
def test_commands_without_heavy_packages(arguments: list[str]) -> None:
    packages, output = imported("run.py", *arguments)
    assert packages & HEAVY == set()
    assert len(output.splitlines()) > 3


@pytest.mark.parametrize(
    "arguments", [["--rounds", "x"], ["reconstruct", "nowhere", "a.npy", "b.png"], ["shift", "--script", "nowhere"]]
)
def test_bad_input_is_refused_before_anything_heavy(arguments: list[str]) -> None:
    code = f"import run, sys; status = run.main({arguments}); sys.exit(status != 2)"
    packages, _ = imported("-c", code)
    assert packages & HEAVY == set()
