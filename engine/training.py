"""The local training loop, the only one: algorithms change it through their hooks."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.algorithms.base import Algorithm
from engine.config import ModelConfig, TrainConfig
from engine.models.base import Model
from engine.models.unet import pool_latents
from engine.optimizers import OPTIMIZERS, Optimizer, State
from engine.types import Batch, Broadcast, Scan, SiteLike, TrainingStopped
from engine.weights import FlatWeights

T = TypeVar("T")
Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two batches of latents [B, D] and [M, D]: a scalar."""


def seeded(seed: int, build: Callable[[], T]) -> T:
    """What `build` returns under torch's generator seeded so; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def repeatable(device: str) -> None:
    """Torch in this process so that a GPU repeats itself bit for bit, at some cost in speed."""
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32
        torch.use_deterministic_algorithms(True, warn_only=True)


class Trainable:
    """A network with its weights, gradients and optimiser's state as flat tensors."""

    def __init__(self, module: nn.Module, optimizer: Optimizer) -> None:
        self.module = module
        self.weights = FlatWeights(module)
        self.optimizer = optimizer
        self.state: State = optimizer.init(self.weights.parameters)

    def descend(self, loss: Tensor, lr: float) -> None:
        """One optimiser step down a scalar loss."""
        self.weights.gradient.zero_()
        loss.backward()
        self.optimizer.step(self.weights.parameters, self.weights.gradient, self.state, lr)

    @contextmanager
    def frozen(self) -> Iterator[nn.Module]:
        """The module for a forward pass through which gradients flow, but not into its own weights."""
        self.module.requires_grad_(False)
        yield self.module
        self.module.requires_grad_(True)


