"""FL-MRCM: federated averaging with cross-site modeling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.algorithms.base import Algorithm
from engine.types import TrainingStopped
from engine.validation import require

if TYPE_CHECKING:
    from torch import Tensor, nn

    from engine.config import ModelConfig, TrainConfig
    from engine.training import Forward, LocalTraining
    from engine.types import Batch


@dataclass(frozen=True, kw_only=True)
class FlMrcm(Algorithm):
    """Guo et al., CVPR 2021, arXiv 2103.02148, section 3.3 and algorithm 1. Alignment weight 0 is FL-MR.

    Each source site keeps a domain identifier that learns to tell its latents from the target's (eq. 4); the
    encoder learns to fool it (eq. 5). The target itself, if it trains, does so without the adversarial term.
    """

    latents: ClassVar[Literal["none", "target", "all"]] = "target"

    alignment_weight: float = 0.01
    """Weight of the adversarial loss beside the reconstruction loss (1 in the paper); 0: observe, do not align."""
    alignment_warmup: int = 0
    """Rounds before the full weight; in the first of them it is that of 1 / (N + 1) of the way."""
    alignment_schedule: Literal["linear", "ganin"] = "linear"
    """How the weight rises over the warm-up's way p from 0 to 1: p, or 2 / (1 + exp(-10 p)) - 1 (Ganin 2016)."""
    identifier_lr: float = 1e-3
    """Learning rate of the domain identifiers; their optimiser is the network's kind, its state always kept."""
    identifier_steps: int = 1
    """Identifier steps for each step of the network."""
    identifier_penalty: float = 0.0
    """Weight of the squared gradient of the identifier's logit on the latents (Mescheder 2018); 0: none."""
    label_smoothing: float = 0.0
    """What the identifier is told: 1 - s / 2 and s / 2 in place of 1 and 0 (Szegedy 2016); 0: the plain labels."""
    identifier_form: Literal["two_logits", "one_logit"] = "two_logits"
    """Two rectified logits as published, or one plain logit."""
    exchange: Literal["latents", "raw"] = "latents"  # type: ignore[misc]
    """What of the target reaches the sources: its latents, or its raw images as in the authors' code (parity)."""

    def __post_init__(self) -> None:
        """Raises ValueError, in one line, for a value that means nothing."""
        require(
            self,
            [
                ("alignment_weight", 0 <= self.alignment_weight < math.inf, "at least 0"),
                ("alignment_warmup", self.alignment_warmup >= 0, "at least 0"),
                ("identifier_lr", 0 < self.identifier_lr < math.inf, "above 0"),
                ("identifier_steps", self.identifier_steps >= 1, "at least 1"),
                ("identifier_penalty", 0 <= self.identifier_penalty < math.inf, "at least 0"),
                ("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            ],
        )

    def check(self, model: ModelConfig, train: TrainConfig) -> None:  # noqa: ARG002
        """Raises ValueError for raw images to a network that needs their k-space, or whose statistics they'd move."""
        if self.exchange == "raw" and model.norm == "batch":
            raise ValueError("exchange is 'raw' and its images would move batch statistics; take --norm instance")
        if self.exchange == "raw" and model.cascades:
            raise ValueError("exchange is 'raw': images, and an unrolled network needs k-space; take --cascades 0")

    def weight(self, round: int) -> float:
        """The alignment weight of a round counted from 0. Ganin et al., JMLR 2016, arXiv 1505.07818, section 5.2.2."""
        way = min(1.0, (round + 1) / (self.alignment_warmup + 1))
        if self.alignment_schedule == "ganin" and way < 1:
            way = 2 / (1 + math.exp(-10 * way)) - 1
        return self.alignment_weight * way

    def companions(self, local: LocalTraining) -> Mapping[str, nn.Module]:
        """The domain identifier C_k of a source site."""
        from engine.models.identifier import Identifier

        if local.is_target:
            return {}
        return {"identifier": Identifier(local.latent_features, form=self.identifier_form)}

    def before_step(self, local: LocalTraining, forward: Forward) -> None:
        """The identifier's steps, on detached latents (eq. 4)."""
        from engine.models.identifier import accuracy, gradient_penalty, identification_loss

        if local.is_target:
            return
        identifier = local.companions["identifier"]
        local.scratch["target_latents"] = latents = self._target_latents(local, len(forward.latents))
        source, target = forward.latents.detach(), latents.detach()
        for step in range(self.identifier_steps):
            logits = identifier.module(source), identifier.module(target)
            loss = identification_loss(*logits, smoothing=self.label_smoothing)
            if step == 0:  # before the identifier has learnt from these very latents
                local.log("identifier_accuracy", accuracy(*logits))
                local.log("identifier_loss", loss)
            if self.identifier_penalty:
                loss = loss + self.identifier_penalty * gradient_penalty(identifier.module, source, target)
            identifier.descend(loss, self.identifier_lr)

    def loss(self, local: LocalTraining, batch: Batch, forward: Forward) -> Tensor:
        """Reconstruction plus weighted adversarial loss (eq. 6), with the identifier just updated held fixed."""
        from engine.models.identifier import identification_loss

        reconstruction = local.reconstruction_loss(batch, forward)
        if local.is_target:
            return reconstruction
        with local.companions["identifier"].frozen() as identifier:
            logits = identifier(forward.latents), identifier(local.scratch["target_latents"])
        adversarial = identification_loss(*logits, swapped=True)
        local.log("adversarial_loss", adversarial)
        weight = self.weight(local.broadcast.round)
        local.log("alignment_weight", forward.latents.new_tensor(weight))
        if local.first_step:
            self._measure_gradient(local, adversarial, weight)
        return reconstruction + weight * adversarial if weight else reconstruction

    def correct_gradients(self, local: LocalTraining) -> None:
        """Corrects nothing: on the round's first batch it reports the reconstruction's share of the gradient."""
        if local.is_target or not local.first_step:
            return
        weight = self.weight(local.broadcast.round)
        adversarial = local.scratch["adversarial_gradient"]
        local.log("reconstruction_gradient", (local.encoder_gradient() - weight * adversarial).norm())

    def _measure_gradient(self, local: LocalTraining, adversarial: Tensor, weight: float) -> None:
        """The unweighted adversarial gradient on the encoder. Raises TrainingStopped if alignment is cut off."""
        gradient = local.gradient_on_encoder(adversarial)
        norm = gradient.norm()
        if weight > 0 and float(norm) == 0.0:
            raise TrainingStopped(
                f"site {local.site}, round {local.broadcast.round + 1}: the adversarial gradient on the encoder "
                f"is exactly zero although alignment_weight is {self.alignment_weight}; nothing would be aligned"
            )
        local.scratch["adversarial_gradient"] = gradient
        local.log("adversarial_gradient", norm)

    def _target_latents(self, local: LocalTraining, count: int) -> Tensor:
        """[count, D]: drawn from those the target sent, or encoded here from its raw images, in file order."""
        if self.exchange == "raw":
            raw = local.received("raw")
            start = local.step * local.config.batch_size
            rows = [(start + i) % len(raw) for i in range(count)]
            return local.encode(raw[rows])
        return local.draw_target_latents(count)
