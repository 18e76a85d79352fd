"""Conformal sets keep their promise, for each answer by itself, whatever the scores."""

from __future__ import annotations

import numpy as np
import pytest

from breastai_model.case import TASKS
from breastai_model.training.calibrate import calibrated
from breastai_model.training.conformal import conformal_quantile, expected_coverage, sets_of
from breastai_model.training.predictions import Predictions


def drawn(chance: np.random.Generator, patients: int) -> Predictions:
    """Scores that are wrong as probabilities, differ in quality by answer, and are 1 in 4 positive."""
    labels = (chance.random((patients, 3)) < 0.25).astype(np.int64)
    log_odds = np.where(labels == 1, chance.normal(0.5, 3.0, labels.shape), chance.normal(-4.0, 2.0, labels.shape))
    return Predictions(
        labels, np.arange(patients), np.zeros(patients, dtype=np.int64), {scope: log_odds.copy() for scope in ("both", "mri", "us")}
    )


def test_the_quantile_is_the_ranked_score():
    scores = np.arange(1, 31) / 100
    assert conformal_quantile(scores, np.arange(30), 0.9) == 0.28  # ceil(31 * 0.9) = 28
    assert conformal_quantile(scores[:29], np.arange(29), 0.9) == 0.27  # exactly 27, not 28 by rounding
    assert conformal_quantile(scores[:8], np.arange(8), 0.9) == 1.0  # nine in ten cannot be told from eight


def test_a_patient_counts_once_with_the_largest_score():
    scores, groups = np.array([0.1, 0.9, 0.2, 0.3]), np.array([7, 7, 8, 9])
    assert conformal_quantile(scores, groups, 0.5) == 0.3  # of 0.9, 0.2, 0.3 the second


def test_sets_hold_the_truth_at_the_promised_rate_for_each_answer():
    chance = np.random.default_rng(11)
    held = {0: [], 1: []}
    for _ in range(120):
        calibration = calibrated(drawn(chance, 200), coverage=0.85)
        fresh = drawn(chance, 300)
        numbers = calibration.of("both", "high_grade")
        p = 1 / (1 + np.exp(-fresh.log_odds["both"][:, 1] / numbers.temperature))
        sets = sets_of(p, numbers.negative_quantile, numbers.positive_quantile)
        for answer in (0, 1):
            chosen = fresh.labels[:, 1] == answer
            held[answer].append(sets[chosen, answer].mean())
    assert np.mean(held[0]) == pytest.approx(0.855, abs=0.01)
    assert np.mean(held[1]) == pytest.approx(0.86, abs=0.015)


def test_measured_coverage_lies_within_the_expected_range_19_times_in_20():
    chance = np.random.default_rng(2)
    low, high = expected_coverage(50, 200, 0.9)
    inside = []
    for _ in range(600):
        quantile = conformal_quantile(chance.random(50), np.arange(50), 0.9)
        inside.append(low <= (chance.random(200) <= quantile).mean() <= high)
    assert np.mean(inside) > 0.93
    assert low < 0.9 < high


def test_the_arrays_and_the_calibration_give_the_same_sets():
    predictions = drawn(np.random.default_rng(4), 150)
    calibration = calibrated(predictions)
    numbers = calibration.of("us", "high_ki67")
    log_odds = predictions.log_odds["us"][:, 2]
    p = np.array([calibration.probability("us", "high_ki67", value) for value in log_odds])
    sets = sets_of(p, numbers.negative_quantile, numbers.positive_quantile)
    for row, value in zip(sets, log_odds, strict=True):
        words = tuple(word for word, remains in zip(("negative", "positive"), row, strict=True) if remains)
        assert calibration.prediction_set("us", "high_ki67", value) == words


@pytest.mark.parametrize(("patients", "positives"), [(99, 40), (150, 19), (150, 131)])
def test_too_few_patients_or_answers_give_no_sets(patients, positives):
    labels = np.zeros((patients, 3), dtype=np.int64)
    labels[:positives] = 1
    log_odds = np.random.default_rng(0).normal(labels, 1.0)
    zeros = np.zeros(patients, dtype=np.int64)
    calibration = calibrated(Predictions(labels, np.arange(patients), zeros, dict.fromkeys(("both", "mri", "us"), log_odds)))
    for task in TASKS:
        assert calibration.prediction_set("both", task, 0.0) is None


def test_tumours_of_one_patient_are_one_patient():
    labels = np.tile(np.array([[0, 0, 0], [1, 1, 1]]), (75, 1))
    log_odds = np.random.default_rng(0).normal(labels, 1.0)
    zeros = np.zeros(150, dtype=np.int64)
    one_each = Predictions(labels, np.arange(150), zeros, dict.fromkeys(("both", "mri", "us"), log_odds))
    two_each = Predictions(labels, np.arange(150) // 2, zeros, dict.fromkeys(("both", "mri", "us"), log_odds))
    assert calibrated(one_each).prediction_set("both", "high_grade", 0.0) is not None
    assert calibrated(two_each).prediction_set("both", "high_grade", 0.0) is None  # 75 patients
