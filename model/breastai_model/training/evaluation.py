"""What an evaluation found: frozen values, and how they become `result.json`."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from breastai_model.calibration import Scope
    from breastai_model.case import Task
    from breastai_model.training.decision_curve import DecisionCurve
    from breastai_model.training.delong import AucDifference
    from breastai_model.training.intervals import Figure

FORMAT = "breastai-evaluation-1"
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Sets:
    """What the conformal sets held.

    Attributes
    ----------
    coverage, coverage_negative, coverage_positive
        Share of the sets that held the truth: of all cases, of those whose true answer is negative, positive.
    expected_negative, expected_positive
        Between which the latter two lie 95 times in 100 where the promise is kept, both samples counted.
    one_answer, both_answers, no_answer
        Shares of sets; both and none read "not determined".
    right_if_one
        Share of the sets of one answer whose answer is true.
    """

    coverage: Figure | None
    coverage_negative: Figure | None
    coverage_positive: Figure | None
    expected_negative: tuple[float, float]
    expected_positive: tuple[float, float]
    one_answer: Figure | None
    both_answers: Figure | None
    no_answer: Figure | None
    right_if_one: Figure | None


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """One fold by itself; a figure is None where the fold does not define it."""

    fold: int
    cases: int
    positives: int
    figures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class FoldMean:
    """Mean and standard deviation (n - 1) over the folds that define the figure."""

    mean: float
    deviation: float | None
    folds: int


@dataclass(frozen=True, eq=False, slots=True)
class TaskEvaluation:
    """One task with one choice of modalities.

    Attributes
    ----------
    cases, patients, positives
        With a known answer and a prediction.
    figures
        By name, in the order of the table; None where the cases do not define one.
    confusion
        True positive, false positive, true negative, false negative.
    temperatures, thresholds
        Lowest and highest that were applied (one for each fold or part).
    roc
        (corner, 2): 1 - specificity, sensitivity; None without both answers.
    reliability
        (mean probability, share of positive answers, cases) of each bin.
    decision
        The decision curve.
    sets
        None: too few patients to say.
    folds, fold_means
        Empty with one split.
    """

    cases: int
    patients: int
    positives: int
    figures: Mapping[str, Figure | None]
    confusion: tuple[int, int, int, int]
    temperatures: tuple[float, float]
    thresholds: tuple[float, float]
    roc: NDArray[np.float64] | None
    reliability: tuple[tuple[float, float, int], ...]
    decision: DecisionCurve | None
    sets: Sets | None
    folds: tuple[FoldFigures, ...]
    fold_means: Mapping[str, FoldMean]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two choices of modalities on the cases that have both.

    Attributes
    ----------
    auc
        DeLong's test.
    auc_p_holm, mcnemar_p_holm
        Corrected over the tasks of the same pair.
    only_first_right, only_second_right
        Cases that only one of the two read rightly at its threshold.
    mcnemar_p
        Exact, two-sided.
    """

    task: Task
    first: Scope
    second: Scope
    auc: AucDifference
    auc_p_holm: float
    only_first_right: int
    only_second_right: int
    mcnemar_p: float
    mcnemar_p_holm: float


@dataclass(frozen=True, slots=True)
class SubgroupFigures:
    """The AUC with all modalities in one subgroup; None where one answer has fewer than ten cases: too few to say."""

    kind: str
    word: str
    task: Task
    cases: int
    positives: int
    auc: Figure | None


@dataclass(frozen=True, eq=False, slots=True)
class Evaluation:
    """The whole.

    Attributes
    ----------
    patients, cases, folds
        Counted over everything in the predictions.
    calibration
        "cross-fitted": each fold (or fifth of one held-out set) with the calibration of the others; "given": one from other patients.
    coverage, resamples, seed
        Of the conformal sets and of the bootstrap.
    tasks
        Scope, then task.
    notes
        Sentences that belong beside the figures.
    """

    patients: int
    cases: int
    folds: int
    calibration: str
    coverage: float
    resamples: int
    seed: int
    tasks: Mapping[Scope, Mapping[Task, TaskEvaluation]]
    comparisons: tuple[Comparison, ...]
    subgroups: tuple[SubgroupFigures, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as what `json.dumps` takes; numbers are rounded to six digits after the point."""
        values: dict[str, Any] = _plain(self)
        return {"format": FORMAT, **values}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return round(value, DIGITS) if isinstance(value, float) else value
