"""The losses, one small function for each equation: 1 to 3, 10 to 13, both readings of L_C, cross-covariance and confusion.

Every mean over patients is a sum that is divided at the end (`masked_mean`), so the means of a batch that is spread over
processes or micro-batches are those of the whole batch. All vectors are rows: (N, d). `hat(v)` is v / max(||v||, 1e-6).
Sources: the published design, with the corrections of `model/PAPER.md`; where another publication is the origin, it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

Group = Callable[["Tensor"], "Tensor"]
"""Returns the sum of a tensor over all processes, passing gradients (`torch.distributed.nn.functional.all_reduce`)."""
Gather = Callable[["Tensor"], "Tensor"]
"""Returns the rows of all processes, without gradients, in the order of one process with their joint batch."""

MRI, ULTRASOUND = 0, 1
"""y_m of equation 3: which of g_a's two answers is which modality."""
ROOT = 1e-8
"""Added under the root of an L2 norm, whose slope at 0 is otherwise infinite."""


def hat(features: Tensor) -> Tensor:
    """Return every row of (N, d) divided by its L2 norm, at least 1e-6."""
    return F.normalize(features, dim=1, eps=1e-6)


def masked_mean(values: Tensor, mask: Tensor, group: Group | None = None, count: Tensor | None = None) -> Tensor:
    """Return the mean of the values whose mask is True, 0 without any.

    Parameters
    ----------
    values, mask
        (N,), mask bool.
    group
        Adds sum and count up over processes. With it the result is the mean over all of them, and so is the average of their
        gradients.
    count
        What the sum is divided by, where these values are a part of a batch (a micro-batch); it is not added up again.
    """
    total = values.masked_fill(~mask, 0.0).sum()
    here = mask.sum() if count is None else count
    if group is not None:
        total = group(total)
        here = group(here) if count is None else here
    return divided(total, here)


def divided(total: Tensor, count: Tensor) -> Tensor:
    """Return total / count, 0 where the count is 0."""
    return total / torch.where(count > 0, count, torch.ones_like(count))


# -- equations 1 to 3: discrimination and adaptation -------------------------------------------------------------------
def projection_distance(projected: Tensor, agnostic: Tensor) -> Tensor:
    """Return || g_m(F^s_m) - F^a_m || of each patient, the terms of L_M and L_U (equations 1 and 2).

    Not squared, as printed; both belong to the same patient and the same modality.

    Parameters
    ----------
    projected
        (N, d): g_m of the normalised specific features.
    agnostic
        (N, d): the normalised agnostic features.

    Returns
    -------
    (N,), the root of the sum of squares plus 1e-8.
    """
    return torch.sqrt((projected - agnostic).square().sum(dim=1) + ROOT)


def modality_cross_entropy(logits_mri: Tensor, logits_us: Tensor) -> Tensor:
    """Return each patient's mean of -log p(m | F^a_m) over both modalities, the terms of L_mo (equation 3).

    Printed "log log" is log. Only patients with both modalities may enter the mean, or g_a could tell the modality by what
    is missing. A classifier that knows nothing gives ln 2.

    Parameters
    ----------
    logits_mri, logits_us
        (N, 2): g_a of hat(F^a_M) and of hat(F^a_U).

    Returns
    -------
    (N,).
    """
    return -0.5 * (logits_mri.log_softmax(dim=1)[:, MRI] + logits_us.log_softmax(dim=1)[:, ULTRASOUND])


def confusion(logits_mri: Tensor, logits_us: Tensor) -> Tensor:
    """Return each patient's mean cross-entropy of g_a's answers to the uniform distribution, (N,) from (N, 2) twice.

    It takes the place of -L_mo in the recipe `stable`: at least ln 2, so the encoders cannot lower it without bound.

    Source: domain confusion, Tzeng et al., ICCV 2015.
    """
    return -0.5 * (logits_mri.log_softmax(dim=1).mean(dim=1) + logits_us.log_softmax(dim=1).mean(dim=1))


