"""What the commands of many federations have in common: which settings of one federation they decide themselves."""

from __future__ import annotations

from collections.abc import Mapping

from engine.algorithms import FlMr
from sites.config import RunConfig, flat_fields

_ALONE = "runs each federation in one process (see --parallel)"
IN_ONE_PROCESS = {"workers": _ALONE, "sites_per_worker": _ALONE, "gpus_per_site": _ALONE}
"""Settings of a run that no command of many federations leaves to the user, and what it does instead."""

GROWING = {
    "methods", "seeds", "parallel",
    "out", "ray_address", "checkpoint_every", "keep_checkpoints", "memory_gb",
}  # fmt: skip
"""Settings that add federations or say where they run: a directory of methods by seeds goes on under others."""


def refuse_decided(given: RunConfig, default: RunConfig, decided: Mapping[str, str], noun: str) -> None:
    """Raises ValueError, in one line, for a setting that was given and would be overridden.

    decided: setting -> what the command does instead. With methods of its own it decides the algorithm too.
    """
    asked, usual = flat_fields(given), flat_fields(default)
    for name, instead in decided.items():
        if asked[name] != usual[name]:
            raise ValueError(f"{name} is {asked[name]!r}, and a {noun} {instead}; leave it out")
    if given.algorithm != FlMr():
        raise ValueError(f"a {noun}'s methods have their settings with them: --methods fl-mr:weighting=uniform")
