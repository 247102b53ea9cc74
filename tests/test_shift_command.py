"""`run.py shift` from outside: a script that uses every command, lines from a pipe, and a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import run
from sites.anatomy import Maps
from sites.studio import command as studio_command
from sites.studio.words import COMMANDS
from tests.sites.studio.test_session import EVERYTHING
from tests.test_command_line import ROOT, SITE, SMALL, TINY, command


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A scenario file of three small sites."""
    file = tmp_path / "tiny.toml"
    sites = (SITE.format(name=name, tr=tr) for name, tr in (("anna", 400), ("berta", 700), ("clara", 1500)))
    file.write_text(TINY + "".join(sites))
    return file


def shift(tiny: Path, out: Path, *more: object) -> list[str]:
    """Arguments of a small session."""
    return ["shift", "--scenario", str(tiny), "--out", str(out), *SMALL, *map(str, more)]


def told(text: str) -> str:
    """What was printed, without seconds and directories."""
    return re.sub(r"\S*/(first|second)\S*", "DIR", re.sub(r"\d+\.\d s\b", "TIME", text))


def test_a_script_of_every_command_gives_the_same_numbers_twice(
    tiny: Path, tmp_path: Path, maps: Maps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studio_command, "load_maps_apart", lambda: maps)  # at once
    script = tmp_path / "script.txt"
    files = f"save {tmp_path}/kept.toml\nscenario {tmp_path}/kept.toml\nrun\nscript {tmp_path}/kept.txt\n"
    script.write_text(f"# all of it\n\n{EVERYTHING}{files}quit\nnever done\n")
    assert {line.split()[0] for line in script.read_text().splitlines()[2:-1]} == COMMANDS.keys()
    printed = []
    for name in ("first", "second"):
        assert run.main(shift(tiny, tmp_path / name, "--script", script)) == 0
        printed.append(told(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert "\x1b" not in printed[0]
    assert "> run 2\nround 1, loss " in printed[0]
    assert "never" not in printed[0]
    again = ["--config", str(tmp_path / "first/config.toml"), "--script", str(tmp_path / "first/script.txt")]
    assert run.main(["shift", *again, "--out", str(tmp_path / "second-of-its-own"), "--preset", "demo"]) == 0
    repeated = told(capsys.readouterr().out)
    assert re.findall("weights .*", repeated) == re.findall("weights .*", printed[0])


def test_wrong_lines_are_told_and_the_rest_is_done(
    tiny: Path, tmp_path: Path, maps: Maps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studio_command, "load_maps_apart", lambda: maps)
    script = tmp_path / "script.txt"
    script.write_text("run\n\nnonsense\nshift nobody snr 1\nrun\n")
    assert run.main(shift(tiny, tmp_path / "first", "--script", script)) == 2
    said = capsys.readouterr()
    assert "line 3: there is no command 'nonsense'" in said.out
    assert "line 4: there is no site 'nobody'" in said.out
    assert said.err == "run.py: 2 commands failed: lines 3, 4\n"
    assert (tmp_path / "first/script.txt").read_text() == "run 1\nrun 1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--script", "nowhere.txt"], "--script nowhere.txt: No such file"),
        (["--rounds", "5"], "--rounds has no meaning in run.py shift: type run 5"),
        (["--workers=0"], "--workers has no meaning"),
        (["--scenario", "nowhere"], "scenario 'nowhere' is unknown"),
        (["--target", "nobody"], "target 'nobody' is not a site"),
        (["--lr", "-1"], "lr is -1.0; take a positive"),
        (["--staying"], "--staying"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run.main(["shift", "--out", str(tmp_path / "a"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_directory_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "script.txt").write_text("run\n")
    assert run.main(["shift", "--out", str(tmp_path)]) == 2
    assert "holds something already (script.txt); choose another --out" in capsys.readouterr().err


def test_a_session_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = tmp_path / "session"
    session.mkdir()
    (session / "config.toml").write_text("")
    (session / "script.txt").write_text("sites\n")
    for word in ("show", "resume"):
        assert run.main([word, str(session)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "holds a session" in line
        assert f"--script {session / 'script.txt'} --stay" in line
    assert sorted(file.name for file in session.iterdir()) == ["config.toml", "script.txt"]


@pytest.mark.slow
def test_lines_come_from_a_pipe(tiny: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(*shift(tiny, tmp_path / "first")), input="sites\nnonsense\nrun\n", capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 2
    assert "line 2: there is no command" in done.stdout
    assert "tiny is at round 1" in done.stdout
    assert done.stderr == "run.py: 1 command failed: line 2\n"


class Screen:
    """A terminal that a session runs in."""

    def __init__(self, arguments: list[str]) -> None:
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            environment = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "COLUMNS": "80"}
            os.execve(sys.executable, [sys.executable, str(ROOT / "run.py"), *arguments], environment)
        self._seen = ""

    def send(self, keys: str) -> None:
        """As if pressed."""
        os.write(self._terminal, keys.encode())

    def expect(self, words: str, seconds: float = 60) -> None:
        """Wait for words that were not seen before."""
        until = time.monotonic() + seconds
        while words not in self._seen:
            assert time.monotonic() < until, f"{words!r} did not come after {self._seen[-2000:]!r}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                text = os.read(self._terminal, 65536).decode(errors="replace")
                self._seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
        self._seen = self._seen.partition(words)[2]

    def end(self, seconds: float = 60) -> int:
        """The exit status."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if select.select([self._terminal], [], [], 0.2)[0]:
                try:
                    self._seen += os.read(self._terminal, 65536).decode(errors="replace")
                except OSError:  # Linux says so once the terminal is closed, which is before the process is gone
                    time.sleep(0.05)
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.process, signal.SIGKILL)
        raise AssertionError(f"it did not end: {self._seen[-2000:]!r}")


@pytest.mark.slow
def test_a_session_at_a_terminal(tiny: Path, tmp_path: Path) -> None:
    screen = Screen(shift(tiny, tmp_path / "first"))
    screen.expect("Type sites to see them")
    screen.expect("tiny:0>")
    screen.send("\x1b[C")  # right
    screen.expect("shift clara contrast 0.1")
    screen.expect("shift of the others to clara")
    screen.expect("tiny:0>")
    screen.send("swi\t")
    screen.expect("tch")
    screen.send(" ti\t")
    screen.expect("ny")
    screen.send("\r")
    screen.expect("on tiny, before")
    screen.expect("tiny:0>")
    screen.send("\x1b[A\r")  # up
    screen.expect("on tiny, before")
    screen.send("run 500\r")
    screen.expect("round 1, loss")
    screen.send("\x03")
    screen.expect("stopped; 500 were asked for")
    screen.send("nonsense\r")
    screen.expect("there is no command 'nonsense'")
    screen.expect(">")
    screen.send("\x04")
    assert screen.end() == 0
    done = (tmp_path / "first/script.txt").read_text().splitlines()
    assert done[:3] == ["shift clara contrast 0.1", "switch tiny", "switch tiny"]
    assert re.fullmatch(r"run \d+", done[3])
