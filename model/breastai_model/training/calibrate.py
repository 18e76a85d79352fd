"""Fit what the log-odds mean, on patients that the network had not learnt from: temperature, threshold, conformal quantiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from breastai_model.calibration import (
    COLDEST,
    FEWEST_PATIENTS,
    HOTTEST,
    SCOPES,
    Calibration,
    Scope,
    ScopeCalibration,
    TaskCalibration,
    probabilities,
)
from breastai_model.case import TASKS
from breastai_model.training.conformal import conformal_quantile
from breastai_model.training.folds import stratified_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.training.predictions import Predictions

PARTS = 5
"""Into which one held-out set is divided, so that no patient is read with a threshold found on the same patient."""


def calibrated(predictions: Predictions, coverage: float = 0.9) -> Calibration:
    """Return the calibration of a network from out-of-fold or held-out predictions.

    With folds, the predictions come from several networks and the calibration is used with another one, trained like them: coverage is
    then that of cross-conformal prediction, approximate. With fewer than 20 patients of an answer nothing is fitted (temperature 1,
    threshold 0.5); with fewer than 100 patients there are no sets.

    Parameters
    ----------
    coverage
        Share of the patients of each answer whose set is to hold the truth, 0.5 to below 1.
    """
    return Calibration(coverage, **{scope: _scope(predictions, scope, coverage) for scope in SCOPES})


def cross_calibrated(predictions: Predictions, coverage: float = 0.9) -> tuple[NDArray[np.int64], tuple[Calibration, ...]]:
    """Return the part of every case, (case,), and for each part the calibration fitted on all other parts.

    The parts are the folds; one held-out set is divided into five stratified parts of whole patients. So temperature, threshold and
    sets that a patient is evaluated with never come from the patient's own fold (method i.7). With fewer than ten patients in one set
    there is nothing to divide: the calibration of that set is the one of too few patients.
    """
    parts = predictions.folds
    if len(predictions.fold_numbers) == 1:
        if predictions.patients < 2 * PARTS:
            return np.zeros(len(predictions), dtype=np.int64), (Calibration(coverage),)
        parts = stratified_folds(predictions.labels, predictions.groups, PARTS, seed=1)
    numbers, place = np.unique(parts, return_inverse=True)
    return place, tuple(calibrated(predictions.taken(parts != number), coverage) for number in numbers)


def fitted_temperature(log_odds: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the temperature that makes the answers most likely (Guo et al., ICML 2017), within the bounds of `calibration`.

    Parameters
    ----------
    log_odds, labels
        (case,): as the network gives them; 1 or 0, both occurring.
    """
    signed = np.where(labels == 1, log_odds, -log_odds)

    def surprise(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -signed / math.exp(log_temperature)).mean())

    found = optimize.minimize_scalar(surprise, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded", options={"xatol": 1e-6})
    return min(HOTTEST, max(COLDEST, math.exp(float(found.x))))


def youden_threshold(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the probability that best tells the answers apart: largest sensitivity + specificity (Youden, Cancer 1950).

    It lies in the middle between the two neighbouring scores. Of several equally good ones the nearest to a half is taken.

    Parameters
    ----------
    scores, labels
        (case,): probabilities; 1 or 0, both occurring.
    """
    values = np.unique(scores)
    cuts = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2])
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    sensitivity = 1 - np.searchsorted(positive, cuts) / len(positive)
    specificity = np.searchsorted(negative, cuts) / len(negative)
    gain = sensitivity + specificity
    best = cuts[gain >= gain.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _scope(predictions: Predictions, scope: Scope, coverage: float) -> ScopeCalibration:
    columns = enumerate(TASKS)
    return ScopeCalibration(**{task: _task(predictions, predictions.log_odds[scope][:, place], place, coverage) for place, task in columns})


def _task(predictions: Predictions, log_odds: NDArray[np.float64], place: int, coverage: float) -> TaskCalibration:
    known = (predictions.labels[:, place] >= 0) & ~np.isnan(log_odds)
    log_odds, labels, groups = log_odds[known], predictions.labels[known, place], predictions.groups[known]
    patients, negatives, positives = (len(np.unique(chosen)) for chosen in (groups, groups[labels == 0], groups[labels == 1]))
    counts = {"patients": patients, "negatives": negatives, "positives": positives}
    if not TaskCalibration(**counts).fitted:
        return TaskCalibration(**counts)
    temperature = fitted_temperature(log_odds, labels)
    p = probabilities(log_odds, temperature)
    threshold = youden_threshold(p, labels)
    if patients < FEWEST_PATIENTS:
        return TaskCalibration(temperature, threshold, **counts)
    negative, positive = (labels == 0), (labels == 1)
    return TaskCalibration(
        temperature,
        threshold,
        conformal_quantile(p[negative], groups[negative], coverage),
        conformal_quantile(1 - p[positive], groups[positive], coverage),
        **counts,
    )
