"""The three discriminators of the feature adaptation: g_M, g_U and g_a.

They count among the parameters of the presets and travel in the weights. `breastai_model.training.objective` learns with them;
nothing of a prediction passes through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe


class Discriminators(nn.Module):
    """Projection discriminators of equations 1 and 2 and the modality classifier of equation 3.

    g_M (`project_mri`) and g_U (`project_ultrasound`) are one linear map each, (N, d) to (N, d) with bias; g_a (`modality`) has
    three fully connected layers, d, d/2, d/4, 2 with ReLU: (N, d) to (N, 2), MRI first.

    Source: three fully connected layers are printed; the linear form of the projections is that of cm-SSFT (Lu et al., CVPR 2020),
    which the text resembles and does not name.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        d = recipe.feature_width
        self.project_mri = nn.Linear(d, d)
        self.project_ultrasound = nn.Linear(d, d)
        self.modality = nn.Sequential(nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, d // 4), nn.ReLU(), nn.Linear(d // 4, 2))
