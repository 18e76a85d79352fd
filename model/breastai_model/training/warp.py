"""One geometric draw and its application: rotation, scaling and elastic deformation in one resampling.

Image coordinates are those of `torch.nn.functional.grid_sample` with ``align_corners=False``: -1 to 1 across each axis, the last
axis first. A composed map is sampled once, so an image loses sharpness once, whatever was drawn.

The probabilities and ranges are nnU-Net v1's defaults (method, section iv). Its elastic deformation (uniform noise of amplitude
alpha, smoothed with a Gaussian of sigma voxels) is drawn as a smooth field of the same spread and reach; both are taken relative to
its usual patch of 128 voxels, so that a 32-pixel picture is bent as much as a 256-pixel one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

CHANCE = 0.2
"""Of each of rotation, scaling and elastic deformation."""
LARGEST_TURN_DEG = 15.0
SCALE = (0.85, 1.25)
ALPHA = {2: 200.0, 3: 900.0}
"""Largest amplitude of the noise, by dimension."""
SIGMA = (9.0, 13.0)
PATCH = 128.0


@dataclass(frozen=True, eq=False, slots=True)
class Warp:
    """One geometric draw, shared by all phases and both breasts, or by all angles.

    Attributes
    ----------
    turn_deg
        About the slice, row and column axis; about the slice axis alone for a picture.
    scale
        Of the coordinates: above 1 things look smaller.
    bend
        (2, k, k) float32: displacement of control points along rows and columns, as a share of the picture's height and width;
        slices are bent alike. None: no elastic deformation.
    """

    turn_deg: tuple[float, ...]
    scale: float
    bend: NDArray[np.float32] | None

    @property
    def nothing(self) -> bool:
        """Whether the images stay as they are."""
        return self.bend is None and self.scale == 1.0 and not any(self.turn_deg)


def draw_scale(chance: np.random.Generator) -> float:
    """Return 1, or with `CHANCE` a factor: half of them below 1, half above."""
    drawn, low, share = chance.random() < CHANCE, chance.random() < 0.5, chance.random()
    if not drawn:
        return 1.0
    return float(SCALE[0] + share * (1 - SCALE[0]) if low else 1 + share * (SCALE[1] - 1))


def draw_warp(chance: np.random.Generator, dimensions: int, scale: float) -> Warp:
    """Return a draw for volumes (3) or pictures (2); in volumes the elastic part is in-plane.

    A smoothed noise field has the standard deviation alpha / sqrt(3) / (2 sqrt(pi) sigma)^(dimensions / 2).
    """
    axes = 3 if dimensions == 3 else 1
    turned = chance.random() < CHANCE
    turn = chance.uniform(-LARGEST_TURN_DEG, LARGEST_TURN_DEG, size=axes)
    bent = chance.random() < CHANCE
    alpha, sigma = chance.uniform(0, ALPHA[dimensions]), chance.uniform(*SIGMA)
    spread = alpha / math.sqrt(3) / (2 * math.sqrt(math.pi) * sigma) ** (dimensions / 2) / PATCH
    points = round(PATCH / (2 * sigma))  # a smooth curve through points 2 sigma apart varies as the smoothed noise does
    bend = (chance.standard_normal((2, points, points)) * spread).astype(np.float32)
    return Warp(tuple(float(each) for each in turn) if turned else (0.0,) * axes, scale, bend if bent else None)


def warped(images: Tensor, warp: Warp, spacing: Sequence[float]) -> Tensor:
    """Return the images as the draw shows them; what comes in from outside is 0.

    Parameters
    ----------
    images
        (image, *space), space being (slice, row, column) or (row, column), float32.
    spacing
        Of each axis of space, in any common unit: rotations are about millimetres, not voxels.
    """
    if warp.nothing:
        return images
    space = images.shape[1:]
    half = np.array([count * each for count, each in zip(space, spacing, strict=True)]) / 2
    matrix = _rotation(warp.turn_deg) * warp.scale
    # From millimetres to shares of the half extent, and the axes reversed: grid_sample names the column first.
    share = (matrix * half[None, :] / half[:, None])[::-1, ::-1]
    theta = torch.from_numpy(np.concatenate([share, np.zeros((len(space), 1))], axis=1).astype(np.float32)).to(images.device)
    grid = F.affine_grid(theta[None], [1, 1, *space], align_corners=False)
    if warp.bend is not None:
        shift = F.interpolate(torch.from_numpy(warp.bend)[None].to(images.device), space[-2:], mode="bicubic", align_corners=False)
        # A share of the whole height is twice that in coordinates from -1 to 1; columns come first there.
        grid[..., :2] += 2 * shift[0].flip(0).permute(1, 2, 0)
    return F.grid_sample(images[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _rotation(turn_deg: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the rotation of coordinates in the order of the axes: (row, column) or (slice, row, column)."""
    if len(turn_deg) == 1:
        (angle,) = np.deg2rad(turn_deg)
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    whole = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(turn_deg)):
        first, second = (other for other in range(3) if other != axis)
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        whole = turn @ whole
    return whole
