"""The domain identifier C_k of Guo 2021, section 3.3, and its two losses (eq. 4 and 5)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IdentifierForm = Literal["two_logits", "one_logit"]


class Identifier(nn.Module):
    """Tells a source's pooled latents from the target's: [B, features] -> logits [B, 2] or [B, 1].

    two_logits: the published form, with a leaky ReLU on the logits too. one_logit: a plain binary classifier.
    """

    def __init__(self, features: int, hidden: int = 256, form: IdentifierForm = "two_logits") -> None:
        super().__init__()
        self.form = form
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, 2 if form == "two_logits" else 1)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, features] -> [B, 2] or [B, 1]."""
        logits = self.fc2(F.leaky_relu(self.fc1(latents), 0.2))
        return F.leaky_relu(logits, 0.2) if self.form == "two_logits" else logits


def identification_loss(source: Tensor, target: Tensor, *, swapped: bool = False, smoothing: float = 0) -> Tensor:
    """Mean of the two binary cross-entropies, source labelled [0, 1] and target [1, 0]; scalar.

    source, target: logits of the two batches. swapped: the encoder's loss, which wants the opposite. smoothing: s of
    Szegedy et al., CVPR 2016, arXiv 1512.00567, section 7: labels 1 - s / 2 and s / 2, so that no finite logit is
    too sure of itself for free.
    """
    entropies = _entropy(source, not swapped, smoothing), _entropy(target, swapped, smoothing)
    return (entropies[0] + entropies[1]) / 2


def gradient_penalty(identifier: nn.Module, *batches: Tensor) -> Tensor:
    """Half the mean squared norm of the gradient of the source-over-target logit on latents [B, D]; scalar.

    Mescheder et al., ICML 2018, arXiv 1801.04406, eq. 9, over the batches alike: zero-centred, it damps the
    oscillation of identifier and encoder about their equilibrium.
    """
    norms = []
    for batch in batches:
        latents = batch.detach().requires_grad_()
        logits = identifier(latents)
        logit = logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]
        (gradient,) = torch.autograd.grad(logit.sum(), [latents], create_graph=True)
        norms.append(gradient.square().sum(1).mean())
    return torch.stack(norms).mean() / 2


def accuracy(source: Tensor, target: Tensor) -> Tensor:
    """Balanced share of latents the identifier places right, from 0 to 1; 0.5 is chance."""
    return (_says_source(source).double().mean() + 1 - _says_source(target).double().mean()) / 2


def _entropy(logits: Tensor, is_source: bool, smoothing: float) -> Tensor:
    label = [0.0, 1.0] if is_source else [1.0, 0.0]
    labels = logits.new_tensor(label[-logits.shape[1] :])  # one logit: the second label alone
    labels = labels * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, labels.expand_as(logits))


def _says_source(logits: Tensor) -> Tensor:
    if logits.shape[1] == 2:
        return logits[:, 1] > logits[:, 0]
    return torch.gt(logits[:, 0], 0)
