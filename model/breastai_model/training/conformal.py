"""Conformal sets: how large the score of an answer may be for the answer to remain, and what share of the sets then held the truth.

Class-conditional (Mondrian) split conformal prediction; see `breastai_model.calibration` for the reason.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray


def conformal_quantile(scores: NDArray[np.float64], groups: NDArray[np.int64], coverage: float) -> float:
    """Return the ceil((m + 1) coverage)-th smallest of m patients' scores; 1 where there are too few patients for it.

    A new patient's score is then no larger with probability at least `coverage`, whatever the network (Vovk et al., 2005;
    Lei et al., JASA 2018).

    Parameters
    ----------
    scores
        (case,): 1 - probability of the true answer, of cases with one and the same true answer.
    groups
        (case,): the patient; of a patient with several cases the largest score counts, which errs on the safe side.
    """
    _, of_case = np.unique(groups, return_inverse=True)
    largest = np.zeros(of_case.max(initial=-1) + 1)
    np.maximum.at(largest, of_case, scores)
    rank = math.ceil((len(largest) + 1) * coverage - 1e-9)  # 30 * 0.9 is 27.000000000000004
    return float(np.sort(largest)[rank - 1]) if rank <= len(largest) else 1.0


def sets_of(
    probabilities: NDArray[np.float64],
    negative_quantile: NDArray[np.float64] | float,
    positive_quantile: NDArray[np.float64] | float,
) -> NDArray[np.bool_]:
    """Return (case, 2): whether "negative" and whether "positive" remains possible; the rule of `Calibration.prediction_set`."""
    return np.stack([probabilities <= negative_quantile, 1 - probabilities <= positive_quantile], axis=1)


def expected_coverage(calibration_patients: int, test_patients: int, coverage: float) -> tuple[float, float]:
    """Return between which shares 95 % of measured coverages lie where the method keeps its promise.

    Both samples are drawn: the true coverage of one calibration is Beta(k, m + 1 - k) with k = ceil((m + 1) coverage), the measured one
    binomial on top (Vovk 2012; Angelopoulos and Bates 2023, section 3.2).

    Parameters
    ----------
    calibration_patients, test_patients
        Of one true answer.
    """
    rank = math.ceil((calibration_patients + 1) * coverage - 1e-9)
    if rank > calibration_patients or test_patients == 0:
        return (1.0, 1.0)
    counts = stats.betabinom(test_patients, rank, calibration_patients + 1 - rank)
    return float(counts.ppf(0.025)) / test_patients, float(counts.ppf(0.975)) / test_patients
