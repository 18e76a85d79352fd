"""MMAFF: the stack of STAF blocks over the tokens of both modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from breastai_model.network.staf import STAFBlock
from breastai_model.network.tokens import token_layout

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe


class MMAFF(nn.Module):
    """STAF blocks, then the mean over time: (N, d, L) tokens to (N, C, V) nodes.

    Absent phases, angles, breasts and modalities are masked throughout: whatever stands in their place, the output is the
    same.

    Source: Zhang et al., "Multi-modality adaptive feature fusion GCN", Sensors 2023, 23(12):5414, ten blocks of widths 64, 128 and
    256 in the preset `paper`. What its joints and its time are here: `TokenLayout`.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.layout = token_layout(recipe)
        layout, inputs = self.layout, recipe.feature_width
        blocks = []
        for outputs, stride in zip(recipe.staf_widths, recipe.temporal_strides, strict=True):
            blocks.append(STAFBlock(inputs, outputs, layout, stride, recipe))
            layout, inputs = layout.strided(stride), outputs
        self.blocks = nn.ModuleList(blocks)
        self.last_layout = layout
        self.width = inputs

    def forward(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nodes (N, C, V) and which of them are present (N, V).

        Parameters
        ----------
        tokens
            (N, d, L) in the order of `TokenLayout`.
        present
            (N, L) bool.
        """
        x = tokens * present[:, None]
        for block in self.blocks:
            x, present = block(x, present)
        return self.last_layout.time_mean(x, present), self.last_layout.node_present(present)
