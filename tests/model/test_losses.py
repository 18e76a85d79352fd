"""Each loss against a slow, literal computation of its equation in float64, patient by patient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from breastai_model.training.losses import (
    classification_loss,
    confusion,
    cross_covariance,
    hat,
    inverse_frequency,
    laplacian_energy,
    masked_mean,
    modality_cross_entropy,
    neighbour_contrast,
    projection_distance,
    task_losses,
)

N, D = 7, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(vector: Tensor) -> list[float]:
    length = max(math.sqrt(sum(float(v) ** 2 for v in vector)), 1e-6)
    return [float(v) / length for v in vector]


def distance(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def minus_log_softmax(logits: list[float], which: int) -> float:
    return -logits[which] + math.log(sum(math.exp(value) for value in logits))


def test_hat_divides_by_the_norm_and_survives_nothing() -> None:
    rows = torch.cat([drawn(3, D), torch.zeros(1, D, dtype=torch.float64)])
    assert hat(rows).tolist() == [pytest.approx(unit(row)) for row in rows]
    empty = torch.zeros(1, D, requires_grad=True)
    hat(empty).sum().backward()
    assert empty.grad is not None
    assert torch.isfinite(empty.grad).all()


def test_equations_1_and_2() -> None:
    projected, agnostic = drawn(N, D, seed=1), drawn(N, D, seed=2)
    expected = [math.sqrt(distance(p.tolist(), a.tolist()) ** 2 + 1e-8) for p, a in zip(projected, agnostic, strict=True)]
    assert projection_distance(projected, agnostic).tolist() == pytest.approx(expected)
    same = agnostic.clone().requires_grad_()
    projection_distance(same, agnostic).sum().backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all(), "the cusp of the norm at 0"


def test_equation_3_and_its_chance_value() -> None:
    mri, us = drawn(N, 2, seed=1), drawn(N, 2, seed=2)
    expected = [0.5 * (minus_log_softmax(m.tolist(), 0) + minus_log_softmax(u.tolist(), 1)) for m, u in zip(mri, us, strict=True)]
    assert modality_cross_entropy(mri, us).tolist() == pytest.approx(expected)
    blank = torch.zeros(1, 2)
    assert modality_cross_entropy(blank, blank).item() == pytest.approx(math.log(2))


def test_confusion_is_least_at_ln_2_where_g_a_knows_nothing() -> None:
    mri, us = drawn(N, 2, seed=1), drawn(N, 2, seed=2)
    expected = [
        sum(0.25 * minus_log_softmax(logits.tolist(), answer) for logits in pair for answer in (0, 1)) for pair in zip(mri, us, strict=True)
    ]
    assert confusion(mri, us).tolist() == pytest.approx(expected)
    assert min(expected) > math.log(2)
    assert confusion(torch.zeros(1, 2), torch.zeros(1, 2)).item() == pytest.approx(math.log(2))


def test_equations_10_to_13_masked_and_weighted() -> None:
    logits = drawn(N, 3, 2)
    labels = torch.tensor([[1, 0, -1], [0, -1, -1], [1, 1, -1], [0, 0, -1], [-1, 1, -1], [1, 0, -1], [0, 1, -1]])
    weights = torch.tensor([[0.5, 2.0], [1.5, 0.25], [1.0, 1.0]], dtype=torch.float64)

    def by_hand(weighted: bool) -> float:
        total = 0.0
        for t in range(3):
            above = below = 0.0
            for n in range(N):
                if (y := int(labels[n, t])) == -1:
                    continue
                w = float(weights[t, y]) if weighted else 1.0
                above += w * minus_log_softmax(logits[n, t].tolist(), y)
                below += w
            total += above / below if below else 0.0
        return total

    assert classification_loss(logits, labels).item() == pytest.approx(by_hand(False))
    assert classification_loss(logits, labels, weights).item() == pytest.approx(by_hand(True))
    sums, counts = task_losses(logits, labels)
    assert counts.tolist() == [6, 6, 0]
    assert sums[2] == 0


def test_inverse_frequency_makes_both_answers_weigh_the_same() -> None:
    labels = torch.tensor([[1, 0, 1]] * 3 + [[0, 0, -1]] * 9)
    weights = inverse_frequency(labels)
    assert weights.tolist() == [pytest.approx([12 / 18, 2.0]), [1.0, 1.0], [1.0, 1.0]]
    known = labels[:, 0]
    assert weights[0, known].sum() == pytest.approx(12)
    assert weights[0, 1] * 3 == pytest.approx(float(weights[0, 0]) * 9)


def test_the_laplacian_energy_is_its_sum_over_edges() -> None:
    mri, us = hat(drawn(N, D, seed=3)), hat(drawn(N, D, seed=4))
    seen_mri = torch.tensor([True, True, False, True, True, True, True])
    seen_us = torch.tensor([True, True, True, True, False, True, True])
    k = 4
    z = [unit(row) for row in torch.cat([mri, us])]
    seen = [*seen_mri.tolist(), *seen_us.tolist()]
    edges = [[0.0] * (2 * N) for _ in z]
    for i in range(2 * N):
        others = [j for j in range(2 * N) if seen[i] and seen[j] and j != i]
        for j in sorted(others, key=lambda j, i=i: distance(z[i], z[j]))[:k]:
            edges[i][j] = 1 - 0.5 * distance(z[i], z[j])
    for i in range(N):
        edges[i][N + i] = edges[N + i][i] = float(seen[i] and seen[N + i])
    both = [[(edges[i][j] + edges[j][i]) / 2 for j in range(2 * N)] for i in range(2 * N)]
    energy = sum(both[i][j] * distance(z[i], z[j]) ** 2 for i in range(2 * N) for j in range(2 * N))
    found, weight = laplacian_energy(mri, us, seen_mri, seen_us, k)
    assert found.item() == pytest.approx(energy)
    assert weight.item() == pytest.approx(sum(map(sum, both)))
    matrix = torch.tensor(both, dtype=torch.float64)
    laplacian = torch.diag(matrix.sum(dim=1)) - matrix
    nodes = torch.cat([mri, us])
    assert found.item() == pytest.approx(2 * torch.trace(nodes.T @ laplacian @ nodes).item())


def test_the_laplacian_of_one_patient_is_the_distance_of_its_two_features() -> None:
    mri, us = hat(drawn(1, D, seed=3)).requires_grad_(), hat(drawn(1, D, seed=4))
    yes = torch.tensor([True])
    energy, weight = laplacian_energy(mri, us, yes, yes, 4)
    assert (energy / weight).item() == pytest.approx((mri - us).square().sum().item())
    energy.backward()
    assert mri.grad is not None
    assert torch.allclose(mri.grad, 4 * (mri - us).detach()), "the affinity itself has no gradient"
    assert laplacian_energy(mri, us, yes, ~yes, 4)[1] == 0


@pytest.mark.parametrize("hardest", [0, 3])
def test_the_contrast_is_a_softmax_over_the_own_pair_and_the_candidates(hardest: int) -> None:
    anchors, own, candidates = hat(drawn(N, D, seed=5)), hat(drawn(N, D, seed=6)), hat(drawn(11, D, seed=7))
    allowed = torch.rand(N, 11, generator=torch.Generator().manual_seed(1)) > 0.3
    tau = 0.2
    expected = []
    for i in range(N):
        similar = [1 - distance(anchors[i].tolist(), candidates[j].tolist()) ** 2 / 2 for j in range(11) if allowed[i, j]]
        kept = sorted(similar, reverse=True)[: hardest or None]
        positive = 1 - distance(anchors[i].tolist(), own[i].tolist()) ** 2 / 2
        expected.append(minus_log_softmax([value / tau for value in (positive, *kept)], 0))
    assert neighbour_contrast(anchors, own, candidates, allowed, tau, hardest).tolist() == pytest.approx(expected)


def test_the_contrast_without_any_candidate_is_zero_and_has_gradients() -> None:
    anchors = hat(drawn(2, D)).requires_grad_()
    terms = neighbour_contrast(anchors, hat(drawn(2, D, seed=1)), hat(drawn(2, D)), torch.zeros(2, 2, dtype=torch.bool), 0.2)
    assert terms.tolist() == pytest.approx([0, 0])
    terms.sum().backward()
    assert anchors.grad is not None
    assert torch.isfinite(anchors.grad).all()


def test_cross_covariance_is_its_double_sum() -> None:
    specific, agnostic = drawn(N, D, seed=8) * 3 + 1, drawn(N, D, seed=9)
    seen = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    rows = [n for n in range(N) if seen[n]]

    def standard(values: Tensor, column: int) -> list[float]:
        here = [float(values[n, column]) for n in rows]
        mean = sum(here) / len(rows)
        variance = sum((value - mean) ** 2 for value in here) / len(rows)
        return [(value - mean) / math.sqrt(variance + 1e-5) for value in here]

    total = 0.0
    for i in range(D):
        for j in range(D):
            total += (sum(a * b for a, b in zip(standard(specific, i), standard(agnostic, j), strict=True)) / len(rows)) ** 2
    assert cross_covariance(specific, agnostic, seen).item() == pytest.approx(total / D)


def test_cross_covariance_reads_0_of_strangers_1_of_doubles_and_ignores_the_size() -> None:
    many = drawn(20000, D)
    seen = torch.ones(20000)
    assert cross_covariance(many, drawn(20000, D, seed=1), seen).item() < 0.01
    assert cross_covariance(many, many, seen).item() == pytest.approx(1, abs=0.01)
    assert cross_covariance(many * 0.1, many, seen).item() == pytest.approx(1, abs=0.01), "shrinking a feature is no way out"
    assert cross_covariance(many[:1], many[:1], seen[:1]).item() == 0
    assert cross_covariance(many[:2], many[:2], 0 * seen[:2]).item() == 0
    few = cross_covariance(many[:100], drawn(100, D, seed=1), seen[:100]).item()
    assert few == pytest.approx(D / 100, rel=0.5), "of strangers it is d / N, which is no dependence"


def test_a_row_that_all_processes_hold_counts_once() -> None:
    own, shared = drawn(6, D), drawn(4, D, seed=1)
    other = own * 2 - shared[:1]
    expected = cross_covariance(torch.cat([own, own, shared]), torch.cat([other, other, 2 * shared]), torch.ones(16)).item()
    half = torch.cat([torch.ones(6), torch.full((4,), 0.5)])
    found = cross_covariance(torch.cat([own, shared]), torch.cat([other, 2 * shared]), half, lambda value: 2 * value).item()
    assert found == pytest.approx(expected)


def test_a_mean_over_processes_is_the_mean_over_all_their_patients() -> None:
    values, mask = drawn(N), torch.tensor([True, False, True, True, False, True, True])
    expected = sum(float(values[n]) for n in range(N) if mask[n]) / 5
    assert masked_mean(values, mask).item() == pytest.approx(expected)
    assert masked_mean(values, ~mask & mask).item() == 0
    # two processes, 3 and 4 patients: what the other one has is added to every sum
    parts = (slice(0, 3), slice(3, None))
    others = iter([values[parts[1]].masked_fill(~mask[parts[1]], 0).sum(), mask[parts[1]].sum()])
    assert masked_mean(values[parts[0]], mask[parts[0]], lambda value: value + next(others)).item() == pytest.approx(expected)
    # two micro-batches of one process: each divided by the whole count, then added
    assert sum(masked_mean(values[part], mask[part], count=mask.sum()).item() for part in parts) == pytest.approx(expected)
