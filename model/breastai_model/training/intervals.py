"""How sure a figure is: patients drawn with replacement, two thousand times, all at once.

Every statistic of the evaluation takes weights (resample, case) and returns (resample,): the first row, all ones, is the figure itself,
the others are what it would have been with other patients. Nothing is fitted again: thresholds, temperatures and bins stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 20220115
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic with its 95 % interval.

    Attributes
    ----------
    value
        The statistic.
    low, high
        Ends of its interval; None where the resamples cannot tell them.
    n
        Cases that it is made from: for the sensitivity those with a positive answer, for the precision those read as positive.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def patient_weights(
    labels: NDArray[np.int64], groups: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = SEED, *, stratified: bool = True
) -> NDArray[np.float32]:
    """Return how often each case stands in each resample: (1 + resamples, case) float32, the first row all ones.

    Whole patients are drawn with replacement, as many as there are.

    Parameters
    ----------
    labels, groups
        (case,): 1 or 0; the patient's number.
    stratified
        Whether those with a positive answer and those without are drawn apart from each other (method ix): right for figures within
        the answers, such as sensitivity and AUC. All others change with the share of positive answers, which another cohort would have
        differently: drawn apart, a reading that always says no had an accuracy of 50 % (50 to 50), and 0.65 instead of 0.95 of the
        intervals of a calibration error held it (measured).
    """
    patients, of_case = np.unique(groups, return_inverse=True)
    positive = np.zeros(len(patients), dtype=bool)
    np.logical_or.at(positive, of_case, labels == 1)
    chance = np.random.default_rng(seed)
    drawn = np.ones((1 + resamples, len(patients)), dtype=np.float32)
    strata = (positive, ~positive) if stratified else (np.ones_like(positive),)
    for stratum in (np.flatnonzero(members) for members in strata):
        if len(stratum):
            drawn[1:, stratum] = _drawn(len(stratum), resamples, chance)
    return drawn[:, of_case]


def _drawn(count: int, resamples: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """Return (resamples, count): how often each of `count` was drawn in `count` draws. Four times as fast as `multinomial`."""
    places = chance.integers(0, count, size=(resamples, count), dtype=np.int32)
    places += np.arange(resamples, dtype=np.int32)[:, None] * count
    return np.bincount(places.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float32)


def figure(values: NDArray[np.float64], n: int) -> Figure | None:
    """Return the statistic of the first row with the percentile interval of the others; None where it is not defined.

    Parameters
    ----------
    values
        (1 + resamples,); NaN where a resample does not define it. Where more than one in twenty does not, there is no interval.
    """
    if np.isnan(values[0]):
        return None
    low, high = _ends(values[1:])
    return Figure(float(values[0]), low, high, n)


def proportion(values: NDArray[np.float64], n: int) -> Figure | None:
    """Return the same for a share of n cases; at exactly 0 or 1 the interval is Clopper and Pearson's (Biometrika 1934).

    There every resample agrees, which would give an interval without a width.
    """
    found = figure(values, n)
    if found is None or 0 < found.value < 1:
        return found
    interval = stats.binomtest(round(found.value * n), n).proportion_ci(LEVEL, "exact")
    return Figure(found.value, float(interval.low), float(interval.high), n)


def biased_figure(values: NDArray[np.float64], n: int) -> Figure | None:
    """Return the figure with the basic bootstrap interval, 2 value - (high, low), cut at 0.

    For statistics that resampling pushes one way, such as the expected calibration error, which is an absolute value: its percentile
    interval would lie above the figure.
    """
    found = figure(values, n)
    if found is None or found.low is None or found.high is None:
        return found
    return Figure(found.value, max(0.0, 2 * found.value - found.high), max(0.0, 2 * found.value - found.low), n)


def _ends(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    known = values[~np.isnan(values)]
    if len(known) == 0 or len(known) < LEVEL * len(values):
        return None, None
    low, high = np.quantile(known, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    # Where every resample says the same, as of an AUC of 1, the resamples cannot tell how sure it is.
    return (float(low), float(high)) if low < high else (None, None)
