"""How well the scores put the positive answers above the negative ones: ROC, its area, precision and recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CHUNK = 250
"""Resamples at a time: their sorted weights then stay in the processor's cache."""


def weighted_auc(scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the area under the ROC curve of each resample; ties count half (Mann and Whitney). NaN without both answers.

    Parameters
    ----------
    scores, labels
        (case,): the higher, the more positive; 1 or 0.
    weights
        (resample, case).
    """

    def area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
        below = np.cumsum(negative, axis=1) - 0.5 * negative
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return _ratio((positive * below).sum(axis=1), pairs)

    return _by_score(scores, labels, weights, area)


def weighted_average_precision(scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the area under the precision-recall curve of each resample, as steps (average precision). NaN without positive answers.

    Parameters as for `weighted_auc`.
    """

    def area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.cumsum(positive[:, ::-1], axis=1)
        called = found + np.cumsum(negative[:, ::-1], axis=1)
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        return _ratio((positive[:, ::-1] * precision).sum(axis=1), found[:, -1])

    return _by_score(scores, labels, weights, area)


def roc_points(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the corners of the ROC curve, (corner, 2): 1 - specificity and sensitivity, from (0, 0) to (1, 1).

    Raises
    ------
    ValueError
        If one of the answers does not occur.
    """
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    if not positives or not negatives:
        raise ValueError("An ROC curve needs both answers.")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    sensitivity = np.cumsum(labels[order] == 1)[last_of_tie] / positives
    false_alarms = np.cumsum(labels[order] == 0)[last_of_tie] / negatives
    return np.concatenate([np.zeros((1, 2)), np.stack([false_alarms, sensitivity], axis=1)])


def _by_score(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return a statistic of the positive and the negative weight at each different score, ascending, (resample, score)."""
    order = np.argsort(scores, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(scores[order])) + 1])
    positive = labels[order] == 1
    results = []
    for start in range(0, len(weights), CHUNK):
        part = weights[start : start + CHUNK][:, order].astype(np.float64)
        sums = [part * positive, part * ~positive]
        if len(starts) < len(scores):  # ties; without them the slow sum has nothing to add
            sums = [np.add.reduceat(each, starts, axis=1) for each in sums]
        results.append(statistic(*sums))
    return np.concatenate(results)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio
