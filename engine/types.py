"""What passes between driver, sites and whoever watches: frozen dataclasses, no torch.

Legend: N slices, B batch, C coils, H height, W width, D latent features, P weights of the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Role = Literal["source", "target", "both", "test"]
Split = Literal["train", "val", "test"]


class WorkerLost(RuntimeError):
    """A worker process died; `Cohort.revive` starts it again, without what its sites had learnt since."""


class TrainingStopped(RuntimeError):
    """Training cannot go on (a loss that is not finite, an alignment that is cut off); says site and round."""


class MemoryExhausted(TrainingStopped):
    """The same, since a GPU's memory, or this process's share of it, is used up."""


# ---- inside an institution ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a data-consistent network needs of a batch besides the zero-filled image: see `Batch` for the fields."""

    kspace: torch.Tensor
    mask: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @property
    def measured(self) -> torch.Tensor:
        """The mask over k-space: bool, [B, 1, 1, W] or [B, 1, H, W]."""
        return self.mask[:, None, None, :] if self.mask.ndim == 2 else self.mask[:, None]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some slices of one site, on its device; never leaves the site's process.

    input:  [B, 1, H, W] zero-filled magnitude, normalised per slice to zero mean and unit deviation
    target: [B, 1, H, W] fully sampled magnitude, normalised with the *input's* mean and deviation
    truth:  [B, H, W] fully sampled magnitude in the scanner's units, not clamped: what is scored
    zero_filled: [B, H, W] zero-filled magnitude in the scanner's units, not clamped: what a network must beat
    kspace: complex64 [B, C, H, W] undersampled; mask: bool [B, W] columns measured, or [B, H, W] samples
    mean, std: [B] of the zero-filled magnitude, the scanner's units
    volume: int64 [B] index of the patient within the split
    """

    input: torch.Tensor
    target: torch.Tensor
    truth: torch.Tensor
    zero_filled: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    volume: torch.Tensor
    kspace: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    @property
    def scan(self) -> Scan | None:
        """The measurement behind the input, where the site has one."""
        if self.kspace is None or self.mask is None:
            return None
        return Scan(kspace=self.kspace, mask=self.mask, mean=self.mean, std=self.std)


class SiteLike(Protocol):
    """What the engine asks of an institution's data. `sites.site.Site` is the real one."""

    @property
    def name(self) -> str:
        """Unique in the federation; the site's random streams are derived from it."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What every report must say of its data: that k-space was synthesised, that files were skipped."""
        ...

    def slices(self, split: Split) -> int:
        """Number of slices in a split."""
        ...

    def train_batches(self, round: int, epoch: int, batch_size: int) -> Iterator[Batch]:
        """The round's training batches, in the site's own order with fresh masks; the last may be smaller."""
        ...

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A split in file order, with masks fixed by patient."""
        ...

    def sample_batches(self, batch_size: int) -> Iterator[Batch]:
        """The validation slices in file order, masked as in training but every time alike: what shift is measured on.

        The masks belong to the federation's seed. Those of `eval_batches` do not: by chance one institution's few
        patients have masks unlike another's, and in every seed the same ones, which is no shift between institutions.
        """
        ...


# ---- across the boundary --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Broadcast:
    """From the driver to every site at the start of a round.

    weights: [P] the global model's shared weights, one flat buffer of the model's dtype
    latents: float [N, D] the target's pooled latents, for algorithms that align; None otherwise
    raw: float [N, 1, H, W] the target's normalised inputs, only with `exchange = "raw"`
    private: [R] what the training sites keep for themselves, averaged, for a site that never trained; None otherwise
    extra: arrays of the algorithm's own, by their ledger kind
    """

    round: int
    weights: Array
    latents: Array | None = None
    raw: Array | None = None
    private: Array | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Slices a second. input: how fast training got its batches; training: what it did with them, the wait left out."""

    input: float
    training: float


@dataclass(frozen=True, kw_only=True)
class SiteUpdate:
    """From a site to the driver after local training.

    weights: [P] the local model's shared weights; samples: training slices behind them
    metrics: means over the round's batches, for example {"loss", "l1", "adversarial_loss"}
    """

    site: str
    weights: Array
    samples: int
    steps: int
    metrics: Mapping[str, float]
    extra: Mapping[str, Array] = field(default_factory=dict)
    seconds: float = 0.0
    speed: Speed | None = None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Means over volumes. psnr: dB; ssim: at most 1; nmse: at least 0."""

    psnr: float
    ssim: float
    nmse: float


UNSCORED = Scores(psnr=math.nan, ssim=math.nan, nmse=math.nan)
"""Of a site without patients in a split."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a site shows of its validation patients so that its shift can be measured: no images.

    latents: float32 [N, D] pooled, a row a slice; ledger kind `latents`
    patients: int64 [N] whose slice each row is, ascending from 0
    intensities: float32 [patients, BINS] the part of each patient's network input in each of the bins of
        `engine.shift.EDGES`; ledger kind `intensities`
    """

    latents: Array
    patients: Array
    intensities: Array


@dataclass(frozen=True, kw_only=True)
class SiteScores:
    """One site's evaluation of the broadcast model on one split.

    per_volume: patient index -> Scores
    """

    site: str
    scores: Scores
    per_volume: tuple[Scores, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The pictures of one slice, for a report: float32 [H, W] each, the scanner's units. Ledger kind `previews`."""

    site: str
    zero_filled: Array
    reconstruction: Array
    truth: Array


# ---- for whoever watches --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SiteInfo:
    """One row of the console, known before the first round.

    description: the scanner in words; share: for example "1 CPU thread" or "0.5 GPU"
    zero_filled: scores of the zero-filled image on the validation patients
    """

    name: str
    role: Role
    description: str
    train_slices: int
    share: str
    zero_filled: Scores


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far a site lies from the target by one measure, and what chance alone would show.

    low, high: the middle 95 % of what is measured when patients are exchanged at random between the two sites
    p: part of those exchanges that are measured at least as far apart
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class SiteRound:
    """One site in one round. metrics is empty for a site that did not train, scores are NaN for one without validation.

    shift: by measure (`engine.shift.MEASURES`), from the site's and the target's validation patients; empty where not
        measured
    """

    metrics: Mapping[str, float]
    scores: Scores
    shift: Mapping[str, Shift] = field(default_factory=dict)

    @property
    def mmd(self) -> float:
        """The squared MMD to the target; NaN where not measured."""
        return self.shift["mmd"].value if "mmd" in self.shift else math.nan


@dataclass(frozen=True, kw_only=True)
class RoundReport:
    """What one round did. round counts from 1; ledger: bytes of this round by kind; seconds by phase.

    speed: of each site that trained
    """

    round: int
    sites: Mapping[str, SiteRound]
    ledger: Mapping[str, int]
    seconds: Mapping[str, float]
    speed: Mapping[str, Speed] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """The driver's own state between rounds. round: rounds done; weights: [P]; extra: an algorithm's arrays."""

    round: int
    weights: Array
    extra: Mapping[str, Array] = field(default_factory=dict)
