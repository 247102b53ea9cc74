"""Search spaces: how they are written, which trials have what, what is refused before anything starts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import ALGORITHMS, FlMr, FlMrcm
from engine.config import ModelConfig, TrainConfig
from sites.config import RunConfig, SiteConfig
from sites.federation import resolve
from sweeps.studies.fields import WHEREABOUTS, kinds
from sweeps.studies.search import _parsed, _read, around, parse_space, specs
from sweeps.studies.space import Choice, Number, Space, owners

BASE = RunConfig()


def space_of(*specs: str, base: RunConfig = BASE) -> Space:
    return parse_space(specs, None, base)


def one(spec: str, **settings: Any) -> Any:
    (parameter,) = space_of(spec, base=RunConfig(**settings)).parameters
    return parameter


def test_the_issue_s_example() -> None:
    specs = ["alignment_weight=log:1e-3:1", "lr=log:1e-4:1e-2", "algorithm=fl-mr,fl-mrcm", "local_epochs=1:4"]
    assert space_of(*specs).parameters == (
        Choice(name="algorithm", values=("fl-mr", "fl-mrcm")),
        Number(name="alignment_weight", low=1e-3, high=1.0, log=True),
        Number(name="lr", low=1e-4, high=1e-2, log=True),
        Number(name="local_epochs", low=1, high=4, whole=True),
    )


@pytest.mark.parametrize(
    ("spec", "parameter"),
    [
        ("batch-size=4:16:4", Number(name="batch_size", low=4, high=16, step=4, whole=True)),
        ("lr=1:4", Number(name="lr", low=1.0, high=4.0)),
        ("lr=0.001,0.01", Choice(name="lr", values=(0.001, 0.01))),
        ("residual=true,false", Choice(name="residual", values=(True, False))),
        ("optimizer=adam,sgd", Choice(name="optimizer", values=("adam", "sgd"))),
        ("sites=2:6", Number(name="sites", low=2, high=6, whole=True)),
        ("sites=auto,6", Choice(name="sites", values=("auto", 6))),
        ("rounds=log:4:32", Number(name="rounds", low=4, high=32, log=True, whole=True)),
        ("target=ixi,brats", Choice(name="target", values=("ixi", "brats"))),
        ("hpks.snr=10:40", Number(name="hpks.snr", low=10, high=40)),
        ("target.acceleration=4:8", Number(name="target.acceleration", low=4, high=8, whole=True)),
        ("sources.mask=random,magic", Choice(name="sources.mask", values=("random", "magic"))),
        ("shift.contrast=0:1", Number(name="shift.contrast", low=0, high=1)),
        ("shift.hpks.contrast-flair=0,0.5,1", Choice(name="shift.hpks.contrast-flair", values=(0.0, 0.5, 1.0))),
        ("identifier_form=two_logits,one_logit", Choice(name="identifier_form", values=("two_logits", "one_logit"))),
    ],
)
def test_types_are_the_field_s(spec: str, parameter: Any) -> None:
    found = one(spec)
    assert found == parameter
    assert [type(value) for value in found.ends] == [type(value) for value in parameter.ends] or not found.whole


def test_texts_with_commas_are_in_quotes() -> None:
    assert one('train_sites="ixi,hpks",brats', algorithm=FlMr()).values == ("ixi,hpks", "brats")
    assert one('train_sites="ixi, hpks" , brats', algorithm=FlMr()).values == ("ixi, hpks", "brats")
    assert specs(Space((Choice(name="train_sites", values=("ixi,hpks", "brats")),))) == ['train_sites="ixi,hpks",brats']


def test_every_setting_that_decides_numbers_can_be_searched() -> None:
    known = kinds()
    for owner in (RunConfig, TrainConfig, ModelConfig, *ALGORITHMS.values()):
        left_out = {item.name for item in fields(owner)} - {*known}
        assert left_out <= {*WHEREABOUTS, "algorithm", "train", "model", "placement", "institutions"} | {
            "shift",
            "site_settings",
            "seed",
        }
    assert not {*known} & WHEREABOUTS


def test_a_file_with_and_without_quotes_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text("""
[search]
alignment_weight = {low = 1e-3, high = 1, log = true}
algorithm = ["fl-mr", "fl-mrcm"]
local-epochs = {low = 1, high = 4}
"hpks.snr" = {low = 10, high = 40, step = 5}
shift.contrast = [0, 0.5, 1]
""")
    found = parse_space(["local_epochs=1,3"], file, BASE)
    assert found.parameters == (
        Choice(name="algorithm", values=("fl-mr", "fl-mrcm")),
        Number(name="alignment_weight", low=1e-3, high=1.0, log=True),
        Choice(name="local_epochs", values=(1, 3)),
        Number(name="hpks.snr", low=10, high=40, step=5),
        Choice(name="shift.contrast", values=(0.0, 0.5, 1.0)),
    )


def test_without_a_space_it_is_around_the_run_s_own_values() -> None:
    assert parse_space([], None, BASE).parameters == (
        Number(name="alignment_weight", low=0.001, high=1.0, log=True),
        Number(name="identifier_lr", low=1e-4, high=1e-2, log=True),
        Number(name="lr", low=5e-4, high=5e-3, log=True),
    )
    assert [each.name for each in around(RunConfig(algorithm=FlMr())).parameters] == ["lr"]


# ---- conditions -----------------------------------------------------------------------------------------------


def test_a_method_s_own_setting_is_there_with_the_method_only() -> None:
    space = space_of("alignment_weight=log:1e-3:1", "lr=0.001,0.002", "algorithm=fl-mr,fl-mrcm,fed-prox", "mu=0:1")
    assert space.conditional == ("alignment_weight", "mu")
    assert [each.name for each in space.of("fl-mr")] == ["algorithm", "lr"]
    assert [each.name for each in space.of("fl-mrcm")] == ["algorithm", "alignment_weight", "lr"]
    assert owners("alignment_weight") == {"fl-mrcm", "fl-mmd", "fl-coral", "adcol"}
    assert owners("weighting") == owners("lr") == owners("hpks.snr") == {*ALGORITHMS}


def test_a_setting_of_the_run_s_own_method_is_in_every_trial() -> None:
    assert space_of("alignment_weight=log:1e-3:1", "lr=1e-3:1e-2").conditional == ()


@pytest.mark.parametrize("specs", [["mu=0:1"], ["mu=0:1", "algorithm=fl-mr,fl-mrcm"]])
def test_a_setting_of_no_method_in_play_is_refused(specs: list[str]) -> None:
    with pytest.raises(ValueError, match=r"search: mu is no setting of .*; it is one of fed-prox, moon: take such an"):
        space_of(*specs)


def test_a_grid_of_counted_values() -> None:
    space = space_of("alignment_weight=0.1,1", "algorithm=fl-mr,fl-mrcm", "lr=0.1:0.3:0.1", "local_epochs=1:2")
    grid = space.grid()
    assert len(grid) == 1 * 3 * 2 + 2 * 3 * 2
    assert {row["lr"] for row in grid} == {0.1, 0.2, 0.3}
    assert all(("alignment_weight" in row) == (row["algorithm"] == "fl-mrcm") for row in grid)


# ---- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["lr"], "'lr': write NAME=LOW:HIGH, NAME=LOW:HIGH:STEP, NAME=log:LOW:HIGH or NAME=A,B,C"),
        (["lr="], "'lr=': write NAME=LOW:HIGH"),
        (["lrr=1:2"], "'lrr=1:2': 'lrr' is no setting; did you mean 'lr'?"),
        (["lr=1"], "'lr=1': one value is no choice"),
        (["lr=1:x"], "'lr=1:x': 'x' is not a number"),
        (["lr=2:1"], "'lr=2:1': low is 2.0; take a number below high, 1"),
        (["lr=log:0:1"], "low is 0.0; take a number above 0 for a logarithmic scale"),
        (["lr=log:1:2:3"], "write log:LOW:HIGH"),
        (["lr=1:2:3:4"], "write LOW:HIGH or LOW:HIGH:STEP"),
        (["lr=0.1:inf"], "high is inf; take a finite number"),
        (["lr=nan:1"], "low is nan; take a finite number"),
        (["lr=1:2:0"], "step is 0.0; take a number above 0"),
        (["rounds=1.5:3"], "'1.5' is not a whole number"),
        (["rounds=1:9:3"], "high is 9; take low plus a number of steps, for example 7"),
        (["residual=0:1"], "it is true or false; write residual=true,false"),
        (["residual=yes,no"], "'yes' is not true or false"),
        (["optimizer=log:1:2"], "it is no number; list its values, optimizer=A,B,C"),
        (["optimizer=adam,adamw"], "'adamw' is not one of adam, rmsprop, sgd"),
        (["optimizer=sgd,sgd"], "'sgd' stands twice among its values"),
        (["lr=1:2", "lr=1:3"], "'lr' stands twice"),
        (["seed=0:4"], "seed is not searched, for trials are compared on the same seeds; give --seeds for several"),
        (["out=a,b"], "out changes no result; give --out once for all trials"),
        (["workers=1:2"], "workers changes no result"),
        (["shift=a,b"], "shift is searched setting by setting, shift.DIAL=0:1"),
        (["site_settings=a,b"], "site_settings is searched setting by setting, SITE.FIELD=LOW:HIGH"),
        (["model=a,b"], "'model' is no setting"),
        (["hpks.snrr=1:2"], "'snrr' is no setting of a site; did you mean 'snr'?"),
        (["hpks.gpus=0.1:0.2"], "where a site computes is not searched"),
        (["hpks.name=a,b"], "'name' is no setting of a site"),
        (["shift.contrst=0:1"], "'contrst' is no dial of a shift; did you mean 'contrast'?"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(specs: list[str], words: str) -> None:
    with pytest.raises(ValueError, match="search: ") as refused:
        space_of(*specs)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["lr=0:1"], "search: lr=0.0: lr is 0.0; take a positive, finite number"),
        (["alignment_weight=-1:1", "lr=1:2"], "search: alignment_weight=-1.0: alignment_weight is -1.0; take"),
        (["matrix=16:64:16"], "search: matrix=16: matrix is 16; take at least 32 with 4 poolings"),
        (["pool_layers=3:6"], "matrix is 64; take at least 128 with 6 poolings"),
        (["hpsk.snr=1:2"], "search: hpsk.snr=1.0: site_settings: 'hpsk' is not a site; did you mean 'hpks'?"),
        (["hpks.te=10:100", "lr=1:2", "hpks.tr=50:5000"], "search: hpks.te=100.0, hpks.tr=50.0: site_settings: "),
        (["shift.contrast=0:2"], "search: shift.contrast=2.0: shift contrast"),
        (["shift.nobody.snr=0:1"], "search: shift.nobody.snr=0.0: shift: 'nobody' is not a site"),
        (["target=ixi,nowhere"], "search: target=nowhere: target 'nowhere' is not a site"),
        (["algorithm=fl-mr,scaffold", "lr=1:2"], "search: algorithm=scaffold: optimizer is 'adam'"),
        (["sites=1:4"], "search: sites=1: fl-mrcm needs a source besides the target"),
    ],
)  # fmt: skip
def test_the_ends_are_what_a_run_would_refuse(specs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match="search: ") as refused:
        space_of(*specs)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_that_cannot_be_is_not_the_space_s_fault() -> None:
    base = RunConfig(scenario="nowhere")
    with pytest.raises(ValueError, match="scenario 'nowhere'") as own:
        resolve(base)
    with pytest.raises(ValueError, match="scenario 'nowhere'") as refused:
        space_of("lr=1:2", base=base)
    assert str(refused.value) == str(own.value)


@pytest.mark.parametrize(
    ("specs", "base", "words"),
    [
        (["scenario=cvpr21,near"], {"institutions": (SiteConfig(name="a"),)}, "search: scenario: the run has sites"),
        (["data=a,b"], {"institutions": (SiteConfig(name="a"),)}, "search: data: the run has sites of its own"),
        (["scenario=cvpr21,near", "data=a,b"], {}, "search: scenario: data takes the place of a scenario"),
        (["scenario=cvpr21,near"], {"data": "somewhere"}, "search: scenario: data takes the place of a scenario"),
    ],
)
def test_a_search_that_would_find_the_same_sites(specs: list[str], base: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        space_of(*specs, base=RunConfig(algorithm=FlMr(), **base))


def test_a_run_that_the_space_mends_is_none_of_its_own() -> None:
    assert space_of("algorithm=fl-mr,fed-prox", base=RunConfig(sites=1, algorithm=FlMrcm())).parameters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr = 3", "a space is one table, [search]; 'lr' is beside it; settings of all trials are options"),
        ("", "a space is one table, [search]; it is missing"),
        ("[search]", "[search] is empty; name a setting in it, or leave the file out"),
        ("[search", "broken TOML"),
        ("[search]\nlr = 3", "[search] lr: it is 3; write {low = …, high = …} or a list of values"),
        ("[search]\nlr = {low = 1}", "[search] lr: a range has a low and a high; write both"),
        ("[search]\nlr = {low = 1, high = 2, lg = true}", "'lg' is no key of a range; did you mean 'log'?"),
        ("[search]\nlr = {low = 1, high = 2, log = 1}", "[search] lr: log is 1; write true or false"),
        ("[search]\nlr = {low = true, high = 2}", "[search] lr: 'true' is not a number"),
        ("[search]\nrounds = {low = 1.5, high = 2}", "[search] rounds: '1.5' is not a whole number"),
        ("[search]\nresidual = {low = 0, high = 1}", "[search] residual: it is no number; list its values"),
        ("[search]\nhpks.snrr = [1, 2]", "[search] hpks.snrr: 'snrr' is no setting of a site"),
        ("[search]\nalgorithm = ['fl-mr', 3]", "[search] algorithm: '3' is not one of fl-mr"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=str(file)) as refused:
        parse_space([], file, BASE)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file or directory; give a readable TOML file"):
        parse_space([], tmp_path / "nothing.toml", BASE)


# ---- round trips ----------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.tuples(st.floats(1e-9, 1), st.floats(1.5, 1e6), st.booleans()).map(
        lambda it: Number(name="lr", low=it[0], high=it[1], log=it[2])
    ),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)).map(
        lambda it: Number(name="local_epochs", low=it[0], high=it[0] + it[1] * it[2], step=it[2], whole=True)
    ),
    st.tuples(st.decimals(1, 9, places=2), st.integers(1, 99), st.decimals("0.01", 1, places=2)).map(
        lambda it: Number(name="hpks.snr", low=float(it[0]), high=float(it[0] + it[1] * it[2]), step=float(it[2]))
    ),
)
choices = st.one_of(
    st.lists(st.floats(1e-9, 1), min_size=2, max_size=5, unique=True).map(
        lambda values: Choice(name="lr", values=tuple(values))
    ),
    st.lists(st.text(alphabet=st.sampled_from('a,": =\t'), max_size=6), min_size=2, max_size=4, unique=True).map(
        lambda values: Choice(name="only_train", values=tuple(values))
    ),
    st.permutations(["fl-mr", "fl-mrcm", "moon"]).map(lambda values: Choice(name="algorithm", values=tuple(values))),
)


def in_toml(parameter: Any) -> str:
    if isinstance(parameter, Choice):
        return tomli_w.dumps({"search": {parameter.name: list(parameter.values)}})
    table = {key: getattr(parameter, key) for key in ("low", "high", "step", "log") if getattr(parameter, key)}
    return tomli_w.dumps({"search": {parameter.name: table}})


@settings(max_examples=30, deadline=None)
@given(parameter=st.one_of(numbers, choices))
def test_what_is_written_is_read(parameter: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("space") / "space.toml"
    file.write_text(in_toml(parameter))
    space = Space((parameter,))
    if parameter.name == "only_train":  # texts that are the names of no sites
        (spec,) = specs(space)
        assert (_parsed(spec), *_read(file)) == (parameter, parameter)
    else:
        assert space_of(*specs(space)) == parse_space([], file, BASE) == space


@given(parameter=numbers)
def test_the_values_of_a_range_are_all_there_are(parameter: Number) -> None:
    if parameter.values is None:
        assert parameter.step is None
    else:
        assert (parameter.values[0], parameter.values[-1]) == (parameter.low, parameter.high)
        assert len(parameter.values) == round((parameter.high - parameter.low) / (parameter.step or 1)) + 1


def test_sites_may_have_dots_in_their_names() -> None:
    sites = tuple(SiteConfig(name=name) for name in ("a.b", "c-d", "e"))
    base = RunConfig(institutions=sites, algorithm=FlMr())
    specs = ["a.b.snr=10:20", "c-d.snr=10:20", "shift.a.b.snr=0:1"]
    assert [each.name for each in space_of(*specs, base=base).parameters] == ["a.b.snr", "c-d.snr", "shift.a.b.snr"]
    with pytest.raises(
        ValueError, match=r"^search: shift.a.b.snr=1.0, a.b.snr=5.0: site 'a.b': shift snr moves nothing"
    ):
        space_of("c-d.snr=10:20", "shift.a.b.snr=0:1", "a.b.snr=5,20", base=base)
