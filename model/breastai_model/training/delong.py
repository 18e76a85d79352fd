"""Whether two scores of the same cases differ in AUC beyond chance (DeLong, DeLong and Clarke-Pearson, Biometrics 1988)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray


EQUIVALENCE_MARGIN = 0.05
"""Fixed before anything was compared: two AUCs whose difference lies within it, interval and all, count as equivalent. It is about
what one collection of 500 patients can tell apart at all."""


@dataclass(frozen=True, slots=True)
class AucDifference:
    """Two AUCs on the same cases.

    Attributes
    ----------
    first, second
        The AUCs.
    difference, low, high
        First - second with its 95 % interval.
    p
        Two-sided, that there is no difference; 1 where the two scores order every pair alike.
    n
        Cases.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    n: int

    @property
    def equivalent(self) -> bool:
        """Whether the whole interval lies within `EQUIVALENCE_MARGIN` (two one-sided tests at 2.5 %; Schuirmann 1987)."""
        return self.low >= -EQUIVALENCE_MARGIN and self.high <= EQUIVALENCE_MARGIN


def auc_covariance(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUC of each score and their covariance, (score,) and (score, score).

    The structural components come from mid-ranks, in O(n log n) (Sun and Xu, IEEE Signal Processing Letters 2014).

    Parameters
    ----------
    scores
        (score, case): two or more scores of the same cases, which must be independent of each other (one a patient).
    labels
        (case,) 1 or 0.

    Raises
    ------
    ValueError
        If there are fewer than two cases of an answer.
    """
    positive, negative = scores[:, labels == 1], scores[:, labels == 0]
    m, n = positive.shape[1], negative.shape[1]
    if min(m, n) < 2:
        raise ValueError("DeLong's test needs at least two cases of each answer.")
    all_ranks = stats.rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    # V10: share of the negatives below each positive; V01: share of the positives above each negative; ties count half.
    v10 = (all_ranks[:, :m] - stats.rankdata(positive, axis=1)) / n
    v01 = 1 - (all_ranks[:, m:] - stats.rankdata(negative, axis=1)) / m
    return v10.mean(axis=1), np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


def delong_test(first: NDArray[np.float64], second: NDArray[np.float64], labels: NDArray[np.int64]) -> AucDifference:
    """Return the difference of two AUCs on the same cases.

    Parameters
    ----------
    first, second, labels
        (case,).

    Raises
    ------
    ValueError
        If there are fewer than two cases of an answer.
    """
    areas, covariance = auc_covariance(np.stack([first, second]), labels)
    difference = float(areas[0] - areas[1])
    deviation = math.sqrt(max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    certain = 1.0 if abs(difference) < 1e-12 else 0.0
    p = float(2 * stats.norm.sf(abs(difference) / deviation)) if deviation > 1e-12 else certain
    half = float(stats.norm.ppf(0.975)) * deviation
    return AucDifference(float(areas[0]), float(areas[1]), difference, difference - half, difference + half, p, len(labels))
