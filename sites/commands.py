"""What each command of `run.py` does once its options are parsed."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from engine.console import LiveWatcher, PlainWatcher, Watcher, summary_view
from engine.summary import WIDEST, labelled, slice_pictures
from engine.types import Preview, TrainingStopped, WorkerLost
from sites.config import RunConfig
from sites.federation import federate, resolve
from sites.report.figures import report_of
from sites.run_directory import PICTURES, read_rounds, stored_config
from sites.run_reader import read_json, read_previews
from sites.settings import cli, parse_run

Command = Callable[[Sequence[str], float], None]


def guarded(command: Command, argv: Sequence[str], began: float) -> int:
    """Run a command; bad input and interruptions become one line and an exit status."""
    try:
        command(argv, began)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, ConnectionError) as error:
        return _fail(2, str(error))
    except (TrainingStopped, WorkerLost, OSError) as error:
        return _fail(1, str(error))
    except KeyboardInterrupt as interrupt:
        return _fail(130, f"interrupted{interrupt}")
    return 0


def run(argv: Sequence[str], began: float) -> None:
    """Train one federation."""
    command = parse_run(argv)
    _train(resolve(command.run), command.live, began)


@dataclass(frozen=True, kw_only=True)
class ResumeCommand:
    """Go on with a run from its last checkpoint; the numbers are those of an uninterrupted run."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Run directory."""
    rounds: int | None = None
    """Extend the run to this many rounds in all."""
    live: bool = True
    """The live console; plain lines otherwise, and wherever the output is not a terminal."""


def resume(argv: Sequence[str], began: float) -> None:
    """Go on with a stored run."""
    command = cli(ResumeCommand, argv, "resume")
    config = replace(stored_config(command.directory), out=str(command.directory))
    if command.rounds is not None:
        config = replace(config, rounds=command.rounds)
    _train(resolve(config), command.live, began, extend=True)


@dataclass(frozen=True, kw_only=True)
class ShowCommand:
    """Draw again what a run directory holds: results, one slice of the target, and where its report is."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Run directory."""


def show(argv: Sequence[str], _began: float) -> None:
    """Draw a stored run."""
    command = cli(ShowCommand, argv, "show")
    _show(command.directory)


@dataclass(frozen=True, kw_only=True)
class ReconstructCommand:
    """Apply a run's network to k-space: of a file, or of a simulated patient.

    FILE is HDF5 of fastMRI (kspace, perhaps mask) or ISMRMRD, BART's .cfl, or
    a complex .npy: [S, H, W], or [S, C, H, W] of C coils, its zero frequency in
    the centre. Or an image, NIfTI or DICOM: its k-space is synthesised.

    Fully sampled k-space is first undersampled as at a site, and scored after.

    Undersampled k-space is used as it is, and there are no scores.
    """

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Run directory of a finished run."""
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A file, or a folder of one DICOM series; or a patient of the run, SITE/PATIENT, or SITE for the first it is
    tested on."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """What to write: .h5 (everything; can be FILE again), .npy (the reconstruction) or .png (the middle slice)."""
    site: str = ""
    """Whose undersampling to use on fully sampled k-space, and whose weights where sites keep some of their own;
    empty: the patient's own institution, for a file the run's target."""
    coils: bool = False
    """The first axis of a 3-D array is coils, of one slice; otherwise slices, of one coil."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: a GPU if there is one."""
    overwrite: bool = False
    """Replace OUT if it exists."""


def reconstruct(argv: Sequence[str], began: float) -> None:
    """Reconstruct a file or a simulated patient, write the result and draw its middle slice."""
    from sites.image_file import check_out, facts, write
    from sites.reconstruct import apply_network, check_run, find_volume

    command = cli(ReconstructCommand, argv, "reconstruct")
    check_out(command.out, command.overwrite, command.file)
    stored = stored_config(command.directory)
    placement = replace(stored.placement, device=command.device)
    config = resolve(replace(stored, out=str(command.directory), placement=placement, ray_address=""))
    check_run(config, command.directory, command.site)
    console = Console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading k-space", total=None)
        volume = find_volume(config, command.file, command.coils)
        bar.update(task, description="reconstructing", total=len(volume.kspace))
        result = apply_network(
            config, command.directory, volume, command.site, lambda slices: bar.advance(task, slices)
        )
    write(command.out, result)
    middle = result.middle
    truth = None if result.truth is None else result.truth[middle]
    seconds = ("took", f"{time.perf_counter() - began:.1f} s on {config.placement.device}")
    rows = max(8, console.height - 12)  # the words below must stay in sight
    console.print(
        Text(f" slice {middle + 1} of {len(result.reconstruction)} of {result.volume.name}", "bright_black"),
        slice_pictures(result.zero_filled[middle], result.reconstruction[middle], truth, WIDEST, rows),
        Text(),
        labelled([*facts(result), seconds, ("written", str(command.out))]),
    )


@dataclass(frozen=True, kw_only=True)
class ScenariosCommand:
    """List the named scenarios and the dials of domain shift, or explain one scenario.

    Each is a TOML file to copy and change.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ""
    """The scenario, or the TOML file, to explain: its sites' protocols, what their shifts change, the file to copy."""


def scenarios(argv: Sequence[str], _began: float) -> None:
    """Explain the named scenarios."""
    from sites.scenario_words import explained, overview

    command, console = cli(ScenariosCommand, argv, "scenarios"), Console()
    width = min(console.width, 100)
    for line in explained(command.name, width) if command.name else overview(width):
        style = "" if line.startswith(" ") else "bold"
        console.print(Text(line, style), soft_wrap=True)


def _train(config: RunConfig, live: bool, began: float, extend: bool = False) -> None:
    watcher: Watcher = LiveWatcher() if live and sys.stdout.isatty() else PlainWatcher()
    try:
        with watcher:
            deque(federate(config, watcher, began=began, extend=extend), maxlen=0)
    except (KeyboardInterrupt, BrokenPipeError):  # the second: whoever read our output is gone
        there = (Path(config.out) / "config.toml").exists()
        raise KeyboardInterrupt(f"; run.py resume {config.out} goes on" if there else " before the start") from None
    _show(Path(config.out))


def _show(directory: Path) -> None:
    """The final table and the target's picture, or the rounds of an unfinished run; and where its report is."""
    stored_config(directory)
    console = Console()
    summary = read_json(directory / "summary.json")
    if summary:
        console.print(summary_view(summary, stored_preview(directory, summary["target"])))
    else:
        for report in read_rounds(directory):
            scores = ", ".join(f"{name} {site.scores.psnr:.2f} dB" for name, site in report.sites.items())
            console.print(Text(f"round {report.round}: {scores}"))
        console.print(Text(f"unfinished: run.py resume {directory} goes on"))
    try:
        console.print(Text(f"report: {report_of(directory)}"), soft_wrap=True)
    except OSError as error:  # somebody else's directory
        console.print(Text(f"no report: it cannot be written ({error.strerror})"))
    console.print(Text(f"run directory: {directory}"))


def stored_preview(directory: Path, site: str) -> Preview | None:
    """One test slice of a site, if its pictures left it. Raises ValueError for a file that is damaged."""
    stored = read_previews(directory)
    if f"{site}/truth" not in stored:  # none were left, or it has no test patients
        return None
    zero_filled, reconstruction, truth = (stored[f"{site}/{kind}"] for kind in PICTURES)
    return Preview(site=site, zero_filled=zero_filled, reconstruction=reconstruction, truth=truth)


def _fail(status: int, line: str) -> int:
    print(f"run.py: {line}", file=sys.stderr)
    return status
