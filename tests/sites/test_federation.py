"""Who trains, who is scored, and what a run leaves: shards in one place, single sites, personal weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine.algorithms import FedBn, FedMri, FlMr, FlMrcm, Scaffold
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from engine.types import RoundReport
from sites.config import RunConfig, SiteConfig
from sites.federation import federate

SMALL: dict[str, Any] = {"val_patients": 1, "test_patients": 2, "slices": 4, "center_fraction": 0.2}
SITES = tuple(
    SiteConfig(name=name, tr=tr, train_patients=count, **SMALL)
    for name, tr, count in (("anna", 400.0, 2), ("berta", 700.0, 1), ("clara", 1500.0, 2))
)
TINY = ModelConfig(channels=2, pool_layers=2)


def config(out: Path, **settings: Any) -> RunConfig:
    """Three small institutions, two rounds, in this process."""
    given: dict[str, Any] = {
        "algorithm": FlMr(), "institutions": SITES, "matrix": 16, "rounds": 2, "model": TINY, "previews": False,
        "train": TrainConfig(batch_size=4), "placement": Placement(workers=0), "out": str(out), **settings,
    }  # fmt: skip
    return RunConfig(**given)


def trained(config: RunConfig) -> tuple[list[RoundReport], dict[str, Any]]:
    """The rounds, and summary.json."""
    reports = list(federate(config, figures=False))
    return reports, json.loads((Path(config.out) / "summary.json").read_text())


def roles(summary: dict[str, Any]) -> dict[str, str]:
    return {site["name"]: site["role"] for site in summary["sites"]}


def test_one_site_trains_alone_and_all_are_scored(tmp_path: Path) -> None:
    reports, summary = trained(config(tmp_path / "a", train_sites="berta"))
    assert roles(summary) == {"anna": "test", "berta": "source", "clara": "target"}
    assert {name: bool(site.metrics) for name, site in reports[0].sites.items()} == {
        "anna": False, "berta": True, "clara": False,
    }  # fmt: skip
    assert all(len(site["test_patients"]) == 2 for site in summary["sites"])
    for site in summary["sites"]:
        psnr = np.mean([patient["test"]["psnr"] for patient in site["test_patients"]])
        assert psnr == pytest.approx(site["test"]["psnr"])
    assert summary["ledger"]["weights"] > 0


def test_fused_is_one_training_on_all_shards(tmp_path: Path) -> None:
    """As many steps as slices / batch, and every part reports the one loss."""
    reports, summary = trained(config(tmp_path / "a", fused=True))
    assert roles(summary) == {"anna": "source", "berta": "source", "clara": "both"}
    losses = [{site.metrics["loss"] for site in report.sites.values()} for report in reports]
    assert all(len(values) == 1 for values in losses)
    alone, _ = trained(config(tmp_path / "b", fused=True, train_sites="berta"))
    single, _ = trained(config(tmp_path / "c", train_sites="berta"))
    assert alone[0].sites["berta"].metrics["loss"] == pytest.approx(single[0].sites["berta"].metrics["loss"], rel=0.2)
    assert not alone[0].sites["anna"].metrics


def test_fused_resumes_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    _, whole = trained(config(tmp_path / "a", fused=True, rounds=3))
    first = iter(federate(config(tmp_path / "b", fused=True, rounds=3), figures=False))
    next(first)
    first.close()  # type: ignore[attr-defined]
    _, resumed = trained(config(tmp_path / "b", fused=True, rounds=3))
    assert resumed["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"fused": True}, {"algorithm": FedMri()}, {"model": TINY, "train_sites": "anna"}])
def test_actors_give_the_same_bits(tmp_path: Path, settings: dict[str, Any]) -> None:
    _, here = trained(config(tmp_path / "a", **settings))
    _, there = trained(config(tmp_path / "b", **settings, placement=Placement(workers=2)))
    assert there["weights_sha256"] == here["weights_sha256"]
    assert [site["test"] for site in there["sites"]] == [site["test"] for site in here["sites"]]


@pytest.mark.parametrize(
    ("algorithm", "norm", "own"),
    [(FedBn(), "batch", ".running_mean"), (FedMri(), "instance", "up_conv.")],
)
def test_a_personal_run_leaves_each_sites_weights_and_their_mean(
    tmp_path: Path, algorithm: Any, norm: Any, own: str
) -> None:
    model = ModelConfig(channels=2, pool_layers=2, norm=norm)
    run = config(tmp_path / "a", algorithm=algorithm, model=model, target_trains=False)
    _, summary = trained(run)
    assert roles(summary) == {"anna": "source", "berta": "source", "clara": "target"}
    network = load_file(tmp_path / "a/weights.safetensors")
    personal = {name: load_file(tmp_path / f"a/personal/{name}.safetensors") for name in ("anna", "berta")}
    assert {path.stem for path in (tmp_path / "a/personal").iterdir()} == personal.keys()
    built = {name for name, _ in named(model)}
    assert network.keys() == built
    assert personal["anna"].keys() == personal["berta"].keys()
    assert any(own in name for name in personal["anna"])
    for name in personal["anna"]:
        mean = (personal["anna"][name].astype(float) + personal["berta"][name]) / 2
        np.testing.assert_allclose(network[name], mean, rtol=1e-5, atol=1e-7)
    assert summary["ledger"]["private"] > 0


def named(model: ModelConfig) -> Iterable[tuple[str, Any]]:
    """Parameters and floating-point buffers."""
    built = model.build()
    yield from built.named_parameters()
    yield from ((name, buffer) for name, buffer in built.named_buffers() if buffer.is_floating_point())


def test_no_checkpoint_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    run = config(tmp_path / "a", keep_checkpoints=0)
    first = iter(federate(run, figures=False))
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert len(list((tmp_path / "a/checkpoint").iterdir())) == 1  # to go on from
    reports, summary = trained(run)
    assert [report.round for report in reports] == [2]
    assert not (tmp_path / "a/checkpoint").exists()
    assert trained(run) == ([], summary)  # at once
    with pytest.raises(ValueError, match="kept no checkpoint to go on from"):
        list(federate(config(tmp_path / "a", keep_checkpoints=0, rounds=5), extend=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shift": "contrast-t2=1"}, "shift 'contrast-t2' is unknown; did you mean 'contrast-t1'"),
        ({"shift": "dora:snr=1"}, "shift: 'dora' is not a site; choose one of anna, berta, clara"),
        ({"train_sites": "anna,anna"}, "'anna' stands twice"),
        ({"train_sites": "dora"}, "train_sites 'dora' is not a site; choose one of anna, berta, clara"),
        ({"train_sites": "anna,clara", "target_trains": False}, "train_sites names clara, the target"),
        ({"train_sites": "clara", "algorithm": FlMrcm()}, "fl-mrcm needs a source besides the target"),
        ({"algorithm": FedBn()}, "take --norm batch"),
        ({"algorithm": Scaffold()}, "take --optimizer sgd"),
        ({"algorithm": FlMrcm(exchange="raw"), "model": ModelConfig(channels=2, norm="batch")}, "--norm instance"),
        ({"algorithm": FlMrcm(exchange="raw"), "model": ModelConfig(channels=2, cascades=1)}, "--cascades 0"),
        ({"fused": True, "institutions": (SITES[0], SiteConfig(name="fused", **SMALL))}, "rename it"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        list(federate(config(tmp_path / "a", **{"matrix": 64, **settings})))
    assert not (tmp_path / "a").exists()


def test_patients_from_python_are_shifted_in_their_undersampling_alone(tmp_path: Path) -> None:
    class Phantoms:
        """Refused before anything is asked of it."""

        def patients(self) -> list[str]:
            raise AssertionError

        def kspace(self, patient: str) -> NoReturn:
            raise AssertionError(patient)

    run = config(tmp_path / "a", shift="anna:snr=1")
    with pytest.raises(ValueError, match=r"'anna': shift snr is for simulated patients, .*'Phantoms'; take accel"):
        list(federate(run, sources={"anna": Phantoms()}))
    assert not (tmp_path / "a").exists()
