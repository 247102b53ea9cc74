"""DICOM: a folder of MR series, one slice a file or enhanced multi-frame, through pydicom (extra `dicom`).

Slices are sorted by position, intensities rescaled; how a series lies and is cut: `sites.sources.geometry`. A patient
is known by PatientID only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.sources.checks import LARGEST, as_magnitude, check_size, naming, one_line, quiet
from sites.sources.dicom_frames import PREFIX, UNLIKE, Frame, frames, header
from sites.sources.geometry import Affine, Plan, cut, plan
from sites.sources.hdf5 import number
from sites.sources.names import contrast_of, contrast_of_path, folder_patient, safe, split_of
from sites.sources.recordings import Found, Image, Problem, Recording

NAME = "dicom"
SUFFIXES = (".dcm", ".dicom", ".ima")
EXTRA = "DICOM is read with pydicom, which is not installed: pip install 'federated-mr[dicom]', or pip install pydicom"
BESIDE = {"SR", "PR", "KO", "SEG", "DOC", "RTSTRUCT"}  # modalities of what goes with images and is none
UNEVEN = 0.1  # of the distance of slices: by how much it may vary where others are cut from them
GAUSS = 1e4  # a tesla; some headers give these

Series = dict[tuple[str, ...], tuple[list[Frame], Any]]
"""By what its frames have in common: these, and the header of the first."""


def find(files: Sequence[Path], root: Path) -> Found:
    """See `Reader.find`. DICOM is known by its first bytes, or by its name's ending."""
    paths = [path for path in files if path.name != "DICOMDIR" and _is_dicom(path)]
    if not paths:
        return [], []
    try:
        import pydicom  # noqa: F401
    except ImportError:
        return [], [Problem(path=paths[0], reason=EXTRA)]  # the first speaks for all
    series, problems = _by_series(paths)
    recordings: list[Recording] = []
    for held, first in series.values():
        try:
            with one_line(), quiet():
                recordings.append(_recording(held, first, root))
        except ValueError as error:
            problems.append(Problem(path=held[0].path, reason=str(error)))
    return recordings, problems


def read(recording: Recording) -> Image:
    """See `Reader.read`."""
    import pydicom

    slices: list[tuple[Frame, npt.NDArray[Any]]] = []
    for path in recording.paths:
        with naming(path), quiet():
            dataset = pydicom.dcmread(path)
            held = frames(dataset, path)
            pixels = dataset.pixel_array
            if not dataset.file_meta.TransferSyntaxUID.is_compressed:
                check_size(len(dataset.PixelData), pixels.nbytes + pixels.nbytes % 2)
            if pixels.size != len(held) * math.prod(held[0].shape):
                raise ValueError(f"it holds pixels of shape {pixels.shape}, and its header says {held[0].shape}")
            slices += zip(held, pixels.reshape(len(held), *held[0].shape), strict=True)
    with naming(recording.paths[0]):
        order, planned = _plan([frame for frame, _ in slices])
        if planned.shape != (recording.shape[0], *recording.shape[2:]):
            raise ValueError("the series has changed since it was found")
        scaled = [slices[i][0].slope * slices[i][1].T.astype(np.float64) + slices[i][0].intercept for i in order]
        magnitude = as_magnitude(cut(as_magnitude(np.stack(scaled, axis=-1)), planned))
        return magnitude[magnitude.any(axis=(1, 2))]


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == PREFIX
    except OSError:
        return False


# ---- series ---------------------------------------------------------------------------------------------


def _by_series(paths: Sequence[Path]) -> tuple[Series, list[Problem]]:
    """Other modalities are one problem a series."""
    series: Series = {}
    problems: list[Problem] = []
    strange: set[tuple[str, str]] = set()
    for path in paths:
        try:
            with one_line(), quiet():
                dataset = header(path)
                modality = str(dataset.get("Modality", ""))
                if modality in BESIDE or (modality, str(dataset.get("SeriesInstanceUID"))) in strange:
                    continue
                if modality != "MR":
                    strange.add((modality, str(dataset.get("SeriesInstanceUID"))))
                    shown = modality if modality.isalpha() else "damaged" if modality else "missing"
                    raise ValueError(f"its modality is {shown}; only MR is read")
                held = frames(dataset, path)
                series.setdefault(held[0].series, ([], dataset))[0].extend(held)
        except ValueError as error:
            problems.append(Problem(path=path, reason=str(error)))
    return series, problems


