"""Files of every format, made by the tests. Arrays are small, and of the same head."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import numpy.typing as npt

from engine.streams import rng

Array = npt.NDArray[Any]

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <measurementInformation><protocolName>{protocol}</protocolName></measurementInformation>
 <acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor><systemModel>Aera</systemModel>
  <systemFieldStrength_T>1.494</systemFieldStrength_T></acquisitionSystemInformation>
 <encoding><trajectory>{trajectory}</trajectory>
  <encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>
   <fieldOfView_mm><x>{fov}</x><y>{fovy}</y><z>{thick}</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>{y}</x><y>{y}</y><z>{z}</z></matrixSize>
   <fieldOfView_mm><x>220</x><y>{fovy}</y><z>5</z></fieldOfView_mm></reconSpace>
  <encodingLimits>
   <kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{center}</center></kspace_encoding_step_1>
   <kspace_encoding_step_2><minimum>0</minimum><maximum>{lastz}</maximum><center>{centerz}</center></kspace_encoding_step_2>
  </encodingLimits></encoding></ismrmrdHeader>"""


def header(
    x: int = 32, y: int = 16, z: int = 1, trajectory: str = "cartesian", protocol: str = "AXT2", **more: Any
) -> str:
    """An ISMRMRD header. more: fov, of the read-out, fovy and thick, of the slab, mm; center, of phase encoding."""
    fov = more.get("fov", 220 * x / y)
    settings = {
        "fov": fov,
        "fovy": fov / x * y,
        "thick": 5,
        "last": y - 1,
        "center": y // 2,
        "lastz": z - 1,
        "centerz": z // 2,
    }
    return HEADER.format(x=x, y=y, z=z, trajectory=trajectory, protocol=protocol, **{**settings, **more})


def head(slices: int = 5, rows: int = 24, columns: int = 20, seed: int = 0) -> Array:
    """A textured ellipsoid, brighter towards one corner, so that no flip goes unseen: float32, at least 0, to 1000."""
    z, y, x = np.mgrid[:slices, :rows, :columns].astype(np.float32)
    z, y, x = (2 * part / (part.max() or 1) - 1 for part in (z, y, x))
    inside = x**2 + y**2 + 0.5 * z**2 < 0.8
    texture = rng(seed, "texture").random((slices, rows, columns), dtype=np.float32)
    image = inside * (500 + 150 * x + 200 * y + 100 * z + 50 * texture)
    return np.asarray(image.clip(0), np.float32)


def kspace(slices: int = 3, coils: int = 2, rows: int = 24, columns: int = 20, seed: int = 0) -> Array:
    """Measured, fully: complex64 [S, C, H, W] of the head, with phase and noise."""
    random = rng(seed, "kspace")
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    maps = np.stack([np.exp(1j * (c + 1) * (x + y * c) - ((x - np.cos(c)) ** 2 + y**2) / 3) for c in range(coils)])
    image = head(slices, rows, columns, seed)[:, None] * maps
    white = random.standard_normal((*image.shape, 2)) @ [1, 1j]
    return fft2c(image + 5 * white).astype(np.complex64)


def fft2c(image: Array) -> Array:
    """numpy's own, centred and unitary."""
    axes = (-2, -1)
    return np.asarray(
        np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=axes), norm="ortho"), axes=axes), np.complex128
    )


def ifft2c(array: Array) -> Array:
    """numpy's own, centred and unitary."""
    axes = (-2, -1)
    return np.asarray(
        np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(array, axes=axes), norm="ortho"), axes=axes), np.complex128
    )


def fastmri(path: Path, attributes: Mapping[str, Any] | None = None, **datasets: Any) -> Path:
    """HDF5 with these datasets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
        file.attrs.update(attributes or {})
    return path


def nifti(path: Path, volume: Array, affine: Array | None = None, code: int = 1, **fields: Any) -> Path:
    """affine: identity if None; fields: of the header, as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(volume, np.eye(4) if affine is None else affine)
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code, strip_shears=True)
    content = image.to_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def ras(image: Array) -> Array:
    """Slices as a radiologist sees them [S, H, W] -> volume whose axes go right, anterior, superior."""
    return image[:, ::-1, ::-1].transpose(2, 1, 0)


