"""The figures of one task: every statistic of the evaluation with its interval, from the same two thousand resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.calibration import probabilities
from breastai_model.training.conformal import expected_coverage
from breastai_model.training.confusion import PROPORTIONS, confusion_counts, confusion_statistics
from breastai_model.training.discrimination import weighted_auc, weighted_average_precision
from breastai_model.training.evaluation import FoldFigures, FoldMean, Sets
from breastai_model.training.intervals import SEED, Figure, biased_figure, figure, proportion
from breastai_model.training.reliability import ece_by_chance, weighted_brier, weighted_ece, weighted_selection, weighted_slope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TABLE = ("accuracy", "precision", "sensitivity", "specificity", "auc")
"""The columns of the paper's Tables 2 and 3."""
WITHIN_ANSWERS = ("sensitivity", "specificity", "balanced_accuracy", "auc")
"""The figures that do not depend on the share of positive answers: their resamples keep it."""
FOLD_TABLE = (*TABLE, "balanced_accuracy")


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """The cases of one task with a known answer and a prediction; all arrays (case,).

    Attributes
    ----------
    labels
        1 or 0.
    groups
        The patient's number.
    scores
        What the cases are ranked by.
    raw
        Log-odds before calibration.
    log_odds, probabilities
        Calibrated.
    read_positive
        Whether the probability reaches the threshold.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    raw: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    read_positive: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the reading at the threshold is true."""
        right: NDArray[np.bool_] = self.read_positive == (self.labels == 1)
        return right


def task_figures(answers: Answers, weights: NDArray[np.float32], plain: NDArray[np.float32]) -> dict[str, Figure | None]:
    """Return every figure by name, first those of the paper's tables.

    Parameters
    ----------
    weights, plain
        (1 + resamples, case), of `intervals.patient_weights`: stratified, for the figures `WITHIN_ANSWERS`; not, for all others.
    """
    labels, n = answers.labels, len(answers.labels)
    made: dict[str, Figure | None] = {}
    of_weights, of_plain = (confusion_statistics(confusion_counts(answers.read_positive, labels, each)) for each in (weights, plain))
    for name in of_plain:
        values, below = (of_weights if name in WITHIN_ANSWERS else of_plain)[name]
        made[name] = (proportion if name in PROPORTIONS else figure)(values, int(below[0]))
    slope, intercept = weighted_slope(answers.log_odds, labels, plain)
    surest, aurc = weighted_selection(answers.probabilities, answers.right, plain)
    made |= {
        "auc": figure(weighted_auc(answers.scores, labels, weights), n),
        "auprc": figure(weighted_average_precision(answers.scores, labels, plain), n),
        "brier": figure(weighted_brier(answers.probabilities, labels, plain), n),
        "ece": biased_figure(weighted_ece(answers.probabilities, labels, plain), n),
        "ece_before_temperature": biased_figure(weighted_ece(probabilities(answers.raw, 1.0), labels, plain), n),
        "ece_by_chance": figure(ece_by_chance(answers.probabilities, len(weights) - 1, SEED), n),
        "calibration_slope": figure(slope, n),
        "calibration_intercept": figure(intercept, n),
        "accuracy_of_surest_80": figure(surest, n),
        "aurc": figure(aurc, n),
    }
    return {name: made.pop(name) for name in TABLE} | made


def set_figures(
    sets: NDArray[np.bool_], labels: NDArray[np.int64], weights: NDArray[np.float32], fitted_on: tuple[int, int], coverage: float
) -> Sets:
    """Return what the conformal sets held.

    Parameters
    ----------
    sets
        (case, 2), of `conformal.sets_of`.
    labels
        (case,): 1 or 0.
    fitted_on
        Patients with a negative and with a positive answer that the quantiles rest on.
    """
    held, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    everyone, negative, positive = np.ones(len(labels), dtype=bool), labels == 0, labels == 1

    def share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> Figure | None:
        below = weights @ among.astype(np.float32)
        above = weights @ (of & among).astype(np.float32)
        values = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0, dtype=np.float64)
        return proportion(values, int(among.sum()))

    return Sets(
        share(held, everyone),
        share(held, negative),
        share(held, positive),
        expected_coverage(fitted_on[0], int(negative.sum()), coverage),
        expected_coverage(fitted_on[1], int(positive.sum()), coverage),
        share(size == 1, everyone),
        share(size == 2, everyone),
        share(size == 0, everyone),
        share(held, size == 1),
    )


def fold_figures(answers: Answers, folds: NDArray[np.int64]) -> tuple[FoldFigures, ...]:
    """Return the figures of each fold by itself; folds (case,)."""
    made = []
    for fold in np.unique(folds):
        keep = folds == fold
        labels, one = answers.labels[keep], np.ones((1, int(keep.sum())), dtype=np.float32)
        values = {name: row[0] for name, row in confusion_statistics(confusion_counts(answers.read_positive[keep], labels, one)).items()}
        values["auc"] = weighted_auc(answers.scores[keep], labels, one)
        found = {name: None if np.isnan(values[name][0]) else float(values[name][0]) for name in FOLD_TABLE}
        made.append(FoldFigures(int(fold), int(keep.sum()), int(labels.sum()), found))
    return tuple(made)


def fold_means(folds: Sequence[FoldFigures]) -> dict[str, FoldMean]:
    """Return mean and standard deviation of each figure over the folds that define it."""
    means = {}
    for name in FOLD_TABLE:
        values = [value for value in (fold.figures[name] for fold in folds) if value is not None]
        if values:
            means[name] = FoldMean(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values))
    return means
