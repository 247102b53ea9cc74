"""A run's trained network, read back from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.types import Array
from sites.config import RunConfig
from sites.run_directory import PERSONAL
from sites.run_reader import read_json

if TYPE_CHECKING:
    from engine.training import Workspace

WEIGHTS = "weights.safetensors"


def load_network(config: RunConfig, run_dir: Path, site: str) -> tuple[Workspace, str]:
    """The trained network on the run's device, for evaluation; and in words, whose weights it has besides everyone's.

    Where sites keep weights for themselves: this site's, or their mean if it has none.
    Raises ValueError if a file is damaged or does not fit the configuration.
    """
    from engine.training import Workspace, repeatable

    file = run_dir / WEIGHTS
    own = run_dir / PERSONAL / f"{site}.safetensors"
    named, words = _read_weights(file), ""
    if config.algorithm.personal:
        if site in config.training and not config.fused and not own.exists():
            raise ValueError(f"{own} is missing, the weights that {site} keeps for itself; restore it, or train again")
        words = f"with {site}'s own" if own.exists() else f"{site} has none of its own: the mean of those that trained"
        named |= _read_weights(own) if own.exists() else {}
    repeatable(config.placement.device)
    workspace = Workspace(config.model, config.train, config.algorithm, config.placement.device, seed=0)
    try:
        workspace.weights.load_named(named)
    except ValueError as error:
        raise ValueError(f"{file} does not fit the network of {run_dir / 'config.toml'} ({error}); "
                         "restore both from one run")  from error  # fmt: skip
    workspace.model.eval()
    return workspace, words


def network_words(config: RunConfig) -> str:
    """Which method, scenario and architecture."""
    model = config.model
    kind = f"{model.cascades} cascades" if model.cascades else "U-Net"
    return (
        f"{config.algorithm_name} on {config.scenario}: {kind}, {model.channels} channels, {model.pool_layers} poolings"
    )


def _read_weights(file: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights: dict[str, Array] = load_file(file)
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"{file} is damaged ({error}); restore it, or train again") from error
    if not all(np.isfinite(weight).all() for weight in weights.values()):
        raise ValueError(f"{file} holds weights that are not finite; restore it, or train again")
    return weights


def check_fingerprint(run_dir: Path, fingerprint: str) -> list[str]:
    """What the user should know of the weights with this fingerprint: whether the run has gone on since.

    Raises ValueError if they are not those that the run summed up.
    """
    stored = read_json(run_dir / "summary.json")
    if not stored:
        return [f"the run goes on, this is the network of its last end; run.py resume {run_dir} finishes it"]
    told = str(stored.get("weights_sha256", fingerprint))
    if told != fingerprint:
        raise ValueError(f"{run_dir / WEIGHTS} is not the network of summary.json "
                         f"({fingerprint[:12]}, not {told[:12]}); restore it")  # fmt: skip
    return []
