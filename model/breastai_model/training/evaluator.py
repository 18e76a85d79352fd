"""One network's predictions with the calibration that belongs to each case, task by task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.calibration import Scope, probabilities
from breastai_model.case import TASKS, Task
from breastai_model.training.conformal import sets_of
from breastai_model.training.consistency import check_pooled, fold_mean_warning
from breastai_model.training.decision_curve import decision_curve
from breastai_model.training.delong import delong_test
from breastai_model.training.discrimination import roc_points, weighted_auc
from breastai_model.training.evaluation import Comparison, Sets, SubgroupFigures, TaskEvaluation
from breastai_model.training.figures import Answers, fold_figures, fold_means, set_figures, task_figures
from breastai_model.training.intervals import figure, patient_weights
from breastai_model.training.paired import holm, mcnemar_test
from breastai_model.training.reliability import reliability_bins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.calibration import Calibration
    from breastai_model.training.predictions import Predictions

SCOPE_TITLES: dict[Scope, str] = {"both": "MRI + ultrasound", "mri": "MRI alone", "us": "ultrasound alone"}
FEWEST_OF_SUBGROUP = 10
_NOTHING = TaskEvaluation(0, 0, 0, {}, (0, 0, 0, 0), (1.0, 1.0), (0.5, 0.5), None, (), None, None, (), {})


class Evaluator:
    """The predictions with the calibration that belongs to each case.

    Parameters
    ----------
    part
        (case,): which of `calibrations` reads the case; fitted on other patients.
    coverage
        Of the conformal sets.
    resamples, seed
        Of the bootstrap over patients.

    Attributes
    ----------
    warnings
        Sentences that came up on the way.
    """

    def __init__(
        self,
        predictions: Predictions,
        part: NDArray[np.int64],
        calibrations: Sequence[Calibration],
        coverage: float,
        resamples: int,
        seed: int,
    ) -> None:
        self.predictions, self.part, self.calibrations, self.coverage = predictions, part, calibrations, coverage
        self.resamples, self.seed = resamples, seed
        self.warnings: list[str] = []
        self._drawn: dict[tuple[bytes, bytes, bool], NDArray[np.float32]] = {}

    def known(self, task: Task, *scopes: Scope) -> NDArray[np.bool_]:
        """Return (case,): whether the answer is known and each of these scopes has a prediction."""
        place = TASKS.index(task)
        there = [~np.isnan(self.predictions.log_odds[scope][:, place]) for scope in scopes]
        known: NDArray[np.bool_] = (self.predictions.labels[:, place] >= 0) & np.logical_and.reduce(there)
        return known

    def answers(self, scope: Scope, task: Task, keep: NDArray[np.bool_]) -> Answers:
        """Return what was said of these cases, each with its own part's calibration."""
        place = TASKS.index(task)
        raw, labels = self.predictions.log_odds[scope][keep, place], self.predictions.labels[keep, place]
        log_odds = raw / self.of_case(scope, task, keep, "temperature")
        p = probabilities(log_odds, 1.0)
        # Networks of different folds are ranked together by what they say calibrated; a single one by what it says.
        scores = log_odds if len(self.predictions.fold_numbers) > 1 else raw
        read_positive = p >= self.of_case(scope, task, keep, "threshold")
        return Answers(labels, self.predictions.groups[keep], scores, raw, log_odds, p, read_positive)

    def of_case(self, scope: Scope, task: Task, keep: NDArray[np.bool_], name: str) -> NDArray[np.float64]:
        """Return one number of the calibration for each of these cases; NaN where there is none."""
        values = [getattr(calibration.of(scope, task), name) for calibration in self.calibrations]
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)[self.part[keep]]

    def weights(self, answers: Answers, *, stratified: bool = True) -> NDArray[np.float32]:
        """Return the resamples of these cases; the last ones are kept, for the scopes of a task share them."""
        key = answers.labels.tobytes(), answers.groups.tobytes(), stratified
        if key not in self._drawn:
            if len(self._drawn) >= 2:
                self._drawn.clear()
            self._drawn[key] = patient_weights(answers.labels, answers.groups, self.resamples, self.seed, stratified=stratified)
        return self._drawn[key]

    def task(self, scope: Scope, task: Task) -> TaskEvaluation:
        """Return the evaluation of one scope and task."""
        keep = self.known(task, scope)
        answers = self.answers(scope, task, keep)
        cases, positives = len(answers.labels), int(answers.labels.sum())
        if cases == 0:
            return _NOTHING
        weights, plain = self.weights(answers), self.weights(answers, stratified=False)
        figures = task_figures(answers, weights, plain)
        accuracy, sensitivity, specificity, precision = (figures[name] for name in ("accuracy", "sensitivity", "specificity", "precision"))
        if accuracy and sensitivity and specificity:
            of_called = precision.value if precision else None
            check_pooled(accuracy.value, sensitivity.value, specificity.value, of_called, positives / cases, rounding=1e-9)
        read = answers.read_positive
        truth = answers.labels == 1
        temperatures, thresholds = (self.of_case(scope, task, keep, name) for name in ("temperature", "threshold"))
        folds = fold_figures(answers, self.predictions.folds[keep]) if len(self.predictions.fold_numbers) > 1 else ()
        means = fold_means(folds)
        if all(name in means for name in ("accuracy", "sensitivity", "specificity")):
            warning = fold_mean_warning(means["accuracy"].mean, means["sensitivity"].mean, means["specificity"].mean)
            if warning:
                self.warnings.append(f"{SCOPE_TITLES[scope]}, {task.replace('_', ' ')}: {warning}")
        return TaskEvaluation(
            cases=cases,
            patients=len(np.unique(answers.groups)),
            positives=positives,
            figures=figures,
            confusion=(int((read & truth).sum()), int((read & ~truth).sum()), int((~read & ~truth).sum()), int((~read & truth).sum())),
            temperatures=(float(temperatures.min()), float(temperatures.max())),
            thresholds=(float(thresholds.min()), float(thresholds.max())),
            roc=roc_points(answers.scores, answers.labels) if 0 < positives < cases else None,
            reliability=tuple(reliability_bins(answers.probabilities, answers.labels)),
            decision=decision_curve(answers.probabilities, answers.labels, plain, task),
            sets=self.sets(scope, task, keep, answers, plain),
            folds=folds,
            fold_means=means,
        )

    def sets(self, scope: Scope, task: Task, keep: NDArray[np.bool_], answers: Answers, weights: NDArray[np.float32]) -> Sets | None:
        """Return what the conformal sets of these cases held, or None where a part's calibration had too few patients."""
        negative, positive = (self.of_case(scope, task, keep, name) for name in ("negative_quantile", "positive_quantile"))
        if np.isnan(negative).any():
            return None
        used = [self.calibrations[part].of(scope, task) for part in np.unique(self.part[keep])]
        fitted_on = (min(numbers.negatives for numbers in used), min(numbers.positives for numbers in used))
        return set_figures(sets_of(answers.probabilities, negative, positive), answers.labels, weights, fitted_on, self.coverage)

    def comparisons(self, first: Scope, second: Scope) -> list[Comparison]:
        """Return the tests of two choices of modalities, over the tasks that have enough cases, corrected over these tasks (Holm)."""
        found = []
        for task in TASKS:
            keep = self.known(task, first, second)
            one, other = self.answers(first, task, keep), self.answers(second, task, keep)
            if min(int((one.labels == answer).sum()) for answer in (0, 1)) >= 2:
                found.append((task, delong_test(one.scores, other.scores, one.labels), mcnemar_test(one.right, other.right)))
        auc_p, mcnemar_p = holm([auc.p for _, auc, _ in found]), holm([mcnemar[2] for _, _, mcnemar in found])
        return [
            Comparison(task, first, second, auc, auc_p[place], *mcnemar, mcnemar_p[place])
            for place, (task, auc, mcnemar) in enumerate(found)
        ]

    def subgroups(self) -> list[SubgroupFigures]:
        """Return the AUC with both modalities in each subgroup that the predictions name."""
        made = []
        for kind, words in self.predictions.subgroups.items():
            for word in sorted(set(words)):
                for task in TASKS:
                    keep = self.known(task, "both") & (np.array(words) == word)
                    answers = self.answers("both", task, keep)
                    positives, cases = int(answers.labels.sum()), len(answers.labels)
                    area = None
                    if min(positives, cases - positives) >= FEWEST_OF_SUBGROUP:
                        area = figure(weighted_auc(answers.scores, answers.labels, self.weights(answers)), cases)
                    made.append(SubgroupFigures(kind, word, task, cases, positives, area))
        return made
