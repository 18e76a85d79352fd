"""What a threshold does: equations 18 to 21 and the figures that belong beside them, from one confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROPORTIONS = ("accuracy", "precision", "sensitivity", "specificity", "npv")
"""The figures that are a share of cases."""


def confusion_counts(read_positive: NDArray[np.bool_], labels: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (resample, 4): true positive, false positive, true negative, false negative.

    Parameters
    ----------
    read_positive, labels
        (case,): whether the answer reads positive; 1 or 0.
    weights
        (resample, case).
    """
    positive = labels == 1
    cells = (read_positive & positive, read_positive & ~positive, ~read_positive & ~positive, ~read_positive & positive)
    counts: NDArray[np.float64] = (weights @ np.stack(cells, axis=1).astype(np.float32)).astype(np.float64)
    return counts


def confusion_statistics(counts: NDArray[np.float64]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return each figure by name with its denominator, both (resample,); NaN where the denominator is 0.

    Accuracy is equation 18, precision 19, sensitivity 20, specificity 21 (printed there as "Sensitivity"; method i.7).

    Parameters
    ----------
    counts
        Of `confusion_counts`.
    """
    tp, fp, tn, fn = counts.T
    positives, negatives, everything = tp + fn, tn + fp, counts.sum(axis=1)
    sensitivity, specificity = _share(tp, positives), _share(tn, negatives)
    return {
        "accuracy": (_share(tp + tn, everything), everything),  # equation 18
        "precision": (_share(tp, tp + fp), tp + fp),  # equation 19
        "sensitivity": (sensitivity, positives),  # equation 20
        "specificity": (specificity, negatives),  # equation 21
        "npv": (_share(tn, tn + fn), tn + fn),
        "balanced_accuracy": ((sensitivity + specificity) / 2, everything),
        "f1": (_share(2 * tp, 2 * tp + fp + fn), everything),
    }


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share
