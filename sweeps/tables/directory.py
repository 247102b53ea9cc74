"""The directory of a table: its settings, the run directories of its federations, and the table in four formats."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from sites.config import SiteConfig, flat_fields
from sweeps.directory import Kind, Settings, finished_summary, open_directory, stored_warnings
from sweeps.scores import PatientScore
from sweeps.statistics import summarize
from sweeps.tables.files import write_files
from sweeps.tables.heatmap import write_heat_map
from sweeps.tables.parsing import PARSER
from sweeps.tables.plan import GROWING, Federation, Plan, TableConfig, read_scores

TABLE = Kind("table", "table.toml")
MOST = 8  # institutions that a table describes; of more, those that are shifted


def open_table(plan: Plan) -> AbstractContextManager[None]:
    """Hold the table's directory, new or of the same table, as its one writer; its settings are written.

    Raises ValueError if it is in use, or holds something else or another table.
    """
    device = plan.federations[0].config.placement.device
    return open_directory(
        plan.out, TABLE, _settings(plan.config), lambda: _settings(stored_table(plan.out)), GROWING, device
    )


def _settings(config: TableConfig) -> Settings:
    return Settings(flat_fields(config), config.run.institutions)


def stored_table(path: Path) -> TableConfig:
    """The settings of a table's directory, which is its `out`. Raises ValueError if it holds none that can be read."""
    if not TABLE.there(path):
        raise ValueError(f"{path} holds no table (there is no {TABLE.file}); name a table's directory")
    config = PARSER.read(path / TABLE.file).table
    return replace(config, run=replace(config.run, out=str(path)))


def finished(federation: Federation) -> list[PatientScore] | None:
    """What a stored federation says; None if it is not there, or not done.

    Raises ValueError if its directory is damaged or holds another run.
    """
    summary = finished_summary(federation.config)
    return None if summary is None else list(read_scores(federation, summary))


def table_facts(plan: Plan) -> list[str]:
    """Who the institutions are, and what the finished federations say must be known of their data, each once."""
    sites = plan.config.run.institutions
    told = [f"{site.name}: {words}" for site in sites if (words := _words(site)) and (len(sites) <= MOST or site.shift)]
    warnings = stored_warnings(federation.config for federation in plan.federations)
    return [*(["; ".join(told) + "."] if told else []), *(f"Warning: {text}." for text in warnings)]


def _words(site: SiteConfig) -> str:
    """As it is described, and what its dials are turned to."""
    return ", ".join(part for part in (site.description, f"shift {site.shift}" if site.shift else "") if part)


def write_table(plan: Plan, scores: Sequence[PatientScore]) -> None:
    """table.csv, table.md, table.tex, patients.csv and the heat map, of what there is."""
    write_files(plan.out, scores, summarize(scores, plan.layout), table_facts(plan))
    write_heat_map(plan.out / "figures" / "train_test.png", scores)
