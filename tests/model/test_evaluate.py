"""Every figure of the evaluation against a slow definition or scikit-learn, and intervals that hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import linear_model, metrics

from breastai_model.calibration import Calibration, ScopeCalibration, TaskCalibration, probabilities
from breastai_model.training.calibrate import calibrated
from breastai_model.training.confusion import confusion_counts, confusion_statistics
from breastai_model.training.decision_curve import net_benefit
from breastai_model.training.discrimination import roc_points, weighted_auc, weighted_average_precision
from breastai_model.training.evaluate import auc, evaluated
from breastai_model.training.figures import Answers, task_figures
from breastai_model.training.intervals import biased_figure, figure, patient_weights, proportion
from breastai_model.training.predictions import Predictions
from breastai_model.training.reliability import (
    ece_by_chance,
    equal_mass_bins,
    reliability_bins,
    weighted_brier,
    weighted_ece,
    weighted_selection,
    weighted_slope,
)

CHANCE = np.random.default_rng(8)
LABELS = CHANCE.integers(0, 2, 90)
LOG_ODDS = np.round(CHANCE.normal(1.5 * LABELS - 0.7, 1.2), 1)  # rounded: there are ties
P = 1 / (1 + np.exp(-LOG_ODDS))
ONCE = np.ones((1, 90), dtype=np.float32)
WEIGHTS = patient_weights(LABELS, np.arange(90), 40)
AGAIN = [np.repeat(np.arange(90), row.astype(int)) for row in WEIGHTS]  # the resamples written out


def test_the_areas_are_those_of_scikit_learn_in_every_resample():
    areas, precision = weighted_auc(LOG_ODDS, LABELS, WEIGHTS), weighted_average_precision(LOG_ODDS, LABELS, WEIGHTS)
    for row, cases in enumerate(AGAIN):
        assert areas[row] == pytest.approx(metrics.roc_auc_score(LABELS[cases], LOG_ODDS[cases]))
        assert precision[row] == pytest.approx(metrics.average_precision_score(LABELS[cases], LOG_ODDS[cases]))
    assert areas[0] == pytest.approx(auc(LOG_ODDS, LABELS))
    corners = roc_points(LOG_ODDS, LABELS)
    assert np.trapezoid(corners[:, 1], corners[:, 0]) == pytest.approx(areas[0])
    assert corners[0].tolist() == [0, 0]
    assert corners[-1].tolist() == [1, 1]


def test_the_confusion_figures_are_those_of_scikit_learn():
    read = P >= 0.45
    for row, cases in enumerate(AGAIN[:10]):
        counts = confusion_counts(read, LABELS, WEIGHTS[row : row + 1])
        found = {name: values[0] for name, (values, _) in confusion_statistics(counts).items()}
        truth, said = LABELS[cases], read[cases]
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
        assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
        assert found["precision"] == pytest.approx(metrics.precision_score(truth, said))
        assert found["sensitivity"] == pytest.approx(metrics.recall_score(truth, said))
        assert found["specificity"] == pytest.approx(metrics.recall_score(1 - truth, ~said))
        assert found["npv"] == pytest.approx(metrics.precision_score(1 - truth, ~said))
        assert found["f1"] == pytest.approx(metrics.f1_score(truth, said))


def test_a_figure_without_a_denominator_is_not_defined():
    nobody = confusion_statistics(confusion_counts(np.zeros(90, dtype=bool), LABELS, ONCE))
    assert math.isnan(nobody["precision"][0][0])
    assert figure(nobody["precision"][0], 0) is None
    assert math.isnan(weighted_auc(LOG_ODDS, np.ones(90, dtype=np.int64), ONCE)[0])


def test_brier_slope_and_intercept_are_those_of_scikit_learn():
    slope, intercept = weighted_slope(LOG_ODDS, LABELS, WEIGHTS)
    brier = weighted_brier(P, LABELS, WEIGHTS)
    for row, cases in enumerate(AGAIN[:10]):
        model = linear_model.LogisticRegression(C=np.inf, tol=1e-10).fit(LOG_ODDS[cases, None], LABELS[cases])
        assert slope[row] == pytest.approx(model.coef_[0, 0], abs=1e-4)
        assert intercept[row] == pytest.approx(model.intercept_[0], abs=1e-4)
        assert brier[row] == pytest.approx(metrics.brier_score_loss(LABELS[cases], P[cases]))


def test_separated_answers_have_no_slope():
    slope, _ = weighted_slope(LABELS * 2.0 - 1.0, LABELS, ONCE)
    assert math.isnan(slope[0])


def test_the_calibration_error_is_the_one_written_out_bin_by_bin():
    p = np.sort(CHANCE.random(100))
    y = (CHANCE.random(100) < p).astype(np.int64)
    slow = sum(abs(p[start : start + 10].mean() - y[start : start + 10].mean()) / 10 for start in range(0, 100, 10))
    assert weighted_ece(p, y, np.ones((1, 100), dtype=np.float32))[0] == pytest.approx(slow, abs=1e-6)
    assert [cases for _, _, cases in reliability_bins(p, y)] == [10] * 10
    assert np.bincount(equal_mass_bins(np.array([0.5] * 50 + [0.7] * 50)), minlength=10).max() == 50  # ties stay together


def test_net_benefit_by_hand():
    p, y = np.array([0.9, 0.6, 0.3, 0.1]), np.array([1, 0, 1, 0])
    found = net_benefit(p, y, np.ones((1, 4), dtype=np.float32), np.array([0.2, 0.5, 0.95]))[0]
    assert found.tolist() == pytest.approx([2 / 4 - 1 / 4 * 0.25, 1 / 4 - 1 / 4, 0.0])
    everyone = net_benefit(np.ones(4), y, np.ones((1, 4), dtype=np.float32), np.array([0.2]))[0, 0]
    assert everyone == pytest.approx(0.5 - 0.5 * 0.25)


def test_the_surest_cases_by_hand():
    p, right = np.array([0.99, 0.9, 0.2, 0.55, 0.5]), np.array([True, False, True, True, False])
    accuracy, area = weighted_selection(p, right, np.ones((1, 5), dtype=np.float32))
    assert accuracy[0] == pytest.approx(3 / 4)
    assert area[0] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5)


def test_resamples_draw_whole_patients_within_their_stratum():
    labels, groups = np.array([0, 1, 0, 0, 1, 0, 0]), np.array([4, 4, 9, 9, 2, 7, 8])
    weights = patient_weights(labels, groups, 300)
    assert np.array_equal(weights[0], np.ones(7))
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.array_equal(weights[:, 2], weights[:, 3])
    assert (weights[:, [1, 4]].sum(axis=1) == 2).all()  # two patients with a positive answer
    assert (weights[:, [2, 5, 6]].sum(axis=1) == 3).all()
    assert np.unique(weights[1:, 4]).tolist() == [0, 1, 2]
    assert np.array_equal(weights, patient_weights(labels, groups, 300))
    plain = patient_weights(labels, groups, 300, stratified=False)
    assert np.array_equal(plain[:, 2], plain[:, 3])
    assert np.unique(plain[1:, [1, 4]].sum(axis=1)).size > 2


def test_intervals_of_auc_and_accuracy_cover_the_truth():
    chance = np.random.default_rng(3)
    # Two normal distributions sqrt(2) apart, read so that 0.5 of the positive and 0.921 of the negative are right; 3 in 10 are positive.
    true_auc, true_accuracy = 0.8413, 0.3 * 0.5 + 0.7 * 0.9214
    groups, covered = np.arange(120), np.zeros(2)
    for _ in range(200):
        labels = (chance.random(120) < 0.3).astype(np.int64)
        scores = chance.normal(labels * math.sqrt(2), 1.0)
        seed = int(chance.integers(2**31))
        weights, plain = (patient_weights(labels, groups, 300, seed, stratified=each) for each in (True, False))
        area = figure(weighted_auc(scores, labels, weights), 120)
        accuracy = proportion(confusion_statistics(confusion_counts(scores > math.sqrt(2), labels, plain))["accuracy"][0], 120)
        covered += [area.low <= true_auc <= area.high, accuracy.low <= true_accuracy <= accuracy.high]
    assert (covered / 200 > 0.9).all()
    assert (covered / 200 < 0.995).all()


def test_a_reading_that_always_says_no_has_an_accuracy_with_a_width():
    labels = np.array([0, 1] * 20)
    answers = Answers(labels, np.arange(40), P[:40], LOG_ODDS[:40], LOG_ODDS[:40], P[:40], np.zeros(40, dtype=bool))
    found = task_figures(answers, *(patient_weights(labels, np.arange(40), 400, stratified=each) for each in (True, False)))
    assert found["accuracy"].low < 0.4 < 0.6 < found["accuracy"].high
    assert (found["balanced_accuracy"].value, found["balanced_accuracy"].low) == (0.5, None)  # every resample says so: no interval
    assert found["precision"] is None
    assert (found["specificity"].value, found["specificity"].high) == (1.0, 1.0)
    assert found["specificity"].low == pytest.approx(0.025 ** (1 / 20))


def test_a_wrong_calibration_is_told_from_chance_and_its_interval_holds_the_error():
    chance = np.random.default_rng(6)
    held, within = [], []
    for _ in range(60):
        p = chance.random(300) * 0.8
        groups = np.arange(300)
        wrong, right = ((chance.random(300) < q).astype(np.int64) for q in (p + 0.2, p))
        error = biased_figure(weighted_ece(p, wrong, patient_weights(wrong, groups, 200, stratified=False)), 300)
        held.append(error.low <= 0.2 <= error.high)
        usual = figure(ece_by_chance(p, 200, seed=1), 300)
        assert usual.high < error.value
        within.append(usual.low <= weighted_ece(p, right, np.ones((1, 300), dtype=np.float32))[0] <= usual.high)
    assert np.mean(held) >= 0.85
    assert np.mean(within) >= 0.85


def test_a_share_of_all_cases_has_an_interval_with_a_width():
    found = proportion(np.ones(2001), 30)
    assert found.low == pytest.approx(0.025 ** (1 / 30))  # Clopper and Pearson: 30 of 30 with probability 0.025
    assert found.high == 1.0


def drawn(patients: int, folds: int, seed: int = 0) -> Predictions:
    chance = np.random.default_rng(seed)
    right = chance.normal(-0.3, 1.6, (patients, 3))
    labels = (chance.random((patients, 3)) < probabilities(right, 1.0)).astype(np.int64)
    noisy = right + chance.normal(0, 2.0, right.shape)
    scores = {"both": 1.7 * right, "mri": noisy, "us": chance.normal(0, 1, right.shape)}
    return Predictions(labels, np.arange(patients), np.arange(patients) % folds, scores)


def test_the_whole_evaluation_of_five_folds():
    predictions = drawn(300, 5)
    found = evaluated(predictions, resamples=200)
    both = found.tasks["both"]["high_grade"]
    assert found.folds == 5
    assert sum(both.confusion) == both.cases == 300
    tp, fp, tn, fn = both.confusion
    assert both.figures["accuracy"].value == pytest.approx((tp + tn) / 300)
    assert (both.figures["precision"].n, both.figures["npv"].n) == (tp + fp, tn + fn)
    assert both.figures["ece"].value < both.figures["ece_before_temperature"].value
    assert both.temperatures[0] == pytest.approx(1.7, rel=0.3)
    areas = [auc(predictions.log_odds["both"][predictions.folds == k, 1], predictions.labels[predictions.folds == k, 1]) for k in range(5)]
    assert [fold.figures["auc"] for fold in both.folds] == pytest.approx(areas)
    assert both.fold_means["auc"].mean == pytest.approx(np.mean(areas))
    assert both.fold_means["auc"].deviation == pytest.approx(np.std(areas, ddof=1))
    us = found.tasks["us"]["high_grade"].figures["auc"]
    assert us.low < 0.5 < us.high
    assert {(each.first, each.second) for each in found.comparisons} == {("both", "mri"), ("both", "us")}
    assert all(each.auc.p <= each.auc_p_holm <= 3 * each.auc.p + 1e-12 for each in found.comparisons)
    assert any("Pooling across networks is approximate" in note for note in found.notes)
    assert evaluated(predictions, resamples=200).to_json() == found.to_json()


def test_every_fold_is_read_with_what_the_other_folds_gave():
    whole = drawn(300, 5)
    # The folds' networks differ: what the others give is wrong for each of them, in its own way.
    shifted = {scope: values * (1 + whole.folds[:, None]) + whole.folds[:, None] for scope, values in whole.log_odds.items()}
    predictions = Predictions(whole.labels, whole.groups, whole.folds, shifted)
    both = evaluated(predictions, resamples=20).tasks["both"]["high_grade"]
    read, p = np.zeros(300, dtype=bool), np.zeros(300)
    for fold in range(5):
        own = predictions.folds == fold
        others = calibrated(predictions.taken(~own))
        p[own] = [others.probability("both", "high_grade", value) for value in shifted["both"][own, 1]]
        read[own] = p[own] >= others.threshold("both", "high_grade")
    assert (both.confusion[0], both.confusion[1]) == ((read & (whole.labels[:, 1] == 1)).sum(), (read & (whole.labels[:, 1] == 0)).sum())
    assert both.figures["brier"].value == pytest.approx(np.mean((p - whole.labels[:, 1]) ** 2))


def test_one_held_out_set_is_ranked_as_the_network_ranks_it():
    predictions = drawn(200, 1)
    found = evaluated(predictions, resamples=50)
    for scope in ("both", "mri", "us"):
        value = auc(predictions.log_odds[scope][:, 0], predictions.labels[:, 0])
        assert found.tasks[scope]["lymph_node_metastasis"].figures["auc"].value == pytest.approx(value)
    assert found.tasks["both"]["high_ki67"].folds == ()
    assert any("divided into five parts" in note for note in found.notes)


def test_a_given_calibration_is_used_as_it_is():
    numbers = TaskCalibration(2.0, 0.9, 0.9, 0.3, patients=200, negatives=100, positives=100)
    calibration = Calibration(0.8, both=ScopeCalibration(high_grade=numbers))
    predictions = drawn(150, 1)
    found = evaluated(predictions, calibration, resamples=50)
    both = found.tasks["both"]["high_grade"]
    read = probabilities(predictions.log_odds["both"][:, 1], 2.0) >= 0.9
    assert both.confusion[0] + both.confusion[1] == read.sum()
    assert both.thresholds == (0.9, 0.9)
    assert (found.calibration, found.coverage) == ("given", 0.8)
    assert both.sets is not None
    assert found.tasks["both"]["high_ki67"].sets is None


def test_a_few_patients_with_one_answer_give_what_they_can():
    labels = np.array([[1, 0, -1]] * 7, dtype=np.int64)
    scores = np.random.default_rng(0).normal(0, 1, (7, 3))
    few = Predictions(labels, np.arange(7), np.zeros(7, dtype=np.int64), dict.fromkeys(("both", "mri", "us"), scores))
    found = evaluated(few, resamples=50)
    assert found.tasks["both"]["high_ki67"].cases == 0
    assert found.tasks["both"]["lymph_node_metastasis"].figures["auc"] is None
    assert found.tasks["both"]["lymph_node_metastasis"].figures["specificity"] is None
    assert found.comparisons == ()
    assert any("Too few patients to calibrate" in note for note in found.notes)


def test_subgroups_tell_counts_and_say_where_they_are_too_few():
    whole = drawn(200, 1)
    words = ("A",) * 190 + ("B",) * 10
    found = evaluated(Predictions(whole.labels, whole.groups, whole.folds, whole.log_odds, {"vendor": words}), resamples=50)
    by_word = {(each.word, each.task): each for each in found.subgroups}
    assert by_word["A", "high_grade"].auc.value == pytest.approx(auc(whole.log_odds["both"][:190, 1], whole.labels[:190, 1]))
    assert (by_word["B", "high_grade"].cases, by_word["B", "high_grade"].auc) == (10, None)
