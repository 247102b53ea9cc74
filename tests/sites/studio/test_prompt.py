"""Keys, completion and history of the shift console, without a terminal."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from sites.anatomy import Maps
from sites.config import RunConfig
from sites.studio.branch import Branch
from sites.studio.prompt import Completing, Hand, Prompt
from sites.studio.session import Session
from sites.studio.terminal import Terminal
from tests.sites.studio.sessions import SITES, config

LEFT, RIGHT, TAB, CTRL_C, CTRL_D = "\x1b[D", "\x1b[C", "\t", "\x03", "\x04"


@pytest.fixture
def typed(tmp_path: Path, maps: Maps) -> Prompt:
    """A session of two, berta the target, and who asks for its lines."""
    terminal = Terminal(Console(file=io.StringIO(), width=80, height=24), interactive=True)
    return Prompt(Session(config(SITES), tmp_path / "session", lambda: maps, terminal), terminal)


def press(on: Prompt, keys: str) -> list[str]:
    """Type these, then Ctrl-D. The commands that were done."""
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys + CTRL_D)
        on.interact()
    return on.session.script.splitlines()


def test_arrows_turn_the_dial_in_hand(typed: Prompt) -> None:
    assert typed.hand == Hand("berta", "contrast")
    done = press(typed, RIGHT + RIGHT + LEFT)
    assert done == ["shift berta contrast 0.1", "shift berta contrast 0.2", "shift berta contrast 0.1"]
    assert typed.session.branch.site("berta").shift == "contrast=0.1"
    assert "← berta contrast 0.1 →" in typed.toolbar()


def test_brackets_choose_the_dial_and_tab_the_site(typed: Prompt) -> None:
    done = press(typed, TAB + "]]]]]" + RIGHT + "[" + RIGHT)
    assert done == ["shift anna snr 0.1", "shift anna field 0.1"]


def test_a_typed_dial_is_taken_in_hand(typed: Prompt) -> None:
    done = press(typed, "shift anna snr 0.95\n" + RIGHT + RIGHT)  # the last one is at its end: nothing
    assert done == ["shift anna snr 0.95", "shift anna snr 1"]


def test_keys_in_a_line_edit_the_line(typed: Prompt) -> None:
    assert press(typed, "run 12" + LEFT + "\x7f" + "\n") == ["run 2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sw", "switch"),
        ("switch ", "tiny"),
        ("shift an", "anna"),
        ("shift anna sn", "snr"),
        ("set anna acc", "acceleration"),
    ],
)
def test_words_are_completed(typed: Prompt, text: str, expected: str) -> None:
    found = list(Completing(typed.session).get_completions(Document(text), CompleteEvent()))
    assert [(each.text, each.start_position) for each in found] == [(expected, -len(text.split(" ")[-1]))]


def test_a_wrong_line_and_ctrl_c_do_not_end_it(typed: Prompt) -> None:
    assert press(typed, "nonsense\nlook half" + CTRL_C + "?" + "look anna\n") == ["look anna"]
    said = typed.terminal.console.file
    assert isinstance(said, io.StringIO)
    assert "there is no command 'nonsense'" in said.getvalue()
    assert "help [COMMAND]" in said.getvalue()


def test_quit_ends_it(typed: Prompt) -> None:
    assert press(typed, "quit\nlook anna\n") == []


def test_the_hand_goes_to_a_site_that_is_there(typed: Prompt, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('name = "other"\nsummary = "x"\nsite = [{name = "x", shift = "snr=0.5"}, {name = "y"}]\n')
    press(typed, f"scenario {file}\n{TAB}")
    assert typed.hand == Hand("x", "snr")  # after y, the target


def test_ctrl_c_stops_a_run_after_its_round(typed: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(branch: Branch) -> None:
        if branch.round == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(typed.terminal, "update", update)
    assert typed.terminal.carry_out(typed.session, "run 9") == "done"
    assert typed.session.script == "run 2\n"
    assert typed.terminal.carry_out(typed.session, "run 1") == "done"
    assert typed.session.branch.round == 3


def test_ctrl_c_again_stops_it_at_once(typed: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(branch: Branch) -> None:
        if branch.round == 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(typed.terminal, "update", update)
    assert typed.terminal.carry_out(typed.session, "run 9") == "failed"
    assert typed.session.script == "run 1\n"
    assert typed.terminal.carry_out(typed.session, "sites") == "done"
    assert isinstance(typed.session.branch.config, RunConfig)
