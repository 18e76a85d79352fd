"""Where a mark lies on the picture that is shown: its outline, its handles, or the places where it crosses the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from breastai_gui.services.annotations import DCE, outline_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.services.annotations import Annotation


class Plane(Protocol):
    """What has to be known of the picture that is shown; an `ImagePane` is one."""

    @property
    def image_key(self) -> str:
        """`DCE`, or an ultrasound view's id."""

    def to_points(self, row: float, column: float) -> tuple[float, ...]:
        """Return the point of a mark at a place in the picture."""

    def from_points(self, point: tuple[float, ...]) -> tuple[float, float] | None:
        """Return the place in the picture, None when the point does not lie on it."""


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """A mark as the picture shows it; all places are (n, 2) rows and columns.

    Attributes
    ----------
    mark
        The mark.
    outline
        The line to draw, closed for ellipse and polygon; empty when the mark lies on another plane.
    handles
        The mark's own points, to be dragged; empty when it lies on another plane.
    crossings
        Where a mark of another plane passes through this one.
    """

    mark: Annotation
    outline: NDArray[np.float64]
    handles: NDArray[np.float64]
    crossings: NDArray[np.float64]


_NOWHERE: NDArray[np.float64] = np.empty((0, 2))


def see(mark: Annotation, plane: Plane) -> Seen | None:
    """Return how a picture shows a mark, None when it does not lie on that image or plane at all."""
    if mark.image != plane.image_key:
        return None
    places = [plane.from_points(point) for point in mark.points]
    if all(place is not None for place in places):
        handles = np.array(places, dtype=np.float64)
        return Seen(mark, _on_picture(outline_points(mark), plane), handles, _NOWHERE)
    if mark.image != DCE or mark.kind == "point":
        return None
    crossings = _crossings(outline_points(mark), plane)
    return Seen(mark, _NOWHERE, _NOWHERE, crossings) if len(crossings) else None


def _frame(plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the picture's corner pixel and the steps of one row and one column, in the coordinates of points."""
    origin = np.asarray(plane.to_points(0, 0), dtype=np.float64)
    return origin, np.asarray(plane.to_points(1, 0)) - origin, np.asarray(plane.to_points(0, 1)) - origin


def _on_picture(points: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    """Return (row, column) of points, projected straight onto the picture."""
    origin, down, right = _frame(plane)
    away = points - origin
    return np.stack([away @ down / (down @ down), away @ right / (right @ right)], axis=1)


def _crossings(line: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    """Return where a line of LPS points passes through the picture's plane."""
    origin, down, right = _frame(plane)
    normal = np.cross(right, down)
    height = (line - origin) @ (normal / np.linalg.norm(normal))
    before, after = height[:-1], height[1:]
    through = np.flatnonzero((before * after < 0) | ((before == 0) & (after != 0)))
    share = (before[through] / (before[through] - after[through]))[:, None]
    return _on_picture(line[through] + share * (line[through + 1] - line[through]), plane)


def distance(line: NDArray[np.float64], place: tuple[float, float]) -> float:
    """Return how far a place is from a line of (n, 2) points, in its unit."""
    start, step = line[:-1], np.diff(line, axis=0)
    length = np.maximum((step**2).sum(axis=1), 1e-12)
    share = np.clip(((np.asarray(place) - start) * step).sum(axis=1) / length, 0, 1)[:, None]
    return float(np.hypot(*(start + share * step - np.asarray(place)).T).min())
