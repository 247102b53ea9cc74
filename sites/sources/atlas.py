"""Simulated patients: real anatomy, scanned by the physics of an institution's scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.streams import rng
from sites.anatomy import GREY_T1W, WHITE_T1W, Anatomy, Maps, grid, smooth_field, subject
from sites.config import SiteConfig
from sites.physics import (
    Complex,
    Tissue,
    Values,
    crop_kspace,
    low_resolution,
    noise,
    object_phase,
    receive_field,
    signal,
    tissues,
    to_kspace,
)
from sites.shifts import shifted
from sites.sources.base import KSpace
from sites.sources.forward import sensitivities


class AtlasSource:
    """Patients of a simulated institution.

    A patient is drawn from (seed, institution's name, index) alone: another protocol scans the same heads.
    """

    def __init__(self, config: SiteConfig, maps: Maps, matrix: int, seed: int) -> None:
        """matrix: rows and columns of k-space, at least 8. Raises ValueError if it is smaller."""
        if matrix < 8:
            raise ValueError(f"matrix {matrix} is too small for an image; take at least 8")
        self.config = config
        self.maps = maps
        self.matrix = matrix
        self.seed = seed
        count = config.train_patients + config.val_patients + config.test_patients
        self._indices = {f"{config.name}-{index:03d}": index for index in range(count)}

    def patients(self) -> Sequence[str]:
        """`{institution}-000` and on."""
        return tuple(self._indices)

    def kspace(self, patient: str) -> KSpace:
        """complex64 [S, C, matrix, matrix], with noise at the institution's SNR, the same in every coil.

        The head is imaged on a finer grid than the scanner resolves, so that truncation rings as a scanner's does.
        """
        index = self._indices[patient]
        config = shifted(self.config, index)
        slices = config.slices
        pixels = max(self.matrix, min(2 * self.matrix, 256))
        lesion = self._rng("lesion", index) if config.lesions == "glioma" else None
        shape = self._rng("anatomy", index)
        anatomy = subject(self.maps, slices, pixels, shape, lesion, config.head_size, config.atrophy)
        magnitude = tissue_signal(config, anatomy, self._rng("tissue", index))
        head = anatomy.grey + anatomy.white + anatomy.csf + anatomy.tumour + anatomy.oedema > 0.5
        axes = grid(slices, pixels)
        bias = receive_field(smooth_field(*axes, 5, self._rng("bias", index)), head, config.bias_field)
        phase = object_phase(smooth_field(*axes, 6, self._rng("phase", index)), head, config.phase)
        image = magnitude * bias
        kspace = self._received(image * phase, config.coils)
        sigma = float(np.abs(image[head]).mean()) / config.snr
        kspace += noise(kspace.shape, sigma, self._rng("noise", index))
        return low_resolution(kspace.swapaxes(0, 1), config.resolution)

    def _received(self, image: Complex, coils: int) -> Complex:
        """K-space [C, S, matrix, matrix] of an image [S, N, N]; coils first: each has noise of its own, whatever C."""
        if coils == 1:
            return crop_kspace(to_kspace(image), self.matrix)[None]
        maps = sensitivities(coils, image.shape[-1])
        return np.stack([crop_kspace(to_kspace(image * one), self.matrix) for one in maps])

    def _rng(self, stream: str, index: int) -> np.random.Generator:
        return rng(self.seed, stream, self.config.name, index)


def tissue_signal(config: SiteConfig, anatomy: Anatomy, random: np.random.Generator) -> Values:
    """The noiseless signed image, float32 [S, N, N]: each tissue's signal by its fraction.

    A patient's PD, T1 and T2 differ from the table's by 2, 4 and 4 % (standard deviation, log-normal). Texture shifts
    the logarithm of T1 in grey and white matter, with the slope that takes the template's white to its grey matter.
    """
    table = {name: _varied(tissue, random) for name, tissue in tissues(config.field_strength).items()}
    grey, white = table["grey"], table["white"]
    slope = np.log(grey.t1 / white.t1) / (WHITE_T1W - GREY_T1W)
    stretch = np.exp(np.float32(-slope) * anatomy.texture)
    return np.asarray(
        anatomy.grey * signal(config, replace(grey, t1=grey.t1 * stretch))
        + anatomy.white * signal(config, replace(white, t1=white.t1 * stretch))
        + anatomy.csf * signal(config, table["csf"])
        + anatomy.tumour * signal(config, table["tumour"])
        + anatomy.oedema * signal(config, table["oedema"]),
        dtype=np.float32,
    )


def _varied(tissue: Tissue, random: np.random.Generator) -> Tissue:
    pd, t1, t2 = np.exp(np.array([0.02, 0.04, 0.04]) * random.standard_normal(3))
    return Tissue(pd=tissue.pd * float(pd), t1=tissue.t1 * float(t1), t2=tissue.t2 * float(t2))
