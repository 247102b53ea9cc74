"""Command line and TOML files: what they mean, and one helpful line for what they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.algorithms import FlMr, FlMrcm
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from sites import settings
from sites.config import RunConfig, SiteConfig, difference, flat
from sites.federation import resolve
from sites.run_directory import config_toml
from sites.settings import as_command, parse_run, read_config


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "gpu_count", lambda: 0)


def parsed(*argv: str) -> RunConfig:
    return parse_run(argv).run


def refusal(argv: Sequence[str]) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_run(argv)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert not set(message) & set("│╭╰\x1b")
    return message


def toml(path: Path, text: str) -> str:
    (path / "run.toml").write_text(text, encoding="utf-8")
    return str(path / "run.toml")


# ---- the command line -----------------------------------------------------------------------------------


def test_defaults() -> None:
    command = parse_run([])
    assert command.run == RunConfig() == RunConfig.preset("demo")
    assert command.live
    run = command.run
    assert (run.scenario, run.sites, run.target, run.rounds, run.matrix) == ("cvpr21", "auto", "auto", 20, 64)
    assert run.algorithm == FlMrcm()
    assert run.model == ModelConfig(channels=8, pool_layers=4, residual=True, zero_last=True)
    assert (run.train.optimizer, run.train.batch_size, run.train.local_epochs) == ("adam", 8, 1)


@pytest.mark.parametrize("gpus", [0, 2])
def test_the_papers_preset(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue A: 256×256, 32 channels, 4 poolings, plain, batch 16, 50 × 2 epochs, 1e-4, × 0.1 from 40, RMSprop."""
    monkeypatch.setattr(settings, "gpu_count", lambda: gpus)
    run = parsed("--preset", "paper")
    assert (run.matrix, run.rounds) == (256, 50)
    assert run.model == ModelConfig(channels=32, pool_layers=4, residual=False, zero_last=False)
    assert (run.train.optimizer, run.train.batch_size, run.train.local_epochs) == ("rmsprop", 16, 2)
    assert [run.train.learning_rate(r) for r in (0, 39, 40, 49)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])
    assert parsed() == (run if gpus else RunConfig())  # auto
    assert parsed("--preset", "demo") == RunConfig()
    assert parsed("--preset", "paper", "--rounds", "3") == replace(run, rounds=3)


def test_options_reach_their_owners() -> None:
    run = parsed(
        "--sites", "6", "--target", "ixi", "--rounds=3", "--lr", "0.5", "--local_epochs", "4", "--channels", "16",
        "--weighting", "uniform", "--alignment-weight", "1", "--workers", "0", "--gpus-per-site", "0.25",
        "--keep-checkpoints", "all", "--sites-per-worker", "3", "--seed", "7", "--precision", "bf16",
    )  # fmt: skip
    assert (run.sites, run.target, run.rounds, run.seed, run.keep_checkpoints) == (6, "ixi", 3, 7, "all")
    assert run.train == TrainConfig(lr=0.5, local_epochs=4, precision="bf16")
    assert run.model == ModelConfig(channels=16)
    assert run.algorithm == FlMrcm(weighting="uniform", alignment_weight=1.0)
    assert run.placement == Placement(workers=0, gpus_per_site=0.25, sites_per_worker=3)


def test_real_data(tmp_path: Path) -> None:
    run = parsed(
        "--data", "d", "--contrast", "T1", "--split", "slices", "--skip-bad", "--memory-gb", "0.5", "--only-test", "b"
    )
    assert (run.data, run.contrast, run.split, run.skip_bad, run.memory_gb) == ("d", "T1", "slices", True, 0.5)
    assert "takes the place of a scenario" in refusal(["--data", "d", "--scenario", "cvpr21"])
    site = SiteConfig(
        name="a", source="files", path="/x", contrast="T1", use="test", test_patients=3, fingerprint="f", slices=4
    )
    stored = replace(run, institutions=(site, SiteConfig(name="b")), scenario="d")
    text = config_toml(stored, "cpu")
    assert read_config(Path(toml(tmp_path, text))) == stored
    assert "tr = " not in text.split("[[site]]")[1]
    assert "fingerprint" not in text.split("[[site]]")[2]
    assert "brings its own [[site]]" in refusal(["--config", toml(tmp_path, text), "--data", "e"])


def test_numbers_or_words() -> None:
    auto = parsed("--sites", "auto", "--workers", "auto", "--gpus-per-site", "auto", "--keep-checkpoints", "1")
    assert auto == replace(RunConfig(), keep_checkpoints=1)
    assert parsed("--lr", "1e-3").train.lr == parsed("--lr", ".001").train.lr == 1e-3


