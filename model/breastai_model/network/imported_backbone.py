"""Start the four streams from a pre-activation ResNet of one's own, such as one that learnt ImageNet.

The published text says that ResNet-50V2 "uses pretrained weights" and names no source. Nothing is downloaded here: a person
brings the file, a state dict with the names of timm's `resnetv2_50` (stem.conv, stages.N.blocks.M.{norm1, conv1, norm2,
conv2, norm3, conv3, downsample.conv}, norm) as safetensors.

- Colours: an ultrasound or MRI image is the same in red, green and blue, so the first kernel is summed over them.
- Ultrasound: the shared trunk takes the stem and stage 1; the agnostic and the specific branch both start from stages 2 to 4.
- MRI: each two-dimensional kernel is repeated along the slices and divided by their number (Carreira and Zisserman, CVPR 2017),
  so slices that are all alike give the activations of one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from breastai_model.network.resnet_v2 import EXPANSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from breastai_model.network.net import BreastNet

STAGES = 4
COLOURS = 3
MOST_BLOCKS = 40
_NORM = ("weight", "bias", "running_mean", "running_var")
_PASSED_OVER = re.compile(r"head\..*|.*\.num_batches_tracked")
"""What such a file may hold besides: the classifier of its own classes, and counters."""


class BackboneError(ValueError):
    """A file that the streams cannot start from; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class BackboneShape:
    """How large a ResNet V2 is.

    Attributes
    ----------
    width
        Channels of the first stage's bottleneck: 64 in ResNet-50V2.
    depths
        Bottlenecks per stage: (3, 4, 6, 3) in ResNet-50V2.
    stem_kernel
        Rows and columns of the first convolution.
    """

    width: int
    depths: tuple[int, int, int, int]
    stem_kernel: int

    def __str__(self) -> str:
        depths = ", ".join(map(str, self.depths))
        return f"width {self.width}, {depths} blocks, first kernel {self.stem_kernel} x {self.stem_kernel}"


def backbone_shape(path: Path) -> BackboneShape:
    """Return how large the ResNet in a file is, from its header alone.

    Raises
    ------
    BackboneError
        If the file is no safetensors file, or holds no pre-activation ResNet with batch normalisation and bottlenecks.
    OSError
        If it cannot be read.
    """
    try:
        with path.open("rb"), safe_open(path, framework="pt", device="cpu") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  not a dict
    except SafetensorError as error:
        raise BackboneError(f"{path.name} is not a safetensors file: save the network's state dict with safetensors.") from error
    stem = found.get("stem.conv.weight", ())
    depths = [sum(f"stages.{stage}.blocks.{block}.conv1.weight" in found for block in range(MOST_BLOCKS)) for stage in range(STAGES)]
    if len(stem) != 4 or not all(depths):
        raise BackboneError(f"{path.name} holds no pre-activation ResNet with the names of timm's resnetv2_50: choose such a file.")
    shape = BackboneShape(stem[0], (depths[0], depths[1], depths[2], depths[3]), stem[2])
    expected = _expected(shape)
    for name in sorted(set(expected) | set(found)):
        if name not in expected and _PASSED_OVER.fullmatch(name):
            continue
        if expected.get(name) != found.get(name):
            raise BackboneError(
                f"{path.name} is not a plain pre-activation ResNet with bottlenecks and batch normalisation: "
                f"its tensor {name[:80]!r} is missing, unknown or of another shape."
            )
    return shape


def load_backbone(net: BreastNet, path: Path) -> tuple[str, ...]:
    """Start the streams of a network from a file and return the names of the tensors that were set.

    Parameters
    ----------
    net
        Its trunks and branches are set: weights and batch norms' statistics. Reduction, merging, fusion and heads stay.
    path
        The file. Where its name is a SHA-256, as that of an imported backbone is, its content must have it.

    Raises
    ------
    BackboneError
        If the ResNet has another size than the recipe's, the file is damaged or not the one that was named.
    OSError
        If it cannot be read.
    """
    shape, recipe = backbone_shape(path), net.recipe
    wanted = BackboneShape(recipe.width, recipe.depths, recipe.stem_kernel)
    if shape != wanted:
        raise BackboneError(f"The imported backbone has {shape}, but this network needs {wanted}: choose the preset that it belongs to.")
    if re.fullmatch(r"[0-9a-f]{64}", path.stem) and _sha256(path) != path.stem:
        raise BackboneError(f"The imported backbone {path.stem[:12]}… was changed or damaged: import it again.")
    own = net.state_dict()
    with safe_open(path, framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name).to(torch.float32) for name in _expected(shape)}
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise BackboneError("The imported backbone holds numbers that are not finite: it cannot be started from.")
    placed = {target: value for name, source in tensors.items() for target, value in _placed(name, source, own)}
    with torch.no_grad():
        for target, value in placed.items():
            own[target].copy_(value)
    return tuple(placed)


def _placed(name: str, source: Tensor, own: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield where a tensor of the file goes, and as what: both modalities, and both branches but for the shared trunk."""
    for modality in ("mri", "us"):
        for target in _targets(name):
            place = f"{modality}.{target}"
            yield place, _adapted(source, own[place])


def _targets(name: str) -> tuple[str, ...]:
    """Return a tensor's names within `ModalityStreams`."""
    name = name.replace("downsample.conv", "shortcut")
    if name.startswith("stages.0."):
        return (name.replace("stages.0", "stage1", 1),)
    if name.startswith("stages."):
        _, stage, rest = name.split(".", 2)
        return tuple(f"{branch}.stages.{int(stage) - 1}.{rest}" for branch in ("agnostic", "specific"))
    if name.startswith("norm."):
        return tuple(f"{branch}.{name}" for branch in ("agnostic", "specific"))
    return (name,)


def _adapted(source: Tensor, target: Tensor) -> Tensor:
    """Return a tensor in the shape of its target: colours summed, spread over the input channels, repeated along the slices."""
    if source.ndim != 4:
        return source
    if source.shape[1] != target.shape[1]:  # only the first convolution's: grey, then an even share of every input channel
        source = source.sum(dim=1, keepdim=True).expand(-1, target.shape[1], -1, -1) / target.shape[1]
    if target.ndim == 5:
        source = source[:, :, None].expand(-1, -1, target.shape[2], -1, -1) / target.shape[2]
    return source


def _expected(shape: BackboneShape) -> dict[str, tuple[int, ...]]:
    """Return the tensors of such a ResNet and their shapes."""
    kernel = shape.stem_kernel
    found: dict[str, tuple[int, ...]] = {"stem.conv.weight": (shape.width, COLOURS, kernel, kernel)}
    inputs = shape.width
    for stage, depth in enumerate(shape.depths):
        width = shape.width * 2**stage
        outputs = EXPANSION * width
        for block in range(depth):
            start = f"stages.{stage}.blocks.{block}"
            for number, (ins, outs, size) in enumerate(((inputs, width, 1), (width, width, 3), (width, outputs, 1)), start=1):
                found |= {f"{start}.norm{number}.{part}": (ins,) for part in _NORM}
                found[f"{start}.conv{number}.weight"] = (outs, ins, size, size)
            if block == 0:
                found[f"{start}.downsample.conv.weight"] = (outputs, inputs, 1, 1)
            inputs = outputs
    return found | {f"norm.{part}": (inputs,) for part in _NORM}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
