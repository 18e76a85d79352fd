"""A network of three resolutions with early exits, in the manner of resolution-adaptive networks.

Source: the idea of Yang et al., "Resolution adaptive networks for efficient inference", CVPR 2020: small networks from low to high
resolution, each fed with the enlarged features of the one below, a classifier after every block; easy pictures leave early.
Growth 6 with factors 4, 2, 1 from low to high resolution as published; the number of layers and the fusion are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.baselines.picture_nets import conv, conv_norm_relu
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Generator

GROWTH = 6
CHANNELS = 16
FACTORS = (4, 2, 1)
"""Of growth and bottleneck, from low to high resolution."""
SHRINKS = (4, 2, 1)
"""Edge of the largest input over that of each network: 32, 64 and 128 pixels as published."""
BLOCKS = 2
LAYERS = 2
"""Dense layers in a block."""
REDUCTION = 0.5
"""Of channels between two blocks."""
FUSED = 0.25
"""Channels taken over from the network below, as a share of the block's own."""


class DenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3; what it makes is appended to what it got (Huang et al., CVPR 2017)."""

    def __init__(self, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), conv(inputs, bottleneck), nn.BatchNorm2d(bottleneck), nn.ReLU(), conv(bottleneck, growth, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with the new channels behind it."""
        return torch.cat([x, self.path(x)], dim=1)


class DenseBlock(nn.Module):
    """Reduce (between blocks), take over what the network below found, then dense layers.

    `outputs` says how many channels come out.
    """

    def __init__(self, inputs: int, below: int, factor: int, first: bool) -> None:
        super().__init__()
        channels = inputs if first else round(REDUCTION * inputs)
        self.reduce: nn.Module = nn.Identity() if first else conv_norm_relu(inputs, channels, 1, 2)
        taken = max(4, round(FUSED * channels)) if below else 0
        self.take = conv_norm_relu(below, taken) if below else None
        growth, channels = GROWTH * factor, channels + taken
        self.layers = nn.Sequential(*[DenseLayer(channels + growth * number, growth, growth * factor) for number in range(LAYERS)])
        self.outputs = channels + growth * LAYERS

    def forward(self, x: Tensor, below: Tensor | None) -> Tensor:
        """Return the block's maps; `below` are those of the same block one resolution down."""
        x = self.reduce(x)
        if self.take is not None and below is not None:
            x = torch.cat([x, F.interpolate(self.take(below), size=x.shape[-2:], mode="bilinear", align_corners=False)], dim=1)
        made: Tensor = self.layers(x)
        return made


class RANet(nn.Module):
    """(picture, 1, side, side) to the log-odds of six exits, two for each resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleList(conv_norm_relu(1, CHANNELS, 3) for _ in SHRINKS)
        self.blocks, self.exits = nn.ModuleList(), nn.ModuleList()
        below = [0] * BLOCKS
        for factor in FACTORS:
            channels = CHANNELS
            for number in range(BLOCKS):
                block = DenseBlock(channels, below[number], factor, first=number == 0)
                channels = below[number] = block.outputs
                self.blocks.append(block)
                self.exits.append(
                    nn.Sequential(
                        nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(TASKS))
                    )
                )

    def forward(self, x: Tensor) -> Tensor:
        """Return (exit, picture, task) log-odds of all exits."""
        return torch.stack(list(self.walk(x)))

    def walk(self, x: Tensor) -> Generator[Tensor, Tensor | None, None]:
        """Yield exit after exit, (picture, task); a bool mask (picture,) that is sent back says which pictures go on."""
        below: list[Tensor | None] = [None] * BLOCKS
        for level, shrink in enumerate(SHRINKS):
            maps = self.stems[level](F.avg_pool2d(x, shrink))
            made: list[Tensor] = []
            for number in range(BLOCKS):
                maps = self.blocks[level * BLOCKS + number](maps, below[number])
                made.append(maps)
                going = yield self.exits[level * BLOCKS + number](maps)
                if going is not None:
                    if not going.any():
                        return
                    x, maps = x[going], maps[going]
                    made = [kept[going] for kept in made]
                    below = [None if kept is None else kept[going] for kept in below]
            below = list(made)


def certain(logits: Tensor, threshold: float) -> Tensor:
    """Return (picture,) bool: whether the larger of the two probabilities exceeds the threshold for all three tasks."""
    return torch.maximum(logits.sigmoid(), (-logits).sigmoid()).amin(dim=-1) > threshold


def early_exits(net: RANet, x: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the log-odds (picture, task) with which each picture left, and the exit (picture,) it left by.

    A picture leaves at the first exit that is certain of it, at the last in any case. What has left costs nothing any more.
    """
    answers = x.new_zeros((len(x), len(TASKS)))
    exits = torch.zeros(len(x), dtype=torch.long, device=x.device)
    here = torch.arange(len(x), device=x.device)
    walk = net.walk(x)
    logits = next(walk)
    for number in range(len(net.exits)):
        answers[here], exits[here] = logits, number
        going = ~certain(logits, threshold)
        here = here[going]
        try:
            logits = walk.send(going)
        except StopIteration:
            break
    return answers, exits


def as_if_left(logits: Tensor, threshold: float) -> Tensor:
    """Return (picture, task): of the log-odds of all exits (exit, picture, task) those with which each picture would have left."""
    leaves = certain(logits, threshold)
    leaves[-1] = True
    first = leaves.to(torch.int8).argmax(dim=0)
    return logits[first, torch.arange(logits.shape[1], device=logits.device)]
