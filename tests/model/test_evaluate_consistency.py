"""Figures that no confusion matrix has are refused: among them the paper's own (method vi, error 5)."""

from __future__ import annotations

import numpy as np
import pytest

from breastai_model.training.consistency import InconsistentFiguresError, check_pooled, fold_mean_warning


@pytest.mark.parametrize(
    ("accuracy", "sensitivity", "specificity"),
    [(0.825, 0.819, 0.818), (0.857, 0.848, 0.846), (0.896, 0.886, 0.889)],
)
def test_the_papers_proposed_rows_of_table_3_are_refused(accuracy, sensitivity, specificity):
    with pytest.raises(InconsistentFiguresError, match=rf"An accuracy of {accuracy:.1%} cannot come from the same patients"):
        check_pooled(accuracy, sensitivity, specificity)
    warning = fold_mean_warning(accuracy, sensitivity, specificity)
    assert warning is not None
    assert f"({accuracy:.1%}) lies outside" in warning


def test_the_papers_precision_does_not_follow_from_its_prevalence():
    accuracy = 199 / 502 * 0.819 + 303 / 502 * 0.818
    with pytest.raises(InconsistentFiguresError, match=r"precision of 82\.7%.*it would be 74\.7%"):
        check_pooled(accuracy, 0.819, 0.818, precision=0.827, prevalence=199 / 502)
    check_pooled(accuracy, 0.819, 0.818, precision=0.747, prevalence=199 / 502)


def test_figures_of_real_matrices_pass_rounded_as_a_table_rounds_them():
    chance = np.random.default_rng(0)
    for _ in range(300):
        tp, fp, tn, fn = chance.integers(1, 200, 4)
        n = tp + fp + tn + fn
        exact = ((tp + tn) / n, tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), (tp + fn) / n)
        check_pooled(*exact, rounding=1e-9)
        accuracy, sensitivity, specificity = (round(value, 3) for value in exact[:3])
        check_pooled(accuracy, sensitivity, specificity, round(exact[3], 3), exact[4])


def test_an_accuracy_between_the_two_may_still_be_the_wrong_mean():
    check_pooled(0.85, 0.9, 0.8)
    with pytest.raises(InconsistentFiguresError, match=r"25\.0% positive"):
        check_pooled(0.85, 0.9, 0.8, prevalence=0.25)


def test_means_of_unequal_folds_are_warned_of_not_refused():
    # Fold 1: 90 of 100 positive, all right on them; fold 2: 10 of 100 positive, all right on the others.
    accuracy = np.mean([90 / 100, 90 / 100])
    sensitivity, specificity = np.mean([1.0, 0.0]), np.mean([0.0, 1.0])
    assert "unequal shares" in fold_mean_warning(accuracy, sensitivity, specificity)
    assert fold_mean_warning(0.85, 0.9, 0.8) is None
