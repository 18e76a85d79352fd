"""The four streams: one shallow trunk per modality, shared by its agnostic and its specific branch.

The published text says "separated in the shallow convolutional layers"; read here as: stem and stage 1 are shared, stages 2
to 4 are each branch's own. Left and right breast, all phases and all angles pass the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.network.resnet_v2 import EXPANSION, Dims, Stage, Stem, batch_norm, convolution

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe

Tap = Callable[[str, int, Tensor], Tensor]
"""Called with the branch's name, the stage's number (1 to 4) and its activation after BN-ReLU; what it returns goes on
through the network. Heatmaps read the network here."""


class Branch(nn.Module):
    """Stages 2 to 4 and the last BN-ReLU of one stream.

    (M, 4w, *space) to four activations after BN-ReLU, those of stages 1 to 4: (M, 4w, *space), (M, 8w, *space / 2),
    (M, 16w, *space / 4), (M, 32w, *space / 8).
    """

    def __init__(self, dims: Dims, recipe: Recipe) -> None:
        super().__init__()
        width, depths = recipe.width, recipe.depths
        self.stages = nn.ModuleList(
            Stage(dims, EXPANSION * width * 2**number, width * 2 ** (number + 1), depths[number + 1], stride=2) for number in range(3)
        )
        self.norm = batch_norm(dims, EXPANSION * width * 8)

    def forward(self, x: Tensor, tap: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
        """Return the activations of stages 1 to 4."""
        activations: list[Tensor] = []
        for number, stage in enumerate(self.stages, start=1):
            activations.append(tap(number, stage.preactivate(x)))  # type: ignore[operator]
            x = stage.transform(activations[-1])  # type: ignore[operator]
        activations.append(tap(4, F.relu(self.norm(x))))
        return activations


class ModalityStreams(nn.Module):
    """The two streams of one modality.

    In the layout "sequence" the agnostic stream's last activation is reduced to d channels by a 1x1 convolution; in the
    layout "channels" four lateral 1x1 projections take its place, one for each stage (mapping B of `Recipe.layout`).
    """

    def __init__(self, dims: Dims, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        width, features = recipe.width, recipe.feature_width
        self.stem = Stem(dims, inputs, recipe)
        self.stage1 = Stage(dims, width, width, recipe.depths[0], stride=1)
        self.agnostic = Branch(dims, recipe)
        self.specific = Branch(dims, recipe)
        stages = (1, 2, 3, 4) if recipe.layout == "channels" else (4,)
        self.agnostic_reduce = nn.ModuleList(convolution(dims, EXPANSION * width * 2 ** (stage - 1), features) for stage in stages)
        self.specific_reduce = convolution(dims, EXPANSION * width * 8, features)
        g = recipe.token_grid
        self.pool: nn.Module = nn.AdaptiveAvgPool2d((g, g)) if dims == 2 else nn.AdaptiveAvgPool3d((1, g, g))

    def forward(self, views: Tensor, tap: Tap | None = None) -> tuple[Tensor, Tensor]:
        """Return the agnostic tokens and the specific features of each view.

        Parameters
        ----------
        views
            (M, inputs, *space): present views only.
        tap
            See `Tap`.

        Returns
        -------
        agnostic
            (M, S, d, g * g): S is 1, or the four stages in the layout "channels"; tokens by rows, then columns.
        specific
            (M, d): mean over space.
        """
        trunk = self.stage1(self.stem(views))
        agnostic = self.agnostic(trunk, _named(tap, "agnostic"))
        specific = self.specific(trunk, _named(tap, "specific"))
        first = len(agnostic) - len(self.agnostic_reduce)
        tokens = [
            # Pooling before the 1x1 convolution gives the same numbers as after it, for far less work.
            reduce(self.pool(activation)).flatten(2)
            for reduce, activation in zip(self.agnostic_reduce, agnostic[first:], strict=True)
        ]
        mean = specific[-1].mean(dim=tuple(range(2, specific[-1].ndim)), keepdim=True)
        return torch.stack(tokens, dim=1), self.specific_reduce(mean).flatten(1)


def _named(tap: Tap | None, name: str) -> Callable[[int, Tensor], Tensor]:
    if tap is None:
        return lambda _, activation: activation
    return lambda stage, activation: tap(name, stage, activation)
