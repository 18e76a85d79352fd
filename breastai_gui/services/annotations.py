"""Marks on images: frozen values in millimetres of the patient (MRI) or pixels of one ultrasound view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

AnnotationKind = Literal["ruler", "ellipse", "polygon", "point"]
POINTS_NEEDED: dict[AnnotationKind, tuple[int, int | None]] = {
    "ruler": (2, 2),
    "ellipse": (2, 2),
    "polygon": (3, None),
    "point": (1, 1),
}
"""Least and greatest number of points of each kind."""

_ELLIPSE_CORNERS = 72

DCE = "dce"
"""The `image` of a mark on the MRI; any other value is an ultrasound view's id."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One mark.

    Attributes
    ----------
    id
        Unique within the study.
    kind
        ruler (two ends), ellipse (two opposite corners of its bounding box in the plane that it was drawn on), polygon
        (its corners, closed), point (a place with a note).
    image
        `DCE`, or an ultrasound view's id.
    points
        On MRI: LPS mm, three numbers a point. On ultrasound: (row, column) in the view's own pixels, two numbers.
    plane_normal
        LPS unit normal of the MRI plane that it was drawn on, None on ultrasound.
    text
        The note.
    """

    id: str
    kind: AnnotationKind
    image: str
    points: tuple[tuple[float, ...], ...]
    plane_normal: tuple[float, float, float] | None
    text: str = ""

    def __post_init__(self) -> None:
        least, most = POINTS_NEEDED[self.kind]
        if len(self.points) < least or (most is not None and len(self.points) > most):
            raise ValueError(f"A {self.kind} needs {least} point(s), not {len(self.points)}.")
        size = 3 if self.image == DCE else 2
        if any(len(point) != size or not np.isfinite(point).all() for point in self.points):
            raise ValueError(f"Every point of a mark on {'MRI' if size == 3 else 'ultrasound'} needs {size} finite numbers.")
        if (self.plane_normal is None) == (self.image == DCE):
            raise ValueError("A mark on MRI needs the normal of its plane, a mark on ultrasound has none.")

    def with_text(self, text: str) -> Annotation:
        """Return the same mark with another note."""
        return replace(self, text=text)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "id": self.id,
            "kind": self.kind,
            "image": self.image,
            "points": [list(point) for point in self.points],
            "plane_normal": None if self.plane_normal is None else list(self.plane_normal),
            "text": self.text,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Annotation:
        """Return the mark that `to_json` wrote; ValueError or KeyError when it is not one."""
        normal = values["plane_normal"]
        return cls(
            id=str(values["id"]),
            kind=values["kind"],
            image=str(values["image"]),
            points=tuple(tuple(float(number) for number in point) for point in values["points"]),
            plane_normal=None if normal is None else (float(normal[0]), float(normal[1]), float(normal[2])),
            text=str(values["text"]),
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """Length (ruler), or area and the two axes (ellipse), or area (polygon), in one unit."""

    unit: Literal["mm", "px"]
    length: float | None = None
    area: float | None = None
    axes: tuple[float, float] | None = None

    def __str__(self) -> str:
        parts = []
        if self.length is not None:
            parts.append(f"{self.length:.1f} {self.unit}")
        if self.axes is not None:
            parts.append(f"{self.axes[0]:.1f} × {self.axes[1]:.1f} {self.unit}")
        if self.area is not None:
            parts.append(f"{self.area:.1f} {self.unit}²")
        return ", ".join(parts)


def measure(annotation: Annotation, spacing_mm: tuple[float, float] | None = None) -> Measure:
    """Return the size of a mark.

    Parameters
    ----------
    annotation
        The mark.
    spacing_mm
        (row, column) mm of the ultrasound view it lies on; without it the answer is in pixels. Not used on MRI.
    """
    points = np.asarray(annotation.points, dtype=np.float64)
    unit: Literal["mm", "px"] = "mm"
    if annotation.image == DCE:
        flat = np.stack([points @ axis for axis in plane_axes(annotation)], axis=1)
    elif spacing_mm is None:
        flat, unit = points, "px"
    else:
        flat = points * np.asarray(spacing_mm)
    if annotation.kind == "ruler":
        return Measure(unit, length=float(np.linalg.norm(points[1] - points[0] if annotation.image == DCE else flat[1] - flat[0])))
    if annotation.kind == "ellipse":
        height, width = np.abs(flat[1] - flat[0])
        return Measure(unit, area=float(np.pi * height * width / 4), axes=(float(max(height, width)), float(min(height, width))))
    if annotation.kind == "polygon":
        first, second = flat[:, 0], flat[:, 1]
        return Measure(unit, area=float(abs(first @ np.roll(second, -1) - second @ np.roll(first, -1)) / 2))
    return Measure(unit)


def outline_points(annotation: Annotation) -> NDArray[np.float64]:
    """Return the line of a mark in its own coordinates, (n, 3) LPS mm on MRI, (n, 2) pixels on ultrasound.

    Ellipse and polygon end where they began. The axes of an ellipse are those along which `measure` takes its size.
    """
    points = np.asarray(annotation.points, dtype=np.float64)
    if annotation.kind == "polygon":
        return np.concatenate([points, points[:1]])
    if annotation.kind != "ellipse":
        return points
    first, second = plane_axes(annotation)
    across = points[1] - points[0]
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS + 1)[:, None]
    half_first, half_second = (across @ first) / 2 * first, (across @ second) / 2 * second
    return np.asarray(points.mean(axis=0) + np.cos(angle) * half_first + np.sin(angle) * half_second)


def plane_axes(annotation: Annotation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two unit directions in a mark's plane that its size is taken along and the box of an ellipse lies along.

    On MRI they follow the patient, not the picture: the patient axis that lies in the plane best, and the one across it.
    """
    if annotation.plane_normal is None:
        return np.array([1.0, 0.0]), np.array([0.0, 1.0])
    normal = np.asarray(annotation.plane_normal, dtype=np.float64)
    keep = next(axis for axis in range(3) if axis != int(np.argmax(np.abs(normal))))
    first = np.eye(3)[keep] - normal * normal[keep]
    first /= np.linalg.norm(first)
    return first, np.cross(normal, first)
