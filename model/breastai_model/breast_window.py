"""Where the breasts lie in an MRI: the midline, and the window of the model grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Side
    from breastai_model.resample import PatientAxes

COARSE_MM = 4.0
FRONT_MARGIN_MM = 10.0
FRONT_AREA_MM2 = 400.0
BREAST_DEPTH_MM = 80.0
"""How far behind the front tissue still counts as breast when the window is centred along the body."""


class Tissue:
    """A coarse mask of what is not air, along the patient's axes. That of a mirrored patient is its mirror.

    Parameters
    ----------
    volume
        One phase, (slice, row, column), the scanner's numbers times its slope.
    axes
        The volume's axes.
    """

    def __init__(self, volume: NDArray[np.generic], axes: PatientAxes) -> None:
        turned = axes.turn(volume)
        steps = np.linalg.norm(axes.affine[:3, :3], axis=0)
        every = [max(1, round(COARSE_MM / step)) for step in steps]
        columns = _from_both_edges(turned.shape[2], every[2])
        small = np.asarray(turned[:: every[0], :: every[1], columns], dtype=np.float64)
        small = np.nan_to_num(small, nan=0.0, posinf=0.0, neginf=0.0)
        self.mask: NDArray[np.bool_] = small > _otsu(small)
        """(slice, row, column)."""
        corner = axes.affine[:3, :3] @ ((np.array(turned.shape) - 1) / 2) + axes.affine[:3, 3]
        self.extent_mm = [(c - s * n / 2, c + s * n / 2) for c, s, n in zip(corner, steps, turned.shape, strict=True)]
        """Of the whole volume along z, y and x; a tilt is not counted."""
        taken = (np.arange(0, turned.shape[0], every[0]), np.arange(0, turned.shape[1], every[1]), columns)
        self.places_mm = [low + step / 2 + step * where for (low, _), step, where in zip(self.extent_mm, steps, taken, strict=True)]
        self._area_mm2 = float(steps[0] * every[0] * steps[2] * turned.shape[2] / len(columns))

    def midline_mm(self, breasts: frozenset[Side]) -> float:
        """Return LPS x of the sagittal plane between the breasts.

        With both breasts in view: the deepest cleft between them, which is where the front of the body lies furthest
        back in the middle of the picture. With one: the border of the volume on its medial side, or, in a volume wide
        enough for two, the middle of the body.
        """
        z, y, x = self.places_mm
        low, high = self.extent_mm[2]
        columns = np.flatnonzero(self.mask.any(axis=(0, 1)))
        if len(breasts) == 1 and high - low < 260.0:
            return float(low if "left" in breasts else high)
        if len(columns) < 8:
            return float(low + high) / 2
        first, last = x[columns[0]], x[columns[-1]]
        inner = np.flatnonzero(np.abs(x - (first + last) / 2) <= 0.2 * (last - first))
        middle = slice(len(z) // 4, max(len(z) - len(z) // 4, len(z) // 4 + 1))
        body = self.mask[middle]
        solid = body.copy()
        for back in (1, 2):  # three in a row: single bright voxels in the air are no skin
            solid[:, :-back] &= body[:, back:]
        front = np.where(solid.any(axis=1), y[np.argmax(solid, axis=1)], np.nan)[:, inner]
        known = np.isfinite(front).any(axis=0)
        if not known.any():
            return float(low + high) / 2
        depth = np.full(len(inner), -np.inf)
        depth[known] = np.nanmedian(front[:, known], axis=0)
        smooth = np.array([np.median(depth[max(i - 1, 0) : i + 2]) for i in range(len(depth))])
        deepest = np.flatnonzero(smooth >= smooth.max() - COARSE_MM)
        # of a flat cleft the middle, but only of the piece that holds the deepest column, of several the innermost
        deepest_of_all = np.flatnonzero(smooth == smooth.max())
        start = int(deepest_of_all[np.argmin(np.abs(x[inner[deepest_of_all]] - (first + last) / 2))])
        piece = [i for i in deepest if abs(i - start) == abs(np.searchsorted(deepest, i) - np.searchsorted(deepest, start))]
        return float(x[inner[piece]].mean())

    def window_mm(
        self, midline_mm: float, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
    ) -> tuple[float, float, float]:
        """Return (z, y, x) LPS of the first voxel of a grid with both breasts in it.

        Columns are centred on the midline. Rows begin a little in front of the front-most tissue. Slices are centred on
        the tissue that lies not far behind that. What the exam does not cover stays empty.

        Parameters
        ----------
        midline_mm
            LPS x.
        shape, spacing_mm
            (slice, row, column) of the whole grid.
        """
        z, y, _ = self.places_mm
        area = self.mask.sum(axis=(0, 2)) * self._area_mm2
        rows = np.flatnonzero(area >= min(FRONT_AREA_MM2, 0.5 * area.max())) if area.any() else np.arange(1)
        front = float(y[rows[0]])
        breast = self.mask[:, (y >= front) & (y <= front + BREAST_DEPTH_MM)].sum(axis=(1, 2)).astype(float)
        centre = float((z * breast).sum() / breast.sum()) if breast.any() else sum(self.extent_mm[0]) / 2
        return (
            centre - spacing_mm[0] * (shape[0] - 1) / 2,
            max(front - FRONT_MARGIN_MM, self.extent_mm[1][0]) + spacing_mm[1] / 2,
            midline_mm - spacing_mm[2] * (shape[2] - 1) / 2,
        )


def _from_both_edges(count: int, every: int) -> NDArray[np.intp]:
    """Return every n-th of so many columns, counted from either edge to the middle: the same columns in a mirror."""
    half = np.arange(0, (count + 1) // 2, every)
    return np.unique(np.concatenate([half, count - 1 - half]))


def _otsu(values: NDArray[np.float64]) -> float:
    """Return the value that best tells air from tissue: Otsu's threshold of the square root, on which noise is narrow."""
    root = np.sqrt(np.clip(values, 0, None))
    counts, edges = np.histogram(root, bins=64)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nanargmax(between)] ** 2) if np.isfinite(between).any() else 0.0
