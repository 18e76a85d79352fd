"""Area-averaging resampling of a volume onto a coarser grid that lies along the patient's axes.

Every output voxel is the mean of what lies inside its box: nothing aliases, and small bright spots keep their share. Along
each axis that is one small matrix, so a volume takes three matrix products.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, slots=True)
class PatientAxes:
    """How a volume's own axes map to (slice towards the head, row towards posterior, column towards the patient's left).

    Attributes
    ----------
    order
        The volume's axis for each of the three.
    flipped
        Whether it runs the other way.
    affine
        (4, 4); index of the turned volume to (z, y, x, 1) in mm, almost diagonal.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    affine: NDArray[np.float64]

    def turn(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return a view of a (slice, row, column) volume with its axes along the patient's."""
        return volume.transpose(self.order)[tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)]


def patient_axes(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> PatientAxes:
    """Return which axis of a volume runs closest to which axis of the patient.

    Parameters
    ----------
    affine
        (4, 4); (slice, row, column, 1) to LPS mm.
    shape
        (slice, row, column).
    """
    zyx = np.array(affine, dtype=float)[[2, 1, 0, 3]]
    steps = zyx[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    if not np.isfinite(zyx).all() or (lengths < 1e-6).any() or abs(np.linalg.det(steps / lengths)) < 0.1:
        raise ValueError("The MRI's geometry is not that of a volume: its axes or spacings are wrong.")
    orders: list[tuple[int, int, int]] = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    order = max(orders, key=lambda axes: sum(abs(steps[row, axis]) / lengths[axis] for row, axis in enumerate(axes)))
    turned = np.eye(4)
    turned[:3, 3] = zyx[:3, 3]
    flipped = []
    for place, axis in enumerate(order):
        step = steps[:, axis]
        flipped.append(bool(step[place] < 0))
        if flipped[-1]:
            turned[:3, 3] += step * (shape[axis] - 1)
            step = -step
        turned[:3, place] = step
    return PatientAxes(order, (flipped[0], flipped[1], flipped[2]), turned)


def axis_weights(
    inputs: int, first: float, step: float, outputs: int, first_out: float, step_out: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the share of each input cell in each output cell along one axis, and how much of each output cell is covered.

    Parameters
    ----------
    inputs, first, step
        How many input cells, the centre of the first and their width, mm or pixels.
    outputs, first_out, step_out
        The same of the output.

    Returns
    -------
    weights
        (outputs, inputs); a row adds up to the covered share: 1 inside, less at a border, 0 outside.
    covered
        (outputs,).
    """
    centres = first_out + step_out * np.arange(outputs)
    edges = first + step * (np.arange(inputs + 1) - 0.5)
    half = step_out / 2
    overlap = np.minimum(centres[:, None] + half, edges[None, 1:]) - np.maximum(centres[:, None] - half, edges[None, :-1])
    weights = np.clip(overlap, 0, None) / step_out
    covered = np.minimum(weights.sum(axis=1), 1.0)
    if step_out < step:  # finer than the input: straight lines between the input's centres, flat beyond the outermost
        place = np.clip((centres - first) / step, 0, inputs - 1)
        weights = np.clip(1 - np.abs(place[:, None] - np.arange(inputs)), 0, None) * covered[:, None]
    return weights.astype(np.float32), covered


@dataclass(frozen=True, eq=False, slots=True)
class GridTarget:
    """A grid along the patient's axes.

    Attributes
    ----------
    shape
        (slice, row, column).
    spacing_mm
        (slice, row, column).
    first_mm
        (z, y, x) LPS of the centre of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    first_mm: tuple[float, float, float]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4); (slice, row, column, 1) to LPS mm."""
        affine = np.zeros((4, 4))
        affine[[2, 1, 0], [0, 1, 2]] = self.spacing_mm
        affine[:3, 3] = self.first_mm[::-1]
        affine[3, 3] = 1.0
        return affine


class AreaResampler:
    """Brings volumes of one geometry onto one target grid.

    A volume along the patient's axes goes there in one step. A tilted one is first averaged onto a grid of the target's
    spacing along its own axes and then read at the target's places by straight lines between neighbours.
    """

    def __init__(self, axes: PatientAxes, shape: tuple[int, int, int], target: GridTarget) -> None:
        self._axes = axes
        self._target = target
        turned = tuple(shape[axis] for axis in axes.order)
        steps = np.linalg.norm(axes.affine[:3, :3], axis=0)
        tilt = np.abs(axes.affine[:3, :3] - np.diag(np.diagonal(axes.affine)[:3])) * turned
        self._places: NDArray[np.float64] | None = None
        if tilt.max() < 0.25 * min(target.spacing_mm):
            middle = axes.affine[:3, :3] @ ((np.array(turned) - 1) / 2) + axes.affine[:3, 3]
            first = middle - steps * (np.array(turned) - 1) / 2
            cells = zip(turned, first, steps, target.shape, target.first_mm, target.spacing_mm, strict=True)
            self._weights, covers = zip(*(axis_weights(*cell) for cell in cells), strict=True)
        else:
            spacing = np.maximum(target.spacing_mm, steps)
            counts = np.maximum(np.ceil(np.array(turned) * steps / spacing), 1).astype(int)
            first = ((np.array(turned) - 1) * steps - (counts - 1) * spacing) / 2  # both grids share their middle
            cells = zip(turned, (0.0,) * 3, steps, counts.tolist(), first.tolist(), spacing.tolist(), strict=True)
            self._weights, _ = zip(*(axis_weights(*cell) for cell in cells), strict=True)
            covers = tuple(np.ones(n) for n in target.shape)
            self._places = self._read_places(first, spacing, steps)
        self._share = np.einsum("i,j,k->ijk", *covers).astype(np.float32)
        if self._places is not None:
            self._share = self._read(np.ones(turned, dtype=np.uint8))
        enough = 0.5 * min(1.0, float(self._share.max()))
        self.inside: NDArray[np.bool_] = self._share > max(enough - 1e-6, 1e-6)
        """(slice, row, column) of the target: where the exam covers at least half of a voxel (of the best covered one)."""

    def __call__(self, volume: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return a (slice, row, column) volume on the target grid; 0 where `inside` is False."""
        values = self._read(self._axes.turn(volume))
        filled: NDArray[np.float32] = np.divide(values, self._share, out=np.zeros_like(values), where=self.inside)
        return filled

    def _read(self, turned: NDArray[np.generic]) -> NDArray[np.float32]:
        used = [np.flatnonzero(weight.any(axis=0)) for weight in self._weights]
        if any(len(index) == 0 for index in used):
            return np.zeros(self._target.shape if self._places is None else self._places.shape[1:], dtype=np.float32)
        crop = tuple(slice(index[0], index[-1] + 1) for index in used)
        slices, rows, columns = (weight[:, part] for weight, part in zip(self._weights, crop, strict=True))
        part = turned[crop]
        thin = np.empty((len(slices), *part.shape[1:]), dtype=np.float32)
        for out, weight in zip(thin, slices, strict=True):  # by slices first: most of the volume is never cast at once
            chosen = np.flatnonzero(weight)
            out[:] = 0
            for index in chosen:
                out += weight[index] * part[index].astype(np.float32)
        averaged = np.matmul(np.matmul(rows, thin), columns.T)
        if self._places is None:
            return np.ascontiguousarray(averaged, dtype=np.float32)
        from scipy.ndimage import map_coordinates

        read: NDArray[np.float32] = map_coordinates(averaged, self._places, order=1, mode="constant", cval=0.0, output=np.float32)
        return read

    def _read_places(self, first: NDArray[np.float64], spacing: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (3, *target) indices into the averaged grid of a tilted volume."""
        target = self._target
        grids = np.meshgrid(
            *(f + s * np.arange(n) for n, s, f in zip(target.shape, target.spacing_mm, target.first_mm, strict=True)), indexing="ij"
        )
        zyx = np.stack([grid.ravel() for grid in grids])
        index = np.linalg.solve(self._axes.affine[:3, :3], zyx - self._axes.affine[:3, 3:])
        places: NDArray[np.float64] = (index * steps[:, None] - first[:, None]) / spacing[:, None]
        return places.reshape(3, *target.shape)


def pairs_in_order(found: tuple[float, ...], wanted: tuple[float, ...]) -> list[tuple[int, int]]:
    """Return which found value serves which wanted one: both in order, each once, as many as can be, least total distance."""
    if len(found) < len(wanted):
        return [(b, a) for a, b in pairs_in_order(wanted, found)]
    # best[n] = (cost, chosen found indices) for the first n wanted values, over the found values seen so far
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ()), *((np.inf, ()) for _ in wanted)]
    for index, value in enumerate(found):
        for count in range(min(index + 1, len(wanted)), 0, -1):
            cost, chosen = best[count - 1]
            cost += abs(value - wanted[count - 1])
            if cost < best[count][0]:
                best[count] = (cost, (*chosen, index))
    return list(zip(best[-1][1], itertools.count(), strict=False))