class Workspace:
    """The network all sites of a process take turns in. dtype and device are the run's."""

    def __init__(self, model: ModelConfig, train: TrainConfig, algorithm: Algorithm, device: str, seed: int) -> None:
        self.device = torch.device(device)
        self.dtype = torch.float64 if train.precision == "fp64" else torch.float32
        self.autocast = train.precision == "bf16"
        self.model = seeded(seed, model.build).to(self.device, self.dtype)
        self.weights = FlatWeights(self.model, lambda name: algorithm.is_shared(self.model, name))
        self._private = self.weights.private_values()
        self._references: dict[str, tuple[Model, FlatWeights]] = {}

    def load(self, broadcast: Broadcast, private: Tensor | None) -> None:
        """Take up the broadcast weights, and a site's own: those given, or the broadcast mean, or the initial ones."""
        self.weights.load(broadcast.weights)
        if self.weights.private is None:
            return
        if private is None and broadcast.private is not None:
            private = torch.tensor(broadcast.private, device=self.device)
        self.weights.load_private(self._private if private is None else private)

    def cast(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches with what the network sees in its dtype."""
        for batch in batches:
            yield replace(batch, input=batch.input.to(self.dtype), target=batch.target.to(self.dtype))

    def encode(self, images: Tensor, scan: Scan | None = None, model: Model | None = None) -> Tensor:
        """[B, 1, H, W], and what was measured -> pooled latents [B, D] of the network as it is, or of another."""
        with self.forward_precision():
            z, _ = (model or self.model).encode(images, scan)
        return pool_latents(z).to(self.dtype)

    def reference(self, name: str, weights: Tensor) -> Model:
        """A second network with these weights [P], to compare with; it is overwritten by the next of its name."""
        if name not in self._references:
            model = copy.deepcopy(self.model).eval()
            self._references[name] = model, FlatWeights(model)
        model, flat = self._references[name]
        flat.values.copy_(weights)
        return model

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The bottleneck, and the reconstruction [B, H, W] in the scanner's units."""
        with self.forward_precision():
            z, skips = self.model.encode(batch.input, batch.scan)
            output = self.model.decode(z, skips)
        return z, output[:, 0].to(batch.mean.dtype) * batch.std[:, None, None] + batch.mean[:, None, None]

    @contextmanager
    def forward_precision(self) -> Iterator[None]:
        """Autocast to bfloat16 if the run asks for it."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            yield


@dataclass
class Forward:
    """One forward pass. latents: [B, D] pooled; output: [B, 1, H, W] normalised; both of the weights' dtype."""

    latents: Tensor
    output: Tensor


class LocalTraining:
    """One site's training in one round: what an algorithm's hooks see.

    epoch and step count from 0 within the round and the epoch; rng is the site's own stream for this round.
    Tensors of a hook's own: scratch lasts for the step, memory for the run (checkpoints have it).
    """

    def __init__(
        self,
        workspace: Workspace,
        site: str,
        broadcast: Broadcast,
        config: TrainConfig,
        rng: np.random.Generator,
        is_target: bool,
        memory: dict[str, Tensor] | None = None,
    ) -> None:
        self.workspace = workspace
        self.site = site
        self.broadcast = broadcast
        self.config = config
        self.rng = rng
        self.is_target = is_target
        self.companions: dict[str, Trainable] = {}
        self.epoch = self.step = self.steps = 0
        self.scratch: dict[str, Tensor] = {}
        self.memory: dict[str, Tensor] = {} if memory is None else memory
        self._received: dict[str, Tensor] = {}
        self._references: dict[str, Model] = {}
        self._log: dict[str, list[Tensor]] = {}

    @property
    def model(self) -> Model:
        """The network being trained."""
        return self.workspace.model

    @property
    def weights(self) -> FlatWeights:
        """Its weights and gradients."""
        return self.workspace.weights

    @property
    def first_step(self) -> bool:
        """Whether this is the round's first step."""
        return self.steps == 0

    @property
    def latent_features(self) -> int:
        """D, the length of a pooled latent."""
        return 4 * self.model.latent_channels

    def encode(self, images: Tensor) -> Tensor:
        """[B, 1, H, W] -> pooled latents [B, D] of the local encoder, with gradients."""
        return self.workspace.encode(images)

    def forward(self, batch: Batch) -> Forward:
        """Latents and output of the local network."""
        with self.workspace.forward_precision():
            z, skips = self.model.encode(batch.input, batch.scan)
            output = self.model.decode(z, skips)
        return Forward(pool_latents(z).to(self.workspace.dtype), output.to(self.workspace.dtype))

    def draw_target_latents(self, count: int) -> Tensor:
        """[count, D] of those the target sent before the round, drawn from this site's stream."""
        latents = self.received("latents")
        return latents[self.rng.integers(len(latents), size=count)]

    def matching_loss(self, batch: Batch, forward: Forward, name: str, distance: Distance, weight: float) -> Tensor:
        """Reconstruction plus a weighted distance of the latents to as many of the target's, logged under its name.

        The target itself has no distance to descend; weight 0 observes it.
        """
        reconstruction = self.reconstruction_loss(batch, forward)
        if self.is_target:
            return reconstruction
        apart = distance(forward.latents, self.draw_target_latents(len(forward.latents)))
        self.log(name, apart)
        return reconstruction + weight * apart if weight else reconstruction

    @torch.no_grad()
    def latents_under(self, name: str, weights: Tensor, batch: Batch) -> Tensor:
        """[B, D] pooled latents of a batch under other weights [P], which are taken up once a round by their name."""
        if name not in self._references:
            self._references[name] = self.workspace.reference(name, weights)
        return self.workspace.encode(batch.input, batch.scan, self._references[name])

    def similarity(self, first: Tensor, second: Tensor) -> Tensor:
        """[B] cosines of the rows of two [B, D]."""
        return F.cosine_similarity(first, second)

    def reconstruction_loss(self, batch: Batch, forward: Forward) -> Tensor:
        """Mean absolute error against the training target, logged as `l1`."""
        loss = F.l1_loss(forward.output, batch.target)
        self.log("l1", loss)
        return loss

    def received(self, kind: str) -> Tensor:
        """An array of the broadcast (a field, or one of `extra`) on this device, moved there once a round."""
        if kind not in self._received:
            extra = self.broadcast.extra
            array = extra[kind] if kind in extra else getattr(self.broadcast, kind)
            assert array is not None, f"the broadcast carries no {kind}"
            self._received[kind] = torch.tensor(array, dtype=self.workspace.dtype, device=self.workspace.device)
        return self._received[kind]

    def encoder_gradient(self) -> Tensor:
        """The gradient now on the encoder's weights, flat."""
        gradients = [p.grad for p in self.model.encoder_weights() if p.grad is not None]
        return torch.cat([g.flatten() for g in gradients])

    def gradient_on_encoder(self, loss: Tensor) -> Tensor:
        """The gradient of a scalar on the encoder's weights, flat; zeros if it does not depend on them."""
        weights = self.model.encoder_weights()
        if not loss.requires_grad:
            return torch.cat([torch.zeros_like(w).flatten() for w in weights])
        parts = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    def log(self, name: str, value: Tensor) -> None:
        """Record a scalar; a round reports the mean over its steps."""
        self._log.setdefault(name, []).append(value.detach())

    def metrics(self) -> dict[str, float]:
        """The means of what was logged; one transfer from the device."""
        if not self._log:
            return {}
        means = torch.stack([torch.stack(values).double().mean() for values in self._log.values()])
        return dict(zip(self._log, means.tolist(), strict=True))


class Waiting:
    """Iterates, and adds up the seconds until each item was there: a site's input, as training feels it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches."""
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def train(local: LocalTraining, site: SiteLike, algorithm: Algorithm, state: State, waiting: Waiting) -> int:
    """Train on all batches of the round; the network's optimiser continues from `state`. Returns the samples.

    Raises TrainingStopped if the loss or the weights are not finite in the end.
    """
    optimizer = OPTIMIZERS[local.config.optimizer]
    lr = local.config.learning_rate(local.broadcast.round)
    weights = local.weights
    for epoch in range(local.config.local_epochs):
        local.epoch = epoch
        batches = site.train_batches(local.broadcast.round, epoch, local.config.batch_size)
        for step, batch in enumerate(local.workspace.cast(waiting.on(batches))):
            local.step = step
            local.scratch.clear()
            forward = local.forward(batch)
            algorithm.before_step(local, forward)
            loss = algorithm.loss(local, batch, forward)
            local.log("loss", loss)
            weights.gradient.zero_()
            loss.backward()
            algorithm.correct_gradients(local)
            optimizer.step(weights.parameters, weights.gradient, state, lr)
            local.steps += 1
    algorithm.after_training(local)
    _check_finite(local)
    return site.slices("train")


def _check_finite(local: LocalTraining) -> None:
    loss = local.metrics().get("loss", 0.0)
    if not (math.isfinite(loss) and math.isfinite(float(local.weights.values.sum()))):
        raise TrainingStopped(
            f"site {local.site}, round {local.broadcast.round + 1}: the update is not finite (loss {loss}); "
            f"try a smaller lr (now {local.config.lr})"
        )
