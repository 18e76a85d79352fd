"""What training makes small: the three classification losses, each over the cases whose label is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def task_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of each task and how many labels it was summed over.

    Parameters
    ----------
    logits
        (case, task, answer), the network's output.
    labels
        (case, task) int64: 1, 0, or -1 where the label is not known. Such a cell adds neither loss nor gradient.

    Returns
    -------
    (task,) sums, (task,) counts: the means over any number of batches follow from the added sums and counts.
    """
    known = labels >= 0
    each = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none").view_as(labels)
    return (each * known).sum(dim=0), known.sum(dim=0)


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return L_cls, the sum of the three tasks' mean losses (equations 10 to 13 with masks); 0 without any label."""
    sums, counts = task_losses(logits, labels)
    return torch.sum(sums / counts.clamp(min=1))
