"""`run.py data` from outside: what a user types, sees, and finds afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import run
from tests.sites.sources import made
from tests.test_command_line import call, command
from tests.test_imports import HEAVY, imported


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Images of four patients at two institutions."""
    for name in ("ixi", "brats"):
        for patient in ("anna", "bert", "cleo", "dora"):
            made.nifti(tmp_path / f"src/{name}/{patient}_T1.nii.gz", made.ras(made.head()))
    return tmp_path / "src"


def main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Status, output and errors."""
    capsys.readouterr()
    status = run.main(["data", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_inspect_then_prepare_then_inspect(src: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = main(capsys, "inspect", src)
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80 or str(src) in max(out.splitlines(), key=len)
    assert "2 institutions, 8 patients, 8 volumes" in out
    dst = src.parent / "dst"
    status, out, err = main(capsys, "prepare", src, dst, "--matrix", 16)
    assert (status, err) == (0, "")
    assert "8 files" in out
    assert f"run.py --data {dst}" in out
    assert json.loads((dst / "manifest.json").read_text())["complete"]
    status, out, _ = main(capsys, "prepare", src, dst, "--matrix", 16)
    assert (status, "8 there already" in out) == (0, True)
    status, out, _ = main(capsys, "inspect", dst)
    assert status == 0
    assert "synthesised" in out
    assert "16×16" in out
    assert "(train 2, val 1, test 1)" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inspect", "nowhere"], "nowhere: there is no such file"),
        (["inspect"], "PATH"),
        (["prepare", "nowhere", "dst"], "nowhere does not exist"),
        (["prepare", "src"], "DST"),
        (["prepare", "src", "dst", "--matrix", "3"], "matrix is 3"),
        (["prepare", "src", "dst", "--val", "0.7", "--test", "0.7"], "test is 0.7"),
        (["prepare", "src", "dst", "--contrast", "FLAIR"], "it has T1"),
        (["prepare", "src", "full"], "is something else"),
        (["prepare", "src", "src/dst"], "lies in"),
        (["prepare", "bad", "dst"], "junk.h5"),
        (["inspect", "bad"], "junk.h5"),
        (["look"], "'look'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    src: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(src.parent)
    (src.parent / "full").mkdir()
    (src.parent / "full/letter.txt").write_text("dear")
    (src.parent / "bad").mkdir()
    (src.parent / "bad/junk.h5").write_bytes(b"junk")
    before = sorted(src.parent.rglob("*"))
    status, out, err = main(capsys, *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert told in err
    assert sorted(src.parent.rglob("*")) == before


def test_fifty_corrupt_files_are_named_and_none_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Headers, shapes, types and lengths of whole files, damaged one way each."""
    random = np.random.default_rng(0)
    whole = [
        made.nifti(tmp_path / "ok_T1.nii", made.ras(made.head())),
        made.fastmri(tmp_path / "ok.h5", kspace=made.kspace()),
    ]
    bad = tmp_path / "bad"
    bad.mkdir()
    for index in range(40):
        path = whole[index % 2]
        content = bytearray(path.read_bytes())
        if index < 20:
            del content[int(random.integers(0, len(content) // 2)) :]
        elif index % 2 == 0:  # the header's size, dimensions and type of a NIfTI
            content[:4] = content[40:56] = bytes(random.integers(0, 256, 4, np.uint8)) * 4
        else:
            content[:200] = random.integers(0, 256, 200, np.uint8).tobytes()
        (bad / f"{index:02}{path.suffix}").write_bytes(content)
    strange = [
        np.zeros((3, 24, 20), np.complex64),
        made.kspace() * np.inf,
        made.kspace().real,
        np.zeros((2, 0, 4), np.complex64),
    ]
    strange += [made.kspace()[0, 0, 0], np.full((2, 24, 20), np.nan, np.complex64)]
    for index, array in enumerate(strange):
        made.fastmri(bad / f"5{index}.h5", kspace=array)
    shapes = [
        made.ras(made.head())[..., None].repeat(3, -1),
        made.ras(made.head()) * np.nan,
        np.zeros((20, 24, 5), np.float32),
    ]
    for index, volume in enumerate(shapes):
        made.nifti(bad / f"6{index}.nii", np.asarray(volume, np.float32))
    (bad / "70.nii.gz").write_bytes(b"")
    assert len(list(bad.iterdir())) == 50
    status, out, err = main(capsys, "inspect", bad)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    status, out, err = main(capsys, "prepare", bad, tmp_path / "dst", "--skip-bad")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert not (tmp_path / "dst").exists()
    named = [path.name for path in bad.iterdir()]
    made.fastmri(bad / "good.h5", kspace=made.kspace())
    status, out, err = main(capsys, "inspect", bad, "--all")
    assert (status, err) == (0, "")
    assert [name for name in named if name not in "".join(out.split())] == []
    assert "50 problems" in out
    status, out, err = main(capsys, "prepare", bad, tmp_path / "dst", "--skip-bad")
    assert (status, err) == (0, "")
    assert "1 file," in out
    assert "50 left out" in out


def test_help_explains_without_heavy_packages() -> None:
    for arguments, told in (
        (["data"], "prepare SRC DST"),
        (["data", "--help"], "inspect PATH"),
        (["data", "inspect", "--help"], "--quick"),
        (["data", "prepare", "--help"], "--skip-bad"),
        (["--help"], "`data prepare`"),
    ):
        packages, out = imported("run.py", *arguments)
        assert told in out
        assert packages & HEAVY == set()


def test_inspecting_needs_no_torch_and_no_ray(src: Path) -> None:
    packages, _ = imported("run.py", "data", "inspect", str(src))
    assert packages & {"torch", "ray", "matplotlib"} == set()


def many(folder: Path, count: int = 40) -> Path:
    """Enough work to be interrupted."""
    for index in range(count):
        made.fastmri(
            folder / f"site/{index:02}.h5", {"patient_id": f"p{index:02}"}, kspace=made.kspace(8, 4, 96, 96, index)
        )
    return folder


def wait_for_files(dst: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many are written."""
    deadline = time.monotonic() + 60
    while len(list(dst.rglob("*.h5"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again_it_ends_as_if_never_stopped(tmp_path: Path, how: signal.Signals) -> None:
    src, dst, whole = many(tmp_path / "src"), tmp_path / "dst", tmp_path / "whole"
    process = subprocess.Popen(
        command("data", "prepare", src, dst), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_files(dst, 3, process)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130, err
        assert "interrupted; the same command goes on" in err
        assert len(err.splitlines()) == 1
    kept = {path: path.stat().st_mtime_ns for path in dst.rglob("*.h5") if not path.name.startswith(".")}
    assert 3 <= len(kept) < 40
    done = call("data", "prepare", src, dst)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} there already" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert call("data", "prepare", src, whole).returncode == 0
    files = sorted(path.relative_to(dst) for path in dst.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert all((dst / file).read_bytes() == (whole / file).read_bytes() for file in files)


@pytest.mark.slow
def test_the_progress_bar_leaves_no_trace(src: Path) -> None:
    script = (
        f"import pty, sys; sys.exit(pty.spawn([{sys.executable!r}, 'run.py', 'data', 'inspect', {str(src)!r}]) >> 8)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "2 institutions" in done.stdout
