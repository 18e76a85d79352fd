"""ResNet V2 in two and three dimensions: pre-activation bottlenecks, one code for both.

Source: He et al., "Identity mappings in deep residual networks", ECCV 2016. In this reading there is no norm in the
stem, the stride in a stage's first block, the projection reads the pre-activated input, no ReLU after the addition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.network.recompute import recomputed

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe

Dims = Literal[2, 3]
EXPANSION = 4


def convolution(dims: Dims, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Conv2d | nn.Conv3d:
    """Return a convolution without bias whose output is as large as its input divided by the stride."""
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    made = kind(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def batch_norm(dims: Dims, channels: int) -> nn.BatchNorm2d | nn.BatchNorm3d:
    """Return the batch normalisation of that many dimensions."""
    return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)


class Stem(nn.Module):
    """First convolution and max-pool; in three dimensions the convolution keeps the slices apart (3 x k x k, 1 x 2 x 2).

    (M, inputs, *space) to (M, w, *space / 4 in plane). In depth only the pool has a stride, the recipe's.
    """

    def __init__(self, dims: Dims, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        kernel, width = recipe.stem_kernel, recipe.width
        if dims == 2:
            self.conv: nn.Module = nn.Conv2d(inputs, width, kernel, stride=2, padding=kernel // 2, bias=False)
            self.pool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            half = kernel // 2
            self.conv = nn.Conv3d(inputs, width, (3, kernel, kernel), stride=(1, 2, 2), padding=(1, half, half), bias=False)
            self.pool = nn.MaxPool3d(3, stride=(recipe.pool_depth_stride, 2, 2), padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled first features."""
        pooled: Tensor = self.pool(self.conv(x))
        return pooled


class Bottleneck(nn.Module):
    """BN-ReLU-1x1(w), BN-ReLU-3x3(w, stride), BN-ReLU-1x1(4w), plus the shortcut.

    The shortcut is the input itself, or, in a stage's first block, a 1x1 convolution of the pre-activated input.
    """

    def __init__(self, dims: Dims, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.norm1 = batch_norm(dims, inputs)
        self.conv1 = convolution(dims, inputs, width)
        self.norm2: nn.Module = batch_norm(dims, width)
        self.conv2 = convolution(dims, width, width, 3, stride)
        self.norm3: nn.Module = batch_norm(dims, width)
        self.conv3 = convolution(dims, width, outputs)
        self.shortcut = convolution(dims, inputs, outputs, 1, stride) if project else None

    def preactivate(self, x: Tensor) -> Tensor:
        """Return BN-ReLU of the input: also the activation at which heatmaps read the stage before."""
        return F.relu(self.norm1(x))

    def transform(self, activated: Tensor, x: Tensor) -> Tensor:
        """Return the block's output from its pre-activated and its plain input."""
        y = F.relu(self.norm2(self.conv1(activated)))
        y = F.relu(self.norm3(self.conv2(y)))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        total: Tensor = self.conv3(y) + shortcut
        return total

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return self.transform(self.preactivate(x), x)


class Stage(nn.Module):
    """Bottlenecks of one width; the first carries the stride and the projection.

    (M, inputs, *space) to (M, 4w, *space / stride). With `checkpoint_activations` what a block computes inside is not kept for
    the backward pass but computed again there.
    """

    def __init__(self, dims: Dims, inputs: int, width: int, depth: int, stride: int) -> None:
        super().__init__()
        self.checkpoint_activations = False
        outputs = EXPANSION * width
        self.blocks = nn.ModuleList(
            Bottleneck(dims, inputs if number == 0 else outputs, width, stride if number == 0 else 1, project=number == 0)
            for number in range(depth)
        )

    def preactivate(self, x: Tensor) -> Tensor:
        """Return the first block's pre-activated input."""
        activated: Tensor = self.blocks[0].preactivate(x)  # type: ignore[operator]
        return activated

    def transform(self, activated: Tensor) -> Tensor:
        """Return the stage's output from its pre-activated input; nothing else enters, for the first block projects."""
        first, *others = self.blocks
        x: Tensor
        if self.checkpoint_activations and self.training:
            x = recomputed(first, first.transform, activated, activated)  # type: ignore[arg-type]
            for block in others:
                x = recomputed(block, block, x)
        else:
            x = first.transform(activated, activated)  # type: ignore[operator]
            for block in others:
                x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the stage's output."""
        return self.transform(self.preactivate(x))
