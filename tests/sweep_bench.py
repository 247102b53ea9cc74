"""`python -m tests.sweep_bench`: `run.py sweep` against a plain loop of as many trials, alternating as whole processes.

The loop is what one would write by hand for this study: two processes, each with half the trials, one after the other,
FL-MRCM with torch.optim, every round scored, one trial tested; no Optuna, no Ray, no files but a JSON at the end. Both
must have taken the same number of optimiser steps and scored the same number of slices. Printed: the wall time of each
whole process, their ratio, what other processes took of the machine meanwhile, and for trials of the sweep the time
from their start to their first optimiser step. Options after `--` go to both, for example `-- --channels 4`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from torch import Tensor

    from engine.models.base import Model
    from engine.types import Scores, Split
    from sites.config import RunConfig
    from sites.site import Site
    from sites.sources.base import KSpace

PROCESSES = 2
SCORED = 16  # slices a forward pass without gradients, as the engine has it
QUIET, PATIENCE = 0.15, 600  # cores that others may take when one begins, and seconds to wait for it
DISTURBED = 0.15  # cores that others took, in the mean: such a pair does not count if there is another
Values = Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison, or the plain loop (that is how the comparison runs it)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2, help="how often each of the two runs")
    parser.add_argument("--trials", type=int, default=12, help="trials of the study")
    parser.add_argument("--rounds", type=int, default=8, help="rounds of a trial")
    parser.add_argument("--patience", type=int, default=PATIENCE, help="seconds to wait for a quiet machine")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("more", nargs="*", help="options of the federation, for both")
    options = parser.parse_args(argv)
    if options.loop:
        loop(options.loop)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options)
    return 0


# ---- the comparison -----------------------------------------------------------------------------------------


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Alternate the two and print. Raises RuntimeError if one fails, or they did not do the same work."""
    study = ["--trials", f"{options.trials}", "--rounds", f"{options.rounds}", *options.more]
    (folder / "order").write_bytes(pickle.dumps(order(study, options.trials)))
    print(subprocess.run(["uptime"], capture_output=True, text=True).stdout.strip())
    print(f"\n{'':<8}{'plain loop, s':>16}{'sweep, s':>12}{'ratio':>9}    cores that others took meanwhile")
    pairs = []
    for number in range(1, options.pairs + 1):
        out = folder / f"study{number}"
        loop = timed(["-m", "tests.sweep_bench", "--loop", str(folder)], options.patience)
        sweep = timed(["run.py", "sweep", *study, "--parallel", f"{PROCESSES}", "--out", str(out)], options.patience)
        pairs.append((loop, sweep))
        numbers = f"{loop.seconds:>16.1f}{sweep.seconds:>12.1f}{sweep.seconds / loop.seconds:>9.3f}"
        print(f"pair {number:<3}{numbers}    {loop.others:.2f}, {sweep.others:.2f}", flush=True)
        done = json.loads((folder / "loop.json").read_text())["work"]
        if done != work_of(out):
            raise RuntimeError(f"not the same work: the loop {done}, the sweep {dict(work_of(out))}")
        show_study(out, sweep)
    quiet = [pair for pair in pairs if max(each.others for each in pair) < DISTURBED]
    ratio = statistics.median(sweep.seconds / loop.seconds for loop, sweep in quiet or pairs)
    of = f"{len(quiet)} undisturbed pairs" if quiet else "all pairs, all of them disturbed"
    print(f"median ratio of {of}: {ratio:.3f}; the bar is 1 / 0.8 = 1.25")
    print(f"each did: {', '.join(f'{done[what]} {what}' for what in (STEPS, IDENTIFIER_STEPS, SLICES))}")


def order(study: Sequence[str], trials: int) -> tuple[RunConfig, list[Values]]:
    """The resolved federation of a study's options, and values for its trials from the sweep's default space."""
    from sites.federation import resolve
    from sites.settings import parse_federation
    from sweeps.studies.parsing import SweepCommand
    from sweeps.studies.search import around
    from sweeps.studies.space import Number

    run = parse_federation(SweepCommand, study, "sweep").run
    draw, space = random.Random(0), [each for each in around(run).parameters if isinstance(each, Number)]
    rows = [{p.name: p.low * (p.high / p.low) ** draw.random() for p in space} for _ in range(trials)]
    return resolve(run), [dict(row) for row in rows]


@dataclass(frozen=True)
class Timing:
    """Of a whole process. began: as `time.time` has it; others: cores that other processes took, in the mean."""

    began: float
    seconds: float
    others: float


