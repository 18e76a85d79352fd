"""Where a breast MRI shows tissue, and where in it the breasts lie: rough masks for windows and suggestions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import Grid

SKIN_MM = 6.0
"""What lies less deep than this is skin or nipple: both enhance in every exam."""
BOTH_BREASTS_MM = 220.0
"""A picture narrower than this from right to left shows one breast only, so it shows no breastbone."""
ONE_BREAST_DEPTH_MM = 100.0
"""How far behind the foremost skin a single breast is searched."""


def breast_region(values: NDArray[np.float32], grid: Grid, steps: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where the breasts lie, without skin and without what lies behind the breastbone.

    Parameters
    ----------
    values
        (slice, row, column) of the grid, thinned by `steps` along its axes; bright where there is tissue.
    grid
        Where the voxels lie; front and back come from its direction cosines alone.
    steps
        Voxels of the grid per voxel of `values`.
    """
    from scipy import ndimage

    body = ndimage.binary_closing(tissue_mask(values))
    depth_axis, width_axis = _axes(grid)
    across = 3 - depth_axis - width_axis
    for position in range(body.shape[across]):
        where = [slice(None)] * 3
        where[across] = position  # type: ignore[call-overload]
        body[tuple(where)] = ndimage.binary_fill_holes(body[tuple(where)])
    spacing = grid.spacing_mm * np.asarray(steps)
    reach = [np.abs(np.arange(-int(SKIN_MM / size), int(SKIN_MM / size) + 1)) * size for size in spacing]
    ball = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*reach, indexing="ij"))) <= SKIN_MM
    # The end of the picture is not skin: only air counts as outside.
    inside = ndimage.binary_erosion(body, ball, border_value=1)
    return np.asarray(inside & before_breastbone(body, grid, steps))


def before_breastbone(body: NDArray[np.bool_], grid: Grid, steps: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which depths lie before the breastbone, as a mask that spreads over the shape of `body`.

    `body` says where there is tissue, thinned by `steps` as in `breast_region`. The heart and the great vessels lie behind.
    """
    depth_axis, width_axis = _axes(grid)
    spacing = grid.spacing_mm * np.asarray(steps)
    towards_back = grid.affine[1, depth_axis] > 0
    order = body if towards_back else np.flip(body, depth_axis)
    front = np.where(order.any(axis=depth_axis), order.argmax(axis=depth_axis), np.nan) * spacing[depth_axis]
    limit = _back_of_breasts(front, width_axis - (width_axis > depth_axis), float(spacing[width_axis]))
    depth = np.arange(body.shape[depth_axis]) * spacing[depth_axis]
    near = (depth if towards_back else depth[::-1]) <= limit
    return np.asarray(near.reshape([-1 if axis == depth_axis else 1 for axis in range(3)]))


def _axes(grid: Grid) -> tuple[int, int]:
    """Return which grid axis runs from front to back, and which from right to left."""
    cosines = np.abs(grid.affine[:3, :3] / grid.spacing_mm)
    depth_axis = int(np.argmax(cosines[1]))
    return depth_axis, int(np.argmax(np.where(np.arange(3) == depth_axis, -1.0, cosines[0])))


def _back_of_breasts(front: NDArray[np.floating], width_axis: int, spacing_mm: float) -> float:
    """Return the depth in mm, from the picture's front edge, at which the breasts are taken to end.

    `front` is the depth of the foremost skin, NaN beside the body, for every place seen from the front. Between two
    breasts the skin over the breastbone lies deepest in the middle third of the body's width; the heart and the great
    vessels lie behind it.
    """
    known = ~np.isnan(front)
    if not known.any():
        return 0.0
    columns = np.flatnonzero(known.any(axis=1 - width_axis))
    first, last = int(columns[0]), int(columns[-1])
    width = last - first + 1
    if width * spacing_mm < BOTH_BREASTS_MM:
        return float(np.nanmin(front)) + ONE_BREAST_DEPTH_MM
    middle = np.take(front, np.arange(first + width // 3, last + 1 - width // 3), axis=width_axis)
    middle = middle if width_axis == 1 else middle.T
    deepest = np.nanmax(middle[~np.isnan(middle).all(axis=1)], axis=1)  # one for each height
    return float(np.median(deepest) if len(deepest) else np.nanmax(front))


def tissue_mask(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a volume is not air: above Otsu's threshold of the logarithm, everywhere when there is no contrast.

    The logarithm, because fat-suppressed tissue is far darker than enhancing vessels, but far brighter than air.
    """
    finite = np.where(np.isfinite(values), values, 0.0)
    level = np.log1p(np.maximum(finite - min(0.0, float(finite.min())), 0.0))
    counts, edges = np.histogram(level, bins=128)
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    weighted = np.cumsum(counts * middle)
    split = (below > 0) & (above > 0)
    if not split.any():
        return np.ones(values.shape, dtype=bool)
    between = np.zeros(128)
    mean_below = weighted[split] / below[split]
    mean_above = (weighted[-1] - weighted[split]) / above[split]
    between[split] = below[split] * above[split] * (mean_below - mean_above) ** 2
    return np.asarray(level > edges[1:][int(np.argmax(between))])
