"""MUM-Net, by its description: our four streams, discriminators and L_C, with the mean of the agnostic features in place of MMAFF.

Source: Qiao, Liu, Li, Zhou, Xiao, Zhou, Chang, Gu, Guo, Wang, "Breast tumor classification based on MRI-US images by disentangling
modality features", IEEE JBHI 2022, doi 10.1109/JBHI.2022.3140236. Its full text and code were not found; what is known is in
method section 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from breastai_model.network.net import BreastNet, Output
from breastai_model.network.tokens import token_layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_model.prepare import Batch
    from breastai_model.recipe import Recipe


class TimeMean(nn.Module):
    """In MMAFF's place: the mean of each node over its present frames, (N, d, L) tokens to (N, d, V) nodes. Nothing is learnt."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.layout = self.last_layout = token_layout(recipe)
        self.width = recipe.feature_width

    def forward(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nodes and which of them are present, as `MMAFF.forward`."""
        return self.layout.time_mean(tokens * present[:, None], present), self.layout.node_present(present)


class _Nothing(nn.Module):
    """In the affinity's place, where its output is not used: (N, d) zeros."""

    def forward(self, h: Tensor, present: Tensor) -> Tensor:  # noqa: ARG002  as `AffinityPooling.forward`
        """Return zeros."""
        return h.new_zeros(h.shape[:2])


class MumNet(BreastNet):
    """`BreastNet` whose fused feature is the mean of F^a_M and F^a_U, the available one where a modality is absent."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.mmaff = TimeMean(recipe)  # type: ignore[assignment]
        self.affinity = _Nothing()  # type: ignore[assignment]

    def forward(self, batch: Batch, tap: Callable[[str, str, int, Tensor], Tensor] | None = None) -> Output:
        """Return logits and features of a batch; see `BreastNet.forward`."""
        output = super().forward(batch, tap)
        seen = torch.stack([batch.mri_present.flatten(1).any(dim=1), batch.us_present.any(dim=1)], dim=1)[..., None]
        both = torch.stack([output.agnostic_mri, output.agnostic_us], dim=1)
        fused = (both * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
        joint = torch.cat([fused, output.specific_mri, output.specific_us], dim=1)
        logits = torch.stack([head(joint) for head in self.heads.values()], dim=1)
        return replace(output, logits=logits, fused=fused)
