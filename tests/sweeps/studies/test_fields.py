"""A trial's values in a run's configuration, and the command line that repeats it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import FedProx, FlMmd, FlMr, FlMrcm
from engine.config import ModelConfig, TrainConfig
from sites.config import RunConfig
from sites.federation import resolve
from sites.run_directory import config_toml
from sites.settings import parse_run
from sweeps.studies.fields import applied, command, kind, kinds

BASE = RunConfig()


def test_every_part_of_the_configuration_is_reached() -> None:
    values = {"matrix": 32, "lr": 0.5, "norm": "batch", "identifier_steps": 3, "target_trains": False}
    assert applied(BASE, values) == RunConfig(
        matrix=32,
        train=TrainConfig(lr=0.5),
        model=ModelConfig(norm="batch"),
        algorithm=FlMrcm(identifier_steps=3),
        target_trains=False,
    )
    assert applied(BASE, {}) == BASE


def test_another_method_keeps_what_the_run_has_set() -> None:
    base = RunConfig(algorithm=FlMrcm(alignment_weight=0.3, weighting="uniform"))
    assert applied(base, {"algorithm": "fl-mmd"}).algorithm == FlMmd(alignment_weight=0.3, weighting="uniform")
    assert applied(base, {"algorithm": "fl-mr"}).algorithm == FlMr(weighting="uniform")
    assert applied(base, {"algorithm": "fl-mrcm"}).algorithm == base.algorithm
    assert applied(BASE, {"algorithm": "fed-prox", "mu": 0.5}).algorithm == FedProx(mu=0.5)
    assert applied(BASE, {"algorithm": "fl-mmd"}).algorithm == FlMmd()  # with its own default weight


def test_sites_and_shifts_are_set_beside_those_of_the_run() -> None:
    base = RunConfig(site_settings="hpks.snr=9,ixi.te=4", shift="ixi:snr=1,bias_field=0.2")
    found = applied(
        base, {"hpks.snr": 20.0, "target.acceleration": 8, "shift.bias_field": 0.5, "shift.hpks.coils": 0.1}
    )
    assert found.site_settings == "hpks.snr=20.0,ixi.te=4.0,target.acceleration=8"
    assert found.shift == "ixi:snr=1,bias_field=0.5,hpks:coils=0.1"
    sites = {site.name: site for site in resolve(replace(found, out="x")).institutions}
    assert (sites["hpks"].snr, sites["hpks"].shift) == (20, "coils=0.1")
    assert (sites["ixi"].te, sites["ixi"].shift) == (4, "snr=1")
    assert (sites["brats"].acceleration, sites["brats"].shift) == (8, "bias_field=0.5")


def test_values_that_no_run_can_have_are_refused() -> None:
    with pytest.raises(ValueError, match="lr is -1"):
        applied(BASE, {"lr": -1.0})


def test_the_command_names_what_is_not_usual() -> None:
    trial = applied(BASE, {"algorithm": "fl-mr", "lr": 0.5, "residual": False, "hpks.snr": 20.0, "shift.snr": 0.5})
    assert command(trial) == [
        "--preset", "demo", "--algorithm", "fl-mr", "--site-settings", "hpks.snr=20.0", "--shift", "snr=0.5",
        "--lr", "0.5", "--no-residual",
    ]  # fmt: skip
    here = replace(BASE, out="somewhere", placement=replace(BASE.placement, workers=0))
    assert command(here) == ["--preset", "demo", "--algorithm", "fl-mrcm"]


def test_the_command_from_a_file_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "base.toml"
    file.write_text('lr = 0.5\nrounds = 7\nalgorithm = "fl-mr"\npreset = "demo"\n')
    base = parse_run(["--config", str(file)]).run
    trial = applied(base, {"rounds": 9})
    found = command(trial, ["--config", str(file)])
    assert found == ["--config", str(file), "--algorithm", "fl-mr", "--rounds", "9"]
    assert parse_run(found).run == trial


def test_the_command_from_a_stored_run_with_its_sites(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(config_toml(resolve(RunConfig(out="x")), "cpu"))
    base = parse_run(["--config", str(file)]).run
    trial = applied(base, {"hpks.snr": 7.0})
    assert parse_run(command(trial, ["--config", str(file)])).run == trial
    with pytest.raises(ValueError, match=r"the sites of a resolved run are no options; repeat it with --config"):
        command(trial)


def some(name: str) -> st.SearchStrategy[Any]:
    """Values of a setting that most runs can have."""
    wanted: dict[str, st.SearchStrategy[Any]] = {
        "lr": st.floats(1e-8, 10), "rounds": st.integers(1, 99), "residual": st.booleans(), "sites": st.integers(2, 9),
        "alignment_weight": st.floats(0, 10), "algorithm": st.sampled_from(["fl-mr", "fl-mrcm", "fl-mmd", "adcol"]),
        "target": st.sampled_from(["ixi", "hpks"]), "hpks.snr": st.floats(1e-3, 99), "shift.ixi.coils": st.floats(0, 1),
        "target_trains": st.booleans(), "sources.mask": st.sampled_from(["random", "magic"]),
        "shift.bias_field": st.floats(0, 1),
    }  # fmt: skip
    return wanted[name] if name else st.sampled_from(sorted(wanted))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_command_repeats_the_trial(data: st.DataObject) -> None:
    values = {name: data.draw(some(name)) for name in data.draw(st.sets(some("")))}
    if values.get("algorithm") == "fl-mr":
        values.pop("alignment_weight", None)
    trial = applied(BASE, values)
    assert parse_run(command(trial)).run == trial


def test_a_kind_for_every_name() -> None:
    assert all(kind(name) == known for name, known in kinds().items())
    assert kind("a.b.snr") is kind("shift.coils") is kind("shift.a.b.coils") is float
