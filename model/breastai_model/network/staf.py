"""One STAF block: SAGC (equations 4 to 6), TA and the attentional fusion of TAFF (equations 7 to 9).

Frames of one modality exchange messages frame by frame; the two modalities, whose frames mean different things, exchange
means over time (mapping A of `Recipe.layout`). In the layout "channels" both time axes are the same four backbone stages, and
all messages go frame by frame (mapping B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.temporal import TemporalAttention
from breastai_model.network.tokens import prior_topologies

if TYPE_CHECKING:
    from breastai_model.network.tokens import TokenLayout
    from breastai_model.recipe import Recipe

SUBSETS = 3
"""P: self, neighbours, other modality."""


class SpatialGraphConvolution(nn.Module):
    """SAGC: a graph convolution whose graph is partly learnt and partly read from the input.

    (5) Q_p[u, v] = xi_p( tanh( TP(phi_p(X))[u] - TP(psi_p(X))[v] ) )
    (4) A_p' = beta Q_p + A_p, beta one learnable scalar that starts at 0, A_p learnable from the prior graph
    (6) out[t, u] = ReLU( BN( sum_p sum_v A_p'[u, v] theta_p(X)[t, v] ) + down(X) )

    TP is the mean over a node's present frames; it commutes with the 1x1 convolutions and is taken first. BN starts with
    weight 1e-6. (N, C, L) to (N, C_out, L).

    Source: CTR-GC, Chen et al., ICCV 2021, with the equation numbers of the published design.
    """

    def __init__(self, inputs: int, outputs: int, layout: TokenLayout, recipe: Recipe) -> None:
        super().__init__()
        relation = max(inputs // 8, 4)
        self.layout = layout
        self.outputs = outputs
        self.framewise = recipe.layout == "channels"
        self.phi = nn.Conv1d(inputs, SUBSETS * relation, 1)
        self.psi = nn.Conv1d(inputs, SUBSETS * relation, 1)
        self.xi = nn.Conv1d(SUBSETS * relation, SUBSETS * outputs, 1, groups=SUBSETS)
        self.theta = nn.Conv1d(inputs, SUBSETS * outputs, 1)
        self.topology = nn.Parameter(prior_topologies(recipe.token_grid))
        self.beta = nn.Parameter(torch.zeros(1))
        self.norm = MaskedNorm(outputs, first_weight=1e-6)
        self.down = None if inputs == outputs else nn.Conv1d(inputs, outputs, 1)
        self.down_norm = None if inputs == outputs else MaskedNorm(outputs)

    def graph(self, x: Tensor, present: Tensor) -> Tensor:
        """Return beta Q + A, (N, P, C_out, V, V)."""
        mean = self.layout.time_mean(x, present)
        difference = torch.tanh(self.phi(mean)[..., :, None] - self.psi(mean)[..., None, :])
        relation = self.xi(difference.flatten(2)).view(len(x), SUBSETS, self.outputs, self.layout.nodes, self.layout.nodes)
        graph: Tensor = self.beta * relation + self.topology[:, None]
        return graph

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the block's output; x (N, C, L) is zero where present (N, L) is False."""
        layout, graph = self.layout, self.graph(x, present)
        features = self.theta(x) * present[:, None]
        mri, us = (_by_subset(part) for part in layout.split(features))
        m = layout.mri_nodes
        if self.framewise:
            summed = _messages(graph, torch.cat([mri, us], dim=-1))
            messages = layout.join(summed[..., :m], summed[..., m:])
        else:
            mean = _by_subset(layout.time_mean(features, present)).unsqueeze(-2)
            to_mri = _messages(graph[..., :m, :m], mri) + _messages(graph[..., :m, m:], mean[..., m:])
            to_us = _messages(graph[..., m:, m:], us) + _messages(graph[..., m:, :m], mean[..., :m])
            messages = layout.join(to_mri, to_us)
        out = self.norm(messages, present) + (x if self.down is None else self.down_norm(self.down(x), present))  # type: ignore[misc]
        return F.relu(out) * present[:, None]


def _by_subset(values: Tensor) -> Tensor:
    """Return (N, P * C, ...) as (N, P, C, ...)."""
    return values.reshape(len(values), SUBSETS, -1, *values.shape[2:])


def _messages(graph: Tensor, values: Tensor) -> Tensor:
    """Return sum over p and v of graph (N, P, C, U, V) times values (N, P, C, T, V) as (N, C, T, U)."""
    return torch.einsum("npcuv,npctv->nctu", graph, values)


class AttentionalFusion(nn.Module):
    """AFF: X' = X M + X1 (1 - M), M = sigmoid( L(X + X1) + G(X + X1) ) (equations 8 and 9).

    L: 1x1 C to C/r, BN, ReLU, 1x1 to C, BN, per position. G: the mean over all present nodes of their time means, then the
    same stack with GroupNorm of one group, since a batch norm has no statistics for a single patient. (N, C, L) twice to
    (N, C, L).

    Source: Dai et al., WACV 2021, without their factor 2 (`aff_scale`).
    """

    def __init__(self, channels: int, layout: TokenLayout, recipe: Recipe) -> None:
        super().__init__()
        inner = channels // recipe.aff_reduction
        self.layout = layout
        self.scale = recipe.aff_scale
        self.local_in = nn.Conv1d(channels, inner, 1)
        self.local_norm1 = MaskedNorm(inner)
        self.local_out = nn.Conv1d(inner, channels, 1)
        self.local_norm2 = MaskedNorm(channels)
        self.whole = nn.Sequential(
            nn.Conv1d(channels, inner, 1),
            nn.GroupNorm(1, inner),
            nn.ReLU(),
            nn.Conv1d(inner, channels, 1),
            nn.GroupNorm(1, channels),
        )

    def forward(self, x: Tensor, x1: Tensor, present: Tensor) -> Tensor:
        """Return the fusion of the residual x and the processed x1, both (N, C, L), zero where present is False."""
        z = x + x1
        local = F.relu(self.local_norm1(self.local_in(z), present))
        local = self.local_norm2(self.local_out(local), present)
        nodes = self.layout.node_present(present)
        whole = self.layout.time_mean(z, present).sum(dim=2, keepdim=True) / nodes.sum(dim=1)[:, None, None].clamp(min=1)
        mask = torch.sigmoid(local + self.whole(whole))
        return self.scale * (x * mask + x1 * (1 - mask))


class STAFBlock(nn.Module):
    """SAGC, TA per modality, AFF with the residual, ReLU: out = ReLU( AFF( res(X), TA(SAGC(X)) ) ).

    Everything but the temporal kernels is shared by both modalities. Absent positions are zero before and after.
    (N, C, L) to (N, C_out, L').
    """

    def __init__(self, inputs: int, outputs: int, layout: TokenLayout, stride: int, recipe: Recipe) -> None:
        super().__init__()
        self.layout, self.stride, self.after = layout, stride, layout.strided(stride)
        cyclic = recipe.layout == "sequence"
        self.graph = SpatialGraphConvolution(inputs, outputs, layout, recipe)
        self.mri_time = TemporalAttention(outputs, layout.mri_frames, 2, stride, recipe, wraps=False)
        self.us_time = TemporalAttention(outputs, layout.us_frames, 1, stride, recipe, wraps=cyclic)
        self.residual = None if inputs == outputs and stride == 1 else nn.Conv1d(inputs, outputs, 1)
        self.residual_norm = None if self.residual is None else MaskedNorm(outputs)
        self.fusion = AttentionalFusion(outputs, self.after, recipe)

    def forward(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output and which of its positions are present."""
        mri, us = self.layout.split(self.graph(x, present))
        mri_present, us_present = self.layout.split(present)
        after = self.layout.every(present, self.stride)
        x1 = self.after.join(self.mri_time(mri, mri_present), self.us_time(us, us_present)) * after[:, None]
        kept = self.layout.every(x, self.stride)
        if self.residual is not None and self.residual_norm is not None:
            kept = self.residual_norm(self.residual(kept), after) * after[:, None]
        return F.relu(self.fusion(kept, x1, after)) * after[:, None], after
