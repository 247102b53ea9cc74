"""What a sweep's parameters are of: fields of a run's configuration, settings of its sites, its shifts' strengths.

NAME is a field by the name it has on the command line; SITE.FIELD a site's setting, where SITE may be `target` or
`sources`; shift.DIAL the target's shift and shift.SITE.DIAL another site's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, get_type_hints

from engine.algorithms import ALGORITHMS, Algorithm
from engine.config import ModelConfig, TrainConfig
from engine.placement import Placement
from engine.validation import closest
from sites.config import ELSEWHERE, RunConfig, flat
from sites.overrides import joined, kind_of
from sites.settings import DEMO, as_command, parse_run
from sites.shifts import DIALS
from sweeps.studies.space import ALGORITHM, Values

SHIFT = "shift"
PARTS = {"algorithm", "train", "model", "placement", "institutions"}  # of RunConfig, with fields or sites of their own
TEXTS = {SHIFT: "shift.DIAL=0:1", "site_settings": "SITE.FIELD=LOW:HIGH"}  # of many settings: searched one by one
WHEREABOUTS = {*ELSEWHERE, *(item.name for item in fields(Placement)), "previews", "shift_every"}
"""Settings that are not searched: where a run computes and how closely it is watched."""
SEED = "seed"  # neither: a study has its own


def kinds() -> dict[str, Any]:
    """The type of every field of the configuration that can be searched, by its name on the command line."""
    found: dict[str, Any] = {ALGORITHM: Literal[tuple(ALGORITHMS)]}
    for owner in (RunConfig, TrainConfig, ModelConfig, *ALGORITHMS.values()):
        hints = get_type_hints(owner)
        found |= {name: hints[name] for name in _names(owner) if name not in {*PARTS, *TEXTS, *WHEREABOUTS, SEED}}
    return found


def kind(name: str) -> Any:
    """The type of a parameter. Raises ValueError, in one line with the closest there is, if there is no such field."""
    who, _, field = name.rpartition(".")
    if who == SHIFT or who.startswith(f"{SHIFT}."):
        if field not in DIALS:
            raise ValueError(f"{field!r} is no dial of a shift; {closest(field, DIALS)}")
        return float
    if who:
        if field == "gpus":
            raise ValueError("where a site computes is not searched; take gpus out")
        return kind_of(field)
    known = kinds()
    if name in known:
        return known[name]
    if name in TEXTS:
        raise ValueError(f"{name} is searched setting by setting, {TEXTS[name]}")
    if name in WHEREABOUTS:
        raise ValueError(f"{name} changes no result; give --{name.replace('_', '-')} once for all trials")
    if name == SEED:
        raise ValueError("seed is not searched, for trials are compared on the same seeds; give --seeds for several")
    raise ValueError(f"{name!r} is no setting; {closest(name, known)}")


def applied(base: RunConfig, values: Values) -> RunConfig:
    """The run with a trial's values in place of its own. Raises ValueError for values that no run can have.

    Another method keeps what the run's own method has been set to, where it has a setting of that name.
    """
    method = _method(base.algorithm, values.get(ALGORITHM))
    changes: dict[str, Any] = {
        part: replace(config, **{name: values[name] for name in _names(config) if name in values})
        for part, config in (("algorithm", method), ("train", base.train), ("model", base.model))
    }
    changes |= {name: values[name] for name in _names(base) if name in values and name not in PARTS}
    dotted = {name: value for name, value in values.items() if "." in name}
    dials = {name: value for name, value in dotted.items() if name.startswith(f"{SHIFT}.")}
    settings = {name: value for name, value in dotted.items() if name not in dials}
    changes["site_settings"] = joined(base.site_settings, settings) if settings else base.site_settings
    changes[SHIFT] = _shifts(base.shift, dials) if dials else base.shift
    return replace(base, **changes)


def command(config: RunConfig, start: Sequence[str] = DEMO) -> list[str]:
    """The options with which `run.py` repeats a run, where it runs and where results go left out.

    config: as it was before `resolve`; start: options that it is told from, for example ("--config", FILE). Raises
    ValueError for institutions that no option names (its own config.toml does).
    """
    given = [*start, "--algorithm", config.algorithm_name]
    default = parse_run(given).run
    if config.institutions != default.institutions:
        raise ValueError("the sites of a resolved run are no options; repeat it with --config of its config.toml")
    return as_command(flat(config), flat(default), given)


def _names(config: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(config))


def _method(own: Algorithm, name: str | None) -> Algorithm:
    """A run's own method, or another with what the run has set of the settings that it has too."""
    other = ALGORITHMS.get(name or "", type(own))
    if type(own) is other:
        return own
    plain = type(own)()
    changed = {item: getattr(own, item) for item in _names(own) if getattr(own, item) != getattr(plain, item)}
    return other(**{item: value for item, value in changed.items() if item in _names(other)})


def _shifts(text: str, dials: Mapping[str, float]) -> str:
    """A text of `RunConfig.shift` with strengths, by shift.DIAL or shift.SITE.DIAL, in place of its own."""
    strengths: dict[str, Any] = dict(item.strip().partition("=")[::2] for item in text.split(",") if item.strip())
    for name, strength in dials.items():
        site, _, dial = name.removeprefix(f"{SHIFT}.").rpartition(".")
        strengths[f"{site}:{dial}" if site else dial] = strength
    return ",".join(f"{name}={strength}" for name, strength in strengths.items())