@pytest.mark.parametrize("name", ["fl-mr", "fl-mrcm"])
def test_algorithm(name: str) -> None:
    for argv in (["--algorithm", name], [f"--algorithm={name}"], ["--algorithm", "fl-mr", "--algorithm", name]):
        run = parsed(*argv)
        assert run.algorithm == (FlMr() if name == "fl-mr" else FlMrcm())
        assert run.algorithm_name == name


@pytest.mark.parametrize(("option", "name"), [("target-trains", "target_trains"), ("previews", "previews")])
def test_booleans(option: str, name: str) -> None:
    for argv in ([f"--{option}", "false"], [f"--{option}=false"], [f"--no-{option}"]):
        assert getattr(parsed(*argv), name) is False
    for argv in ([f"--{option}", "true"], [f"--{option}=true"], [f"--{option}"], []):
        assert getattr(parsed(*argv), name) is True
    assert parse_run(["--no-live"]).live is False
    assert parse_run(["--live", "false", "--rounds", "3"]).run.rounds == 3
    assert parsed("--residual", "false", "--zero-last=false").model == ModelConfig(residual=False, zero_last=False)


BAD: list[tuple[list[str], list[str]]] = [
    (["--ronuds", "3"], ["--ronuds", "did you mean --rounds?"]),
    (["--rounds"], ["--rounds", "Missing value"]),
    (["--rounds", "x"], ["--rounds", "'x'"]),
    (["--rounds", "2.5"], ["--rounds", "'2.5'"]),
    (["--rounds", "-3"], ["rounds is -3", "at least 1"]),
    (["--rounds", "0"], ["rounds is 0", "at least 1"]),
    (["--sites", "0"], ["sites is 0", "at least 1, or auto"]),
    (["--sites", "many"], ["--sites", "'many'"]),
    (["--seed", "-1"], ["seed is -1", "at least 0"]),
    (["--matrix", "31"], ["matrix is 31", "at least 32 with 4 poolings"]),
    (["--lr", "0"], ["lr is 0.0", "positive"]),
    (["--lr", "inf"], ["lr is inf", "finite"]),
    (["--lr", "nan"], ["lr is nan"]),
    (["--batch-size", "0"], ["batch_size is 0", "at least 1"]),
    (["--optimizer", "lion"], ["lion", "rmsprop"]),
    (["--keep-checkpoints", "-1"], ["keep_checkpoints is -1"]),
    (["--gpus-per-site", "2"], ["gpus_per_site is 2.0", "at most 1"]),
    (["--workers", "-1"], ["workers is -1"]),
    (["--target-trains", "maybe"], ["maybe"]),
    (["--preset", "big"], ["big", "demo"]),
    (["--algorithm", "fedavg"], ["fedavg", "fl-mrcm"]),
    (["--algorithm"], ["--algorithm", "Missing value"]),
    (["--algorithm", "fl-mr", "--alignment-weight", "1"], ["--alignment-weight"]),
    (["--alignment-weight", "-1"], ["alignment_weight is -1.0", "at least 0"]),
    (["--identifier-lr", "0"], ["identifier_lr is 0.0"]),
    (["--config"], ["--config", "Missing value"]),
    (["--config", "/nowhere/run.toml"], ["/nowhere/run.toml", "No such file", "readable TOML file"]),
    (["--config", "/"], ["Is a directory"]),
    (["--institutions", "x"], ["--institutions"]),
    (["four"], ["four"]),
]


@pytest.mark.parametrize(("argv", "parts"), BAD, ids=lambda value: " ".join(value))
def test_one_line_says_what_is_wrong(argv: list[str], parts: list[str]) -> None:
    message = refusal(argv)
    assert [part for part in parts if part not in message] == []


# ---- files ----------------------------------------------------------------------------------------------


def test_a_file_and_the_command_line_wins(tmp_path: Path) -> None:
    file = toml(tmp_path, 'rounds = 5\nlr = 0.25\ntarget_trains = false\nlive = false\nsites = "auto"\nseed = 3\n')
    command = parse_run(["--config", file])
    assert (command.run.rounds, command.run.train.lr, command.run.target_trains, command.live) == (
        5,
        0.25,
        False,
        False,
    )
    assert read_config(Path(file)) == command.run
    changed = parse_run(["--rounds", "7", "--config", file, "--target-trains", "true", "--live"])
    assert changed.run == replace(command.run, rounds=7, target_trains=True)
    assert changed.live


