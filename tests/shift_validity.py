"""`python -m tests.shift_validity`: do the measures of shift stay quiet where there is none, and grow with the dial?

A network is trained at the scenario `contrast`'s three sources by federated averaging; the target gives nothing, so
that the same network serves every strength of every dial. Then each source's validation patients (8) are measured
against the target's. At strength 0 all four are exchangeable: 20 seeds should give p < 0.05 about once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from engine.algorithms import FlMr
from engine.cohort import LocalCohort
from engine.driver import Driver
from engine.placement import Placement
from engine.shift import MEASURES, shifts, spearman
from engine.streams import rng
from engine.types import Shift
from sites.anatomy import load_maps
from sites.config import RunConfig
from sites.federation import resolve
from sites.launch import Workshop, factories, roles_of, setting_of

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
DIALS = ("contrast", "snr", "acceleration")
Measured = dict[tuple[str, float], dict[str, dict[str, Shift]]]
"""(dial, strength) -> source -> measure -> shift."""


def federation(seed: int, dial: str, strength: float, rounds: int) -> RunConfig:
    """Three sources that train; a target that only shows what it is."""
    config = RunConfig(
        scenario="contrast",
        shift=f"contrast=0,{dial}={strength}" if dial != "contrast" else f"contrast={strength}",
        algorithm=FlMr(),
        target_trains=False,
        seed=seed,
        rounds=rounds,
        shift_every=0,
        placement=Placement(workers=0),
        out="unused",
    )
    return resolve(config)


def measure(workshop: Workshop, seed: int, points: Sequence[tuple[str, float]], rounds: int = 3) -> Measured:
    """Every source against the target at each dial and strength, under the network of one seed."""
    config = federation(seed, "contrast", 0.0, rounds)
    cohort = LocalCohort(setting_of(config, "cpu"))
    cohort.build(factories(config, {}), workshop)
    driver = Driver(cohort, config.algorithm, roles_of(config), shift_every=0, seed=seed)
    driver.start()
    for _ in driver.run(rounds, snapshot_every=0):
        pass
    assert config.target is not None
    sources = [site.name for site in config.institutions if site.name != config.target]
    own = dict(zip(sources, cohort.samples(sources, driver.broadcast), strict=True))
    found: Measured = {}
    for dial, strength in points:
        turned = federation(seed, dial, strength, rounds)
        cohort.build({config.target: factories(turned, {})[config.target]}, workshop)
        (target,) = cohort.samples([config.target], driver.broadcast)
        found[dial, strength] = {name: shifts(own[name], target, rng(seed, "validity", name)) for name in sources}
    return found


def rejections(by_seed: Sequence[Mapping[str, Mapping[str, Shift]]], source: str) -> dict[str, int]:
    """In how many seeds a source differs from the target with p < 0.05, by measure."""
    return {name: sum(one[source][name].p < 0.05 for one in by_seed) for name in MEASURES}


def growth(by_seed: Sequence[Measured], dial: str) -> dict[str, tuple[list[float], float]]:
    """By measure the mean over seeds and sources at each strength, and its rank correlation with the strength."""
    found = {}
    for name in MEASURES:
        means = [
            float(np.mean([shift[name].value for one in by_seed for shift in one[dial, strength].values()]))
            for strength in STRENGTHS
        ]
        found[name] = means, spearman(np.array(STRENGTHS), np.array(means))
    return found


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="seeds at strength 0")
    parser.add_argument("--growing", type=int, default=5, help="seeds at every strength")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--dials", nargs="+", default=DIALS)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of training before measuring")
    options = parser.parse_args()
    torch.set_num_threads(1)
    workshop = Workshop(load_maps())
    seeds = range(options.first, options.first + options.seeds)
    none = [measure(workshop, seed, [("contrast", 0.0)], options.rounds)["contrast", 0.0] for seed in seeds]
    print(f"p < 0.05 at strength 0, of {options.seeds} seeds:")
    for source in none[0]:
        print(f"  {source:<8}" + "  ".join(f"{name} {count}" for name, count in rejections(none, source).items()))
    points = [(dial, strength) for dial in options.dials for strength in STRENGTHS]
    few = range(options.first, options.first + options.growing)
    grown = [measure(workshop, seed, points, options.rounds) for seed in few]
    print(f"mean of {options.growing} seeds and 3 sources at strengths {STRENGTHS}, and Spearman's rho:")
    for dial in options.dials:
        for name, (means, rho) in growth(grown, dial).items():
            print(f"  {dial:<13}{name:<21}" + "".join(f"{mean:>10.4g}" for mean in means) + f"{rho:>7.2f}")


if __name__ == "__main__":
    main()
