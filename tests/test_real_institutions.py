"""Real institutions from the command line: files that the tests generate, and real ones where they are at hand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

import run
from sites.config import SiteConfig
from sites.sources.select import select
from tests.sites.test_files import hospital, write_image

SHARED = Path(__file__).parents[2] / "shared" / "data"
SMALL = ["--channels", "2", "--pool-layers", "2", "--matrix", "16", "--batch-size", "4", "--preset", "demo"]
SMALL += ["--workers", "0", "--rounds", "2"]
SITE = """
[[site]]
name = "{name}"
center_fraction = 0.2
{more}
"""
SIMULATED = "train_patients = 2\nval_patients = 1\ntest_patients = 1\nslices = 4"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two hospitals of measured k-space and one of images."""
    for name in ("anna", "berta"):
        hospital(tmp_path / "data" / name, 4)
    for number in range(4):
        write_image(tmp_path / "data" / "clara" / f"p{number}.nii.gz", rows=30, columns=20)
    return tmp_path / "data"


def scenario(path: Path, **sites: str) -> Path:
    """A scenario file; what each site says besides its name."""
    tables = (SITE.format(name=name, more=more) for name, more in sites.items())
    path.write_text('name = "mixed"\nsummary = "real and simulated"\n' + "".join(tables))
    return path


def trained_on(folder: Path) -> tuple[str, ...]:
    """The patients of a folder that a site of its name trains on."""
    site = SiteConfig(name=folder.name, source="files", path=str(folder))
    return select(site, skip_bad=False).splits["train"]


def train(out: Path, *options: object) -> dict[str, Any]:
    """A small run's summary."""
    assert run.main([*map(str, options), *SMALL, "--out", str(out)]) == 0
    read: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return read


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 2) -> str:
    capsys.readouterr()
    assert run.main([*map(str, arguments)]) == status
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1, error
    return error


