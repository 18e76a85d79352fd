"""How the tokens of both modalities lie in one row, and what they are: nodes are places, frames are phases and angles.

All tokens of a patient stand in one axis of length L = T_M V_M + T_U V_U: the MRI's by frame, side, row, column, then the
ultrasound's by frame, row, column. Whatever is shared by both modalities (1x1 convolutions, norms, fusion) is then one
call on (N, C, L).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from breastai_model.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """Counts of frames and of cells.

    Attributes
    ----------
    mri_frames, us_frames
        T_M, T_U.
    grid
        g.
    """

    mri_frames: int
    us_frames: int
    grid: int

    @property
    def mri_nodes(self) -> int:
        """V_M: two breasts."""
        return 2 * self.grid**2

    @property
    def us_nodes(self) -> int:
        """V_U."""
        return self.grid**2

    @property
    def nodes(self) -> int:
        """V."""
        return self.mri_nodes + self.us_nodes

    def split(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return (..., L) as (..., T_M, V_M) and (..., T_U, V_U)."""
        mri = self.mri_frames * self.mri_nodes
        return (
            row[..., :mri].reshape(*row.shape[:-1], self.mri_frames, self.mri_nodes),
            row[..., mri:].reshape(*row.shape[:-1], self.us_frames, self.us_nodes),
        )

    def join(self, mri: Tensor, us: Tensor) -> Tensor:
        """Return (..., T_M, V_M) and (..., T_U, V_U) as (..., L)."""
        return torch.cat([mri.flatten(-2), us.flatten(-2)], dim=-1)

    def time_mean(self, row: Tensor, present: Tensor) -> Tensor:
        """Return TP: for each node the mean over its present frames, 0 where it has none.

        Parameters
        ----------
        row
            (N, C, L), zero at absent positions.
        present
            (N, L) bool.

        Returns
        -------
        (N, C, V).
        """
        means = [
            values.sum(dim=-2) / frames.sum(dim=-2)[:, None].clamp(min=1)
            for values, frames in zip(self.split(row), self.split(present), strict=True)
        ]
        return torch.cat(means, dim=-1)

    def node_present(self, present: Tensor) -> Tensor:
        """Return (N, V): whether a node has any present frame; present is (N, L)."""
        mri, us = self.split(present)
        return torch.cat([mri.any(dim=-2), us.any(dim=-2)], dim=-1)

    def strided(self, stride: int) -> TokenLayout:
        """Return the layout after a temporal stride."""
        return TokenLayout(-(-self.mri_frames // stride), -(-self.us_frames // stride), self.grid)

    def every(self, row: Tensor, stride: int) -> Tensor:
        """Return (..., L) with every `stride`-th frame kept."""
        if stride == 1:
            return row
        mri, us = self.split(row)
        return self.join(mri[..., ::stride, :], us[..., ::stride, :])


def token_layout(recipe: Recipe) -> TokenLayout:
    """Return the layout of the first block: phases and angles, or in the layout "channels" the four backbone stages."""
    if recipe.layout == "channels":
        return TokenLayout(4, 4, recipe.token_grid)
    return TokenLayout(recipe.phases, recipe.angles, recipe.token_grid)


def prior_topologies(grid: int) -> Tensor:
    """Return the three graphs A_p that learning starts from, rows adding up to 1.

    First self-loops; second the 4 neighbours within an image and the same cell of the other breast; third every node to
    all nodes of the other modality. (3, V, V), nodes: first breast, second breast, ultrasound, each by row, then column.
    """
    cells = grid * grid
    graphs = torch.zeros(3, 3 * cells, 3 * cells)
    graphs[0] = torch.eye(3 * cells)
    for image in range(3):
        for row in range(grid):
            for column in range(grid):
                node = image * cells + row * grid + column
                for below, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                    if 0 <= row + below < grid and 0 <= column + right < grid:
                        graphs[1, node, image * cells + (row + below) * grid + column + right] = 1
                if image < 2:
                    graphs[1, node, (1 - image) * cells + row * grid + column] = 1
    graphs[2, : 2 * cells, 2 * cells :] = 1
    graphs[2, 2 * cells :, : 2 * cells] = 1
    return graphs / graphs.sum(dim=2, keepdim=True).clamp(min=1)


def mirrored(grid: int) -> list[int]:
    """Return where each cell's left-right mirror image stands."""
    return [row * grid + grid - 1 - column for row in range(grid) for column in range(grid)]
