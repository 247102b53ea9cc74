"""From a configuration to a stream of rounds: `for report in federate(config)`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from engine.cluster import gpu_count
from engine.console import Watcher
from engine.types import RoundReport
from sites.config import ATLAS, FILES, RunConfig, Scenario, SiteConfig, names
from sites.launch import FUSED, Workshop, factories, launch
from sites.overrides import overridden
from sites.report.figures import draw_figures
from sites.run_directory import new_directory, open_run
from sites.run_summary import header, site_infos, summary
from sites.scenario import load_scenario, take
from sites.settle import folders, settle
from sites.shifts import checked, shift_sites
from sites.sources.base import Source


def federate(
    config: RunConfig,
    watcher: Watcher | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    began: float | None = None,
    extend: bool = False,
    figures: bool = True,
    workshop: Workshop | None = None,
) -> Iterator[RoundReport]:
    """Run a federation, yielding each round as it ends; the run directory is written on the way.

    A directory that holds the same run goes on where it was; with `extend` the number of rounds may differ.
    sources: k-space of your own for some of the sites, by name; they must be picklable.
    began: `time.perf_counter()` of the command's start. workshop: what an earlier federation of this process built.
    Raises ValueError for a configuration or data that cannot be; TrainingStopped if training cannot go on.
    """
    began = time.perf_counter() if began is None else began
    sources = sources or {}
    config = _with_sources(resolve(config), sources)
    phase = watcher.phase if watcher else _ignore
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(open_run(config, extend))
        if run.complete:
            return
        driver, anatomy, placed = stack.enter_context(launch(config, phase, workshop))
        real = sum(site.of_files for site in config.institutions)
        what = [f"reading the files of {real}"] * (real > 0)
        what += [f"simulating {len(config.institutions) - real}"] * (real < len(config.institutions))
        phase(f"{' and '.join(what)} institutions")
        facts = driver.start(factories(config, sources), anatomy.result(), run.snapshot)
        run.begin(placed.device, facts.samples)
        clock = [time.perf_counter() - began]
        if watcher:
            watcher.start(header(config, facts, run, placed), site_infos(config, facts, placed), run.reports)
        phase("training")
        try:
            for report, snapshot in driver.run(config.rounds, config.checkpoint_every):
                run.append(report, snapshot)
                del snapshot
                clock.append(time.perf_counter() - began)
                if watcher:
                    watcher.update(report)
                yield report
        except KeyboardInterrupt:
            phase("stopping")
            raise
        phase("scoring the test patients")
        outcome = driver.finish(config.previews)
        clock.append(time.perf_counter() - began)
        run.finish(summary(config, facts, outcome, run, clock), facts, outcome)
    if figures:
        phase("drawing the figures")
        draw_figures(run.path)


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with every `auto` that a stored run must state replaced by what it means.

    Raises ValueError for an unknown scenario or target, a shift that cannot be, an algorithm that needs more sites, or
    a missing GPU.
    """
    config.algorithm.check(config.model, config.train)
    stored = Scenario(name=config.scenario, summary="", sites=config.institutions) if config.institutions else None
    scenario = stored or (folders(config.data, config.skip_bad) if config.data else load_scenario(config.scenario))
    if config.data and config.sites != "auto" and config.sites > len(scenario.sites):
        raise ValueError(f"{config.data} holds {len(scenario.sites)} institutions, and sites is {config.sites}")
    sites = scenario.sites if config.sites == "auto" else take(scenario, config.sites, config.seed).sites
    sites = settle(config, overridden(config.site_settings, sites, lambda: _target(config, settle(config, sites))))
    present = [site.name for site in sites]
    target = _target(config, sites)
    for field, name in [("target", target), *(("train_sites", name) for name in names(config.train_sites))]:
        if name not in present:
            raise ValueError(f"{field} {name!r} is not a site; choose one of {', '.join(present)}")
    sites = shift_sites(sites, config.shift, target)
    for site in sites:
        if config.shift_every and not site.of_files and site.val_patients * site.slices < 2:
            raise ValueError(f"site {site.name!r}: one validation slice has no latent shift; take --shift-every 0")
        if site.name in names(config.train_sites) and not site.train_patients:
            raise ValueError(f"train_sites: {site.name!r} has no patients to train on")
    resolved = replace(
        config,
        scenario=scenario.name if config.data else config.scenario,
        data=str(Path(config.data).absolute()) if config.data else "",
        institutions=sites,
        site_settings="",  # the institutions have them
        shift="",  # and this
        sites=len(present),
        target=target,
        out=config.out or str(new_directory(config)),
        placement=config.placement if config.ray_address else replace(config.placement, device=_device(config)),
    )
    _refuse_without_sources(resolved)
    return resolved


def _target(config: RunConfig, sites: Sequence[SiteConfig]) -> str:
    """Auto: the fourth, or the last of fewer, of those who both train and are tested; of all, if none does."""
    if config.target != "auto":
        return config.target
    complete = [site.name for site in sites if site.train_patients and site.test_patients]
    choice = complete or [site.name for site in sites]
    return choice[min(3, len(choice) - 1)]


def _refuse_without_sources(config: RunConfig) -> None:
    """Raises ValueError if nobody trains, or if an alignment has nobody to align."""
    if config.target in names(config.train_sites) and not config.target_trains:
        raise ValueError(f"train_sites names {config.target}, the target, and target_trains is false; drop one")
    if not config.training:
        raise ValueError("target_trains is false and there is no other site to train; use more --sites")
    if config.fused and FUSED in {site.name for site in config.institutions}:
        raise ValueError(f"a site is named {FUSED!r}, which is what --fused calls the one that trains; rename it")
    sources = {FUSED} if config.fused else {*config.training} - {config.target}
    if config.algorithm.latents != "none" and not sources:
        raise ValueError(
            f"{config.algorithm_name} needs a source besides the target; use --algorithm fl-mr, or let more sites train"
        )
    target = next(site for site in config.institutions if site.name == config.target)
    if config.algorithm.latents != "none" and not target.train_patients:
        raise ValueError(
            f"{config.algorithm_name} aligns with latents of the target's training patients, and {target.name!r} has "
            'none; use --algorithm fl-mr, another --target, or in place of use = "test" --no-target-trains'
        )


def _device(config: RunConfig) -> Literal["cpu", "cuda"]:
    """What this machine has. Raises ValueError if a GPU is asked for and there is none to use."""
    gpus = gpu_count()
    if config.placement.device == "cuda" and not gpus:
        raise ValueError("device is 'cuda' and there is no GPU that this torch can use; take cpu, or auto")
    return "cuda" if gpus and config.placement.device != "cpu" else "cpu"


def _with_sources(config: RunConfig, sources: Mapping[str, Source]) -> RunConfig:
    """The configuration with its sites' sources named. Raises ValueError where one is missing or nobody's."""
    present = [site.name for site in config.institutions]
    for name in sources:
        if name not in present:
            raise ValueError(f"sources: {name!r} is not a site; choose one of {', '.join(present)}")
    named = {name: type(source).__name__ for name, source in sources.items()}
    for site in config.institutions:
        if site.source not in (ATLAS, *FILES, named.get(site.name)):
            raise ValueError(
                f"site {site.name!r}: source {site.source!r} lives in Python; give it to federate(sources=)"
            )
    sites = tuple(checked(replace(site, source=named.get(site.name, site.source))) for site in config.institutions)
    return replace(config, institutions=sites)


def _ignore(_text: str) -> None:
    """Nobody watches."""
