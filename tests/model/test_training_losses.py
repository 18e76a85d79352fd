"""Masked losses, AUC and the split: against numbers worked out by hand or by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from breastai_model.training.evaluate import auc, auc_interval, task_metrics
from breastai_model.training.folds import split_by_patient
from breastai_model.training.losses import classification_loss, task_losses


def test_the_loss_is_the_sum_of_the_tasks_means_over_known_labels():
    logits = torch.zeros(2, 3, 2)
    logits[0, 0] = torch.tensor([0.0, math.log(3.0)])  # says 3/4 positive
    labels = torch.tensor([[1, 0, -1], [-1, 1, -1]])
    assert classification_loss(logits, labels).item() == pytest.approx(-math.log(0.75) + math.log(2.0))
    sums, counts = task_losses(logits, labels)
    assert counts.tolist() == [1, 2, 0]
    assert sums.tolist() == pytest.approx([-math.log(0.75), 2 * math.log(2.0), 0.0])


def test_a_missing_label_gives_no_gradient():
    logits = torch.randn(4, 3, 2, requires_grad=True)
    labels = torch.tensor([[1, 0, -1]] * 3 + [[-1, -1, -1]])
    classification_loss(logits, labels).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 2] == 0).all()
    assert (logits.grad[3] == 0).all()
    assert (logits.grad[:3, :2] != 0).all()


def test_a_batch_without_any_label_has_loss_zero_not_nan():
    assert classification_loss(torch.randn(2, 3, 2), torch.full((2, 3), -1)).item() == 0


def test_auc_counts_pairs_and_halves_ties():
    chance = np.random.default_rng(0)
    scores, labels = chance.integers(0, 6, 40) / 5, chance.integers(-1, 2, 40)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    assert auc(scores, labels) == pytest.approx(np.mean(pairs))
    assert auc(scores, np.zeros(40, dtype=int)) is None


def test_the_interval_is_that_of_hanley_and_mcneil():
    # The published study's pooled cross-validation, n = 502, AUC 0.857, by Hanley and McNeil: plus or minus 0.036
    low, high = auc_interval(0.857, 199, 303)
    assert (high - low) / 2 == pytest.approx(0.036, abs=0.002)
    assert auc_interval(1.0, 3, 3)[1] == 1.0


def test_metrics_name_their_counts():
    metrics = task_metrics(np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.5]]), np.array([[1, -1, 0], [0, 1, 0]]))
    assert metrics["lymph_node_metastasis"]["auc"] == 1.0
    assert (metrics["high_grade"]["auc"], metrics["high_grade"]["n"]) == (None, 1)
    assert (metrics["high_ki67"]["auc"], metrics["high_ki67"]["positives"]) == (None, 0)


def test_a_person_never_stands_on_both_sides_of_the_split_and_answers_are_spread():
    chance = np.random.default_rng(1)
    groups = chance.integers(1, 60, 100)
    labels = np.stack([groups % 2, groups % 3 == 0, np.full(100, -1)], axis=1)
    learning, held_out = split_by_patient(labels, groups, 0.2, seed=3)
    assert sorted([*learning, *held_out]) == list(range(100))
    assert not set(groups[learning]) & set(groups[held_out])
    people = {group: tuple(row) for group, row in zip(groups, labels, strict=True)}
    held_people = [people[group] for group in set(groups[held_out])]
    assert len(held_people) == round(0.2 * len(people))
    for task in (0, 1):
        assert {row[task] for row in held_people} == {0, 1}


def test_the_split_does_not_depend_on_the_order_of_the_files():
    groups = np.arange(1, 31)
    labels = np.stack([groups % 2] * 3, axis=1)
    order = np.random.default_rng(2).permutation(30)
    first = set(groups[split_by_patient(labels, groups, 0.2, 1)[1]])
    again = set(groups[order][split_by_patient(labels[order], groups[order], 0.2, 1)[1]])
    other_seed = set(groups[split_by_patient(labels, groups, 0.2, 2)[1]])
    assert first == again != other_seed
