"""How a volume is cut into axial, sagittal and coronal pictures, and back: one place for all views and the report.

Pictures follow the grid's own axes (nothing is resampled), each turned so that the reader sees what radiologists
expect: the patient's right on the left of axial and coronal pictures, anterior on top of axial and on the left of
sagittal ones, the head on top of sagittal and coronal ones. Letters come from direction cosines alone, so they tell
the truth for oblique volumes too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Literal

import numpy as np

from breastai_gui.data.study import direction_letters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import Grid

PlaneName = Literal["axial", "sagittal", "coronal"]
PLANES: tuple[PlaneName, ...] = ("axial", "sagittal", "coronal")

# For each plane the LPS directions that picture rows (downwards), columns (to the right) and the stack of pictures follow.
_WANTED: dict[PlaneName, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "axial": ((1, 1), (0, 1), (2, 1)),  # down: posterior, right: patient left, stack: to the head
    "sagittal": ((2, -1), (1, 1), (0, 1)),  # down: feet, right: posterior, stack: to the patient's left
    "coronal": ((2, -1), (0, 1), (1, 1)),  # down: feet, right: patient left, stack: to the back
}


@dataclass(frozen=True, slots=True)
class Letters:
    """Patient-orientation letters at the four edges of a picture."""

    top: str
    bottom: str
    left: str
    right: str


class PlaneCut:
    """One stack of parallel pictures through a grid.

    Parameters
    ----------
    grid
        Where the voxels lie.
    plane
        The anatomical plane; the grid axes nearest to it are taken.

    Attributes
    ----------
    plane
        Its name.
    count
        How many pictures there are.
    shape
        (row, column) of each.
    spacing_mm
        (row, column) mm.
    step_mm
        Distance between neighbouring pictures.
    letters
        At the edges.
    normal
        (3,) LPS unit vector along which the picture number grows.
    """

    def __init__(self, grid: Grid, plane: PlaneName) -> None:
        self.plane: PlaneName = plane
        self.grid = grid
        nearest = _nearest_axes(grid)
        (self._row_axis, self._row_sign), (self._column_axis, self._column_sign), (self._stack_axis, self._stack_sign) = (
            (nearest[axis][0], nearest[axis][1] * sign) for axis, sign in _WANTED[plane]
        )
        spacing = grid.spacing_mm
        self.count = grid.shape[self._stack_axis]
        self.shape = (grid.shape[self._row_axis], grid.shape[self._column_axis])
        self.spacing_mm = (float(spacing[self._row_axis]), float(spacing[self._column_axis]))
        self.step_mm = float(spacing[self._stack_axis])
        down = grid.affine[:3, self._row_axis] * self._row_sign
        right = grid.affine[:3, self._column_axis] * self._column_sign
        self.letters = Letters(
            top=direction_letters(-down),
            bottom=direction_letters(down),
            left=direction_letters(-right),
            right=direction_letters(right),
        )
        self.normal: NDArray[np.float64] = grid.affine[:3, self._stack_axis] * self._stack_sign / self.step_mm

    @property
    def stack_axis(self) -> int:
        """The axis of the grid, 0 to 2, that the pictures are stacked along."""
        return self._stack_axis

    def cut(self, volume: NDArray[np.generic], position: int) -> NDArray[np.generic]:
        """Return picture `position` (0 ..< count) of a (slice, row, column) volume as a (row, column) view of it."""
        index = position if self._stack_sign > 0 else self.count - 1 - position
        return self._turned(np.take(volume, index, axis=self._stack_axis) if self._stack_axis else volume[index])

    def project(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the maximum-intensity projection along the stack as (row, column)."""
        return self._turned(volume.max(axis=self._stack_axis))

    def _turned(self, picture: NDArray[np.generic]) -> NDArray[np.generic]:
        if self._row_axis > self._column_axis:
            picture = picture.T
        return picture[:: self._row_sign, :: self._column_sign]

    def to_patient(self, position: float, row: float, column: float) -> tuple[float, float, float]:
        """Return the LPS mm of a place in picture `position`; whole numbers are pixel centres."""
        index = np.empty(3)
        for axis, sign, value in self._axes(position, row, column):
            index[axis] = value if sign > 0 else self.grid.shape[axis] - 1 - value
        x, y, z = self.grid.to_patient(index)
        return float(x), float(y), float(z)

    def from_patient(self, position_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return (picture number, row, column), fractional, of an LPS position in mm; may lie outside."""
        index = self.grid.to_index(np.asarray(position_mm))
        values = [float(index[axis] if sign > 0 else self.grid.shape[axis] - 1 - index[axis]) for axis, sign, _ in self._axes(0, 0, 0)]
        return values[0], values[1], values[2]

    def nearest(self, position_mm: tuple[float, float, float]) -> int:
        """Return the number of the picture that lies nearest to an LPS position, within the stack."""
        return int(np.clip(round(self.from_patient(position_mm)[0]), 0, self.count - 1))

    def resample(self, values: NDArray[np.generic], affine: NDArray[np.float64], position: int, step: int = 1) -> NDArray[np.float32]:
        """Return another volume, a heatmap say, on the pixels of picture `position`, trilinear, 0 outside.

        Parameters
        ----------
        values
            (slice, row, column) on its own grid.
        affine
            (4, 4); (slice, row, column, 1) of `values` to LPS mm.
        position
            The picture.
        step
            One value for each block of `step` x `step` pixels, at its centre: (row, column) counts are then divided by
            it, rounded up, so that the last blocks may reach beyond the picture.
        """
        rows, columns = ((np.arange(-(-count // step)) + 0.5) * step - 0.5 for count in self.shape)
        origin = np.asarray(self.to_patient(position, 0, 0))
        down = np.asarray(self.to_patient(position, 1, 0)) - origin
        right = np.asarray(self.to_patient(position, 0, 1)) - origin
        inverse = np.linalg.inv(affine)
        start = inverse[:3, :3] @ origin + inverse[:3, 3]
        along_rows, along_columns = inverse[:3, :3] @ down, inverse[:3, :3] @ right
        index = start + rows[:, None, None] * along_rows + columns[None, :, None] * along_columns
        return _trilinear(np.asarray(values), index)

    def _axes(self, position: float, row: float, column: float) -> tuple[tuple[int, int, float], ...]:
        return (
            (self._stack_axis, self._stack_sign, position),
            (self._row_axis, self._row_sign, row),
            (self._column_axis, self._column_sign, column),
        )


def _nearest_axes(grid: Grid) -> dict[int, tuple[int, int]]:
    """Return for each LPS axis the grid axis nearest to it and the sign between them."""
    cosines = grid.affine[:3, :3] / grid.spacing_mm
    best = max(permutations(range(3)), key=lambda order: sum(abs(cosines[lps, order[lps]]) for lps in range(3)))
    return {lps: (best[lps], 1 if cosines[lps, best[lps]] >= 0 else -1) for lps in range(3)}


def _trilinear(values: NDArray[np.generic], index: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return `values` at fractional (..., 3) indices; half a voxel beyond the border still counts, then 0."""
    size = np.asarray(values.shape)
    inside = ((index >= -0.5) & (index <= size - 0.5)).all(axis=-1)
    index = np.clip(index, 0, size - 1)
    low = np.minimum(index.astype(np.intp), np.maximum(size - 2, 0))
    fraction = (index - low).astype(np.float32)
    high = np.minimum(low + 1, size - 1)
    result = np.zeros(index.shape[:-1], dtype=np.float32)
    for corner in range(8):
        pick = [(corner >> axis) & 1 for axis in range(3)]
        places = tuple((high if pick[axis] else low)[..., axis] for axis in range(3))
        weight = np.ones_like(result)
        for axis in range(3):
            weight *= fraction[..., axis] if pick[axis] else 1 - fraction[..., axis]
        result += weight * values[places].astype(np.float32)
    return np.where(inside, result, np.float32(0))
