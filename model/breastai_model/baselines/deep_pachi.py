"""`deep-pachi`: two convolutional networks side by side, self-attention over their joined grid, and a small classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.baselines.feature_svm import expit
from breastai_model.baselines.picture_nets import conv, conv_norm_relu, halvings
from breastai_model.baselines.picture_network import read_in_parts
from breastai_model.baselines.picture_system import Lesson, PictureSystem, Scores, all_kept
from breastai_model.baselines.ranet import DenseLayer
from breastai_model.case import TASKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from breastai_model.baselines.images import Sizes

GRID = 7
DENSE_BLOCKS = (6, 12, 24, 16)
"""Layers of DenseNet-121."""
SMALL_DENSE_BLOCKS = (3, 4, 6, 4)
"""Of its stand-in for pictures up to 64 pixels."""
GROWTH = 24
VGG_WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Configuration A of Simonyan and Zisserman 2015: VGG-11."""
WIDTH = 256
HEADS = 4
LAYERS = 2
HIDDEN = 512
DROPOUT = 0.3


class DenseNetBC(nn.Module):
    """DenseNet-BC (Huang et al., CVPR 2017): bottlenecks of 4 growth, compression 0.5; (picture, 1, side, side) to its last maps."""

    def __init__(self, sizes: Sizes, halving: int) -> None:
        super().__init__()
        growth = sizes.channels(GROWTH)
        channels = 2 * growth
        large = sizes.side >= 128
        # The stem halves twice in large pictures and once in small ones; the transitions halve what remains to be halved.
        layers: list[nn.Module] = [conv_norm_relu(1, channels, 7 if large else 3, 2 if halving else 1)]
        left = halving - 1
        if large and left > 0:
            layers.append(nn.MaxPool2d(3, 2, 1))
            left -= 1
        blocks = SMALL_DENSE_BLOCKS if sizes.side <= 64 else DENSE_BLOCKS
        for number, depth in enumerate(blocks):
            for _ in range(depth):
                layers.append(DenseLayer(channels, growth, 4 * growth))
                channels += growth
            if number < len(blocks) - 1:
                halves = left > 0
                layers += [nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, channels // 2), nn.AvgPool2d(2) if halves else nn.Identity()]
                channels //= 2
                left -= halves
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, channels, rows, columns)."""
        maps: Tensor = self.layers(x)
        return maps


class VGG11(nn.Module):
    """VGG-11 with batch norm, without its fully connected layers; (picture, 1, side, side) to its last maps."""

    def __init__(self, sizes: Sizes, halving: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for number, widths in enumerate(VGG_WIDTHS):
            for width in widths:
                layers.append(conv_norm_relu(channels, sizes.channels(width), 3))
                channels = sizes.channels(width)
            if number < halving:
                layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, channels, rows, columns)."""
        maps: Tensor = self.layers(x)
        return maps


class DeepPachi(nn.Module):
    """Both networks' last maps on a 7 x 7 grid, joined, as 49 tokens through two encoder layers; (picture, task) log-odds.

    The networks halve a picture only until 7 x 7 cells remain, so that small pictures have 49 different tokens too.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        halving = halvings(sizes.side, GRID)
        self.dense, self.vgg = DenseNetBC(sizes, halving), VGG11(sizes, halving)
        width = sizes.channels(WIDTH)
        self.join = nn.Conv2d(self.dense.channels + self.vgg.channels, width, 1)
        self.positions = nn.Parameter(torch.randn(1, GRID * GRID, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, HEADS, 2 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        hidden = sizes.channels(HIDDEN)
        self.classifier = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(hidden, len(TASKS))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, task) log-odds."""
        maps = torch.cat([F.adaptive_avg_pool2d(net(x), GRID) for net in (self.dense, self.vgg)], dim=1)
        tokens = self.join(maps).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.encoder(tokens).mean(dim=1))
        return logits


@dataclass(frozen=True, eq=False, slots=True)
class NetworkScorer:
    """A taught network of pictures."""

    net: nn.Module
    device: str

    def scores(self, pictures: NDArray[np.float32]) -> Scores:
        """Return the probability of each picture."""
        return all_kept(expit(read_in_parts(self.net, pictures, self.device).astype("float64")))


def _learn(lesson: Lesson) -> NetworkScorer:
    return NetworkScorer(lesson.teach("deep-pachi", lambda: DeepPachi(lesson.sizes)), lesson.budget.device)


def deep_pachi() -> PictureSystem:
    """Return the comparator; method section (v) 3."""
    return PictureSystem(
        name="deep-pachi",
        title="DEEP_Pachi",
        publication="Ukwuoma et al., Diagnostics 2022, 12(5):1152.",
        changes=lambda: (
            "DenseNet-BC (growth 24) and VGG-11 with batch norm, both from scratch, in place of ImageNet DenseNet-201 and VGG-16."
        ),
        learn=_learn,
    )
