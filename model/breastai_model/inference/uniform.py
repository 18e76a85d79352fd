"""What the network answers to pictures on which nothing is to be seen: what padding at their edges does, and nothing else.

Convolutions and pools see zeros beyond a picture's edge, so the edge itself is a strong feature. A heatmap shows what an activation
has above this, at its own place and in its own channel. On 20 held-out made-up patients and a `compact` network after three epochs
the maximum of the ultrasound feature maps then lay in the lesion in 61 % instead of 7 % of the images (agnostic) and in 39 %
instead of 12 % (specific), that of the MRI's in 50 % instead of 55 % and 65 % instead of 70 % of the patients, where the lesion's
share of the map's energy rose 1.6-fold (measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from breastai_model.prepare import Batch

if TYPE_CHECKING:
    from breastai_model.network.net import BreastNet

LEVELS = (0.0, 0.5, 1.0)
"""Brightness of the uniform pictures, of what is white."""

ROUNDING = 1e-5
"""Added to the response: what lies above it by rounding alone is nothing."""

UniformResponse = dict[tuple[str, str, int], torch.Tensor]
"""By modality, branch and stage: (1, channel, *space), the largest activation that any uniform picture gives."""


def uniform_response(net: BreastNet) -> UniformResponse:
    """Return the largest activations of a network, in eval mode, over uniform pictures of all `LEVELS`; MRI without any change in time.

    It takes about a third of a forward pass, once for each network.
    """
    recipe, found = net.recipe, UniformResponse()
    weight = next(net.parameters())
    level = torch.tensor(LEVELS, dtype=weight.dtype, device=weight.device)
    count = len(LEVELS)
    mri_present = torch.zeros(count, recipe.phases, 2, dtype=torch.bool, device=level.device)
    us_present = torch.zeros(count, recipe.angles, dtype=torch.bool, device=level.device)
    stacked = recipe.layout == "channels"  # all phases or angles enter together, else one by one
    mri_present[:, : recipe.phases if stacked else 1, 0] = True
    us_present[:, : recipe.angles if stacked else 1] = True
    mri = level.reshape(-1, 1, 1, 1, 1, 1).expand(count, recipe.phases, 2, *recipe.mri_shape)
    us = level.reshape(-1, 1, 1, 1).expand(count, recipe.angles, *recipe.us_shape)

    def tap(modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        most = activation.amax(dim=0, keepdim=True) * (1 + ROUNDING) + ROUNDING
        last = torch.channels_last if most.ndim == 4 else torch.channels_last_3d
        # As activations lie in memory where predictions are made: subtracting is four times quicker then (measured).
        found[modality, branch, stage] = most.contiguous(memory_format=last)
        return activation

    with torch.no_grad():
        net(Batch(mri, mri_present, us, us_present), tap)
    return found
