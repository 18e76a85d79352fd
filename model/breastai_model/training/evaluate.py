"""How well held-out cases were told apart, with how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from breastai_model.case import TASKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
