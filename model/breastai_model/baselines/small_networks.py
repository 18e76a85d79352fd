"""The plain networks: ResNet-18 V2 of the ultrasound alone, of the MRI alone, and of both side by side.

ResNet-18 V2 is the pre-activation net of basic blocks (He et al., "Identity mappings in deep residual networks", ECCV 2016), (2, 2, 2, 2)
blocks of w, 2w, 4w and 8w channels. w is the recipe's `width`, so that it is as wide as ours (64 in `paper`, as published).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.baselines.fit_network import TaskNetwork
from breastai_model.case import TASKS
from breastai_model.network.net import SUBTRACTION_GAIN
from breastai_model.network.resnet_v2 import Dims, Stem, batch_norm, convolution

if TYPE_CHECKING:
    from breastai_model.baselines.fit_network import Modality
    from breastai_model.prepare import Batch
    from breastai_model.recipe import Recipe

BLOCKS = 2
"""Of each stage of a ResNet-18."""


class BasicBlock(nn.Module):
    """BN-ReLU-3x3(stride), BN-ReLU-3x3, plus the shortcut: a 1x1 convolution of the pre-activated input where the shape changes."""

    def __init__(self, dims: Dims, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = batch_norm(dims, inputs), batch_norm(dims, outputs)
        self.conv1 = convolution(dims, inputs, outputs, 3, stride)
        self.conv2 = convolution(dims, outputs, outputs, 3)
        self.shortcut = convolution(dims, inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, (M, outputs, *space / stride)."""
        activated = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        total: Tensor = self.conv2(F.relu(self.norm2(self.conv1(activated)))) + shortcut
        return total


def basic_stage(dims: Dims, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return one stage: `BLOCKS` basic blocks, the first with the stride."""
    first = BasicBlock(dims, inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(dims, outputs, outputs, 1) for _ in range(BLOCKS - 1)))


class ResNet18V2(nn.Module):
    """Views to features: (M, inputs, *space) to (M, 8w), the mean over space after the last BN-ReLU."""

    def __init__(self, dims: Dims, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        w = recipe.width
        self.stem = Stem(dims, inputs, recipe)
        self.stages = nn.Sequential(
            basic_stage(dims, w, w, 1),
            basic_stage(dims, w, 2 * w, 2),
            basic_stage(dims, 2 * w, 4 * w, 2),
            basic_stage(dims, 4 * w, 8 * w, 2),
        )
        self.norm = batch_norm(dims, 8 * w)
        self.width = 8 * w

    def forward(self, views: Tensor) -> Tensor:
        """Return the features of each view."""
        return F.relu(self.norm(self.stages(self.stem(views)))).flatten(2).mean(dim=2)


class MriFeatures(nn.Module):
    """One 3D net over both breasts, phases as channels, the two breasts' features side by side: (N, 2 * 8w).

    Channels are the phase before contrast and each later phase's difference from it, the usual input of published
    single-modality nets; absent ones and absent breasts are 0.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.net = ResNet18V2(3, recipe.phases, recipe)
        self.width = 2 * self.net.width

    def forward(self, batch: Batch) -> Tensor:
        """Return the features, 0 for an absent breast."""
        return spread(self.net, mri_channels(batch), batch.mri_present.any(dim=1), self.net.width).flatten(1)


class UltrasoundFeatures(nn.Module):
    """One 2D net over every angle, the mean over the present ones: (N, 8w)."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.net = ResNet18V2(2, 1, recipe)
        self.width = self.net.width

    def forward(self, batch: Batch) -> Tensor:
        """Return the features, 0 without ultrasound."""
        features = spread(self.net, batch.us[:, :, None], batch.us_present, self.width)
        return features.sum(dim=1) / batch.us_present.sum(dim=1, keepdim=True).clamp(min=1)


class OneModality(TaskNetwork):
    """The features of one modality and a linear map to each task."""

    def __init__(self, features: MriFeatures | UltrasoundFeatures, modality: Modality, recipe: Recipe) -> None:
        super().__init__()
        self.reads = (modality,)
        self.features = features
        self.heads = nn.Sequential(nn.Dropout(recipe.dropout), nn.Linear(features.width, 2 * len(TASKS)))

    def forward(self, batch: Batch) -> Tensor:
        """Return (N, task, 2) logits."""
        logits: Tensor = self.heads(self.features(batch))
        return logits.view(-1, len(TASKS), 2)


class EarlyConcatenation(TaskNetwork):
    """The features of both modalities side by side before one joint head; nothing disentangles them.

    An absent modality is zeros; two inputs more say which are there.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.mri, self.us = MriFeatures(recipe), UltrasoundFeatures(recipe)
        inputs, d = self.mri.width + self.us.width + 2, recipe.feature_width
        self.heads = nn.Sequential(nn.Linear(inputs, d), nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(d, 2 * len(TASKS)))

    def forward(self, batch: Batch) -> Tensor:
        """Return (N, task, 2) logits."""
        seen = torch.stack([batch.mri_present.flatten(1).any(dim=1), batch.us_present.any(dim=1)], dim=1)
        logits: Tensor = self.heads(torch.cat([self.mri(batch), self.us(batch), seen.float()], dim=1))
        return logits.view(-1, len(TASKS), 2)


def mri_channels(batch: Batch) -> Tensor:
    """Return (N, side, phase, *space): the phase before contrast, then each later one minus it, times `SUBTRACTION_GAIN`.

    0 where a phase, or what it would be subtracted from, is absent.
    """
    first, known = batch.mri[:, :1], batch.mri_present
    change = (batch.mri[:, 1:] - first) * SUBTRACTION_GAIN
    there = torch.cat([known[:, :1], known[:, 1:] & known[:, :1]], dim=1)
    channels = torch.where(there[..., None, None, None], torch.cat([first, change], dim=1), 0.0)
    return channels.transpose(1, 2)


def spread(net: nn.Module, views: Tensor, present: Tensor, width: int) -> Tensor:
    """Return (*present.shape, width): the net's features of the present views, 0 elsewhere.

    Only present views pass the net, so that the batch norms' statistics are of them alone.
    """
    features = views.new_zeros(*present.shape, width)
    if present.any():
        features[present] = net(views[present])
    return features
