"""Paired tests: DeLong against its definition, McNemar and Holm against hand values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from breastai_model.training.delong import auc_covariance, delong_test
from breastai_model.training.paired import holm, mcnemar_test


def slow_covariance(scores, labels):
    """DeLong's definition, every pair by itself."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    v10 = np.zeros((len(scores), len(positive)))
    v01 = np.zeros((len(scores), len(negative)))
    for row, score in enumerate(scores):
        for i, one in enumerate(positive):
            for j, other in enumerate(negative):
                kernel = 1.0 if score[one] > score[other] else 0.5 if score[one] == score[other] else 0.0
                v10[row, i] += kernel / len(negative)
                v01[row, j] += kernel / len(positive)
    areas = v10.mean(axis=1)
    covariance = np.zeros((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            covariance[r, s] += ((v10[r] - areas[r]) * (v10[s] - areas[s])).sum() / (len(positive) - 1) / len(positive)
            covariance[r, s] += ((v01[r] - areas[r]) * (v01[s] - areas[s])).sum() / (len(negative) - 1) / len(negative)
    return areas, covariance


def test_areas_and_covariance_are_those_of_the_definition_ties_included():
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 2, 60)
    scores = np.round(chance.normal(labels, 1.2, (3, 60)), 1)
    areas, covariance = auc_covariance(scores, labels)
    slow_areas, slow = slow_covariance(scores, labels)
    assert areas == pytest.approx(slow_areas, abs=1e-12)
    assert covariance == pytest.approx(slow, abs=1e-12)


def test_a_small_case_by_hand():
    # V10 = 1, 1, 1/2 and V01 = 2/3, 1: AUC 5/6, variance 1/36 + 1/36.
    areas, covariance = auc_covariance(np.array([[0.9, 0.8, 0.4, 0.7, 0.3]]), np.array([1, 1, 1, 0, 0]))
    assert areas[0] == pytest.approx(5 / 6)
    assert covariance[0, 0] == pytest.approx(1 / 18)


def test_equal_scores_do_not_differ_and_opposite_ones_do():
    labels = np.array([0, 1] * 20)
    scores = np.random.default_rng(0).normal(labels, 1.0)
    same = delong_test(scores, 2 * scores + 5, labels)
    assert (same.difference, same.p) == (0.0, 1.0)
    perfect = delong_test(labels.astype(float), -labels.astype(float), labels)
    assert (perfect.first, perfect.second, perfect.p) == (1.0, 0.0, 0.0)
    other = delong_test(scores, -scores, labels)
    assert other.difference == pytest.approx(2 * other.first - 1)
    assert other.low < other.difference < other.high
    assert other.p < 0.01


def test_where_there_is_no_difference_one_test_in_twenty_says_there_is():
    chance = np.random.default_rng(5)
    labels = np.repeat([0, 1], 60)
    found = []
    for _ in range(400):
        shared = chance.normal(labels, 1.0)
        found.append(delong_test(shared + chance.normal(0, 0.7, 120), shared + chance.normal(0, 0.7, 120), labels).p)
    assert 0.025 <= np.mean(np.array(found) < 0.05) <= 0.085
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_too_few_cases_are_refused():
    with pytest.raises(ValueError, match="at least two cases of each answer"):
        delong_test(np.arange(3.0), np.arange(3.0), np.array([1, 0, 0]))


def test_mcnemar_by_hand():
    first = np.array([True] * 7 + [False] * 1 + [True] * 5 + [False] * 2)
    second = np.array([False] * 7 + [True] * 1 + [True] * 5 + [False] * 2)
    only_first, only_second, p = mcnemar_test(first, second)
    assert (only_first, only_second) == (7, 1)
    assert p == pytest.approx(2 * (1 + 8) / 2**8)  # two-sided binomial: 8 coins, at most one tail
    assert mcnemar_test(first, first) == (0, 0, 1.0)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_equivalent_is_an_interval_that_lies_within_the_margin_and_not_a_large_p():
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 2, 4000)
    score = chance.normal(labels, 1.0)
    near, coarse = score + chance.normal(0, 0.1, 4000), score + chance.normal(0, 1.0, 4000)
    assert delong_test(score, near, labels).equivalent
    assert not delong_test(score, coarse, labels).equivalent
    few = delong_test(score[:40], coarse[:40], labels[:40])
    assert few.p > 0.05
    assert not few.equivalent, "too few patients to tell is not equal"
