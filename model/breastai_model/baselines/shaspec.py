"""ShaSpec: shared and specific features for learning with missing modalities, without an adversary.

Source: Wang, Chen, Ma, Avery, Hull, Carneiro, "Multi-modal learning with missing modality via shared-specific feature
modelling", CVPR 2023. Written from the publication's description; its code has no licence and was not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.baselines.fit_network import Showing, TaskNetwork, fit_network
from breastai_model.baselines.small_networks import basic_stage, mri_channels, spread
from breastai_model.case import TASKS
from breastai_model.network.resnet_v2 import Dims, Stem, batch_norm
from breastai_model.training.losses import classification_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from breastai_model.baselines.system import Budget, Fitted
    from breastai_model.prepare import Batch
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles

ALPHA = 0.1
"""Of the distance between the modalities' shared features."""
BETA = 0.02
"""Of the classifier that tells the modalities' specific features apart."""
WARM_UP = 0.5
"""Of the epochs, over which the share of cases without a modality rises."""


class _Deep(nn.Module):
    """Stages 3 and 4 of a ResNet-18 V2, the mean over space and a linear map: (M, 2w, *space) to (M, d)."""

    def __init__(self, dims: Dims, recipe: Recipe) -> None:
        super().__init__()
        w = recipe.width
        self.stages = nn.Sequential(basic_stage(dims, 2 * w, 4 * w, 2), basic_stage(dims, 4 * w, 8 * w, 2))
        self.norm = batch_norm(dims, 8 * w)
        self.linear = nn.Linear(8 * w, recipe.feature_width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of each view."""
        features: Tensor = self.linear(F.relu(self.norm(self.stages(x))).flatten(2).mean(dim=2))
        return features


class _Views(nn.Module):
    """The views of one modality to their shared and specific features, (M, 2d) side by side.

    The trunk (stem, stages 1 and 2) and the specific encoder are the modality's own. The shared encoder is one 2D net for both: a
    convolution cannot be shared between 2D and 3D, so it reads the MRI's feature maps after a maximum over the slices.
    """

    def __init__(self, dims: Dims, inputs: int, shared: _Deep, recipe: Recipe) -> None:
        super().__init__()
        w = recipe.width
        self.trunk = nn.Sequential(Stem(dims, inputs, recipe), basic_stage(dims, w, w, 1), basic_stage(dims, w, 2 * w, 2))
        self.specific = _Deep(dims, recipe)
        self.shared = shared

    def forward(self, views: Tensor) -> Tensor:
        """Return [shared, specific] of each view."""
        maps = self.trunk(views)
        flat = maps.amax(dim=2) if maps.ndim == 5 else maps
        return torch.cat([self.shared(flat), self.specific(maps)], dim=1)


class ShaSpecNet(TaskNetwork):
    """Per-modality specific encoders, one shared encoder, a residual fusion of the two, one head for each task.

    fused_m = shared_m + W [shared_m, specific_m]; in place of a missing modality's stands the available one's shared feature.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        d = self.width = recipe.feature_width
        shared = _Deep(2, recipe)
        self.mri, self.us = _Views(3, recipe.phases, shared, recipe), _Views(2, 1, shared, recipe)
        self.merge_shared, self.merge_specific = nn.Linear(2 * d, d), nn.Linear(2 * d, d)
        self.fuse = nn.Linear(2 * d, d)
        self.domain = nn.Linear(d, 2)
        self.heads = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(d, 2 * len(TASKS)))

    def features(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return shared and specific features, (N, 2, d) each, MRI first, and which modality is there, (N, 2)."""
        d = self.width
        sides = batch.mri_present.any(dim=1)
        breasts = spread(self.mri, mri_channels(batch), sides, 2 * d)  # (N, side, 2d)
        angles = spread(self.us, batch.us[:, :, None], batch.us_present, 2 * d)
        sweep = angles.sum(dim=1) / batch.us_present.sum(dim=1, keepdim=True).clamp(min=1)
        shared = torch.stack([self.merge_shared(breasts[..., :d].flatten(1)), sweep[:, :d]], dim=1)
        specific = torch.stack([self.merge_specific(breasts[..., d:].flatten(1)), sweep[:, d:]], dim=1)
        return shared, specific, torch.stack([sides.any(dim=1), batch.us_present.any(dim=1)], dim=1)

    def answer(self, shared: Tensor, specific: Tensor, present: Tensor) -> Tensor:
        """Return (N, task, 2) logits."""
        there = present[..., None]
        fused = shared + self.fuse(torch.cat([shared, specific], dim=2))
        available = (shared * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
        logits: Tensor = self.heads(torch.where(there, fused, available).flatten(1))
        return logits.view(-1, len(TASKS), 2)

    def forward(self, batch: Batch) -> Tensor:
        """Return (N, task, 2) logits."""
        return self.answer(*self.features(batch))

    def loss(self, batch: Batch, labels: Tensor) -> Tensor:
        """Return L_cls + alpha |shared_M - shared_U|_1 + beta CE(domain | specific).

        The distance is over patients with both modalities, the domain classifier over every modality that is there; it is not
        opposed by anything: specific features shall tell the modality.
        """
        shared, specific, present = self.features(batch)
        total = classification_loss(self.answer(shared, specific, present), labels)
        both = present.all(dim=1)
        if both.any():
            total = total + ALPHA * (shared[both, 0] - shared[both, 1]).abs().mean()
        if present.any():
            which = torch.arange(2, device=present.device).expand_as(present)
            total = total + BETA * F.cross_entropy(self.domain(specific[present]), which[present])
        return total


class ShaSpec:
    """See the module."""

    name = "shaspec"
    title = "ShaSpec"
    source = (
        "Wang et al., CVPR 2023 (ShaSpec). Changed: ResNet-18 V2 encoders of our width; one shared 2D encoder that reads the MRI's "
        f"feature maps after a maximum over the slices; phases as channels; alpha {ALPHA}, beta {BETA}."
    )

    def fit(
        self,
        cases: CaseFiles,
        learning: NDArray[np.int64],
        held_out: NDArray[np.int64],
        budget: Budget,
        folder: Path,
        tell: Callable[[str], None],
    ) -> Fitted:
        """Learn with modality dropout that warms up gradually; see `System.fit`."""
        return fit_network(lambda: ShaSpecNet(budget.recipe), cases, learning, held_out, budget, folder, tell, Showing(warm_up=WARM_UP))
