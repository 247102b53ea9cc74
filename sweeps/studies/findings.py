"""What a study has found so far, read once for whatever shows it: console, figures, report, summary.json."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeps.directory import stored_warnings
from sweeps.studies.importance import Importance, importances
from sweeps.studies.objectives import Objective
from sweeps.studies.plan import StudyPlan
from sweeps.studies.trials import REASON, ROUNDS, unfinished
from sweeps.studies.turns import TURN, by_turn
from sweeps.studies.winners import Winner, read_winner, winners
from sweeps.studies.words import STATES, State
from sweeps.studies.workers import orphans

NAMES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""Of states; all others run."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial. values: of the objectives; of one that was pruned or runs, after its last round; empty if unknown.

    history: values of a single objective by round; seconds: from its first to its last moment, NaN while it runs
    """

    turn: int
    state: State
    params: dict[str, Any]
    values: tuple[float, ...] = ()
    rounds: int = 0
    history: tuple[float, ...] = ()
    reason: str = ""
    seconds: float = math.nan

    @staticmethod
    def of(trial: FrozenTrial) -> Row:
        """Of a trial that has its turn."""
        history = tuple(value for _, value in sorted(trial.intermediate_values.items()))
        state = NAMES.get(trial.state, "running")
        return Row(
            turn=trial.user_attrs[TURN],
            state=state,
            params=dict(trial.params),
            values=() if state == "failed" else tuple(trial.values or history[-1:]),
            rounds=trial.user_attrs.get(ROUNDS, len(history)),
            history=history,
            reason=trial.user_attrs.get(REASON, ""),
            seconds=trial.duration.total_seconds() if trial.duration else math.nan,
        )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All there is to show. rows: by turn; winners: the best by the first objective before the others.

    importances: by objective, empty if not asked for; warnings: what must be known of the data

    finished: no trial is missing, and every winner is tested and confirmed
    tested_before: trials whose test patients were scored when they won, and which others have beaten since
    """

    plan: StudyPlan
    rows: tuple[Row, ...]
    winners: tuple[Winner, ...]
    importances: tuple[Importance | None, ...] = ()
    warnings: tuple[str, ...] = ()
    finished: bool = False
    tested_before: tuple[int, ...] = ()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """In their order."""
        return self.plan.objectives

    @property
    def against(self) -> str:
        """The method that values are differences to; empty if there is none."""
        return self.plan.config.against

    @property
    def target(self) -> str:
        """The name of the one that the winners are tested at; empty if each has its own."""
        tests = [test for winner in self.winners for test in (winner.searched, winner.confirmed) if test]
        names = {test.target for test in tests} or {self.plan.target}
        return names.pop() if len(names) == 1 else ""

    @property
    def counts(self) -> dict[State, int]:
        """Trials by state."""
        return count(self.rows)

    @property
    def won(self) -> frozenset[int]:
        """The winners' turns."""
        return frozenset(winner.turn for winner in self.winners)


def findings(plan: StudyPlan, study: optuna.Study, importance: bool = True) -> Findings:
    """importance: whether it is computed, which takes seconds. Raises ValueError for damaged run directories."""
    won = sorted(winners(study), key=lambda trial: rank(plan, trial.values, trial.user_attrs[TURN]))
    turns = {trial.user_attrs[TURN] for trial in won}
    left = orphans(study, plan.out)
    rows = tuple(replace(row, state="interrupted") if row.turn in left else row for row in rows_of(study))
    jobs = [plan.trial(trial.user_attrs[TURN], trial.params) for trial in won]
    return Findings(
        plan=plan,
        rows=rows,
        winners=tuple(read_winner(plan, trial) for trial in won),
        importances=importances(study, plan.objectives, plan.space, plan.run.seed) if importance else (),
        warnings=tuple(stored_warnings(config for job in jobs for config in job.configs)),
        finished=not unfinished(plan, study),
        tested_before=tuple(row.turn for row in rows if row.turn not in turns and _tested(plan, row.turn)),
    )


def rank(plan: StudyPlan, values: Sequence[float], turn: int) -> tuple[float, int]:
    """Of a winner, to sort them: the best by the first objective comes first, of equals the first trial."""
    return (-values[0] if plan.objectives[0].direction == "maximize" else values[0]), turn


def rows_of(study: optuna.Study) -> tuple[Row, ...]:
    """By turn; of trials that repeat each other, since a process died, the last."""
    return tuple(Row.of(trial) for _, trial in sorted(by_turn(study).items()))


def count(rows: Sequence[Row]) -> dict[State, int]:
    """Trials by state."""
    counted = Counter(row.state for row in rows)
    return {state: counted[state] for state in STATES}


def best_so_far(rows: Sequence[Row], objective: Objective, index: int = 0) -> list[float]:
    """By turn, of complete trials; NaN before the first."""
    better = max if objective.direction == "maximize" else min
    best, found = math.nan, []
    for row in rows:
        if row.state == "complete":
            best = row.values[index] if math.isnan(best) else better(best, row.values[index])
        found.append(best)
    return found


def _tested(plan: StudyPlan, turn: int) -> bool:
    """Whether a trial's federations have been finished, which only winners' are."""
    where = plan.directory(turn)
    return any(path for pattern in ("summary.json", "seed-*/summary.json") for path in where.glob(pattern))
