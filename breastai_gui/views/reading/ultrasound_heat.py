"""A heatmap on the pixels of one ultrasound view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from breastai_model.case import MAP_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import UltrasoundView
    from breastai_gui.services.assess import Assessment
    from breastai_model.case import MapKind, Stream


def view_heat(
    assessments: tuple[Assessment, ...], view: UltrasoundView, stream: Stream, kind: MapKind
) -> tuple[Assessment, NDArray[np.float32]] | None:
    """Return the heat on a view's own pixels, (row, column) 0 to 1, and whose it is; None where there is none.

    There is none for an MRI stream, for a view that the model was not given, and for one that it did not use.
    """
    if not stream.startswith("us_"):
        return None
    for assessment in assessments:
        heatmaps = assessment.prediction.heatmaps
        values = heatmaps.stream(stream)
        if values is None or view.id not in assessment.views:
            continue
        place = assessment.views.index(view.id)
        if place not in assessment.prediction.inputs.angles:
            continue
        small = np.asarray(values[MAP_KINDS.index(kind), place], dtype=np.float32)
        return assessment, on_pixels(small, heatmaps.us_boxes[place], view.pixels.shape)
    return None


def on_pixels(heat: NDArray[np.float32], box: tuple[float, float, float, float], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a map, (row, column), drawn out bilinearly over the pixels that it covers; 0 outside.

    Parameters
    ----------
    heat
        The model's map.
    box
        (top, left, height, width) in pixels of the image that the map covers; edges, not pixel centres.
    shape
        (rows, columns) of the image.
    """
    top, left, height, width = box
    row, row_inside = _along((np.arange(shape[0]) + 0.5 - top) / height, heat.shape[0])
    column, column_inside = _along((np.arange(shape[1]) + 0.5 - left) / width, heat.shape[1])
    row_low, column_low = row.astype(np.intp), column.astype(np.intp)
    row_high, column_high = np.minimum(row_low + 1, heat.shape[0] - 1), np.minimum(column_low + 1, heat.shape[1] - 1)
    down, across = (row - row_low)[:, None], (column - column_low)[None, :]
    upper = heat[row_low][:, column_low] * (1 - across) + heat[row_low][:, column_high] * across
    lower = heat[row_high][:, column_low] * (1 - across) + heat[row_high][:, column_high] * across
    answer = upper * (1 - down) + lower * down
    return np.where(row_inside[:, None] & column_inside[None, :], answer, 0).astype(np.float32)


def _along(share: NDArray[np.floating], count: int) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return fractional map indices of places given as shares of the box, and which of them lie inside it."""
    return np.clip(share * count - 0.5, 0, count - 1), (share >= 0) & (share <= 1)
