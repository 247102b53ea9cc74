"""`python -m tests.console_picture RUN_DIR OUT.svg`: the README's picture, drawn from a finished run."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from engine.console import Header, LiveWatcher, summary_view
from engine.types import Scores, SiteInfo
from sites.commands import stored_preview
from sites.run_directory import read_rounds, stored_config
from sites.run_summary import NOTE


def main(run_dir: Path, out: Path) -> None:
    """The live board as it stood after the last round, and the summary below it."""
    config = stored_config(run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())
    described = {site.name: site.description for site in config.institutions}
    infos = [
        SiteInfo(
            name=site["name"],
            role=site["role"],
            description=described[site["name"]],
            train_slices=site["train_slices"],
            share="0.5 CPU",
            zero_filled=Scores(**site["zero_filled_validation"]),
        )
        for site in summary["sites"]
    ]
    header = Header(
        scenario=config.scenario,
        note=NOTE,
        algorithm=config.algorithm_name,
        target=config.target,
        devices="2 CPU core(s), 2 worker(s)",
        out="runs/example",
        rounds=config.rounds,
    )
    console = Console(
        record=True, width=110, height=30, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    start = iter([0.0])
    watcher = LiveWatcher(console, now=lambda: next(start, summary["seconds"]["total"]))
    reports = read_rounds(run_dir)
    watcher.start(header, infos, reports[:-1])
    watcher.update(reports[-1])
    console.print(watcher.renderable())
    console.print(summary_view(summary, stored_preview(run_dir, summary["target"])))
    console.save_svg(str(out), title="python run.py --sites 4")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
