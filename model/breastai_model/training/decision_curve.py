"""What acting on the probability would be worth (Vickers and Elkin, Medical Decision Making 2006)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Task

STEP = 0.01


@dataclass(frozen=True, eq=False, slots=True)
class DecisionCurve:
    """Net benefit against the probability from which one would act, all (threshold,).

    Attributes
    ----------
    thresholds
        Probabilities from which one would act.
    benefit, low, high
        Of the model, with its 95 % band.
    treat_all
        Of acting on every patient; acting on none is worth 0.
    """

    thresholds: NDArray[np.float64]
    benefit: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    treat_all: NDArray[np.float64]


def thresholds_of(task: Task) -> NDArray[np.float64]:
    """Return the thresholds at which somebody might act: 0.05 to 0.5 for lymph nodes (method ix), 0.05 to 0.9 else."""
    last = 0.5 if task == "lymph_node_metastasis" else 0.9
    return np.linspace(0.05, last, round((last - 0.05) / STEP) + 1)


def net_benefit(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return NB(t) = TP/n - FP/n * t/(1 - t), (resample, threshold).

    Parameters
    ----------
    probabilities, labels
        (case,): calibrated; 1 or 0.
    weights
        (resample, case).
    thresholds
        (threshold,), each below 1.
    """
    acts = probabilities[:, None] >= thresholds
    worth = acts * np.where(labels[:, None] == 1, 1.0, -thresholds / (1 - thresholds))
    benefit: NDArray[np.float64] = (weights @ worth) / weights.sum(axis=1, dtype=np.float64, keepdims=True)
    return benefit


def decision_curve(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32], task: Task
) -> DecisionCurve:
    """Return the curve of the first row of weights with the percentile band of the others."""
    thresholds = thresholds_of(task)
    benefits = net_benefit(probabilities, labels, weights, thresholds)
    low, high = np.quantile(benefits[1:], (0.025, 0.975), axis=0) if len(benefits) > 1 else (benefits[0], benefits[0])
    treat_all = net_benefit(np.ones(len(labels)), labels, weights[:1], thresholds)[0]
    return DecisionCurve(thresholds, benefits[0], low, high, treat_all)