def timed(arguments: Sequence[str], patience: float) -> Timing:
    """Run a Python process once the machine is quiet, or patience ends. Raises RuntimeError if it fails."""
    import psutil

    until = time.monotonic() + patience
    while psutil.cpu_count() * psutil.cpu_percent(interval=3) / 100 > QUIET and time.monotonic() < until:
        pass
    own: dict[tuple[int, float], float] = {}  # CPU seconds of its processes
    before, began, clock = busy(), time.time(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    family = psutil.Process(process.pid)
    while True:
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            with contextlib.suppress(psutil.Error):  # one that has just ended
                for each in [family, *family.children(recursive=True)]:
                    own[each.pid, each.create_time()] = sum(each.cpu_times()[:2])
    seconds = time.perf_counter() - clock
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {process.returncode}; its message is above")
    return Timing(began, seconds, (busy() - before - sum(own.values())) / seconds)


def busy() -> float:
    """CPU seconds that the machine has computed."""
    import psutil

    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


STEPS, IDENTIFIER_STEPS, SLICES = "optimiser steps", "steps of identifiers", "slices scored"


def work_of(study: Path) -> Counter[str]:
    """What the trials of a study did, from their directories."""
    from sites.run_directory import read_rounds, stored_config

    work: Counter[str] = Counter()
    for trial in (study / "trials").iterdir():
        config, rounds, tested = stored_config(trial), len(read_rounds(trial)), (trial / "summary.json").exists()
        for site in config.institutions:
            steps = rounds * config.train.local_epochs * math.ceil(
                site.train_patients * site.slices / config.train.batch_size
            )  # fmt: skip
            work[STEPS] += steps
            work[IDENTIFIER_STEPS] += steps * (site.name != config.target)
            work[SLICES] += (rounds * site.val_patients + tested * site.test_patients) * site.slices
    return work


def show_study(study: Path, whole: Timing) -> None:
    """Where a sweep's time went outside its trials, and how long they take to their first step."""
    from sweeps.studies.journal import stored_study

    stored = stored_study(study)
    trials = sorted(stored.get_trials(), key=lambda trial: trial.number)
    first = min(trial.datetime_start.timestamp() for trial in trials if trial.datetime_start)
    last = max(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete)
    cold, warm = ([first_step(study, trial) for trial in some] for some in (trials[:PROCESSES], trials[PROCESSES:]))
    ended = whole.began + whole.seconds
    told = f"median {statistics.median(warm):.2f}, at most {max(warm):.2f}" if warm else "none"
    outside = first - whole.began, ended - last
    print(f"{'':<8}to the first trial's start {outside[0]:.1f} s, after the last trial's end {outside[1]:.1f} s")
    print(f"{'':<8}a trial's start to its first step: {told} s; the first trials' {max(cold):.1f} s", flush=True)


def first_step(study: Path, trial: optuna.trial.FrozenTrial) -> float:
    """Seconds from a trial's start to the end of its first optimiser step, or a little less.

    All of its time that is no round's, that after the last round too; then the first round's encoding and first batch.
    """
    from sites.run_directory import read_rounds, stored_config
    from sweeps.studies.turns import TURN

    path = study / "trials" / str(trial.user_attrs[TURN])
    reports, batch_size = read_rounds(path), stored_config(path).train.batch_size
    assert trial.duration is not None
    outside = trial.duration.total_seconds() - sum(sum(report.seconds.values()) for report in reports)
    speed = reports[0].speed[min(reports[0].speed)]  # sites train in name order
    return outside + reports[0].seconds["encode"] + batch_size / speed.input + batch_size / speed.training


# ---- the plain loop -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """A `sites.sources.base.Source`: patients whose k-space is here."""

    kspaces: Mapping[str, KSpace]

    def patients(self) -> Sequence[str]:
        """In their order."""
        return tuple(self.kspaces)

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, H, W]."""
        return self.kspaces[patient]


def loop(folder: Path) -> None:
    """The plain loop as a whole process: simulate the sites while two processes start, hand them over, collect."""
    config, rows = pickle.loads((folder / "order").read_bytes())
    context = multiprocessing.get_context("spawn")
    pipes = []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe()
        context.Process(target=plain_trials, args=(theirs, config, rows[number::PROCESSES]), daemon=True).start()
        pipes.append(ours)

    from sites.anatomy import load_maps
    from sites.sources.atlas import AtlasSource

    maps = load_maps()
    atlases = {site.name: AtlasSource(site, maps, config.matrix, config.seed) for site in config.institutions}
    data = {name: {patient: atlas.kspace(patient) for patient in atlas.patients()} for name, atlas in atlases.items()}
    for pipe in pipes:
        pipe.send(data)
    best = [pipe.recv() for pipe in pipes]
    for pipe, own in zip(pipes, best, strict=True):
        pipe.send(own == max(best))
    work: Counter[str] = Counter()
    test: dict[str, list[float]] = {}
    for pipe in pipes:
        done, tested = pipe.recv()
        work += done
        test |= tested
    (folder / "loop.json").write_text(json.dumps({"best": max(best), "test": test, "work": work}))


def plain_trials(pipe: Any, config: RunConfig, rows: Sequence[Values]) -> None:
    """One process: its trials one after the other; the best one's test patients if no other process has a better."""
    import torch

    torch.set_num_threads(1)
    work: Counter[str] = Counter()
    from sites.site import Site

    data = pipe.recv()
    sites = {site.name: Site(site, Simulated(data[site.name]), config.seed) for site in config.institutions}
    for site in sites.values():
        zero_filled(site, "val")
    found = [plain_trial(sites, config, values, work) for values in rows]
    best, model = max(found, key=lambda each: each[0])
    pipe.send(best)
    test = {}
    if pipe.recv():
        test = {name: [s.psnr for s in scores(model, site, "test", work)] for name, site in sites.items()}
        for site in sites.values():
            zero_filled(site, "test")
    pipe.send((work, test))


