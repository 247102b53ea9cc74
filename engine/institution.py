"""An institution as the driver may address it: the boundary. No method returns its images or k-space.

The two exceptions have names and ledger kinds of their own: `raw` (the authors' exchange, for parity) and
`preview` (one slice's pictures, for a report or the shift console).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from engine.config import Setting
from engine.metrics import mean_scores, score
from engine.optimizers import OPTIMIZERS, State
from engine.shift import BINS, EDGES
from engine.streams import rng, torch_seed
from engine.training import LocalTraining, Trainable, Waiting, Workspace, seeded, train
from engine.types import Array, Batch, Broadcast, Preview, Sample, SiteLike, SiteScores, SiteUpdate, Speed, Split

EVAL_BATCH = 16  # slices a forward pass without gradients


class Institution:
    """One site's data, its private state, and the process-wide network it takes turns in."""

    def __init__(self, site: SiteLike, workspace: Workspace, setting: Setting) -> None:
        self._site = site
        self._workspace = workspace
        self._setting = setting
        self._moments: State = {}
        self._memory: State = {}
        self._private: Tensor | None = None  # the weights that stay here; None until it has trained
        self._companions: dict[str, Trainable] = {}
        self._restored: dict[str, Tensor] = {}

    @property
    def name(self) -> str:
        """The site's name."""
        return self._site.name

    def slices(self) -> int:
        """Number of its training slices."""
        return self._site.slices("train")

    def notes(self) -> tuple[str, ...]:
        """What every report must say of its data."""
        return self._site.notes

    def train(self, broadcast: Broadcast) -> SiteUpdate:
        """Local training from the broadcast weights. Raises TrainingStopped.

        The update's weights are good until the next call of any site of this process: Ray has copied them by then.
        """
        started = time.perf_counter()
        local, waiting = self._start(broadcast), Waiting()
        samples = train(local, self._site, self._setting.algorithm, self._moments, waiting)
        self._private = self._workspace.weights.private_values() if self._setting.algorithm.personal else None
        seconds = time.perf_counter() - started
        trained = samples * self._setting.train.local_epochs
        rest = max(seconds - waiting.seconds, 1e-9)
        return SiteUpdate(
            site=self.name,
            weights=local.weights.view(),
            samples=samples,
            steps=local.steps,
            metrics=local.metrics(),
            extra=self._setting.algorithm.extra_upload(local),
            seconds=seconds,
            speed=Speed(input=trained / max(waiting.seconds, 1e-9), training=trained / rest),
        )

    @torch.no_grad()
    def encode(self, broadcast: Broadcast) -> Array:
        """[N, D] pooled latents of its training slices, freshly masked, under the broadcast encoder."""
        self._load(broadcast, training=False)
        return _join([self._workspace.encode(batch.input, batch.scan) for batch in self._training_batches(broadcast)])

    @torch.no_grad()
    def raw(self, broadcast: Broadcast) -> Array:
        """[N, 1, H, W] its normalised network inputs themselves: ledger kind `raw`, parity only."""
        return _join([batch.input for batch in self._training_batches(broadcast)])

    @torch.no_grad()
    def evaluate(self, broadcast: Broadcast, split: Split) -> SiteScores:
        """Scores of the broadcast network on a split."""
        self._load(broadcast, training=False)
        return self._score(split, lambda batch: self._workspace.reconstruct(batch)[1])

    @torch.no_grad()
    def sample(self, broadcast: Broadcast) -> Sample:
        """What the broadcast encoder makes of the validation patients: ledger kinds `latents` and `intensities`."""
        self._load(broadcast, training=False)
        gathered = _Gathered()
        for batch in self._workspace.cast(self._site.sample_batches(EVAL_BATCH)):
            gathered.add(batch, self._workspace.encode(batch.input, batch.scan))
        return gathered.sample()

    @torch.no_grad()
    def zero_filled(self, split: Split) -> SiteScores:
        """Scores of the zero-filled images themselves."""
        return self._score(split, lambda batch: batch.zero_filled)

    @torch.no_grad()
    def preview(self, broadcast: Broadcast, split: Split = "test") -> Preview:
        """Zero-filled, reconstruction and truth of the middle slice of a split's first patient."""
        self._load(broadcast, training=False)
        zero_filled: list[Tensor] = []

        def reconstruct(batch: Batch) -> Tensor:
            zero_filled.append(batch.zero_filled)
            return self._workspace.reconstruct(batch)[1]

        truth, image = next(self._volumes(split, reconstruct))
        middle = len(truth) // 2
        pictures = (torch.cat(zero_filled)[middle], image[middle], truth[middle])
        blurred, reconstruction, true = (picture.float().cpu().numpy() for picture in pictures)
        return Preview(site=self.name, zero_filled=blurred, reconstruction=reconstruction, truth=true)

    def private(self) -> Array:
        """[R] the weights it keeps, for the mean that sites without any are scored with: ledger kind `private`."""
        assert self._private is not None
        return _join([self._private])

    def state(self) -> Array:
        """What a checkpoint needs: optimiser moments, private weights and networks, as safetensors in uint8."""
        tensors: State = {f"memory/{key}": value for key, value in self._memory.items()}
        if self._private is not None:
            tensors["private/weights"] = self._private
        if self._setting.train.optimizer_state == "kept":
            tensors |= {f"network/{key}": value for key, value in self._moments.items()}
        for name, companion in self._companions.items():
            tensors[f"{name}/weights"] = companion.weights.values
            tensors |= {f"{name}/{key}": value for key, value in companion.state.items()}
        return np.frombuffer(safetensors.torch.save(tensors) if tensors else b"", np.uint8)

    def restore(self, state: Array) -> None:
        """Go on from what `state` gave, in this or an earlier process; an empty one is the beginning."""
        tensors = safetensors.torch.load(state.tobytes()) if len(state) else {}
        device = self._workspace.device
        self._restored = {key: value.to(device) if value.ndim else value for key, value in tensors.items()}
        self._moments = self._take("network")
        self._memory = self._take("memory")
        self._private = self._take("private").get("weights")
        self._companions = {}

    # ---- inside -----------------------------------------------------------------------------------------

    def _start(self, broadcast: Broadcast) -> LocalTraining:
        """The round's local training with the network loaded and this site's private state in place."""
        setting, workspace = self._setting, self._workspace
        self._load(broadcast, training=True)
        local = LocalTraining(
            workspace=workspace,
            site=self.name,
            broadcast=broadcast,
            config=setting.train,
            rng=rng(setting.seed, "training", self.name, broadcast.round),
            is_target=self.name == setting.target,
            memory=self._memory,
        )
        if setting.train.optimizer_state == "fresh" or not self._moments:
            self._moments = OPTIMIZERS[setting.train.optimizer].init(workspace.weights.parameters)
        if not self._companions:
            self._companions = self._build_companions(local)
        local.companions = self._companions
        return local

    def _build_companions(self, local: LocalTraining) -> dict[str, Trainable]:
        """The algorithm's private networks, new from this site's own stream or as a checkpoint has them."""
        setting, workspace = self._setting, self._workspace
        seed = torch_seed(setting.seed, "companions", self.name)
        modules = seeded(seed, lambda: setting.algorithm.companions(local))
        companions = {}
        for name, module in modules.items():
            companion = Trainable(module.to(workspace.device, workspace.dtype), OPTIMIZERS[setting.train.optimizer])
            saved = self._take(name)
            if saved:
                companion.weights.values.copy_(saved.pop("weights"))
                companion.state = saved
            companions[name] = companion
        return companions

    def _take(self, owner: str) -> State:
        """What a checkpoint held for one owner, each tensor once."""
        keys = [key for key in self._restored if key.startswith(f"{owner}/")]
        return {key.removeprefix(f"{owner}/"): self._restored.pop(key) for key in keys}

    def _load(self, broadcast: Broadcast, *, training: bool) -> None:
        self._workspace.load(broadcast, self._private)
        self._workspace.model.train(training)

    def _training_batches(self, broadcast: Broadcast) -> Iterator[Batch]:
        """The first epoch's batches of this round."""
        batches = self._site.train_batches(broadcast.round, 0, self._setting.train.batch_size)
        return self._workspace.cast(batches)

    def _score(self, split: Split, image_of: Callable[[Batch], Tensor]) -> SiteScores:
        scores = tuple(score(truth, image) for truth, image in self._volumes(split, image_of))
        return SiteScores(site=self.name, scores=mean_scores(scores), per_volume=scores)

    def _volumes(self, split: Split, image_of: Callable[[Batch], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Truth and image [S, H, W] of one patient after the other."""
        truths: list[Tensor] = []
        images: list[Tensor] = []
        current = 0
        for batch in self._workspace.cast(self._site.eval_batches(split, EVAL_BATCH)):
            image = image_of(batch)
            for volume in torch.unique(batch.volume).tolist():
                if volume != current:
                    yield torch.cat(truths), torch.cat(images)
                    truths, images, current = [], [], volume
                rows = batch.volume == volume
                truths.append(batch.truth[rows])
                images.append(image[rows])
        yield torch.cat(truths), torch.cat(images)


class _Gathered:
    """A sample as it grows, batch by batch."""

    def __init__(self) -> None:
        self._latents: list[Tensor] = []
        self._patients: list[Tensor] = []
        self._inputs: list[Tensor] = []

    def add(self, batch: Batch, latents: Tensor) -> None:
        """A batch and its pooled latents [B, D]."""
        position = (batch.input.flatten(1) - float(EDGES[0])) * (BINS / float(EDGES[-1] - EDGES[0]))
        bins = position.long().clamp(0, BINS - 1) + BINS * torch.arange(len(position), device=position.device)[:, None]
        self._inputs.append(torch.bincount(bins.flatten(), minlength=BINS * len(position)).reshape(-1, BINS))
        self._latents.append(latents.float())
        self._patients.append(batch.volume)

    def sample(self) -> Sample:
        """All of it; a patient's intensities are those of all its slices."""
        patients, counts = _join(self._patients), _join(self._inputs).astype(np.float64)
        owners = np.unique(patients)
        by_patient = np.stack([counts[patients == owner].sum(axis=0) for owner in owners])
        parts = by_patient / by_patient.sum(axis=1, keepdims=True)
        return Sample(latents=_join(self._latents), patients=patients, intensities=parts.astype(np.float32))


def _join(parts: list[Tensor]) -> Array:
    return np.ascontiguousarray(torch.cat(parts).cpu().numpy())
