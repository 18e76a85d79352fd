"""Figures with their 95 % intervals: bootstrap over patients, everything from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 1000
"""Bootstrap samples of every interval."""
EDGES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the ends of its 95 % interval; for an exact figure both ends are the figure."""

    value: float
    low: float
    high: float


def exact(value: float) -> Interval:
    """Return a figure that has no sampling error."""
    return Interval(float(value), float(value), float(value))


def mean_interval(values: NDArray[np.float64], seed: int = 0, weights: NDArray[np.float64] | None = None) -> Interval:
    """Return the mean of one value a patient (a ratio of sums with weights), patients drawn again with replacement.

    Parameters
    ----------
    values
        (patient,), each already the sum over what belongs to that patient, so that the interval is that of clusters.
    weights
        (patient,) how much each value was summed over; None: 1.

    Raises
    ------
    ValueError
        Without a patient.
    """
    if len(values) == 0:
        raise ValueError("A mean needs at least one patient.")
    counts = np.ones(len(values)) if weights is None else weights
    drawn = _drawn(len(values), np.random.default_rng([seed, 1]))
    means = (drawn @ values) / np.maximum(drawn @ counts, 1e-12)
    low, high = np.percentile(means, EDGES)
    value = float(values.sum() / max(counts.sum(), 1e-12))
    # Where all patients are at an end of a share, every draw agrees; the exact interval of a share (Clopper and Pearson) has a width.
    if (values == 0).all():
        high = 1 - (EDGES[0] / 100) ** (1 / len(values))
    elif (values == counts).all():
        low = (EDGES[0] / 100) ** (1 / len(values))
    return Interval(value, float(low), float(high))


def auc_interval(scores: NDArray[np.float64], labels: NDArray[np.int64], seed: int = 0) -> Interval:
    """Return the AUC of one score over the patients with a label; see `auc_contrast`."""
    return auc_contrast((scores,), (1.0,), labels, seed)


def auc_contrast(scores: tuple[NDArray[np.float64], ...], factors: tuple[float, ...], labels: NDArray[np.int64], seed: int = 0) -> Interval:
    """Return a weighted sum of AUCs of scores of the same patients: (a, b) with (1, -1) is their paired difference.

    The bootstrap is stratified: positives and negatives are drawn again, each in their own number. The AUC of a drawn
    sample is w+ C w- over the matrix C of comparisons (1 where the positive scores higher, 1/2 where equal), so that all
    draws are two matrix products.

    Parameters
    ----------
    scores
        Each (patient,).
    labels
        (patient,) 1, 0, or -1 (left out).

    Raises
    ------
    ValueError
        Where one of the two answers is missing, or a score is no number.
    """
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    if not len(positive) or not len(negative):
        raise ValueError("An AUC needs patients of both answers.")
    if not all(np.isfinite(each).all() for each in scores):
        raise ValueError("An AUC needs finite scores.")
    rng = np.random.default_rng([seed, 2])
    first, second = _drawn(len(positive), rng), _drawn(len(negative), rng)
    value, draws = 0.0, np.zeros(DRAWS)
    for each, factor in zip(scores, factors, strict=True):
        difference = each[positive][:, None] - each[negative]
        wins = (np.sign(difference) + 1) / 2
        value += factor * float(wins.mean())
        draws += factor * ((first @ wins) * second).sum(axis=1) / (len(positive) * len(negative))
    low, high = np.percentile(draws, EDGES)
    return Interval(value, float(low), float(high))


def r2_interval(predicted: NDArray[np.float64], truth: NDArray[np.float64], seed: int = 0) -> Interval:
    """Return the explained share of the variance of (patient, dimension) held-out targets, all dimensions together.

    1 - sum of squared errors / sum of squares about the mean of the held-out patients.
    """
    errors = np.square(predicted - truth).sum(axis=1)
    squares = np.square(truth - truth.mean(axis=0)).sum(axis=1)
    share = mean_interval(errors, seed, squares)
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)


def over_seeds(intervals: list[Interval]) -> Interval:
    """Return the mean over independent trainings; its ends are the means of their ends (wider than pooled patients would give)."""
    return Interval(*(float(np.mean([getattr(each, end) for each in intervals])) for end in ("value", "low", "high")))


def _drawn(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (draw, patient) how often each patient is in each bootstrap sample."""
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
