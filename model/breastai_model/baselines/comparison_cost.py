"""What a comparison will take on this machine, before it begins: each system learns from a handful of the patients, twice."""

from __future__ import annotations

import json
import math
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.baselines.comparison_plan import ComparisonError, Split
from breastai_model.baselines.comparison_result import scope_answers
from breastai_model.baselines.systems import SYSTEMS
from breastai_model.training.features import ABSENT
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.baselines.comparison import Comparison

LEARNT, CHECKED, ANSWERED = 12, 6, 6
"""Patients of the trial."""
MORE_EPOCHS = 2
"""Of its second run, over the first's one."""


def expected_seconds(comparison: Comparison, tell: Callable[[str], None], deadline: float = math.inf) -> dict[str, float]:
    """Return what one seed of each system asked for is expected to take, by its name, all folds together.

    Measured once and kept in the folder. Seconds of one epoch and of everything else come from a run of one and a run of
    three epochs; both grow with the number of patients. Where a system is clever about few patients the figure is too high.
    After the deadline (`time.monotonic()`) no further system is tried, and what is known so far is returned.
    """
    path = comparison.folder / "cost.json"
    known: dict[str, float] = _read(path)
    for name in dict.fromkeys(job.system for job in comparison.jobs):
        if name not in known and time.monotonic() < deadline:
            known[name] = _measured(comparison, name)
            replace_text(path, json.dumps(known, indent=1))
            tell(f"{name}: about {known[name] / 60:.1f} minutes a seed")
    return known


def _measured(comparison: Comparison, name: str) -> float:
    split, plan, cases = comparison.splits[0], comparison.plan, comparison.cases
    trial = Split(_mixed(comparison, split.learning, LEARNT), _mixed(comparison, split.validation, CHECKED), split.test[:ANSWERED])
    work = comparison.folder / "work" / f".trial-{name}"
    taken = []
    for epochs in (1, 1 + MORE_EPOCHS):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        started = time.monotonic()
        budget = plan.budget(plan.seeds[0], epochs=epochs, device=comparison.device)
        fitted = SYSTEMS[name]().fit(cases, trial.learning, trial.validation, budget, work, lambda _: None)
        taken.append(time.monotonic() - started)
    started = time.monotonic()
    for absent in ABSENT.values():
        scope_answers(fitted, cases, trial, absent)
    answering = (time.monotonic() - started) / (len(trial.validation) + len(trial.test))
    shutil.rmtree(work)
    epoch = max(0.0, taken[1] - taken[0]) / MORE_EPOCHS
    each = (max(0.0, taken[0] - epoch) + epoch * plan.epochs) / (len(trial.learning) + len(trial.validation))
    return sum(
        each * (len(fold.learning) + len(fold.validation)) + answering * (len(fold.validation) + len(fold.test))
        for fold in comparison.splits
    )


def _mixed(comparison: Comparison, side: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return some of a side's patients, half of them positive in the first task, so that there is something to learn."""
    positive = comparison.cases.labels[side, 0] == 1
    half = count // 2
    return np.sort(np.concatenate([side[positive][:half], side[~positive][: count - half]]))


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ComparisonError("cost.json cannot be read: delete it and start the comparison again.") from error
    return {name: float(value) for name, value in values.items()}
