"""A heatmap on the pixels of one ultrasound view: one place for the window and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from breastai_model.case import MAP_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import UltrasoundView
    from breastai_gui.services.assessment import Assessment
    from breastai_model.case import MapKind, Stream


def first_heat(
    assessments: tuple[Assessment, ...], view: UltrasoundView, stream: Stream, kind: MapKind
) -> tuple[Assessment, NDArray[np.float32]] | None:
    """Return the heat on a view's own pixels, (row, column) 0 to 1, and whose it is; None where there is none."""
    for assessment in assessments:
        heat = heat_on_view(assessment, view, stream, kind, (view.pixels.shape[0], view.pixels.shape[1]))
        if heat is not None:
            return assessment, heat
    return None


def heat_on_view(
    assessment: Assessment, view: UltrasoundView, stream: Stream, kind: MapKind, shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Return a view's heat, 0 to 1, on a picture of `shape` (rows, columns) that shows the whole view.

    None for an MRI stream, for a view that the model was not given, and for one that it did not use.
    """
    values = assessment.prediction.heatmaps.stream(stream) if stream.startswith("us_") else None
    if values is None or view.id not in assessment.views:
        return None
    place = assessment.views.index(view.id)
    if place not in assessment.prediction.inputs.angles:
        return None
    heat = np.asarray(values[MAP_KINDS.index(kind), place], dtype=np.float32)
    top, left, height, width = assessment.prediction.heatmaps.us_boxes[place]
    # The map's box is in the view's own pixels; the picture may show the view larger or smaller.
    down, across = shape[0] / view.pixels.shape[0], shape[1] / view.pixels.shape[1]
    return on_pixels(heat, (top * down, left * across, height * down, width * across), shape)


def on_pixels(heat: NDArray[np.float32], box: tuple[float, float, float, float], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map, (row, column), drawn out bilinearly over the pixels that it covers; 0 outside.

    Parameters
    ----------
    heat
        The model's map.
    box
        (top, left, height, width) in pixels of the picture that the map covers; edges, not pixel centres.
    shape
        (rows, columns) of the picture.
    """
    weights, inside = [], []
    for axis in (0, 1):
        share = (np.arange(shape[axis]) + 0.5 - box[axis]) / box[2 + axis]
        index = np.clip(share * heat.shape[axis] - 0.5, 0, heat.shape[axis] - 1)
        # One row of weights per pixel: a triangle one cell wide around its place on the map.
        weights.append(np.maximum(0.0, 1.0 - np.abs(index[:, None] - np.arange(heat.shape[axis])[None, :])).astype(np.float32))
        inside.append((share >= 0) & (share <= 1))
    return np.where(inside[0][:, None] & inside[1][None, :], weights[0] @ heat @ weights[1].T, np.float32(0))
