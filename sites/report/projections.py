"""Latents in the plane, before and after training.

PCA by singular values. t-SNE (van der Maaten & Hinton, JMLR 2008) from scikit-learn, or UMAP (McInnes et al., 2018,
arXiv 1802.03426) from umap-learn, if one of them is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from sites.run_reader import Run

Points = npt.NDArray[np.float64]
When = Literal["before", "after"]
WORDS: Mapping[When, str] = {"before": "before training", "after": "after training"}
COMPONENTS = 30  # that a neighbour embedding starts from
MOST = 400  # points that it takes: its time grows faster than their number


@dataclass(frozen=True)
class Projection:
    """Latents in the plane. points: [N, 2] by site; explained: part of the variance along both axes, PCA only.

    drawn, of: how many latents, if some were left out
    """

    method: str
    when: When
    points: Mapping[str, Points]
    explained: tuple[float, float] | None = None
    of: int = 0

    @property
    def drawn(self) -> int:
        """Points."""
        return sum(map(len, self.points.values()))


def projections(run: Run) -> list[Projection]:
    """PCA of the latents before and after training, each with axes of its own; then t-SNE or UMAP of both."""
    scored = [(when, *_principal(latents)) for when in get_args(When) if (latents := _latents(run, when))]
    linear = [
        Projection("PCA", when, {name: z[:, :2] for name, z in scores.items()}, explained, _count(scores))
        for when, scores, explained in scored
    ]
    embedding = _embedding() if scored else None
    if embedding is None:
        return linear
    method, embed = embedding
    return linear + [
        Projection(method, when, _together(embed, few), None, _count(scores))
        for when, scores, _ in scored
        if _count(few := _thinned(scores)) > 4
    ]


def _latents(run: Run, when: When) -> dict[str, Points]:
    """By site, the target first; rows that are not finite are left out, and sites without two rows."""
    found = {key.partition("/")[2]: z for key, z in run.latents.items() if key.partition("/")[0] == when}
    finite = {name: z[np.isfinite(z).all(axis=1)].astype(np.float64) for name, z in found.items()}
    order = sorted((name for name, z in finite.items() if len(z)), key=lambda name: (name != run.target, name))
    return {name: finite[name] for name in order} if sum(len(finite[name]) for name in order) > 1 else {}


def _principal(latents: Mapping[str, Points]) -> tuple[dict[str, Points], tuple[float, float]]:
    """Scores [N, at most COMPONENTS] by site, the first two always there, and what those explain of the variance."""
    rows = np.concatenate([*latents.values()])
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    scores = (left * singular)[:, :COMPONENTS]
    scores = np.pad(scores, [(0, 0), (0, max(0, 2 - scores.shape[1]))])
    parts = np.append(singular**2, 0) / max(float((singular**2).sum()), np.finfo(np.float64).tiny)
    return _apart(scores, latents), (float(parts[0]), float(parts[1]))


def _apart(rows: Points, like: Mapping[str, Points]) -> dict[str, Points]:
    ends = np.cumsum([len(z) for z in like.values()])
    return dict(zip(like, np.split(rows, ends[:-1]), strict=True))


def _count(points: Mapping[str, Points]) -> int:
    return sum(map(len, points.values()))


def _thinned(points: Mapping[str, Points]) -> dict[str, Points]:
    """Every n-th of each site's."""
    step = math.ceil(_count(points) / MOST)
    return {name: z[::step] for name, z in points.items()}


def _together(embed: Callable[[Points], Points], points: Mapping[str, Points]) -> dict[str, Points]:
    return _apart(embed(np.concatenate([*points.values()])), points)


def _embedding() -> tuple[str, Callable[[Points], Points]] | None:
    """What is installed; None if nothing is."""
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        return _umap()

    def embed(rows: Points) -> Points:
        with threadpool_limits(1):  # threads that wait for each other are many times slower for so few points
            perplexity = min(30, (len(rows) - 1) / 3)
            tsne = TSNE(init="random", learning_rate="auto", perplexity=perplexity, random_state=0, max_iter=500)
            embedded: Points = tsne.fit_transform(rows).astype(np.float64)
            return embedded

    return "t-SNE", embed


def _umap() -> tuple[str, Callable[[Points], Points]] | None:
    try:
        from umap import UMAP
    except ImportError:
        return None

    def embed(rows: Points) -> Points:
        reducer = UMAP(n_neighbors=min(15, len(rows) - 1), random_state=0)
        embedded: Points = reducer.fit_transform(rows).astype(np.float64)
        return embedded

    return "UMAP", embed
