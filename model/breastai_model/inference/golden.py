"""The golden case: what the network said of one small made-up input where it was saved, asked again wherever it is read.

A processor, a driver or a library that computes something else is found out before a patient's images are read
(row W6 of the program's fault list).
"""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING

import torch

from breastai_model.prepare import Batch
from breastai_model.strict_json import StrictJsonError, parsed

if TYPE_CHECKING:
    from breastai_model.network.net import BreastNet
    from breastai_model.recipe import Recipe

MOST_SLICES, MOST_PIXELS = 8, 32
"""The crop: the network is convolutional, so a small input asks every weight all the same, in little time."""
LONGEST_GOLDEN = 4096
TOLERANCE = {"cpu": 1e-4, "cuda": 1e-3, "mps": 1e-3}
"""Largest difference of a logit from the stored float64 one, by device; in units of that logit where it is above 1."""


def golden_batch(recipe: Recipe, whole: bool = False) -> Batch:
    """Return the golden case of a recipe: waves of several lengths, everything present, the same on every computer.

    With `whole` it has the recipe's own size instead of the crop's.
    """
    most = recipe.mri_shape if whole else (MOST_SLICES, MOST_PIXELS, MOST_PIXELS)
    mri = _waves(recipe.phases, 2, *(min(size, limit) for size, limit in zip(recipe.mri_shape, most, strict=True)))
    us = _waves(recipe.angles, *(size if whole else min(size, MOST_PIXELS) for size in recipe.us_shape))
    return Batch(mri, torch.ones(1, recipe.phases, 2, dtype=torch.bool), us, torch.ones(1, recipe.angles, dtype=torch.bool))


def _waves(*shape: int) -> torch.Tensor:
    """Return (1, *shape) float32, 0 to 1."""
    total = torch.zeros(shape, dtype=torch.float64)
    for axis, size in enumerate(shape):
        place = torch.arange(size, dtype=torch.float64).reshape([-1 if each == axis else 1 for each in range(len(shape))])
        total = total + torch.sin(place * (0.7 + 0.31 * axis) + axis)
    return (0.5 + 0.5 * torch.sin(total)).float()[None]


def golden_logits(net: BreastNet) -> list[list[float]]:
    """Return the network's logits of its golden case, computed in float64 on the CPU: (task, negative or positive)."""
    exact = copy.deepcopy(net).to("cpu", torch.float64).eval()
    batch = golden_batch(net.recipe)
    with torch.inference_mode():
        logits = exact(Batch(batch.mri.double(), batch.mri_present, batch.us.double(), batch.us_present)).logits
    found: list[list[float]] = logits[0].tolist()
    return found


def golden_from_json(text: str, tasks: int) -> list[list[float]]:
    """Return the stored logits. Raises StrictJsonError where they are anything but (task, 2) finite numbers."""
    found = parsed(text, "golden case", LONGEST_GOLDEN)
    pairs = isinstance(found, list) and len(found) == tasks and all(isinstance(pair, list) and len(pair) == 2 for pair in found)
    if not pairs or not all(type(value) is float and math.isfinite(value) for pair in found for value in pair):
        raise StrictJsonError("The golden case is missing numbers or holds something else.")
    numbers: list[list[float]] = found
    return numbers


def golden_to_json(logits: list[list[float]]) -> str:
    """Return the logits as one line of JSON; every digit is kept."""
    return json.dumps(logits, allow_nan=False)


def golden_error(net: BreastNet, stored: list[list[float]], device: str) -> float:
    """Return the largest difference between a logit computed now and the stored one, see `TOLERANCE`; infinite where one is no number."""
    with torch.inference_mode():
        found = net(golden_batch(net.recipe).to(device)).logits[0].double().cpu()
    expected = torch.tensor(stored, dtype=torch.float64)
    error = float(((found - expected).abs() / expected.abs().clamp(min=1)).max())
    return error if math.isfinite(error) else math.inf
