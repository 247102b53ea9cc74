"""Methods as a table's rows are written."""

from __future__ import annotations

import pytest

from engine.algorithms import FedOpt, FedProx, FlMr, FlMrcm, Scaffold
from engine.config import ModelConfig, TrainConfig
from sweeps.methods import methods


def test_every_table_has_the_papers_two() -> None:
    fl_mr, fl_mrcm = methods("", TrainConfig(lr=0.5), ModelConfig(channels=3))
    assert (fl_mr.label, fl_mr.algorithm, fl_mrcm.label, fl_mrcm.algorithm) == ("FL-MR", FlMr(), "FL-MRCM", FlMrcm())
    assert (fl_mr.needs_target, fl_mrcm.needs_target) == (False, True)
    assert all(row.train.lr == 0.5 and row.model.channels == 3 for row in (fl_mr, fl_mrcm))


def test_further_ones_with_settings_of_their_own_of_training_and_of_the_network() -> None:
    spec = "fed-prox, fl-mrcm:alignment_weight=0.1:identifier_steps=3,scaffold:optimizer=sgd:lr=0.1,fed-bn:norm=batch"
    _, _, prox, mrcm, scaffold, bn = methods(spec, TrainConfig(), ModelConfig(channels=3))
    assert prox.algorithm == FedProx()
    assert mrcm.algorithm == FlMrcm(alignment_weight=0.1, identifier_steps=3)
    assert mrcm.label == "fl-mrcm:alignment_weight=0.1:identifier_steps=3"
    assert scaffold.algorithm == Scaffold()
    assert (scaffold.train.optimizer, scaffold.train.lr, prox.train.optimizer) == ("sgd", 0.1, "adam")
    assert (bn.model.norm, bn.model.channels, prox.model.norm) == ("batch", 3, "instance")
    slugs = [row.slug for row in (prox, mrcm, scaffold, bn)]
    assert len({*slugs}) == 4
    assert not any(set(slug) & set("/: ") for slug in slugs)


def test_a_switch_and_a_choice() -> None:
    *_, plain, yogi = methods("fl-mr:residual=false:zero_last=false,fed-opt:server_optimizer=yogi", *defaults())
    assert (plain.model.residual, plain.model.zero_last) == (False, False)
    assert yogi.algorithm == FedOpt(server_optimizer="yogi")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("fedavg", "methods: 'fedavg' is unknown; choose among fl-mr, "),
        ("fl-mr", "'fl-mr' is in the table already"),
        ("fed-prox,fed-prox", "'fed-prox' stands twice in 'fed-prox,fed-prox'"),
        ("fed-prox:mu", "methods: 'mu' of 'fed-prox:mu' is no setting; write fed-prox:SETTING=VALUE"),
        ("fed-prox:mu=much", "methods: 'fed-prox:mu=much': .*mu"),
        ("fed-prox:mu=-1", "methods: 'fed-prox:mu=-1': .*mu is -1.0; take at least 0"),
        ("fed-prox:nu=1", "methods: 'fed-prox:nu=1': .*nu"),
        ("fed-prox:rounds=3", "methods: 'fed-prox:rounds=3': .*rounds"),
        ("fed-bn", "methods: 'fed-bn': norm is 'instance'"),
        ("scaffold", "methods: 'scaffold': optimizer is 'adam'"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        methods(spec, *defaults())
    assert "\n" not in str(refused.value)


def defaults() -> tuple[TrainConfig, ModelConfig]:
    return TrainConfig(), ModelConfig()
