"""Where a mark lies on the picture that is shown: its outline, its handles, or the places where it crosses the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from breastai_gui.services.annotations import DCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.services.annotations import Annotation

_ELLIPSE_CORNERS = 72


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


def outline_points(mark: Annotation) -> NDArray[np.float64]:
    """Return the line of a mark in its own coordinates, (n, 3) LPS mm on MRI, (n, 2) pixels on ultrasound.

    The axes of an ellipse are those along which `annotations.measure` takes its size.
    """
    points = np.asarray(mark.points, dtype=np.float64)
    if mark.kind == "polygon":
        return np.concatenate([points, points[:1]])
    if mark.kind != "ellipse":
        return points
    first, second = _plane_axes(mark)
    across = points[1] - points[0]
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS + 1)[:, None]
    half_first, half_second = (across @ first) / 2 * first, (across @ second) / 2 * second
    return np.asarray(points.mean(axis=0) + np.cos(angle) * half_first + np.sin(angle) * half_second)


def _plane_axes(mark: Annotation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two directions in the mark's plane along which the box of an ellipse lies."""
    if mark.plane_normal is None:
        return np.array([1.0, 0.0]), np.array([0.0, 1.0])
    normal = np.asarray(mark.plane_normal, dtype=np.float64)
    keep = [axis for axis in range(3) if axis != int(np.argmax(np.abs(normal)))]
    first = np.eye(3)[keep[0]] - normal * normal[keep[0]]
    first /= np.linalg.norm(first)
    return first, np.cross(normal, first)


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
