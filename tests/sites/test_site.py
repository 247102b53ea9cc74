"""An institution's splits, orders and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.streams import rng
from engine.types import Batch, SiteLike
from sites.acquisition import fully_sampled
from sites.config import MaskKind, SiteConfig
from sites.masks import column_mask
from sites.shifts import threshold
from sites.site import FusedSite, Site
from sites.sources.base import KSpace

CONFIG = SiteConfig(name="a", train_patients=3, val_patients=2, test_patients=1, slices=4)


class NoiseSource:
    """Patients of pure noise; slices of the number and width given."""

    def __init__(self, name: str = "a", patients: int = 6, widths: Sequence[int] = (32,), coils: int = 1) -> None:
        self.coils = coils
        self.names = [f"{name}-{i:03d}" for i in range(patients)]
        self.widths = widths
        self.reads = 0

    def patients(self) -> Sequence[str]:
        return self.names

    def kspace(self, patient: str) -> KSpace:
        self.reads += 1
        index = self.names.index(patient)
        shape = (4, self.coils, 16, self.widths[index % len(self.widths)], 2)
        parts = rng(0, "test", patient).standard_normal(shape, dtype=np.float32)
        return parts.view(np.complex64)[..., 0]


def site(name: str = "a", seed: int = 0) -> Site:
    return Site(replace(CONFIG, name=name), NoiseSource(name), seed)


def train(site: SiteLike, round: int = 1, epoch: int = 0, batch_size: int = 5) -> list[Batch]:
    return list(site.train_batches(round, epoch, batch_size))


def joined(batches: Sequence[Batch], field: str) -> Tensor:
    return torch.cat([getattr(batch, field) for batch in batches])


def test_is_what_the_engine_asks_for() -> None:
    asked: SiteLike = site()
    assert asked.name == "a"
    assert [asked.slices("train"), asked.slices("val"), asked.slices("test")] == [12, 8, 4]
    batches = train(asked)
    assert [len(batch.volume) for batch in batches] == [5, 5, 2]
    assert batches[0].input.shape == (5, 1, 16, 32)


def test_splits_are_by_patient_first_come_and_disjoint() -> None:
    source = NoiseSource()
    institution = Site(CONFIG, source, 0)
    expected = [fully_sampled(torch.from_numpy(source.kspace(name))) for name in source.patients()]
    val, test = list(institution.eval_batches("val", 3)), list(institution.eval_batches("test", 3))
    torch.testing.assert_close(joined(val, "truth"), torch.cat(expected[3:5]))
    torch.testing.assert_close(joined(test, "truth"), expected[5])
    assert joined(val, "volume").tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    batches = train(institution)
    truth, volume = joined(batches, "truth"), joined(batches, "volume")
    assert sorted(volume.tolist()) == sorted([0, 1, 2] * 4)
    for patient in range(3):
        assert set(truth[volume == patient].sum(dim=(1, 2)).tolist()) == set(expected[patient].sum(dim=(1, 2)).tolist())


def test_reads_every_patient_once() -> None:
    source = NoiseSource()
    institution = Site(CONFIG, source, 0)
    train(institution)
    list(institution.eval_batches("test", 2))
    assert source.reads == 6


def test_training_masks_and_order_are_fresh_each_epoch_and_repeatable() -> None:
    institution = site()
    first = train(institution)
    for field in ("mask", "volume", "input"):
        assert torch.equal(joined(first, field), joined(train(institution), field))
        assert torch.equal(joined(first, field), joined(train(site()), field))
    for other in (train(institution, round=2), train(institution, epoch=1), train(site(seed=1))):
        assert not torch.equal(joined(first, "mask"), joined(other, "mask"))
        assert not torch.equal(joined(first, "volume"), joined(other, "volume"))


def test_every_training_slice_has_a_mask_of_its_own_from_the_sites_stream() -> None:
    seeds = rng(0, "masks", "a", 1, 0).integers(2**32, size=12)
    expected = np.stack([column_mask("random", 32, 4, 0.08, int(seed)) for seed in seeds])
    assert np.array_equal(joined(train(site()), "mask").numpy(), expected)
    assert len({mask.tobytes() for mask in expected}) > 6


def test_batch_size_changes_nothing_but_the_batches() -> None:
    for field in ("input", "mask"):
        assert torch.equal(joined(train(site(), batch_size=5), field), joined(train(site(), batch_size=12), field))


def test_evaluation_masks_are_fixed_by_the_patients_name() -> None:
    institution = site()
    masks = joined(list(institution.eval_batches("val", 3)), "mask").numpy()
    for index, patient in enumerate(["a-003", "a-004"]):
        expected = column_mask("random", 32, 4, 0.08, [ord(c) for c in patient])
        assert all(np.array_equal(mask, expected) for mask in masks[4 * index : 4 * index + 4])
    assert np.array_equal(masks, joined(list(site(seed=5).eval_batches("val", 8)), "mask").numpy())


def test_shift_is_measured_under_masks_of_the_federations_seed() -> None:
    """A mask a slice, the same every time: not those of the scores, which every seed shares."""
    institution = site()
    drawn = list(institution.sample_batches(3))
    masks = joined(drawn, "mask").numpy()
    seeds = rng(0, "sample masks", "a").integers(2**32, size=8)
    assert np.array_equal(masks, np.stack([column_mask("random", 32, 4, 0.08, int(seed)) for seed in seeds]))
    assert len(np.unique(masks, axis=0)) == 8
    assert np.array_equal(masks, joined(list(institution.sample_batches(8)), "mask").numpy())
    assert not np.array_equal(masks, joined(list(site(seed=5).sample_batches(8)), "mask").numpy())
    for field in ("truth", "volume"):
        assert torch.equal(joined(drawn, field), joined(list(institution.eval_batches("val", 8)), field))


def test_a_lazy_site_reads_no_other_patients_to_measure_its_shift() -> None:
    source = NoiseSource()
    lazy = Site(replace(CONFIG, name="a"), source, 0, lazy=True)
    drawn = joined(list(lazy.sample_batches(3)), "mask")
    assert source.reads == 2
    assert torch.equal(drawn, joined(list(site().sample_batches(3)), "mask"))


def test_another_pattern_for_a_part_of_the_patients_leaves_the_others_and_all_seeds_as_they_are() -> None:
    turned = Site(replace(CONFIG, shift="mask=0.5"), NoiseSource(), 0)
    others = {patient for patient in range(6) if threshold(patient) < 0.5}
    assert 0 < len(others & {0, 1, 2}) < 3
    seeds = rng(0, "masks", "a", 1, 0).integers(2**32, size=12)
    batches = train(turned)
    kinds = ["equispaced" if int(patient) in others else "random" for patient in joined(batches, "volume")]
    drawn = zip(kinds, seeds, strict=True)
    expected = np.stack([column_mask(kind, 32, 4, 0.08, int(seed)) for kind, seed in drawn])  # type: ignore[arg-type]
    assert np.array_equal(joined(batches, "mask").numpy(), expected)
    for field in ("volume", "truth"):
        assert torch.equal(joined(batches, field), joined(train(site()), field))
    fixed = joined(list(turned.eval_batches("val", 8)), "mask").numpy()[::4]
    for mask, patient in zip(fixed, (3, 4), strict=True):
        kind: MaskKind = "equispaced" if patient in others else "random"
        assert np.array_equal(mask, column_mask(kind, 32, 4, 0.08, [ord(c) for c in f"a-00{patient}"]))


def test_acceleration_shifts_every_mask() -> None:
    masks = joined(train(Site(replace(CONFIG, shift="acceleration=1"), NoiseSource(), 0)), "mask").numpy()
    seeds = rng(0, "masks", "a", 1, 0).integers(2**32, size=12)
    assert np.array_equal(masks, np.stack([column_mask("random", 32, 8, 0.04, int(seed)) for seed in seeds]))


def test_the_order_in_which_sites_work_changes_nothing() -> None:
    a, b = site("a"), site("b")
    first = [joined(train(s), "input") for s in (a, b)]
    b, a = site("b"), site("a")
    second = [joined(train(s), "input") for s in (b, a)]
    assert torch.equal(first[0], second[1])
    assert torch.equal(first[1], second[0])
    assert not torch.equal(joined(train(a), "mask"), joined(train(b), "mask"))


def test_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="site 'a' has 5 patients, its splits need 6"):
        Site(CONFIG, NoiseSource(patients=5), 0)
    with pytest.raises(ValueError, match="site 'a' has slices of"):
        Site(CONFIG, NoiseSource(widths=(32, 30)), 0)
    with pytest.raises(ValueError, match="site 'a' has slices of"):
        Site(CONFIG, NoiseSource(widths=(32, 32, 32, 30, 30, 30)), 0)
    with pytest.raises(ValueError, match=r"site 'a': center_fraction 0\.5 measures 16 of 32 columns"):
        Site(replace(CONFIG, mask="equispaced_fraction", center_fraction=0.5), NoiseSource(), 0)
    with pytest.raises(ValueError, match="site 'a': acceleration 40 is outside 1 to 32"):
        Site(replace(CONFIG, acceleration=20, shift="acceleration=1"), NoiseSource(), 0)


# ---- shards in one place ------------------------------------------------------------------------------------


def test_fused_has_every_parts_slices_under_their_own_masks_in_an_order_of_its_own() -> None:
    parts = [site("a"), site("b")]
    fused: SiteLike = FusedSite("fused", parts)
    assert [fused.slices("train"), fused.slices("val"), fused.slices("test")] == [24, 0, 0]
    batches = train(fused, batch_size=5)
    assert [len(batch.volume) for batch in batches] == [5, 5, 5, 5, 4]
    assert list(fused.eval_batches("val", 4)) == []
    together = [row for part in parts for batch in train(part) for row in rows(batch)]
    assert sorted(row for batch in batches for row in rows(batch)) == sorted(together)
    assert [row for batch in batches for row in rows(batch)] != together
    assert torch.equal(joined(batches, "input"), joined(train(FusedSite("fused", parts), batch_size=5), "input"))
    assert not torch.equal(joined(batches, "mask"), joined(train(fused, epoch=1, batch_size=5), "mask"))


def rows(batch: Batch) -> list[bytes]:
    """Each slice's undersampled k-space and mask."""
    assert batch.kspace is not None
    assert batch.mask is not None
    pairs = zip(batch.kspace.numpy(), batch.mask.numpy(), strict=True)
    return [kspace.tobytes() + mask.tobytes() for kspace, mask in pairs]


def test_fused_of_different_coils_has_every_parts_images() -> None:
    array = Site(replace(CONFIG, name="b"), NoiseSource("b", coils=3), 0)
    parts = [site("a"), array]
    batches = train(FusedSite("fused", parts))
    assert all(batch.kspace is not None and batch.kspace.shape[1] == 3 for batch in batches)
    for field in ("truth", "input", "target"):
        found = joined(batches, field).flatten(1)
        expected = torch.cat([joined(train(part), field) for part in parts]).flatten(1)
        order, wanted = (torch.argsort(each[:, 0]) for each in (found, expected))
        torch.testing.assert_close(found[order], expected[wanted])


def test_fused_refuses_slices_of_different_sizes() -> None:
    wide = Site(replace(CONFIG, name="b"), NoiseSource("b", widths=(48,)), 0)
    with pytest.raises(ValueError, match=r"cannot be fused \(a \(16, 32\), b \(16, 48\)\)"):
        FusedSite("fused", [site("a"), wide])
