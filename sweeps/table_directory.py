"""The directory of a table: its settings, the run directories of its federations, and the table in four formats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from engine.checkpoint import write_atomically
from sites.config import difference, first_difference, flat_fields
from sites.run_directory import locked, settings_toml, stored_config
from sites.run_reader import read_json
from sweeps.heatmap import write_heat_map
from sweeps.scores import PatientScore
from sweeps.statistics import summarize
from sweeps.table import GROWING, Federation, Plan, TableConfig, read_scores
from sweeps.table_files import write_files

SETTINGS = "table.toml"


def is_table(path: Path) -> bool:
    """Whether a directory holds a table."""
    return (path / SETTINGS).exists()


@contextlib.contextmanager
def open_table(plan: Plan) -> Iterator[None]:
    """Hold the table's directory, new or of the same table, as its one writer; its settings are written.

    Raises ValueError if it is in use, or holds something else or another table.
    """
    with locked(plan.out):
        try:
            _refuse_another(plan)
        except ValueError:
            if not is_table(plan.out):
                (plan.out / ".lock").unlink()  # it is somebody else's
            raise
        device = plan.federations[0].config.placement.device
        text = settings_toml(flat_fields(plan.config), plan.config.institutions, device)
        write_atomically(plan.out / SETTINGS, text.encode())
        yield


def _refuse_another(plan: Plan) -> None:
    ours = (".lock", f".{SETTINGS}.tmp")  # the second if the first session was killed while it began
    held = [entry.name for entry in plan.out.iterdir() if entry.name not in ours]
    if held and not is_table(plan.out):
        raise ValueError(f"{plan.out} holds something else ({held[0]}); choose another --out")
    if held:
        stored = stored_table(plan.out)
        differs = first_difference(flat_fields(stored), flat_fields(plan.config), GROWING)
        if stored.institutions != plan.config.institutions:
            differs = differs or "the institutions"
        if differs:
            raise ValueError(f"{plan.out} holds another table: {differs}; choose another --out")


def stored_table(path: Path) -> TableConfig:
    """The settings of a table's directory, which is its `out`. Raises ValueError if it holds none that can be read."""
    from sweeps.commands import read_table

    if not is_table(path):
        raise ValueError(f"{path} holds no table (there is no {SETTINGS}); name a table's directory")
    return replace(read_table(path / SETTINGS), out=str(path))


def finished(federation: Federation) -> list[PatientScore] | None:
    """What a stored federation says; None if it is not there, or not done.

    Raises ValueError if its directory is damaged or holds another run.
    """
    path = Path(federation.config.out)
    summary = read_json(path / "summary.json")
    if not summary:
        return None
    stored, asked = stored_config(path), federation.config
    if asked.ray_address:  # the device is that of the machine it ran on
        asked = replace(asked, placement=replace(asked.placement, device=stored.placement.device))
    differs = difference(stored, asked)
    if differs:
        raise ValueError(f"{path} holds another run: {differs}; choose another --out")
    return list(read_scores(federation, summary))


def stored_warnings(plan: Plan) -> list[str]:
    """What the finished federations say must be known of the sites' data, each once."""
    summaries = (read_json(Path(one.config.out) / "summary.json") for one in plan.federations)
    return list(dict.fromkeys(text for summary in summaries for text in summary.get("warnings", ())))


def write_table(plan: Plan, scores: Sequence[PatientScore]) -> None:
    """table.csv, table.md, table.tex, patients.csv and the heat map, of what there is."""
    write_files(plan.out, scores, summarize(scores, plan.layout), stored_warnings(plan))
    write_heat_map(plan.out / "figures" / "train_test.png", scores)
