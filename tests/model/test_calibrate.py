"""Temperature and threshold are found again where they were planted, and never on the patients that they read."""

from __future__ import annotations

import numpy as np
import pytest

from breastai_model.calibration import SCOPES
from breastai_model.case import TASKS
from breastai_model.training.calibrate import calibrated, cross_calibrated, fitted_temperature, youden_threshold
from breastai_model.training.predictions import Predictions


def drawn(patients: int, folds: int = 5, temperature: float = 1.0, seed: int = 0) -> Predictions:
    """Log-odds that are right but for the temperature."""
    chance = np.random.default_rng(seed)
    right = chance.normal(0, 2, (patients, 3))
    labels = (chance.random((patients, 3)) < 1 / (1 + np.exp(-right))).astype(np.int64)
    return Predictions(labels, np.arange(patients), np.arange(patients) % folds, dict.fromkeys(("both", "mri", "us"), right * temperature))


@pytest.mark.parametrize("planted", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found_again(planted):
    predictions = drawn(4000, temperature=planted)
    assert fitted_temperature(predictions.log_odds["both"][:, 0], predictions.labels[:, 0]) == pytest.approx(planted, rel=0.12)


def test_the_temperature_makes_the_answers_most_likely():
    predictions = drawn(200, temperature=2.0)
    x, y = predictions.log_odds["both"][:, 0], predictions.labels[:, 0]
    grid = np.exp(np.linspace(-2, 2, 4001))
    surprise = [np.logaddexp(0, np.where(y == 1, -x, x) / t).mean() for t in grid]
    assert fitted_temperature(x, y) == pytest.approx(grid[int(np.argmin(surprise))], rel=2e-3)


def test_answers_told_apart_without_a_mistake_keep_a_bounded_temperature():
    y = np.repeat([0, 1], 30)
    assert fitted_temperature(y * 2.0 - 1.0, y) == pytest.approx(0.05, rel=1e-3)
    assert fitted_temperature(1.0 - y * 2.0, y) == pytest.approx(20.0, rel=1e-3)


def test_the_threshold_has_the_largest_youden_index():
    chance = np.random.default_rng(1)
    y = chance.integers(0, 2, 80)
    p = np.round(1 / (1 + np.exp(-chance.normal(y, 1.0))), 2)
    gain = {t: (p[y == 1] >= t).mean() + (p[y == 0] < t).mean() for t in (*np.unique(p), youden_threshold(p, y))}
    assert gain[youden_threshold(p, y)] == pytest.approx(max(gain.values()))


def test_the_threshold_lies_in_the_middle_of_the_gap():
    assert youden_threshold(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])) == pytest.approx(0.5)


def test_what_reads_a_fold_was_not_fitted_on_it():
    predictions = drawn(300)
    part, calibrations = cross_calibrated(predictions)
    fold = predictions.folds == 2
    labels = predictions.labels.copy()
    labels[fold] = 1 - labels[fold]
    turned = Predictions(
        labels, predictions.groups, predictions.folds, {s: np.where(fold[:, None], -v, v) for s, v in predictions.log_odds.items()}
    )
    _, others = cross_calibrated(turned)
    assert others[2] == calibrations[2]
    assert others[0] != calibrations[0]
    assert set(part[fold]) == {2}


def test_one_held_out_set_is_divided_by_patient():
    whole = drawn(240, folds=1)
    predictions = Predictions(whole.labels, whole.groups // 2, whole.folds, whole.log_odds)
    part, calibrations = cross_calibrated(predictions)
    assert len(calibrations) == 5
    assert np.array_equal(part[0::2], part[1::2])  # the two tumours of a patient stay together
    assert calibrations[0].of("both", "high_grade").patients == pytest.approx(96, abs=1)


def test_missing_answers_and_absent_modalities_are_left_out():
    whole = drawn(300)
    labels = whole.labels.copy()
    labels[:100, 1] = -1
    mri = whole.log_odds["mri"].copy()
    mri[250:] = np.nan
    calibration = calibrated(Predictions(labels, whole.groups, whole.folds, {**whole.log_odds, "mri": mri}))
    assert [calibration.of("both", task).patients for task in TASKS] == [300, 200, 300]
    assert [calibration.of("mri", task).patients for task in TASKS] == [250, 150, 250]


def test_too_few_of_an_answer_change_nothing():
    predictions = drawn(30)
    calibration = calibrated(predictions)
    for scope in SCOPES:
        for task in TASKS:
            numbers = calibration.of(scope, task)
            assert (numbers.temperature, numbers.threshold, numbers.negative_quantile) == (1.0, 0.5, None)
            assert numbers.patients == 30
