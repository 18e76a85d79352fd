"""Colour tables, heat on pictures, and what lies where on the report's key images."""

from __future__ import annotations

import numpy as np
import pytest

from breastai_gui.data.study import Grid
from breastai_gui.services.annotations import DCE, Annotation, measure, outline_points
from breastai_gui.services.colour_maps import grey_levels, overlay, table
from breastai_gui.services.planes import PlaneCut
from breastai_gui.services.report_pictures import outline_on, ultrasound_image
from breastai_gui.services.ultrasound_heat import heat_on_view
from phantoms import simple_assessment, simple_grid, simple_study


def test_inferno_gets_lighter_in_even_steps():
    colours = table("inferno").astype(float)
    assert colours.shape == (256, 3)
    assert colours[0].tolist() == [0, 0, 4]
    assert colours[-1].tolist() == [252, 255, 164]
    light = colours @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(light) > -0.5).all()
    assert light[-1] - light[0] > 230
    with pytest.raises(ValueError, match="read-only"):
        table("inferno")[0] = 1


def test_grey_is_grey():
    assert table("grey")[77].tolist() == [77, 77, 77]


def test_cold_places_stay_as_they_are_and_hot_ones_are_covered():
    rgba = overlay(np.array([[0.0, 0.3, 0.6, 1.0, 2.0, np.nan]]), 0.5)
    assert rgba[0, :, 3].tolist() == [0, 64, 128, 128, 128, 0]
    assert rgba[0, 3, :3].tolist() == table("inferno")[255].tolist()


def test_a_window_becomes_black_to_white():
    grey = grey_levels(np.array([[-5, 0, 50, 100, 500]]), (0.0, 100.0))
    assert grey.tolist() == [[0, 0, 127, 255, 255]]
    assert grey_levels(np.zeros((2, 2)), (3.0, 3.0)).max() == 0


def test_heat_lies_where_the_box_says():
    """The map covers the square box that goes 20 pixels beyond the image above and below."""
    study = simple_study()
    view = study.ultrasound[0]
    heat = heat_on_view(simple_assessment(study), view, "us_agnostic", "feature", (120, 160))
    assert heat is not None
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    assert (row, column) == (pytest.approx(62, abs=3), pytest.approx(82, abs=3))  # cell (16, 16) of 32 on rows -20 to 140
    small = heat_on_view(simple_assessment(study), view, "us_agnostic", "feature", (60, 80))
    assert small is not None
    assert np.abs(small - heat.reshape(60, 2, 80, 2).mean(axis=(1, 3))).max() < 0.02


def test_a_view_that_the_model_was_not_given_has_no_heat():
    study = simple_study(views=13)
    picture = ultrasound_image(study.ultrasound[12], "angle unknown", (), (simple_assessment(study), "us_agnostic", "feature"))
    assert picture.overlay is None
    assert "not used by the model" in picture.caption
    assert picture.corner == "angle unknown"


def test_a_large_ultrasound_image_is_made_smaller_with_its_millimetres():
    from dataclasses import replace

    view = replace(simple_study().ultrasound[0], pixels=np.zeros((800, 1000), np.uint8), spacing_mm=(0.1, 0.1))
    mark = Annotation("1", "ruler", view.id, ((100.0, 100.0), (700.0, 900.0)), None)
    picture = ultrasound_image(view, "15°", (mark,))
    assert picture.grey.shape == (320, 400)
    assert picture.size == pytest.approx((80.0, 100.0))
    assert picture.outlines[0].points[1] == pytest.approx((700 * 0.4, 900 * 0.4), abs=0.5)


def test_a_mark_is_drawn_only_on_its_own_plane_and_slice():
    cut = PlaneCut(simple_grid(), "axial")
    mark = Annotation("1", "ruler", DCE, ((-143.0, -120.0, 10.0), (-123.0, -110.0, 10.0)), (0.0, 0.0, 1.0))
    number = cut.nearest((0.0, 0.0, 10.0))
    found = outline_on(mark, "1", cut, number)
    assert found is not None
    assert found.points == (pytest.approx((0.0, 0.0)), pytest.approx((5.0, 10.0)))
    assert outline_on(mark, "1", cut, number + 1) is None
    assert outline_on(mark, "1", PlaneCut(simple_grid(), "coronal"), 0) is None


def test_an_ellipse_on_a_turned_grid_is_drawn_as_it_is_measured():
    """Its box lies along the patient's axes; the pictures of this grid are turned by 30 degrees against them."""
    turn = np.radians(30.0)
    affine = np.eye(4)
    affine[:3, 0] = (0.0, 0.0, 4.0)
    affine[:3, 1] = np.array((-np.sin(turn), np.cos(turn), 0.0)) * 2.0
    affine[:3, 2] = np.array((np.cos(turn), np.sin(turn), 0.0)) * 2.0
    affine[:3, 3] = (-80.0, -120.0, -46.0)
    cut = PlaneCut(Grid((24, 80, 144), affine), "axial")
    x, y, z = cut.to_patient(10, 40, 70)
    mark = Annotation("1", "ellipse", DCE, ((x, y, z), (x + 30.0, y + 12.0, z)), (0.0, 0.0, 1.0))
    found = outline_on(mark, "1", cut, 10)
    assert found is not None
    assert found.closed
    line = np.array([cut.to_patient(10, row, column) for row, column in found.points])
    assert line == pytest.approx(outline_points(mark), abs=1e-6), "the report and the window draw one line"
    assert np.ptp(line, axis=0) == pytest.approx((30.0, 12.0, 0.0), abs=1e-6)
    assert measure(mark).axes == pytest.approx((30.0, 12.0))