def test_a_files_preset_and_algorithm(tmp_path: Path) -> None:
    file = toml(tmp_path, 'preset = "paper"\nalgorithm = "fl-mr"\nmatrix = 128\n')
    assert parsed("--config", file) == replace(RunConfig.preset("paper", algorithm=FlMr()), matrix=128)
    assert parsed("--config", file, "--preset=demo", "--algorithm=fl-mrcm") == replace(RunConfig(), matrix=128)


def test_sites_of_a_file(tmp_path: Path) -> None:
    file = toml(tmp_path, '[[site]]\nname = "a"\ntr = 600\n\n[[site]]\nname = "b"\nslices = 4\ngpus = 0.5\n')
    run = parsed("--config", file, "--rounds", "2")
    assert run.institutions == (SiteConfig(name="a", tr=600.0), SiteConfig(name="b", slices=4, gpus=0.5))
    assert run.rounds == 2


def test_a_shift_of_a_run_and_of_sites(tmp_path: Path) -> None:
    sites = '[[site]]\nname = "a"\nshift = "snr=1"\n[[site]]\nname = "b"\n'
    file = toml(tmp_path, f'shift = "contrast=0.5"\n{sites}')
    run = parsed("--config", file)
    assert (run.shift, [site.shift for site in run.institutions]) == ("contrast=0.5", ["snr=1", ""])
    resolved = resolve(run)
    assert (resolved.shift, [site.shift for site in resolved.institutions]) == ("", ["snr=1", "contrast=0.5"])
    assert resolve(resolved) == resolved
    stored = read_config(Path(toml(tmp_path, config_toml(resolved, "cpu"))))
    assert stored.institutions == resolved.institutions
    again = resolve(replace(stored, shift="a:snr=0,coils=1"))
    assert [site.shift for site in again.institutions] == ["", "contrast=0.5,coils=1"]
    assert parsed("--shift", "contrast=0.5").shift == parsed("--shift=contrast=0.5").shift == "contrast=0.5"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("contrst=0.5", ["'contrst' is unknown", "did you mean 'contrast'?"]),
        ("hpsk:snr=1", ["'hpsk' is not a site", "fastmri, hpks, ixi, brats"]),
        ("lesions=1", ["site 'brats': shift lesions moves nothing"]),
        ("contrast=2", ["contrast is 2"]),
    ],
)
def test_a_shift_that_cannot_be_is_refused_when_the_run_is_resolved(text: str, parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        resolve(parsed("--shift", text))
    assert len(str(caught.value).splitlines()) == 1
    assert [part for part in parts if part not in str(caught.value)] == []


def test_texts_that_begin_with_a_dash(tmp_path: Path) -> None:
    assert parsed("--config", toml(tmp_path, 'out = "-x"\n')).out == "-x"


BAD_FILES: list[tuple[str, list[str]]] = [
    ("rounds = \n", ["broken TOML", "line 1"]),
    ("\x00", ["broken TOML"]),
    ("rounds = 1\nrounds = 2\n", ["broken TOML"]),
    ("ronuds = 5\n", ["--ronuds", "did you mean --rounds?"]),
    ('rounds = "x"\n', ["--rounds", "'x'"]),
    ("rounds = 5.5\n", ["--rounds", "5.5"]),
    ("rounds = [1]\n", ["rounds is [1]", "single values"]),
    ("rounds = true\n", ["--rounds"]),
    ("when = 2020-01-01\n", ["when", "single values"]),
    ("[train]\nlr = 1.0\n", ["train", "single values"]),
    ("seed = -3\n", ["seed is -3"]),
    ("lr = nan\n", ["lr is nan"]),
    ("help = true\n", ["help is for the command line only"]),
    (
        'methods = "fed-prox"\nseeds = 3\ntargets = ""\nstudies = "both"\nrounds = 2\n',
        ["this command has no settings methods, seeds, targets and 1 more", "the command that the file is of"],
    ),
    ('config = "other.toml"\n', ["config is for the command line only"]),
    ('algorithm = "fl-mr"\nalignment_weight = 1.0\n', ["--alignment-weight"]),
    ("site = 3\n", ["[[site]]"]),
    ('[site]\nname = "a"\n', ["[[site]]"]),
    ('[[site]]\nname = "a"\nsnrr = 3\n', ["[[site]] 1 ('a')", "'snrr'", "did you mean 'snr'?"]),
    ('[[site]]\nname = "a"\nsnr = "x"\n', ["[[site]] 1 ('a')", "snr is 'x'", "number"]),
    ("[[site]]\nsnr = 3.0\n", ["[[site]] 1", "name is missing"]),
    ('[[site]]\nname = "a"\nsnr = -1.0\n', ["site 'a'", "snr is -1.0"]),
]


@pytest.mark.parametrize(("text", "parts"), BAD_FILES)
def test_one_line_names_the_file_and_what_is_wrong(tmp_path: Path, text: str, parts: list[str]) -> None:
    file = toml(tmp_path, text)
    message = refusal(["--config", file])
    assert [part for part in [file, *parts] if part not in message] == []
    with pytest.raises(ValueError, match=r".") as caught:
        read_config(Path(file))
    assert str(caught.value) == message


def test_a_command_says_what_is_not_usual_and_what_is_said_always() -> None:
    run = RunConfig(target="ixi", out="elsewhere", algorithm=FlMrcm(alignment_weight=0.5), target_trains=False)
    run = replace(run, only_test="-odd", placement=Placement(workers=0, threads=2))
    options = as_command(flat(run), flat(RunConfig()), always=("seed", "target"))
    assert options[:6] == ["--preset", "demo", "--seed", "0", "--target", "ixi"]
    rest = {"--no-target-trains", "--only-test=-odd", "--threads", "2", "--alignment-weight", "0.5"}
    assert {*options[6:]} == rest
    assert parse_run(options).run == replace(run, out="", placement=Placement(threads=2))
    assert as_command({"rounds": 3}, {"rounds": 3, "lr": 0.1}, ("--config", "a.toml")) == ["--config", "a.toml"]
    with pytest.raises(ValueError, match="settings are single values"):
        as_command({"rounds": {"a": 1}}, {"rounds": 3})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    assert "broken TOML" in refusal(["--config", str(tmp_path / "run.toml")])


# ---- a stored configuration -----------------------------------------------------------------------------

finite = st.floats(1e-6, 1e3)
algorithms = st.builds(FlMr, weighting=st.sampled_from(["slices", "uniform"])) | st.builds(
    FlMrcm,
    alignment_weight=st.floats(0, 10),
    alignment_warmup=st.integers(0, 9),
    identifier_lr=finite,
    identifier_form=st.sampled_from(["two_logits", "one_logit"]),
    exchange=st.sampled_from(["latents", "raw"]),
)
institutions = st.lists(
    st.builds(
        SiteConfig,
        name=st.from_regex(r"[a-z][a-z0-9_.-]{0,6}", fullmatch=True),
        description=st.text(max_size=20),
        snr=finite,
        acceleration=st.integers(1, 9),
        coils=st.integers(1, 64),
        atrophy=st.floats(0, 1),
        shift=st.sampled_from(["", "contrast=0.5", "snr=0.25,mask=1"]),
        gpus=st.none() | st.floats(0.01, 1),
    ),
    max_size=2,
    unique_by=lambda site: site.name,
).map(tuple)
words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
configs = st.builds(
    RunConfig,
    scenario=words,
    sites=st.just("auto") | st.integers(1, 99),
    target=words,
    target_trains=st.booleans(),
    rounds=st.integers(1, 10**6),
    matrix=st.integers(32, 512),
    seed=st.integers(0, 2**63),
    shift_every=st.integers(0, 9),
    keep_checkpoints=st.just("all") | st.integers(1, 9),
    previews=st.booleans(),
    ray_address=words,
    algorithm=algorithms,
    train=st.builds(TrainConfig, lr=finite, optimizer_state=st.sampled_from(["fresh", "kept"])),
    model=st.builds(ModelConfig, channels=st.integers(1, 64), residual=st.booleans()),
    placement=st.builds(
        Placement, workers=st.just("auto") | st.integers(0, 9), gpus_per_site=st.just("auto") | st.floats(0.1, 1)
    ),
    institutions=institutions,
)


@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(configs)
def test_a_stored_configuration_comes_back(tmp_path: Path, config: RunConfig) -> None:
    file = toml(tmp_path, config_toml(config, "cpu"))
    assert read_config(Path(file)) == config
    assert parsed("--config", file) == config
    assert difference(config, read_config(Path(file))) == ""


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_stored_configuration_means_the_same_on_another_machine(
    tmp_path: Path, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(tmp_path, config_toml(RunConfig(), "cpu"))
    monkeypatch.setattr(settings, "gpu_count", lambda: gpus)
    assert read_config(Path(file)) == RunConfig()


def test_no_two_settings_share_a_name() -> None:
    """They would be one option, and one key of a file."""
    config = RunConfig()
    own = [name for name in vars(config) if name not in ("algorithm", "train", "model", "placement", "institutions")]
    parts: list[Any] = [config.algorithm, config.train, config.model, config.placement]
    names = ["algorithm", *own, *(name for part in parts for name in vars(part))]
    assert sorted(names) == sorted(flat(config))
    tomli_w.dumps(flat(config))  # each is a single value