# -- equations 10 to 13: classification ---------------------------------------------------------------------------------
def task_losses(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of each task and what it is divided by: L_t1, L_t2, L_t3 (equations 11 to 13).

    L_t = sum_n w_t[y] CE(head_t(.)[n], y[n, t]) / sum_n w_t[y] over the patients whose answer is known.

    Parameters
    ----------
    logits
        (case, task, answer), the network's output.
    labels
        (case, task) int64: 1, 0, or -1 where the label is not known. Such a cell adds neither loss nor gradient.
    class_weights
        (task, answer) w_t; None: 1 each.

    Returns
    -------
    (task,) sums, (task,) counts or sums of weights: the means over any number of batches follow from the added ones.
    """
    known = labels >= 0
    answers = labels.clamp(min=0)
    each = F.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view_as(labels)
    if class_weights is None:
        return (each * known).sum(dim=0), known.sum(dim=0)
    weights = class_weights.to(each.dtype).expand(len(labels), -1, -1).gather(2, answers[..., None])[..., 0] * known
    return (each * weights).sum(dim=0), weights.sum(dim=0)


def inverse_frequency(labels: Tensor) -> Tensor:
    """Return w_t, the inverse frequency of each answer among the known labels, scaled to a mean weight of 1 per patient.

    Parameters
    ----------
    labels
        (case, task) int64 of the training fold, never of held-out cases.

    Returns
    -------
    (task, answer) float32; 1 where a task lacks an answer.
    """
    counts = torch.stack([(labels == 0).sum(dim=0), (labels == 1).sum(dim=0)], dim=1).float()
    return torch.where((counts > 0).all(dim=1, keepdim=True), counts.sum(dim=1, keepdim=True) / (2 * counts.clamp(min=1)), 1.0)


def classification_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return L_cls = L_t1 + L_t2 + L_t3 (equation 10) with equal weights of the tasks; 0 without any label."""
    return divided(*task_losses(logits, labels, class_weights)).sum()


# -- L_C: compactness of the agnostic features, both readings ----------------------------------------------------------
def laplacian_energy(mri: Tensor, us: Tensor, seen_mri: Tensor, seen_us: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return L_C read literally, "increase compactness", as energy and the weight that it is divided by.

    L_C = sum_ij T_ij ||z_i - z_j||^2 / sum_ij T_ij. Nodes are z_i = hat(F^a_M[i]) and z_(N+i) = hat(F^a_U[i]) of the batch;
    A_ij = 1 - ||z_i - z_j|| / 2 without gradient; T keeps each row's k largest entries, itself excluded; the edge between a
    patient's own two nodes is 1; then T <- (T + T^T) / 2. It is 2 tr(Z^T Lap Z) / sum T.

    Source: affinity and nearest neighbours as in cm-SSFT (Lu et al., CVPR 2020); the loss is this project's reading, for
    the published text names L_C without a formula.

    Parameters
    ----------
    mri, us
        (N, d) normalised.
    seen_mri, seen_us
        (N,) bool; an absent node has no edge.
    neighbours
        k.
    """
    z, seen = torch.cat([mri, us]), torch.cat([seen_mri, seen_us])
    square = (z[:, None] - z[None]).square().sum(dim=2)
    pairs = seen[:, None] & seen[None] & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    similar = (1 - 0.5 * square.detach().sqrt()).masked_fill(~pairs, -1.0)
    nearest = similar.topk(min(neighbours, len(z)), dim=1).indices
    edges = torch.zeros_like(similar).scatter(1, nearest, similar.gather(1, nearest)).masked_fill(~pairs, 0.0)
    own = torch.arange(len(mri), device=z.device)
    both = (seen_mri & seen_us).to(z.dtype)
    edges[own, own + len(mri)] = edges[own + len(mri), own] = both
    edges = (edges + edges.T) / 2
    return (edges * square).sum(), edges.sum()


def neighbour_contrast(anchors: Tensor, own: Tensor, candidates: Tensor, allowed: Tensor, temperature: float, hardest: int = 0) -> Tensor:
    """Return each patient's term of one direction of the contrastive L_C: -log softmax of its own pair among candidates.

    CE(S / tau, own pair), S_ij = hat(F^a_m[i]) . hat(F^a_m'[j]) = 1 - ||.||^2 / 2, the affinity's order. The loss is half
    the sum of both directions. It draws a patient's two modalities together without drawing all patients into one point, which
    the Laplacian form does.

    Source: InfoNCE (van den Oord et al., 2018) over the pairs of the published affinity; memory of past batches as in Wang
    et al., CVPR 2020 (cross-batch memory).

    Parameters
    ----------
    anchors, own
        (N, d) normalised: one modality's features, and the same patients' of the other modality.
    candidates
        (K, d) normalised features of the other modality: batch and memory.
    allowed
        (N, K) bool: False where a candidate is absent or is the anchor's own patient.
    temperature
        tau.
    hardest
        Keeps the most similar candidates of each row only; 0: all.

    Returns
    -------
    (N,).
    """
    positive = (anchors * own).sum(dim=1, keepdim=True) / temperature
    others = (anchors @ candidates.T / temperature).masked_fill(~allowed, -torch.inf)
    if 0 < hardest < others.shape[1]:
        others = others.topk(hardest, dim=1).values
    return torch.logsumexp(torch.cat([positive, others], dim=1), dim=1) - positive[:, 0]


# -- L_X of the recipe `stable` ----------------------------------------------------------------------------------------
def cross_covariance(specific: Tensor, agnostic: Tensor, weights: Tensor, group: Group | None = None) -> Tensor:
    """Return L_X of one modality: the squared cross-covariance of standardised F^s and F^a, summed and divided by d.

    1 or more where one is the other; about d / N where N rows of them have nothing to do with each other, 0 only with many rows. Each
    column is standardised over the rows, so making a feature small does not lower it. Fewer than two rows have no covariance: 0.

    Source: the redundancy term of Barlow Twins (Zbontar et al., ICML 2021), here between two features of one patient; a
    choice of this project, not in the published design.

    Parameters
    ----------
    specific, agnostic
        (N, d): batch, and memory without gradient.
    weights
        (N,) how much each row counts: 1, 0 where the modality was not seen, or the share of a row that all processes have.
    group
        See `masked_mean`; the covariance is then that over all processes.
    """
    added: Group = group if group is not None else lambda value: value
    weight = weights[:, None].to(specific.dtype)
    count = added(weight.sum())
    standard = []
    for features in (specific, agnostic):
        known = features.masked_fill(weight == 0, 0.0)  # whatever stands in an unseen row, NaN too
        centred = known - added((known * weight).sum(dim=0)) / count.clamp(min=1)
        variance = added((centred.square() * weight).sum(dim=0)) / count.clamp(min=1)
        standard.append(centred * torch.rsqrt(variance + 1e-5))
    covariance = added((standard[0] * weight).T @ standard[1]) / count.clamp(min=1)
    return covariance.square().sum() / specific.shape[1] * (count > 1)
