"""Colour tables for grey pictures and heatmaps, and the one way in which heat is laid over a picture."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ColourMapName = Literal["grey", "inferno"]

# Knots of "inferno", every eighth entry and the last (N. Smith and S. van der Walt, CC0): dark to light in equal steps of
# lightness, so it reads the same in grey print and for every kind of colour vision. Between knots a straight line is
# within 2 of 255 of the full table.
_INFERNO_KNOTS = (
    (0, 0, 4),
    (4, 3, 18),
    (11, 7, 36),
    (21, 11, 55),
    (33, 12, 74),
    (47, 10, 91),
    (61, 9, 101),
    (74, 12, 107),
    (87, 16, 110),
    (100, 21, 110),
    (113, 25, 110),
    (125, 30, 109),
    (138, 34, 106),
    (151, 39, 102),
    (163, 44, 97),
    (176, 49, 91),
    (188, 55, 84),
    (199, 62, 76),
    (210, 70, 68),
    (219, 80, 59),
    (228, 90, 49),
    (235, 102, 40),
    (241, 115, 29),
    (246, 128, 19),
    (249, 142, 9),
    (251, 157, 7),
    (252, 172, 17),
    (251, 188, 33),
    (249, 203, 53),
    (245, 219, 76),
    (242, 234, 105),
    (243, 246, 138),
    (252, 255, 164),
)

SOLID_FROM = 0.6
"""From which heat on the overlay has its full opacity; below it fades to nothing at heat 0."""


@cache
def table(name: ColourMapName) -> NDArray[np.uint8]:
    """Return the colours of a map as (256, 3) uint8, red, green, blue; read-only."""
    steps = np.arange(256, dtype=np.float64)
    if name == "grey":
        colours = np.repeat(steps[:, None], 3, axis=1)
    else:
        knots = np.asarray(_INFERNO_KNOTS, dtype=np.float64)
        places = np.append(np.arange(0, 256, 256 // (len(knots) - 1)), 255.0)
        colours = np.stack([np.interp(steps, places, knots[:, channel]) for channel in range(3)], axis=1)
    answer = np.rint(colours).astype(np.uint8)
    answer.flags.writeable = False
    return answer


def overlay(heat: NDArray[np.floating], opacity: float = 0.6, name: ColourMapName = "inferno") -> NDArray[np.uint8]:
    """Return heat as colours to lay over a picture.

    Parameters
    ----------
    heat
        (row, column), 0 to 1; other values are clipped, NaN counts as 0.
    opacity
        0 to 1: how solid the overlay is where heat is at least `SOLID_FROM`; it fades in a straight line to nothing at
        heat 0, so that cold places keep the picture as it is.

    Returns
    -------
    (row, column, 4) uint8: red, green, blue, alpha (not premultiplied).
    """
    level = np.clip(np.nan_to_num(np.asarray(heat, dtype=np.float32), nan=0.0), 0.0, 1.0)
    rgba = np.empty((*level.shape, 4), dtype=np.uint8)
    rgba[..., :3] = table(name)[np.rint(level * 255).astype(np.uint8)]
    rgba[..., 3] = np.rint(np.clip(level / SOLID_FROM, 0.0, 1.0) * (255 * opacity)).astype(np.uint8)
    return rgba


def grey_levels(picture: NDArray[np.generic], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a picture as (row, column) uint8: `window` (low, high) becomes 0 to 255, values outside are clipped."""
    low, high = window
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.asarray(np.clip((np.asarray(picture, dtype=np.float32) - np.float32(low)) * np.float32(scale), 0, 255), dtype=np.uint8)
