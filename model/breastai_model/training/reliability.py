"""Whether a probability means what it says: Brier score, calibration error, slope and intercept, and how well doubt is placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
NEWTON_STEPS = 12
STEEPEST = 50.0


def equal_mass_bins(probabilities: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin of each case, (case,) from 0, so that the bins hold as many cases as possible each; ties stay in one bin."""
    order = np.argsort(probabilities, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    _, of_value, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = np.bincount(of_value, weights=rank) / counts  # one place for all cases of one value
    return np.minimum((middle[of_value] + 0.5) * bins // len(order), bins - 1).astype(np.int64)


def reliability_bins(probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = BINS) -> list[tuple[float, float, int]]:
    """Return (mean probability, share of positive answers, cases) for each bin that holds any, ascending."""
    place = equal_mass_bins(probabilities, bins)
    return [
        (float(probabilities[place == number].mean()), float(labels[place == number].mean()), int((place == number).sum()))
        for number in np.unique(place)
    ]


def weighted_ece(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32], bins: int = BINS
) -> NDArray[np.float64]:
    """Return the expected calibration error of each resample: sum over bins of share x |mean probability - share of positives|.

    Bins are those of all cases (equal mass). The error is biased upwards where a bin holds few cases: about 0.1 with 100 cases
    in ten bins of a perfect calibration.

    Parameters
    ----------
    probabilities, labels
        (case,): calibrated; 1 or 0.
    weights
        (resample, case).
    """
    gaps = (equal_mass_bins(probabilities, bins)[:, None] == np.arange(bins)) * (probabilities - labels)[:, None]
    ece: NDArray[np.float64] = np.abs(weights @ gaps.astype(np.float32)).sum(axis=1).astype(np.float64) / weights.sum(axis=1)
    return ece


def ece_by_chance(probabilities: NDArray[np.float64], draws: int, seed: int, bins: int = BINS) -> NDArray[np.float64]:
    """Return the expected calibration error that right probabilities would show with these cases: (1 + draws,), first the mean.

    Answers are drawn from the probabilities themselves. An error within this range says nothing against the calibration
    (consistency resampling: Broecker and Smith, Weather and Forecasting 2007).

    Parameters
    ----------
    probabilities
        (case,): calibrated.
    """
    chance = np.random.default_rng(seed)
    place = (equal_mass_bins(probabilities, bins)[:, None] == np.arange(bins)).astype(np.float64)
    expected = probabilities @ place
    errors = []
    for start in range(0, draws, 250):
        answers = chance.random((min(250, draws - start), len(probabilities)), dtype=np.float32) < probabilities
        errors.append(np.abs(answers @ place - expected).sum(axis=1) / len(probabilities))
    drawn = np.concatenate(errors)
    return np.concatenate([[drawn.mean()], drawn])


def weighted_brier(probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean squared difference of probability and answer, of each resample."""
    brier: NDArray[np.float64] = (weights @ (probabilities - labels) ** 2) / weights.sum(axis=1, dtype=np.float64)
    return brier


def weighted_slope(
    log_odds: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope and intercept of the answers on the log-odds, each (resample,): 1 and 0 where the probabilities are right.

    Maximum likelihood of a logistic regression, by Newton's method on all resamples at once (Cox, Biometrika 1958). The two are
    fitted together. NaN where there is no finite answer (the scores separate the answers, or one is missing).

    Parameters
    ----------
    log_odds, labels
        (case,): of the calibrated probabilities; 1 or 0.
    weights
        (resample, case).
    """
    slope, intercept, step = np.empty(len(weights)), np.empty(len(weights)), np.empty(len(weights))
    with np.errstate(all="ignore"):  # separated answers run away to infinity, which is found out below
        # The resamples begin where all cases ended: two or three steps are then enough.
        near = _newton(log_odds, labels, np.ones((1, len(labels))), (0.0, 0.0))
        for start in range(0, len(weights), 250):
            part = slice(start, start + 250)
            found = _newton(log_odds, labels, weights[part].astype(np.float64), (float(near[0][0]), float(near[1][0])))
            slope[part], intercept[part], step[part] = found
        known = np.isfinite(slope) & (np.abs(slope) < STEEPEST) & (step < 1e-6)
    return np.where(known, slope, np.nan), np.where(known, intercept, np.nan)


def _newton(
    x: NDArray[np.float64], y: NDArray[np.int64], w: NDArray[np.float64], first: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return slope, intercept and the size of the last step, each (resample,), from the first guess."""
    slope, intercept, step = np.full(len(w), first[0]), np.full(len(w), first[1]), np.full(len(w), np.inf)
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-(slope[:, None] * x + intercept[:, None])))
        residual, curvature = w * (y - p), w * p * (1 - p)
        gradient = residual.sum(axis=1), residual @ x
        a, b, c = curvature.sum(axis=1), curvature @ x, curvature @ x**2
        determinant = a * c - b * b
        d_intercept = (c * gradient[0] - b * gradient[1]) / determinant
        d_slope = (a * gradient[1] - b * gradient[0]) / determinant
        slope, intercept = slope + d_slope, intercept + d_intercept
        step = np.maximum(np.abs(d_slope), np.abs(d_intercept))
        if not (step > 1e-7).any():  # the error is then its square
            break
    return slope, intercept, step


def weighted_selection(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float32], share: float = 0.8
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the accuracy among the surest `share` of the cases, and the area under the risk-coverage curve (AURC), of each resample.

    A case is the surer the further its probability lies from a half.

    Parameters
    ----------
    probabilities, right
        (case,): calibrated; whether the answer read from it is true.
    weights
        (resample, case).
    """
    order = np.argsort(-np.abs(probabilities - 0.5), kind="stable")
    accuracy, area = np.empty(len(weights)), np.empty(len(weights))
    for start in range(0, len(weights), 250):
        part = weights[start : start + 250][:, order].astype(np.float64)
        cases, hits = np.cumsum(part, axis=1), np.cumsum(part * right[order], axis=1)
        wanted = share * cases[:, -1:]
        last = (cases < wanted - 1e-9).sum(axis=1)
        rows = np.arange(len(part))
        accuracy[start : start + 250] = hits[rows, last] / cases[rows, last]
        risk = 1 - np.divide(hits, cases, out=np.ones_like(hits), where=cases > 0)
        area[start : start + 250] = (risk * part).sum(axis=1) / cases[:, -1]
    return accuracy, area
