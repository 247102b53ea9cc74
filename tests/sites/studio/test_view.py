"""A shift session's answers as they are drawn: they fit, and say what there is to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from sites.anatomy import Maps
from sites.shifts import DIALS
from sites.studio.session import Session
from sites.studio.terminal import BESIDE
from sites.studio.view import KEYS, draw
from sites.studio.words import COMMANDS
from tests.sites.studio.sessions import config, do, drawn, session

ANSWERS = (
    "help", "help set", "help run", "scenario", "sites", "look", "look anna", "shift clara contrast 0.5",
    "set anna te 30", "rounds", "measure", "measure mmd", "branches", "branch b 1", "compare b tiny", "target anna",
    "align off", "run 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, maps: Maps) -> Session:
    """Two rounds on."""
    begun = session(tmp_path_factory.mktemp("view") / "session", maps, config(matrix=64))
    do(begun, "run 2")
    return begun


@pytest.mark.parametrize("line", ANSWERS)
def test_answers_fit_a_small_and_a_large_terminal(held: Session, line: str) -> None:
    do(held, "switch tiny")
    if line.startswith("branch b"):
        line = f"branch b-{len(held.branches)} 1"
    if line.startswith("compare"):
        do(held, f"branch c-{len(held.branches)} 1", "shift anna snr 1", "run")
        line = "compare tiny"
    answer = do(held, line)
    for width, height in ((80, 24), (160, 50)):
        lines = drawn(answer, width, height - BESIDE).splitlines()
        assert len(lines) <= height - 2, "\n".join(lines)
        assert max(map(len, lines)) <= width
    assert len(KEYS) <= 80


def test_pictures_take_the_room_there_is(held: Session) -> None:
    do(held, "switch tiny")
    look = do(held, "look")
    small, large = (drawn(look, width, rows).splitlines() for width, rows in ((80, 21), (160, 47)))
    assert len(large) > len(small) + 8
    assert sum("░" in line for line in small) > 5


def test_help_is_a_page_and_the_dials_are_explained(held: Session) -> None:
    text = drawn(do(held, "help"))
    assert [line.split()[0] for line in text.splitlines()[:-1]] == list(COMMANDS)
    assert "…" not in "".join(line[26:] for line in text.splitlines())  # no summary is cut
    dials = drawn(do(held, "help shift"))
    assert all(f"  {name} " in dials for name in DIALS)
    assert "exchanged" in drawn(do(held, "help measure"))


def test_what_was_changed_is_said_beside_the_rounds(tmp_path: Path, maps: Maps) -> None:
    begun = session(tmp_path / "a", maps)
    assert "no rounds yet" in drawn(do(begun, "rounds"))
    text = drawn(do(begun, "shift anna snr 1", "run", "align off", "run", "rounds"))
    assert "from round 1: anna shift – → snr=1" in text
    assert "from round 2: alignment_weight 0.5 → 0.0" in text
    assert "◎ clara" in text


def test_the_shift_to_another_target_is_not_shown(tmp_path: Path, maps: Maps) -> None:
    begun = session(tmp_path / "a", maps)
    told = [drawn(do(begun, *lines, "branches")) for lines in (("run",), ("target anna",), ("run",))]
    assert ["–" in text for text in told] == [False, True, False]


def test_the_target_is_marked_and_branches_are_a_tree(held: Session) -> None:
    do(held, "switch tiny", "branch one", "branch two", "switch one")
    lines = drawn(do(held, "branches")).splitlines()
    assert any(line.startswith("      two") for line in lines)
    assert any(line.startswith("▸   one") for line in lines)
    assert f"◎ {held.branch.config.target} " in drawn(do(held, "sites"))


def test_colours_where_there_are(held: Session) -> None:
    from rich.console import Console

    console = Console(width=80, height=24, color_system="truecolor", force_terminal=True)
    with console.capture() as capture:
        console.print(draw(do(held, "look"), 80, 21))
    assert "\x1b[38;2" in capture.get()
    assert "▀" in capture.get()
