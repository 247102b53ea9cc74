"""A study drawn in a terminal: the winners, what mattered, the front."""

from __future__ import annotations

import json

import optuna
from rich.console import RenderableType
from rich.text import Text

from sweeps.study import StudyPlan


def study_view(plan: StudyPlan, study: optuna.Study) -> RenderableType:
    """All there is."""
    from sweeps.study_directory import summary

    return Text(json.dumps(summary(plan, study), indent=1, default=str))