def plain_trial(
    sites: Mapping[str, Site], config: RunConfig, values: Values, work: Counter[str]
) -> tuple[float, Model]:
    """One federation with FL-MRCM: PSNR at the target after the last round, and the network. Counts its work."""
    import torch
    import torch.nn.functional as F
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    from engine.models.identifier import Identifier, identification_loss
    from engine.models.unet import pool_latents
    from engine.streams import rng, torch_seed

    torch.manual_seed(torch_seed(config.seed, "model"))
    model, batch_size = config.model.build(), config.train.batch_size
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=values["lr"]) for name in sites}
    identifiers, identifier_optimizers = {}, {}
    for name in sites:
        torch.manual_seed(torch_seed(config.seed, "companions", name))
        identifiers[name] = Identifier(4 * model.latent_channels)
        identifier_optimizers[name] = torch.optim.Adam(identifiers[name].parameters(), lr=values["identifier_lr"])

    def encode_target(round: int) -> Tensor:
        batches = sites[config.target].train_batches(round, 0, batch_size)
        with torch.no_grad():
            return torch.cat([pool_latents(model.encode(batch.input)[0]) for batch in batches])

    def train(name: str, round: int, target_latents: Tensor) -> None:
        draw = rng(config.seed, "training", name, round)
        identifier = identifiers[name]
        for batch in sites[name].train_batches(round, 0, batch_size):
            z, skips = model.encode(batch.input)
            loss = F.l1_loss(model.decode(z, skips), batch.target)
            if name != config.target:
                own = pool_latents(z)
                theirs = target_latents[draw.integers(len(target_latents), size=len(own))]
                identifier_optimizers[name].zero_grad()
                identification_loss(identifier(own.detach()), identifier(theirs)).backward()
                identifier_optimizers[name].step()
                work[IDENTIFIER_STEPS] += 1
                identifier.requires_grad_(False)
                fooled = identification_loss(identifier(own), identifier(theirs), swapped=True)
                identifier.requires_grad_(True)
                loss = loss + values["alignment_weight"] * fooled
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
            work[STEPS] += 1

    weights = parameters_to_vector(model.parameters()).detach().clone()
    psnr = math.nan
    for round in range(config.rounds):
        vector_to_parameters(weights, model.parameters())
        target_latents = encode_target(round)
        mean = torch.zeros_like(weights)
        for name in sites:
            vector_to_parameters(weights.clone(), model.parameters())
            train(name, round, target_latents)
            mean += sites[name].slices("train") * parameters_to_vector(model.parameters()).detach()
        weights = mean / sum(site.slices("train") for site in sites.values())
        vector_to_parameters(weights.clone(), model.parameters())
        found = {name: scores(model, site, "val", work) for name, site in sites.items()}
        psnr = statistics.fmean(patient.psnr for patient in found[config.target])
    return psnr, model


def scores(model: Model, site: Site, split: Split, work: Counter[str]) -> list[Scores]:
    """Of a network, by patient."""
    import torch

    from engine.metrics import score

    truths, images, volumes = [], [], []
    with torch.no_grad():
        for batch in site.eval_batches(split, SCORED):
            output = model.decode(*model.encode(batch.input))[:, 0]
            images.append(output * batch.std[:, None, None] + batch.mean[:, None, None])
            truths.append(batch.truth)
            volumes.append(batch.volume)
    truth, image, volume = torch.cat(truths), torch.cat(images), torch.cat(volumes)
    work[SLICES] += len(truth)
    return [score(truth[volume == patient], image[volume == patient]) for patient in volume.unique()]


def zero_filled(site: Site, split: Split) -> list[Scores]:
    """Of the zero-filled images, by patient."""
    import torch

    from engine.metrics import score

    batch_of_all = next(site.eval_batches(split, site.slices(split)))
    volume, truth, image = batch_of_all.volume, batch_of_all.truth, batch_of_all.zero_filled
    return [score(truth[volume == patient], image[volume == patient]) for patient in torch.unique(volume)]


if __name__ == "__main__":
    sys.exit(main())
