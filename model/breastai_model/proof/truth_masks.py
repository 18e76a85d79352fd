"""Where the lesion of a phantom lies on the grid of a heatmap, and what the plain picture shows there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from breastai_model.case import MAP_KINDS, MapKind
from breastai_model.inference.heatmap import ALL_STAGES, FEATURE_STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.prepare import Box, Prepared
    from breastai_model.recipe import Recipe

FINEST_STAGE: dict[MapKind, int] = {kind: (FEATURE_STAGES if kind == "feature" else ALL_STAGES)[0] for kind in MAP_KINDS}
"""Of the stages that a shown map combines."""
BODY = 0.03
"""Of the prepared signal before contrast: above it is tissue, below it air."""
SMOOTH = 3
"""Cells over which a plain picture is averaged, so that one bright noisy pixel is no answer."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Half a cell of the finest stage of a map, in cells of the map and in millimetres, per axis."""

    mri: tuple[int, int, int]
    us: tuple[int, int]
    mri_mm: tuple[float, float, float]

    def words(self, us_mm: float) -> str:
        """Return it in millimetres; `us_mm` is the size of one cell of the ultrasound map."""
        mri = " × ".join(f"{value:.1f}" for value in self.mri_mm)
        return f"tolerance {mri} mm (slice, row, column) in MRI, {self.us[0] * us_mm:.1f} mm in ultrasound"


def tolerance(recipe: Recipe, kind: MapKind) -> Tolerance:
    """Return half a cell of the finest stage of a kind of map; a cell of stage s covers 2^(s+1) pixels in the plane."""
    plane = 2 ** (FINEST_STAGE[kind] + 1) // 2
    depth = recipe.pool_depth_stride * 2 ** (FINEST_STAGE[kind] - 1)
    half = (depth // 2, plane, plane)
    spacing = recipe.mri_spacing_mm
    return Tolerance(half, (plane, plane), (depth / 2 * spacing[0], plane * spacing[1], plane * spacing[2]))


def lesion_on_grid(
    lesion: NDArray[np.bool_], case_affine: NDArray[np.float64], affine: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return a (slice, row, column) mask of the case on a model grid: every cell whose middle lies in it or that holds a middle of it.

    Parameters
    ----------
    case_affine, affine
        (4, 4): (slice, row, column, 1) of the case and of the grid to LPS mm.
    """
    to_grid = np.linalg.inv(affine) @ case_affine
    inside = np.argwhere(lesion)
    placed = np.rint(inside @ to_grid[:3, :3].T + to_grid[:3, 3]).astype(np.int64)
    mask = np.zeros(shape, dtype=bool)
    placed = placed[((placed >= 0) & (placed < np.array(shape))).all(axis=1)]
    mask[tuple(placed.T)] = True
    back = np.linalg.inv(to_grid)
    cells = np.argwhere(np.ones(shape, dtype=bool))
    source = np.rint(cells @ back[:3, :3].T + back[:3, 3]).astype(np.int64)
    there = ((source >= 0) & (source < np.array(lesion.shape))).all(axis=1)
    mask[tuple(cells[there].T)] |= lesion[tuple(source[there].T)]
    return mask


def view_on_grid(view: NDArray[np.bool_], box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the (row, column) mask of one ultrasound image on the map that covers the box (top, left, height, width) of it."""
    inside = np.argwhere(view)
    size = np.array([box[2] / shape[0], box[3] / shape[1]])
    placed = np.floor((inside + 0.5 - np.array(box[:2])) / size).astype(np.int64)
    mask = np.zeros(shape, dtype=bool)
    placed = placed[((placed >= 0) & (placed < np.array(shape))).all(axis=1)]
    mask[tuple(placed.T)] = True
    return mask


def widened(mask: NDArray[np.bool_], half: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask with so many cells more on every side of each axis."""
    grown: NDArray[np.bool_] = ndimage.maximum_filter(mask, size=tuple(2 * each + 1 for each in half), mode="constant", cval=False)
    return grown


def both_breasts(prepared: Prepared, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (breast, slice, row, column) as (slice, row, column) of the unmirrored grid, columns towards the patient's left."""
    left, right = (values[prepared.sides.index(side)] for side in ("left", "right"))
    return np.concatenate([right[..., ::-1], left], axis=-1)


def early_subtraction(prepared: Prepared) -> NDArray[np.float32]:
    """Return the first phase after contrast minus the one before, at least 0, smoothed: (slice, row, column), unmirrored."""
    change = both_breasts(prepared, np.maximum(prepared.mri[1] - prepared.mri[0], 0))
    smooth: NDArray[np.float32] = ndimage.uniform_filter(change, size=(1, SMOOTH, SMOOTH))
    return smooth


def body(prepared: Prepared) -> NDArray[np.bool_]:
    """Return where there is tissue: (slice, row, column), unmirrored."""
    return both_breasts(prepared, prepared.mri[0]) > BODY


def darkness(prepared: Prepared) -> NDArray[np.float32]:
    """Return how much darker each place of an ultrasound image is than its brightest, smoothed, the padding 0: (angle, row, column)."""
    seen = prepared.us[np.asarray(prepared.us_slots)]
    images = ndimage.uniform_filter(seen, size=(1, SMOOTH, SMOOTH))
    # Padding is black in all angles and says nothing.
    scanned = (seen.max(axis=0) > 0)[None]
    dark: NDArray[np.float32] = np.where(scanned, images.max(axis=(1, 2), keepdims=True) - images, 0).astype(np.float32)
    return dark
