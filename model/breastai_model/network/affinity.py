"""The affinity matrix with nearest-neighbour selection, inside one patient.

The published text announces it and gives no equation. In its likely model, cm-SSFT (Lu et al., CVPR 2020), the nodes are the
patients of a batch, so an answer would depend on who else is in it. Here the nodes are one patient's own tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe

STEPS = 1024


def affinity(h: Tensor, present: Tensor, neighbours: int) -> Tensor:
    """Return the symmetrised affinity between the nodes of each patient, nearest neighbours only.

    A_uv = 1 - ||hat(h_u) - hat(h_v)|| / 2; each row keeps its k largest entries, itself included; then max(T, T^T).
    Gradients flow through the kept entries, the selection is a constant. Entries are ranked in steps of 1/1024, equal ones
    in the order of the nodes: tokens that look alike (air, fat) differ by rounding alone, and their choice would otherwise
    change with the batch size or the device, and the answer with it (by 1e-3 in a test).

    Parameters
    ----------
    h
        (N, C, V).
    present
        (N, V) bool; the rows and columns of absent nodes are zero and never selected.
    neighbours
        k.

    Returns
    -------
    (N, V, V), 0 to 1.
    """
    unit = F.normalize(h, dim=1, eps=1e-6)
    square = (unit[:, :, :, None] - unit[:, :, None, :]).square().sum(dim=1)
    apart = square > 0
    # The root has no finite slope at 0, where a node meets itself or its double; there the slope is taken as 0.
    similar = 1 - 0.5 * torch.where(apart, square, 1.0).sqrt() * apart
    pairs = present[:, :, None] & present[:, None, :]
    nodes = h.shape[2]
    order = torch.arange(nodes, device=h.device)
    rank = (similar.detach() * STEPS).round().long() * nodes - order
    rank = rank.masked_fill(order[:, None] == order, 2 * STEPS * nodes).masked_fill(~pairs, -nodes)
    nearest = rank.topk(min(neighbours, nodes), dim=2).indices
    kept = torch.zeros_like(pairs).scatter(2, nearest, True) & pairs
    selected = similar * kept
    return torch.maximum(selected, selected.transpose(1, 2))


class AffinityPooling(nn.Module):
    """One step of propagation over the affinity graph, the mean over nodes, and a linear map to F^a.

    F^a = FC( mean_v ( D^-1/2 A D^-1/2 h )_v ), D the row sums of A, at least 1e-6. (N, C, V) to (N, d).
    """

    def __init__(self, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        self.neighbours = recipe.affinity_neighbours
        self.linear = nn.Linear(inputs, recipe.feature_width)

    def forward(self, h: Tensor, present: Tensor) -> Tensor:
        """Return F^a of each patient."""
        graph = affinity(h, present, self.neighbours)
        root = graph.sum(dim=2).clamp(min=1e-6).rsqrt()
        graph = root[:, :, None] * graph * root[:, None, :]
        # mean over present u of sum_v graph[u, v] h[v]; absent rows of the graph are zero
        weights = graph.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)
        fused: Tensor = self.linear(torch.einsum("ncv,nv->nc", h, weights))
        return fused
