"""Scenarios: named federations in `sites/scenarios/`, files of the same form, and institutions drawn at random."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from engine.streams import rng
from engine.validation import closest
from sites.config import Lesions, MaskKind, Scenario, SiteConfig
from sites.physics import null_time, tissues

_DIRECTORY = Path(__file__).parent / "scenarios"


# ---- named scenarios and files --------------------------------------------------------------------------------


def scenarios() -> list[str]:
    """Names of the scenarios that come with the project."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.toml"))


def load_scenario(name: str) -> Scenario:
    """A named scenario, or the one in a file: a name that ends in `.toml`.

    Raises ValueError, in one line, if there is no such scenario or file, or it is not valid.
    """
    if name.endswith(".toml"):
        return read_scenario(Path(name))
    if name not in scenarios():
        raise ValueError(f"scenario {name!r} is unknown; {closest(name, scenarios(), ', or give a .toml file')}")
    return read_scenario(scenario_file(name))


def scenario_file(name: str) -> Path:
    """Where a named scenario is written down."""
    return _DIRECTORY / f"{name}.toml"


def read_scenario(path: Path) -> Scenario:
    """A scenario from TOML: `name`, `summary` and `[[site]]` tables whose keys are the fields of SiteConfig.

    Raises ValueError, in one line, that names the file, the table and the key, and how to mend it.
    """
    try:
        return parse_scenario(path.read_text(encoding="utf-8"), path.parent)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}; give a readable TOML file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not UTF-8 text; give a TOML file") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_scenario(text: str, folder: Path = Path()) -> Scenario:
    """A scenario from the text of such a file in a folder. Raises ValueError as `read_scenario`, without its name."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"broken TOML: {error}") from error
    configs = parse_sites(tables.get("site", []), folder)
    _check_keys("the scenario", tables, ("name", "summary", "site"), ("name", "summary"))
    for key in ("name", "summary"):
        if not isinstance(tables[key], str):
            raise ValueError(f"{key} is {tables[key]!r}; give a text")
    return Scenario(name=tables["name"], summary=tables["summary"], sites=configs)


def parse_sites(tables: object, folder: Path) -> tuple[SiteConfig, ...]:
    """The `[[site]]` tables of a scenario or of a stored run. folder: what a relative `path` is relative to.

    Raises ValueError that names table and key.
    """
    if not isinstance(tables, list) or not all(isinstance(site, dict) for site in tables):
        raise ValueError("site is not a list of tables; begin each institution with [[site]]")
    return tuple(_site(number, site, folder) for number, site in enumerate(tables, start=1))


def _site(number: int, table: Mapping[str, Any], folder: Path) -> SiteConfig:
    where = f"[[site]] {number}" + (f" ({table['name']!r})" if "name" in table else "")
    types = get_type_hints(SiteConfig)
    required = [field.name for field in fields(SiteConfig) if field.default is MISSING]
    _check_keys(where, table, types, required)
    site = SiteConfig(**{key: _typed(where, key, value, types[key]) for key, value in table.items()})
    return replace(site, path=str((folder / site.path).absolute())) if site.path else site


def _check_keys(where: str, table: Mapping[str, Any], known: Iterable[str], required: Iterable[str]) -> None:
    known = list(known)
    for key in table:
        if key not in known:
            raise ValueError(f"{where}: key {key!r} is unknown; {closest(key, known)}")
    for key in required:
        if key not in table:
            raise ValueError(f"{where}: {key} is missing; add {key} = ...")


def _typed(where: str, key: str, value: Any, wanted: Any) -> Any:
    """The value as the field's type: whole numbers do for numbers, nothing else is converted."""
    if wanted is int:
        valid, noun = type(value) is int, "a whole number"
    elif wanted in (float, float | None):
        valid, noun = type(value) in (int, float), "a number"
        value = float(value) if valid else value
    else:
        valid, noun = isinstance(value, str), "a text in quotes"
    if not valid:
        raise ValueError(f"{where}: {key} is {value!r}; give {noun}")
    return value


# ---- any number of institutions -------------------------------------------------------------------------------


def take(scenario: Scenario, count: int, seed: int) -> Scenario:
    """The scenario's first `count` institutions, or all of them and further ones drawn with `draw_site`.

    Drawn institutions have as many patients and slices as the first one that is not of files.

    Raises ValueError if count is below 1.
    """
    if count < 1:
        raise ValueError(f"{count} sites make no federation; take at least 1")
    first = next((site for site in scenario.sites if not site.of_files), SiteConfig(name="any"))
    drawn = (
        replace(
            draw_site(seed, index),
            train_patients=first.train_patients,
            val_patients=first.val_patients,
            test_patients=first.test_patients,
            slices=first.slices,
        )
        for index in range(len(scenario.sites), count)
    )
    return replace(scenario, sites=(*scenario.sites[:count], *drawn))


def draw_site(seed: int, index: int) -> SiteConfig:
    """An institution drawn from a distribution of scanners, by (seed, index) alone. index: from 0."""
    random = rng(seed, "scanner", "", index)
    field_strength = float(random.choice([1.5, 3.0]))
    lesions: Lesions = random.choice(np.array(["none", "glioma"], dtype=object))
    masks: list[MaskKind] = ["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]
    contrast, protocol = _draw_protocol(field_strength, random)
    return SiteConfig(
        name=f"site-{index + 1:02d}",
        description=f"simulated {field_strength:g} T, {contrast}, {'glioma' if lesions == 'glioma' else 'healthy'}",
        field_strength=field_strength,
        snr=round(float(np.exp(random.uniform(np.log(18), np.log(50)))), 1),
        bias_field=round(float(random.uniform(0.1, 0.5)), 2),
        phase=round(float(random.uniform(0.4, 2.0)), 2),
        lesions=lesions,
        mask=masks[int(random.integers(len(masks)))],
        **protocol,
    )


def _draw_protocol(field_strength: float, random: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """A contrast's name and its sequence, TR, TE, TI and flip angle: rounded, within what hospitals use."""

    def draw(low: float, high: float, step: float) -> float:
        return float(round(step * round(float(random.uniform(low, high)) / step), 1))

    match int(random.integers(4)):
        case 0:
            times = {"tr": draw(400, 700, 10), "te": draw(8, 16, 1)}
            return "T1-weighted spin echo", {"sequence": "spin_echo", **times}
        case 1:
            times = {"tr": draw(3000, 7000, 100), "te": draw(80, 115, 1)}
            return "T2-weighted spin echo", {"sequence": "spin_echo", **times}
        case 2:
            times = {"tr": draw(7, 25, 0.1), "te": draw(2, 5, 0.1), "flip_angle": draw(12, 25, 1)}
            return "T1-weighted gradient echo", {"sequence": "gradient_echo", **times}
        case _:
            times = {"tr": draw(8000, 11000, 100), "te": draw(80, 120, 1)}
            csf = tissues(field_strength)["csf"]
            ti = round(null_time(float(csf.t1), times["tr"]))
            return "FLAIR inversion recovery", {"sequence": "inversion_recovery", **times, "ti": float(ti)}
