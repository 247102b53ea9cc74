"""One identifier for all sites: which of N institutions do pooled latents come from? Its weights are one flat tensor.

Li, He & Song, ICML 2023 (ADCOL): the server trains it on the latents that the sites upload, the sites train their
encoders so that it cannot tell.

Legend: D latent features, K sites, B rows, I weights of the identifier: D * 256 + 256 + 256 * K + K.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.optimizers import Adam
from engine.types import Array

HIDDEN = 256


def initial_identifier(features: int, sites: int, rng: np.random.Generator) -> Array:
    """float32 [I], uniform within 1 / sqrt(inputs) of each layer, as torch's own linear layers begin."""
    first, second = 1 / math.sqrt(features), 1 / math.sqrt(HIDDEN)
    layers = [((features + 1) * HIDDEN, first), ((HIDDEN + 1) * sites, second)]
    return np.concatenate([rng.uniform(-bound, bound, size) for size, bound in layers]).astype(np.float32)


def site_logits(identifier: Tensor, latents: Tensor) -> Tensor:
    """[I], [B, D] -> [B, K]: Linear, LeakyReLU(0.2), Linear."""
    features = latents.shape[1]
    first, second = identifier.split([(features + 1) * HIDDEN, len(identifier) - (features + 1) * HIDDEN])
    hidden = F.linear(latents, first[:-HIDDEN].view(HIDDEN, features), first[-HIDDEN:])
    sites = len(second) // (HIDDEN + 1)
    return F.linear(F.leaky_relu(hidden, 0.2), second[:-sites].view(sites, HIDDEN), second[-sites:])


def confusion_loss(logits: Tensor) -> Tensor:
    """KL(uniform || the identifier's answer), mean over the rows: at least 0, and 0 where it cannot tell."""
    return -F.log_softmax(logits, dim=1).mean() - math.log(logits.shape[1])


def learn(
    identifier: Array, latents: Sequence[Array], epochs: int, lr: float, batch_size: int, rng: np.random.Generator
) -> Array:
    """The identifier after some passes over the latents [N_k, D] of each site in turn, shuffled together; [I].

    Cross-entropy in which every site weighs alike, a fresh Adam each call; one thread, whatever the process has: the
    driver's is another than a site's.
    """
    with _one_thread():
        return _learn(identifier, latents, epochs, lr, batch_size, rng)


def _learn(
    identifier: Array, latents: Sequence[Array], epochs: int, lr: float, batch_size: int, rng: np.random.Generator
) -> Array:
    rows = torch.from_numpy(np.concatenate(latents)).float()
    sites = torch.arange(len(latents)).repeat_interleave(torch.tensor([len(part) for part in latents]))
    share = torch.tensor([len(rows) / (len(latents) * len(part)) for part in latents])
    weights = torch.from_numpy(np.array(identifier)).requires_grad_()
    optimizer = Adam()
    state = optimizer.init(weights.detach())
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(len(rows)))
        for index in order.split(batch_size):
            loss = F.cross_entropy(site_logits(weights, rows[index]), sites[index], weight=share)
            (gradient,) = torch.autograd.grad(loss, [weights])
            optimizer.step(weights.detach(), gradient, state, lr)
    trained: Array = weights.detach().numpy()
    return trained


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
