"""The three discriminators of the feature adaptation: g_M, g_U and g_a.

They count among the parameters of the presets and travel in the weights: used by adversarial training, not by inference.
Nothing of a prediction passes through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe


class Discriminators(nn.Module):
    """Projection discriminators of equations 1 and 2 and the modality classifier of equation 3.

    g_M and g_U are one linear map each, d to d with bias; g_a is d, d/2, d/4, 2 with ReLU.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        d = recipe.feature_width
        self.project_mri = nn.Linear(d, d)
        self.project_ultrasound = nn.Linear(d, d)
        self.modality = nn.Sequential(nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, d // 4), nn.ReLU(), nn.Linear(d // 4, 2))

    def forward(self, specific_mri: Tensor, specific_ultrasound: Tensor, agnostic: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return g_M(F^s_M), g_U(F^s_U), each (N, d), and the modality logits (N, 2) of the agnostic features."""
        return self.project_mri(specific_mri), self.project_ultrasound(specific_ultrasound), self.modality(agnostic)
