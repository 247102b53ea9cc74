"""The README's Python runs as it stands (in one process, and small)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sites.config
from engine.config import ModelConfig
from engine.placement import Placement
from sites.config import RunConfig

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def small(**settings: Any) -> RunConfig:
    """RunConfig as the README calls it, with a small network and without Ray."""
    return replace(RunConfig(**settings), model=ModelConfig(channels=2), placement=Placement(workers=0), previews=False)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["use it from Python", "add an algorithm", "add a data source"])
def test_the_recipe_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sites.config, "RunConfig", small)
    exec(compile(block, "README.md", "exec"), {"__name__": __name__})
    printed = [line for line in capsys.readouterr().out.splitlines() if re.match(r"[12] ", line)]
    assert len(printed) == 2
    assert (next((tmp_path / "runs").iterdir()) / "summary.json").exists()


def test_the_map_names_every_module() -> None:
    root = Path(__file__).parent.parent
    modules = [path.name for folder in ("engine", "sites", "sweeps") for path in (root / folder).rglob("*.py")]
    tree = README[README.index("## Map") :]
    assert not [name for name in modules if name != "__init__.py" and name not in tree]
