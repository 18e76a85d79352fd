"""Marks: millimetres of the patient on MRI, millimetres or honest pixels on ultrasound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from breastai_gui.services.annotations import DCE, Annotation, measure

AXIAL = (0.0, 0.0, 1.0)
OBLIQUE = (0.0, math.sin(math.radians(30)), math.cos(math.radians(30)))
"""A plane tipped by 30 degrees about the patient's left-right axis."""
DOWN_OBLIQUE = np.array([0.0, math.cos(math.radians(30)), -math.sin(math.radians(30))])
LEFT = np.array([1.0, 0.0, 0.0])


def on_mri(kind: str, *points: object, normal: tuple[float, float, float] = AXIAL) -> Annotation:
    values = tuple(tuple(float(number) for number in point) for point in points)  # type: ignore[attr-defined]
    return Annotation("a", kind, DCE, values, normal)  # type: ignore[arg-type]


def on_view(kind: str, *points: tuple[float, float]) -> Annotation:
    return Annotation("a", kind, "view-01", points, None)  # type: ignore[arg-type]


def test_a_ruler_on_mri_is_the_distance_in_the_patient() -> None:
    assert str(measure(on_mri("ruler", (10, 20, 5), (13, 24, 5)))) == "5.0 mm"
    assert measure(on_mri("ruler", (0, 0, 0), (2, 3, 6), normal=OBLIQUE)).length == pytest.approx(7.0)


def test_an_ellipse_and_a_polygon_on_an_oblique_plane_keep_their_size() -> None:
    corner = np.array([40.0, -20.0, 7.0])
    opposite = corner + 12 * LEFT + 8 * DOWN_OBLIQUE
    ellipse = measure(on_mri("ellipse", corner, opposite, normal=OBLIQUE))
    assert ellipse.axes == pytest.approx((12.0, 8.0))
    assert ellipse.area == pytest.approx(math.pi * 12 * 8 / 4)
    square = [corner, corner + 10 * LEFT, corner + 10 * LEFT + 10 * DOWN_OBLIQUE, corner + 10 * DOWN_OBLIQUE]
    assert measure(on_mri("polygon", *square, normal=OBLIQUE)).area == pytest.approx(100.0)


@pytest.mark.parametrize("normal", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)])
def test_an_ellipse_on_each_straight_plane(normal: tuple[float, float, float]) -> None:
    first, second = (axis for axis in range(3) if not normal[axis])
    opposite = np.zeros(3)
    opposite[first], opposite[second] = 6.0, -10.0
    assert measure(on_mri("ellipse", np.zeros(3), opposite, normal=normal)).axes == pytest.approx((10.0, 6.0))


def test_ultrasound_without_calibration_is_measured_in_pixels_never_millimetres() -> None:
    ruler = on_view("ruler", (0, 0), (30, 40))
    assert str(measure(ruler)) == "50.0 px"
    assert str(measure(ruler, (0.1, 0.1))) == "5.0 mm"
    assert "px²" in str(measure(on_view("polygon", (0, 0), (0, 10), (10, 10), (10, 0))))


def test_rows_and_columns_of_unequal_spacing_are_not_mixed_up() -> None:
    assert measure(on_view("ruler", (0, 0), (10, 0)), (0.2, 0.5)).length == pytest.approx(2.0)
    assert measure(on_view("ruler", (0, 0), (0, 10)), (0.2, 0.5)).length == pytest.approx(5.0)
    assert measure(on_view("ellipse", (0, 0), (10, 10)), (0.2, 0.5)).axes == pytest.approx((5.0, 2.0))


def test_a_point_has_no_size() -> None:
    assert str(measure(on_mri("point", (1, 2, 3)))) == ""


@pytest.mark.parametrize(
    ("kind", "image", "points", "normal"),
    [
        ("ruler", DCE, ((0.0, 0.0, 0.0),), AXIAL),
        ("polygon", DCE, ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), AXIAL),
        ("point", DCE, ((0.0, 0.0),), AXIAL),
        ("point", "view-01", ((0.0, 0.0, 0.0),), None),
        ("point", DCE, ((0.0, math.nan, 0.0),), AXIAL),
        ("point", DCE, ((0.0, 0.0, 0.0),), None),
        ("point", "view-01", ((0.0, 0.0),), AXIAL),
    ],
)
def test_a_mark_that_means_nothing_is_refused(kind: str, image: str, points: tuple[tuple[float, ...], ...], normal: object) -> None:
    with pytest.raises(ValueError, match="needs"):
        Annotation("a", kind, image, points, normal)  # type: ignore[arg-type]


def test_a_mark_survives_json() -> None:
    for mark in (on_mri("ellipse", (1, 2, 3), (4, 5, 6), normal=OBLIQUE).with_text("rand 中文"), on_view("point", (3.5, 4.25))):
        assert Annotation.from_json(mark.to_json()) == mark