def _recording(held: list[Frame], dataset: Any, root: Path) -> Recording:
    order, planned = _plan(held)
    slices, rows, columns = planned.shape
    path = held[0].path
    words = (str(dataset.get(word) or "").strip() for word in ("Manufacturer", "ManufacturerModelName"))
    strength = number(dataset.get("MagneticFieldStrength"))
    return Recording(
        patient=_patient(str(dataset.get("PatientID") or "").strip(), path, root),
        contrast=_contrast(dataset) or contrast_of_path(path, root),
        reader=NAME,
        paths=tuple(dict.fromkeys(held[index].path for index in order)),
        shape=(slices, 1, rows, columns),
        kind="image",
        split=split_of(path, root),
        field_strength=strength / GAUSS if strength and strength > 100 else strength,
        scanner=" ".join(filter(None, words)),
        notes=planned.notes,
    )


def _patient(told: str, path: Path, root: Path) -> str:
    """PatientID; one without a digit may be a name, and becomes a number. Without one, the folder's."""
    if told and not any(sign.isdigit() for sign in told):
        return f"p{hashlib.sha256(told.encode()).hexdigest()[:10]}"
    return safe(told or folder_patient(path, root))


def _contrast(dataset: Any) -> str:
    """What the descriptions tell; T1 with an agent is T1c."""
    told = (contrast_of(str(dataset.get(word) or "")) for word in ("SeriesDescription", "ProtocolName"))
    contrast = next(filter(None, told), "")
    return "T1c" if contrast == "T1" and dataset.get("ContrastBolusAgent") else contrast


def _plan(held: list[Frame]) -> tuple[list[int], Plan]:
    """The order of the frames by position, and how the volume [columns, rows, slices] of them is cut."""
    shapes = sorted({frame.shape for frame in held})
    if len(shapes) > 1:
        raise ValueError(f"the matrix sizes of its slices are mixed: {', '.join(map(str, shapes))}; separate them")
    if len(held) * math.prod(shapes[0]) > LARGEST:
        raise ValueError(f"{len(held)} slices of {shapes[0]} are more than memory is for; separate them")
    first = held[0]
    if any(np.abs([f.across - first.across, f.down - first.down]).max() > 10 * UNLIKE for f in held):
        raise ValueError("the slices of the series lie in several directions (a localizer?); leave it out")
    if any(f.spacing != first.spacing for f in held):
        raise ValueError("the pixels of its slices differ in size; separate them")
    order = sorted(range(len(held)), key=lambda index: held[index].height)
    heights = np.array([held[index].height for index in order])
    gaps = np.diff(heights)
    if len(held) > 1 and gaps.min() < UNLIKE:
        raise ValueError("several of its images lie at one position (repetitions? b-values?); separate them")
    planned = plan((first.shape[1], first.shape[0], len(held)), _affine([held[index] for index in order]))
    if planned.axes[0] != 2 and len(held) > 2 and np.ptp(gaps) > UNEVEN * np.median(gaps):
        raise ValueError("the distances of its slices differ, so that no axial ones can be cut; is one missing?")
    return order, planned


def _affine(held: list[Frame]) -> Affine:
    """Of the volume [columns, rows, slices], to right, anterior, superior in mm. held: in order of position."""
    first, last = held[0], held[-1]
    normal = np.cross(first.across, first.down)
    step = (last.position - first.position) / (len(held) - 1) if len(held) > 1 else normal * (first.thickness or 1)
    affine = np.eye(4)
    affine[:3] = np.stack([first.across * first.spacing[0], first.down * first.spacing[1], step, first.position], 1)
    affine[:2] *= -1
    return affine
