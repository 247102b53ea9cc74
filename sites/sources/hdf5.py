"""HDF5 files, and the ISMRMRD header that fastMRI's hold too (Inati et al., Magn Reson Med 2017; 77:411-421)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sites.sources.checks import check_openable

SUFFIXES = (".h5", ".hdf5", ".mrd")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an ISMRMRD header says of scanner and protocol; None, empty and 0: nothing. field_strength: tesla.

    matrix: encoded, read-out and phase encoding; pixel: their sides, mm; part: of the read-out that is the image
    """

    field_strength: float | None = None
    scanner: str = ""
    protocol: str = ""
    matrix: tuple[float, float] = (0, 0)
    pixel: tuple[float, float] = (0, 0)
    part: float = 0


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An h5py.File to read, closed again. Raises OSError or ValueError if it is none."""
    import h5py

    check_openable(path)
    with h5py.File(path, "r") as file:
        yield file


def acquisitions(file: Any) -> Any:
    """The group that holds ISMRMRD's acquisitions, or None if none does; fastMRI's files have no groups."""
    groups = (item for item in file.values() if hasattr(item, "keys"))
    return next((group for group in groups if {"xml", "data"} <= set(group)), None)


def text(value: Any) -> str:
    """An attribute or dataset of text, of any kind that h5py gives; empty if it is none."""
    value = value.item() if getattr(value, "size", 0) == 1 else value
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return value.strip("\0 \n") if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """Above 0 and finite, or nothing."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 < found < float("inf") else None


def elements(xml: str) -> ElementTree.Element:
    """The root of a document without namespaces. Raises ValueError if it is damaged."""
    try:
        root = ElementTree.fromstring(xml.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"its ISMRMRD header is damaged ({error})") from error
    for element in root.iter():
        element.tag = str(element.tag).rsplit("}", 1)[-1]
    return root


def header(root: ElementTree.Element) -> Header:
    """What we tell of it."""
    matrix, encoded, shown = (
        [number(_found(root, f"encoding/{space}/{axis}")) or 0.0 for axis in "xy"]
        for space in ("encodedSpace/matrixSize", "encodedSpace/fieldOfView_mm", "reconSpace/fieldOfView_mm")
    )
    told = all((*matrix, *encoded, *shown))
    system = "acquisitionSystemInformation"
    vendor, model = (_found(root, f"{system}/system{word}") for word in ("Vendor", "Model"))
    return Header(
        field_strength=number(_found(root, f"{system}/systemFieldStrength_T")),
        scanner=" ".join(filter(None, (vendor, model.removeprefix(vendor).strip()))),
        protocol=_found(root, "measurementInformation/protocolName"),
        matrix=(matrix[0], matrix[1]),
        pixel=(encoded[0] / matrix[0], encoded[1] / matrix[1]) if told else (0, 0),
        part=min(1.0, shown[0] / encoded[0]) if told else 0,
    )


def _found(root: ElementTree.Element, path: str) -> str:
    return (root.findtext(path) or "").strip()
