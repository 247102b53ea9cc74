"""What is typed in a shift session: reading it, completing it, explaining it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.studio.lines import candidates, parse, usage
from sites.studio.words import COMMANDS, Align, AnyCommand, Branches, Compare, Fork, Measure, Quit, Run, Save, Set, Turn

KNOWN = {
    "command": list(COMMANDS),
    "site": ["north", "east"],
    "dial": ["contrast", "contrast-t1", "snr"],
    "field": ["tr", "te", "mask"],
    "value of mask": ["random", "equispaced"],
    "branch": ["main", "other"],
    "on|off|weight": ["on", "off"],
    "scenario": ["contrast", "snr"],
}


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("shift west contrast 0.5", Turn("west", "contrast", 0.5)),
        ("SHI west contrast 1", Turn("west", "contrast", 1.0)),
        ("shift west contrast=0.5", Turn("west", "contrast", 0.5)),
        ("shift contrast=0.5", Turn("target", "contrast", 0.5)),
        ("shift west:contrast=0.5", Turn("west", "contrast", 0.5)),
        ("set west te=9 tr=10", Set("west", "te", "9", ("tr", "10"))),
        ("run", Run(1)),
        ("run 12  # a comment", Run(12)),
        ("q", Quit()),
        ("branch b", Fork("b", None)),
        ("branch b 0", Fork("b", 0)),
        ("branches", Branches()),
        ("mea", Measure("")),
        ("c a", Compare("a", "")),
        ("al 0.1", Align("0.1")),
        ("save 'two words.toml'", Save("two words.toml")),
        ("set west te 9 tr 10", Set("west", "te", "9", ("tr", "10"))),
    ],
)
def test_a_line_is_a_command_and_back(line: str, command: AnyCommand) -> None:
    assert parse(line) == command
    assert parse(command.line) == command


@pytest.mark.parametrize("line", ["", "   ", "# only a comment"])
def test_nothing_is_nothing(line: str) -> None:
    assert parse(line) is None


@given(st.floats(0, 1))
def test_a_strength_is_written_as_it_is(strength: float) -> None:
    assert parse(Turn("west", "snr", strength).line) == Turn("west", "snr", strength)


@given(st.text())
def test_whatever_is_typed_is_a_command_or_a_line_that_says_why_not(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("", list(COMMANDS)),
        ("s", ["scenario", "sites", "shift", "set", "switch", "save", "script"]),
        ("sh", ["shift"]),
        ("shift ", ["north", "east"]),
        ("shift n", ["north"]),
        ("shift north ", ["contrast", "contrast-t1", "snr"]),
        ("shift north s", ["snr"]),
        ("shift north snr ", []),
        ("set north ", ["tr", "te", "mask"]),
        ("set north mask ", ["random", "equispaced"]),
        ("set north mask random t", ["tr", "te"]),
        ("set north tr ", []),
        ("switch o", ["other"]),
        ("compare main ", ["main", "other"]),
        ("align o", ["on", "off"]),
        ("help me", ["measure"]),
        ("nonsense ", []),
        ("sites ", []),
        ("b ", []),  # branch or branches
    ],
)
def test_what_may_follow(text: str, choices: list[str]) -> None:
    assert candidates(text, KNOWN) == (choices if text != "help me" else [n for n in COMMANDS if n.startswith("me")])


def test_files_may_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("folder/mine.toml", "mine.toml", "mine.txt", ".hidden"):
        (tmp_path / name).touch()
    assert candidates("save ", KNOWN) == ["folder/", "mine.toml", "mine.txt"]
    assert candidates("scenario m", KNOWN) == ["mine.toml"]
    assert candidates("scenario ", KNOWN) == ["contrast", "snr", "folder/", "mine.toml"]
    assert candidates("script folder/m", KNOWN) == ["folder/mine.toml"]
    assert candidates("script nowhere/m", KNOWN) == []


def test_every_command_says_how_it_is_used() -> None:
    assert [usage(kind) for kind in COMMANDS.values()] == [
        "help [COMMAND]", "scenario [SCENARIO]", "sites", "look [SITE]", "shift SITE DIAL STRENGTH",
        "set SITE FIELD VALUE [FIELD VALUE …]", "target SITE", "align on|off|WEIGHT", "run [COUNT]", "rounds",
        "measure [MEASURE]", "branch NAME [ROUND]", "switch BRANCH", "branches", "compare BRANCH [BRANCH]", "save FILE",
        "script FILE", "quit",
    ]  # fmt: skip