def test_sub_folders_are_a_federation(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = train(tmp_path / "out", "--data", data, "--target", "anna")
    assert [site["name"] for site in result["sites"]] == ["anna", "berta", "clara"]
    assert [len(site["test_patients"]) for site in result["sites"]] == [1, 1, 1]
    assert result["scenario"] == "data"
    (warning,) = result["warnings"]
    assert warning.startswith("clara: k-space was synthesised from images")
    printed = capsys.readouterr().out
    assert "warning: clara: k-space was synthesised" in printed
    assert "Shimron" in printed.split("test patients, zero-filled")[1]
    assert run.main(["show", str(tmp_path / "out")]) == 0
    assert "Shimron" in capsys.readouterr().out
    line = json.loads((tmp_path / "out" / "rounds.jsonl").read_text().splitlines()[0])
    assert set(line["speed"]["anna"]) == {"input_slices_per_second", "training_slices_per_second"}
    assert set(result["sites"][0]["speed"]) == set(line["speed"]["anna"])

    again = train(tmp_path / "again", "--config", tmp_path / "out" / "config.toml")
    assert again["weights_sha256"] == result["weights_sha256"]
    told = refused(capsys, "--data", data, "--memory-gb", 0, *SMALL, "--out", tmp_path / "images")
    assert f"take --memory-gb 0.01, or run.py data prepare {data / 'clara'} DST" in told

    capsys.readouterr()
    assert run.main(["reconstruct", str(tmp_path / "out"), "clara", str(tmp_path / "clara.npy")]) == 0
    scores = result["sites"][2]["test_patients"][0]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{scores['zero_filled']['psnr']:.2f}→{scores['test']['psnr']:.2f} dB" in printed
    assert "Shimron" in printed
    hospital(data / "berta", 5)
    assert "are not those that the run divided" in refused(capsys, "resume", tmp_path / "out", "--rounds", 3)


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_real_and_simulated_institutions_mix(tmp_path: Path) -> None:
    file = scenario(
        tmp_path / "mixed.toml",
        anna='source = "fastmri"\npath = "data/anna"',
        clara='source = "nifti"\npath = "data/clara"\ncoils = 1\nuse = "train"',
        only='source = "files"\npath = "data/berta"\nuse = "test"',
        zoe=SIMULATED,
    )
    result = train(tmp_path / "out", "--scenario", file, "--keep-checkpoints", "all")
    assert result["target"] == "zoe"
    assert [site["role"] for site in result["sites"]] == ["source", "source", "test", "both"]
    assert [site["train_slices"] > 0 for site in result["sites"]] == [True, True, False, True]
    scored = [site["test"]["psnr"] != "nan" for site in result["sites"]]
    assert scored == [True, False, True, True]
    assert run.main(["show", str(tmp_path / "out")]) == 0
    assert run.main(["resume", str(tmp_path / "out"), "--rounds", "3"]) == 0


def test_a_file_that_disappears_leaves_a_run_to_resume(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(data / "clara")  # images cannot be streamed
    whole = train(tmp_path / "whole", "--data", data)
    out, gone = tmp_path / "out", sorted((data / "anna").glob("*.h5"))
    opened = h5py.File

    def vanishing(path: Any, *arguments: Any) -> Any:
        if (out / "rounds.jsonl").exists() and (out / "rounds.jsonl").read_text():
            for file in gone:
                file.rename(file.with_suffix(".away")) if file.exists() else None
        return opened(path, *arguments)

    monkeypatch.setattr(h5py, "File", vanishing)
    told = refused(capsys, "--data", data, "--memory-gb", 0, *SMALL, "--out", out, status=1)
    assert "data/anna/p" in told
    assert "run.py resume" in told
    monkeypatch.undo()
    for file in gone:
        file.with_suffix(".away").rename(file)
    assert run.main(["resume", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["weights_sha256"] == whole["weights_sha256"]


def test_refusals_leave_nothing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ("--data", data, "--out", out, *SMALL)
    assert "--only-train" in refused(capsys, "--data", hospital(tmp_path / "one" / "x", 1).parent, *options[2:])
    assert "no contrast FLAIR" in refused(capsys, *options, "--contrast", "FLAIR")
    assert "fewer than a batch of 64" in refused(capsys, *options, "--batch-size", 64)
    assert "choose one of anna, berta, clara" in refused(capsys, *options, "--target", "dora")
    damaged = data / "anna" / f"{trained_on(data / 'anna')[0]}.h5"
    with h5py.File(damaged, "a") as file:
        file["kspace"][0, 0, 0] = float("nan")
    assert damaged.name in refused(capsys, *options)
    (data / "berta" / "p1.h5").write_bytes((data / "berta" / "p1.h5").read_bytes()[:900])
    assert "p1.h5" in refused(capsys, *options)
    assert not out.exists()
    result = train(out, "--data", data, "--skip-bad", "--batch-size", 1)
    assert [text for text in result["warnings"] if "skipped as bad" in text] == [
        "anna, berta: 1 file skipped as bad: 1 unreadable"
    ]
    for file in ("summary.json", "rounds.jsonl"):  # whose the files are leaves no institution
        assert not re.search(r"\bp\d", (out / file).read_text())


def test_a_table_of_real_institutions(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--channels", "2", "--pool-layers", "2", "--matrix", "16", "--batch-size", "4", "--preset", "demo"]
    (data / "anna" / "p9.h5").write_bytes(b"nothing")
    arguments = [
        "table",
        "--data",
        str(data),
        "--skip-bad",
        *options,
        "--rounds",
        "1",
        "--seeds",
        "1",
        "--studies",
        "within",
    ]
    assert run.main([*arguments, "--only-train", "berta", "--out", str(tmp_path / "table"), "--no-live"]) == 0
    text = (tmp_path / "table" / "table.md").read_text()
    assert "Warning: clara: k-space was synthesised from images" in text
    assert "berta" not in text
    assert "1 file skipped as bad: 1 unreadable" in text
    for file in ("table.md", "table.tex", "table.csv", "patients.csv"):
        assert not re.search(r"\bp\d", (tmp_path / "table" / file).read_text())
    assert "Shimron" in capsys.readouterr().out
    assert run.main(["show", str(tmp_path / "table")]) == 0


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the real files are not at hand")
def test_two_real_patients_and_two_simulated_institutions(tmp_path: Path) -> None:
    real = 'source = "files"\npath = "{}"\ncontrast = "T1"\nsplit = "slices"'
    file = scenario(
        tmp_path / "mixed.toml",
        ms=real.format(SHARED / "ms_patient"),
        stroke=real.format(SHARED / "stroke_patient"),
        a=SIMULATED,
        b=SIMULATED,
    )
    result = train(tmp_path / "out", "--scenario", file)
    assert [site["name"] for site in result["sites"]] == ["ms", "stroke", "a", "b"]
    assert sum("ms, stroke" in text for text in result["warnings"]) == 2
