"""How well held-out cases were told apart, with how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.calibration import SCOPES, Calibration, Scope
from breastai_model.case import TASKS, Task
from breastai_model.training.calibrate import cross_calibrated
from breastai_model.training.evaluation import Evaluation, TaskEvaluation
from breastai_model.training.evaluator import SCOPE_TITLES, Evaluator
from breastai_model.training.intervals import RESAMPLES, SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from breastai_model.training.predictions import Predictions

PAIRS: tuple[tuple[Scope, Scope], ...] = (("both", "mri"), ("both", "us"))
"""The choices of modalities that are compared."""

_LACKS: tuple[tuple[str, Callable[[TaskEvaluation], bool]], ...] = (
    ("There is no case with a known answer and these images", lambda found: found.cases == 0),
    (
        "Too few patients to calibrate, so the probabilities are the network's own and the threshold is 0.5",
        lambda found: found.cases > 0 and found.temperatures == (1.0, 1.0) and found.thresholds == (0.5, 0.5),
    ),
    ("Too few patients to say what conformal sets would hold", lambda found: found.cases > 0 and found.sets is None),
)
"""What may be lacking, and how it is seen."""


def auc(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> float | None:
    """Return the area under the ROC curve; ties count half; None unless both answers occur.

    Parameters
    ----------
    scores, labels
        (case,): the probability of the positive answer; 1, 0, or -1 where the label is not known (left out).
    """
    positive, negative = scores[labels == 1], scores[labels == 0]
    if len(positive) == 0 or len(negative) == 0:
        return None
    higher = (positive[:, None] > negative[None, :]).mean()
    return float(higher + 0.5 * (positive[:, None] == negative[None, :]).mean())


def auc_interval(value: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC (Hanley and McNeil, Radiology 1982), cut to 0 to 1."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (value * (1 - value) + (positives - 1) * (q1 - value**2) + (negatives - 1) * (q2 - value**2)) / (positives * negatives)
    half = 1.96 * math.sqrt(max(variance, 0.0))
    return max(0.0, value - half), min(1.0, value + half)


def task_metrics(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> dict[str, dict[str, float | int | list[float] | None]]:
    """Return for each task its AUC with interval, and the counts behind it.

    Parameters
    ----------
    probabilities, labels
        (case, task), tasks in the order of `breastai_model.case.TASKS`.
    """
    metrics: dict[str, dict[str, float | int | list[float] | None]] = {}
    for index, task in enumerate(TASKS):
        truth = labels[:, index]
        positives, negatives = int((truth == 1).sum()), int((truth == 0).sum())
        value = auc(probabilities[:, index], truth)
        metrics[task] = {
            "auc": None if value is None else round(value, 4),
            "interval": None if value is None else [round(end, 4) for end in auc_interval(value, positives, negatives)],
            "n": positives + negatives,
            "positives": positives,
        }
    return metrics


def evaluated(
    predictions: Predictions,
    calibration: Calibration | None = None,
    coverage: float = 0.9,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Evaluation:
    """Return the evaluation of a network by its predictions for patients that it had not learnt from (method ix).

    Parameters
    ----------
    calibration
        Fitted on other patients (then its coverage counts). None: cross-fitted, so that temperature, threshold and sets of a patient
        come from the other folds, or from the other four fifths of one held-out set.
    coverage
        Share of the patients of each answer whose conformal set is to hold the truth.
    resamples, seed
        Of the bootstrap over patients.

    Raises
    ------
    breastai_model.training.consistency.InconsistentFiguresError
        If the figures of a pooled confusion matrix contradict each other, which would be a fault of this program.
    """
    if calibration is None:
        part, calibrations = cross_calibrated(predictions, coverage)
    else:
        part, calibrations = np.zeros(len(predictions), dtype=np.int64), (calibration,)
        coverage = calibration.coverage
    evaluator = Evaluator(predictions, part, calibrations, coverage, resamples, seed)
    # Task by task, for the scopes of a task share their resamples.
    by_task = {task: {scope: evaluator.task(scope, task) for scope in SCOPES} for task in TASKS}
    tasks = {scope: {task: by_task[task][scope] for task in TASKS} for scope in SCOPES}
    return Evaluation(
        patients=predictions.patients,
        cases=len(predictions),
        folds=len(predictions.fold_numbers),
        calibration="cross-fitted" if calibration is None else "given",
        coverage=coverage,
        resamples=resamples,
        seed=seed,
        tasks=tasks,
        comparisons=tuple(found for pair in PAIRS for found in evaluator.comparisons(*pair)),
        subgroups=tuple(evaluator.subgroups()),
        notes=(*_notes(predictions, calibration, tasks), *evaluator.warnings),
    )


def _notes(predictions: Predictions, calibration: Calibration | None, tasks: Mapping[Scope, Mapping[Task, TaskEvaluation]]) -> list[str]:
    """Return the sentences that belong beside the figures."""
    notes = []
    folds = len(predictions.fold_numbers)
    if folds > 1:
        notes.append(
            f"The figures pool the out-of-fold predictions of {folds} networks. Pooling across networks is approximate, because "
            "their scores need not mean the same; the means over the folds stand beside them."
        )
    if calibration is not None:
        notes.append("Temperature, threshold and conformal sets were fitted on other patients, before these were read.")
    elif folds > 1:
        notes.append("Temperature, threshold and conformal sets of each fold were fitted on the out-of-fold predictions of the others.")
    else:
        notes.append(
            "There was one held-out set: it was divided into five parts of whole patients, and temperature, threshold and "
            "conformal sets of each part were fitted on the other four."
        )
    if predictions.patients < len(predictions):
        notes.append(
            f"{len(predictions)} tumours of {predictions.patients} patients: the intervals draw whole patients; DeLong's and "
            "McNemar's tests take the tumours as independent, so their p values are rather too small."
        )
    for says, holds in _LACKS:
        places = [
            f"{SCOPE_TITLES[scope]}, {task.replace('_', ' ')}"
            for scope, of_scope in tasks.items()
            for task, found in of_scope.items()
            if holds(found)
        ]
        if places:
            everything = len(places) == len(SCOPES) * len(TASKS)
            notes.append(f"{says}: {'every task with any choice of modalities' if everything else '; '.join(places)}.")
    return notes
