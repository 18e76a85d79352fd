"""Random ResNet V2 state dicts with the names and shapes of timm's resnetv2_50, as a person would bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from breastai_model.recipe import preset

if TYPE_CHECKING:
    from torch import Tensor

    from breastai_model.recipe import Recipe

SMALL = preset("tiny", mri_shape=(4, 16, 16), us_shape=(32, 32), subtraction=False, depths=(2, 1, 3, 1), stem_kernel=7)
"""A recipe whose backbone is quick to make."""


def state_dict(recipe: Recipe, seed: int = 0) -> dict[str, Tensor]:
    """Return a random state dict with the names and shapes of timm's resnetv2_50 at the recipe's width and depths."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}

    def conv(name: str, outputs: int, inputs: int, kernel: int) -> None:
        spread = (inputs * kernel * kernel) ** -0.5
        found[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * spread

    def norm(name: str, channels: int) -> None:
        found[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
        found[f"{name}.bias"] = torch.randn(channels, generator=generator) * 0.1
        found[f"{name}.running_mean"] = torch.randn(channels, generator=generator) * 0.1
        found[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        found[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("stem.conv", recipe.width, 3, recipe.stem_kernel)
    inputs = recipe.width
    for stage, depth in enumerate(recipe.depths):
        width = recipe.width * 2**stage
        for block in range(depth):
            start = f"stages.{stage}.blocks.{block}"
            for number, (ins, outs, kernel) in enumerate([(inputs, width, 1), (width, width, 3), (width, 4 * width, 1)], start=1):
                norm(f"{start}.norm{number}", ins)
                conv(f"{start}.conv{number}", outs, ins, kernel)
            if block == 0:
                conv(f"{start}.downsample.conv", 4 * width, inputs, 1)
            inputs = 4 * width
    norm("norm", inputs)
    conv("head.fc", 10, inputs, 1)
    found["head.fc.bias"] = torch.zeros(10)
    return found
