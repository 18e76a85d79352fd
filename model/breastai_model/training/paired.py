"""Paired comparisons beside DeLong's: McNemar's test of two readings, Holm's correction over several questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


def mcnemar_test(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Return how often only the first and only the second was right, and the exact two-sided p (McNemar, Psychometrika 1947).

    Parameters
    ----------
    first_right, second_right
        (case,): whether each reading of the case was true.
    """
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    discordant = only_first + only_second
    return only_first, only_second, float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Return the p values corrected for their number, in the order given (Holm, Scandinavian Journal of Statistics 1979)."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    corrected, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return tuple(corrected)