def cfl(path: Path, array: Array, dimensions: Sequence[int] = ()) -> Path:
    """BART's: array [S, C, H, W] to dimensions H, W, S, C."""
    dims = dimensions or [*array.shape[2:], array.shape[0], array.shape[1], *[1] * 12]
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
    array.transpose(2, 3, 0, 1).astype(np.complex64).flatten(order="F").tofile(path)
    return path


# ---- ISMRMRD --------------------------------------------------------------------------------------------

_STEPS = ["kspace_encode_step_1", "kspace_encode_step_2"]
_COUNTERS = [*_STEPS, "average", "slice", "contrast", "phase", "repetition", "set"]
_HEAD = np.dtype(
    [
        ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
        ("number_of_samples", "<u2"), ("available_channels", "<u2"), ("active_channels", "<u2"), ("discard_pre", "<u2"),
        ("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"),
        ("idx", [*((name, "<u2") for name in _COUNTERS), ("segment", "<u2"), ("user", "<u2", (8,))]),
    ]
)  # fmt: skip


def ismrmrd(path: Path, lines: Sequence[tuple[Array, dict[str, int]]], xml: str = "") -> Path:
    """lines: of each acquisition, samples complex [C, H], and counters or fields of its head."""
    floats = h5py.vlen_dtype(np.float32)
    rows = np.empty(len(lines), np.dtype([("head", _HEAD), ("traj", floats), ("data", floats)]))
    for row, (samples, fields) in zip(rows, lines, strict=True):
        row["head"] = np.zeros((), _HEAD)
        coils, count = samples.shape
        told = {"number_of_samples": count, "active_channels": coils, "center_sample": count // 2}
        for name, value in {**told, **fields}.items():
            (row["head"]["idx"] if name in _COUNTERS else row["head"])[name] = value
        row["traj"] = np.zeros(0, np.float32)
        row["data"] = samples.astype(np.complex64).ravel().view(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[(xml or header()).encode()], dtype=h5py.special_dtype(vlen=bytes))
        group["data"] = rows
    return path


def lines(array: Array, columns: Sequence[int] | None = None) -> list[tuple[Array, dict[str, int]]]:
    """The acquisitions of k-space [S, C, H, W]: a line a column."""
    wanted = range(array.shape[-1]) if columns is None else columns
    return [(array[s, :, :, w], {"slice": s, "kspace_encode_step_1": w}) for s in range(len(array)) for w in wanted]


# ---- DICOM ----------------------------------------------------------------------------------------------


def dicom(folder: Path, image: Array, **fields: Any) -> list[Path]:
    """An axial series of slices [S, H, W], numbers from 0 to 4095; fields: of all headers; None takes one away."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, part in enumerate(image):
        dataset = _dataset(part.shape, fields)
        if "ImagePositionPatient" not in fields:
            dataset.ImagePositionPatient = [-100, -90, 4 * index - 30]
        dataset.PixelData = part.astype("<u2").tobytes()
        paths.append(folder / f"IM{(7 * index) % len(image):04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def enhanced(path: Path, image: Array, **fields: Any) -> Path:
    """All slices in one multi-frame file."""
    from pydicom.dataset import Dataset

    dataset = _dataset(image.shape[1:], {**fields, "ImageOrientationPatient": None, "PixelSpacing": None})
    dataset.NumberOfFrames = len(image)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.8], 4
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for index in range(len(image)):
        frame, place, values = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-100, -90, 4 * index - 30]
        values.RescaleSlope, values.RescaleIntercept = 2, 0
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [values]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.PixelData = image.astype("<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def _dataset(shape: tuple[int, ...], fields: Mapping[str, Any]) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    told: dict[str, Any] = {
        "Modality": "MR", "PatientID": "P017", "PatientName": "Doe^Jane", "SeriesInstanceUID": "1.2.3",
        "SeriesDescription": "t2_tse_tra", "Manufacturer": "SIEMENS", "ManufacturerModelName": "Skyra",
        "MagneticFieldStrength": 3, "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.8, 0.8],
        "SliceThickness": 4, "Rows": shape[0], "Columns": shape[1], "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
    }  # fmt: skip
    for name, value in {**told, **fields}.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset
