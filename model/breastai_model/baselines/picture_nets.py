"""Small pieces that the picture networks of the comparators share, and ResNet-18 and -50 V2 in two dimensions, from scratch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.case import TASKS
from breastai_model.network.resnet_v2 import Stage

if TYPE_CHECKING:
    from breastai_model.baselines.images import Sizes


class FeatureNet(Protocol):
    """A network whose last vector before the classifier can be read."""

    def features(self, x: Tensor) -> Tensor:
        """Return (picture, feature) of (picture, 1, side, side)."""
        ...


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size but for its stride."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return convolution, batch norm, ReLU."""
    return nn.Sequential(conv(inputs, outputs, kernel, stride, dilation), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def halvings(side: int, grid: int) -> int:
    """Return how often a picture may be halved until its edge would fall below `grid` cells; five, as in ImageNet nets, at most."""
    return max(0, min(5, int(math.log2(side / grid))))


class PreactivationBlock(nn.Module):
    """BN-ReLU-3x3(w, stride), BN-ReLU-3x3(w), plus the shortcut: the two-layer block of ResNet V2 (He et al., ECCV 2016)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, width, 3, stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.shortcut = conv(inputs, width, 1, stride) if stride != 1 or inputs != width else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        activated = F.relu(self.norm1(x))
        y = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        total: Tensor = y + (x if self.shortcut is None else self.shortcut(activated))
        return total


class ResNetV2(nn.Module):
    """ResNet-18 V2 or ResNet-50 V2 for grey pictures: (picture, 1, side, side) to (picture, task) log-odds.

    Stem 7x7/2 and max-pool 3/2 as published where pictures have 128 pixels or more; smaller ones keep their detail: 3x3/2, no pool.
    """

    def __init__(self, layers: int, sizes: Sizes) -> None:
        super().__init__()
        if layers not in (18, 50):
            raise ValueError("ResNetV2 is built with 18 or 50 layers.")
        width = sizes.channels(64)
        large = sizes.side >= 128
        self.stem = nn.Sequential(conv(1, width, 7 if large else 3, 2), nn.MaxPool2d(3, 2, 1) if large else nn.Identity())
        stages: list[nn.Module] = []
        channels = width
        for number, depth in enumerate((2, 2, 2, 2) if layers == 18 else (3, 4, 6, 3)):
            stride, outputs = (1 if number == 0 else 2), width * 2**number
            if layers == 18:
                stages += [PreactivationBlock(channels, outputs, stride), PreactivationBlock(outputs, outputs, 1)]
                channels = outputs
            else:
                stages.append(Stage(2, channels, outputs, depth, stride))
                channels = 4 * outputs
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, len(TASKS))

    def features(self, x: Tensor) -> Tensor:
        """Return (picture, 512 or 2048 at the full share): the global average of the last maps."""
        return F.relu(self.norm(self.stages(self.stem(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, task) log-odds."""
        logits: Tensor = self.classifier(self.features(x))
        return logits
