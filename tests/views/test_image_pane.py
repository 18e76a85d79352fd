"""One picture: millimetres keep their shape, clicks and drags mean what they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt

from breastai_gui.services.planes import Letters, PlaneCut
from breastai_gui.views.reading.image_pane import ImagePane
from mouse import drag, turn_wheel
from phantoms import LESION_MM, simple_grid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.fixture
def pane(qtbot: QtBot) -> ImagePane:
    pane = ImagePane("view")
    qtbot.addWidget(pane)
    pane.resize(600, 400)
    pane.set_picture(np.arange(40 * 60, dtype=np.uint16).reshape(40, 60), (0.0, 2400.0), (2.0, 1.0))
    pane.show()
    qtbot.waitExposed(pane)
    return pane


def test_a_millimetre_is_as_long_down_as_across(pane: ImagePane) -> None:
    assert pane.pixels_per_row == pytest.approx(2 * pane.pixels_per_column)
    corner, opposite = pane.to_screen(-0.5, -0.5), pane.to_screen(39.5, 59.5)
    assert opposite.y() - corner.y() == pytest.approx(400, abs=1)  # 80 mm fill the height
    assert opposite.x() - corner.x() == pytest.approx(300, abs=1)


def test_pixels_without_millimetres_are_square_and_have_no_scale_bar(pane: ImagePane, qtbot: QtBot) -> None:
    with_bar = pane.grab().toImage()
    pane.set_picture(np.zeros((40, 60), np.uint8), (0, 255), None)
    assert pane.pixels_per_row == pane.pixels_per_column
    without = pane.grab().toImage()
    bar = [with_bar.pixelColor(x, 391).lightness() for x in range(430, 593)]
    assert max(bar) > 200
    assert max(without.pixelColor(x, 391).lightness() for x in range(430, 593)) < 50


def test_the_brightest_pixel_is_drawn_where_it_belongs(pane: ImagePane) -> None:
    picture = np.zeros((40, 60), np.float32)
    picture[5, 50] = 100
    pane.set_picture(picture, (0, 100), (2.0, 1.0))
    pane.set_smooth(False)
    drawn = pane.grab().toImage()
    at = pane.to_screen(5, 50).toPoint()
    assert drawn.pixelColor(at).lightness() > 240
    assert drawn.pixelColor(pane.to_screen(34, 50).toPoint()).lightness() < 20  # not upside down
    assert drawn.pixelColor(pane.to_screen(5, 9).toPoint()).lightness() < 20  # not mirrored


def test_the_place_under_the_mouse_is_the_place_in_the_picture(pane: ImagePane) -> None:
    for zoom in (1.0, 3.7):
        pane.set_zoom(zoom)
        for row, column in ((0.0, 0.0), (12.25, 47.5)):
            assert pane.to_picture(pane.to_screen(row, column)) == pytest.approx((row, column), abs=1e-6)


def test_a_click_points_and_a_drag_of_five_pixels_does_not(pane: ImagePane, qtbot: QtBot) -> None:
    pointed: list[tuple[float, float]] = []
    dragged: list[tuple[float, float]] = []
    pane.pointed.connect(lambda row, column: pointed.append((row, column)))
    pane.windowDragged.connect(lambda right, down: dragged.append((right, down)))
    drag(qtbot, pane, Qt.MouseButton.LeftButton, [(1, 0), (1, 1)])
    assert len(pointed) == 1
    assert not dragged
    assert pointed[0] == pytest.approx(pane.to_picture(QPointF(302, 201)), abs=0.2)
    drag(qtbot, pane, Qt.MouseButton.LeftButton, [(3, 0), (3, 0), (10, -4)])
    assert len(pointed) == 1
    assert sum(right for right, _ in dragged) == 16


def test_right_drag_zooms_and_a_right_click_asks_for_a_menu(pane: ImagePane, qtbot: QtBot) -> None:
    factors: list[float] = []
    menus: list[QPoint] = []
    pane.zoomDragged.connect(factors.append)
    pane.contextRequested.connect(menus.append)
    drag(qtbot, pane, Qt.MouseButton.RightButton, [(0, -10), (0, -10)])
    assert np.prod(factors) > 1.1
    assert not menus
    drag(qtbot, pane, Qt.MouseButton.RightButton, [])
    assert len(menus) == 1


@pytest.mark.parametrize(("button", "shift"), [(Qt.MouseButton.MiddleButton, False), (Qt.MouseButton.LeftButton, True)])
def test_panning_keeps_the_place_under_the_mouse(pane: ImagePane, qtbot: QtBot, button: Qt.MouseButton, shift: bool) -> None:
    pane.set_zoom(3.0)
    gripped = pane.to_picture(QPointF(300, 200))
    drag(qtbot, pane, button, [(20, 10), (20, 10)], shift=shift)
    assert pane.to_picture(QPointF(340, 220)) == pytest.approx(gripped, abs=0.3)


def test_the_wheel_steps_slices_with_shift_phases_with_control_zoom(pane: ImagePane) -> None:
    slices: list[int] = []
    phases: list[int] = []
    zooms: list[float] = []
    pane.sliceStepped.connect(slices.append)
    pane.phaseStepped.connect(phases.append)
    pane.zoomDragged.connect(zooms.append)
    turn_wheel(pane, 1)
    turn_wheel(pane, -2)
    turn_wheel(pane, 1, Qt.KeyboardModifier.ShiftModifier)
    turn_wheel(pane, 1, Qt.KeyboardModifier.ControlModifier)
    assert slices == [1, -2]
    assert phases == [1]
    assert zooms == [pytest.approx(1.15)]


def test_a_drawing_tool_takes_the_left_button_unless_nothing_may_be_marked(pane: ImagePane, qtbot: QtBot) -> None:
    drawn: list[str] = []
    pane.drawPressed.connect(lambda *_: drawn.append("pressed"))
    pane.drawMoved.connect(lambda *_: drawn.append("moved"))
    pane.drawReleased.connect(lambda *_: drawn.append("released"))
    pane.set_tool("ruler")
    drag(qtbot, pane, Qt.MouseButton.LeftButton, [(10, 0)])
    assert drawn == ["pressed", "moved", "released"]
    pane.markable = False
    drag(qtbot, pane, Qt.MouseButton.LeftButton, [(10, 0)])
    assert drawn == ["pressed", "moved", "released"]


def test_marks_are_kept_in_patient_millimetres_and_only_on_their_slice(pane: ImagePane) -> None:
    cut = PlaneCut(simple_grid(), "sagittal")
    position = cut.nearest(LESION_MM)
    pane.set_plane(cut, position)
    point = pane.to_points(3.0, 7.5)
    assert len(point) == 3
    assert pane.from_points(point) == pytest.approx((3.0, 7.5))
    pane.set_plane(cut, position + 1)
    assert pane.from_points(point) is None
    assert pane.plane_normal == pytest.approx((1.0, 0.0, 0.0))
    pane.set_plane(None)
    assert pane.to_points(3.0, 7.5) == (3.0, 7.5)
    assert pane.plane_normal is None


def test_heat_is_laid_on_its_box_and_never_beside_the_picture(pane: ImagePane) -> None:
    pane.set_picture(np.zeros((40, 60), np.uint8), (0, 255), (2.0, 1.0))
    red = np.zeros((4, 4, 4), np.uint8)
    red[..., 0] = red[..., 3] = 255
    pane.set_overlay(red, (20.0, 30.0, 40.0, 40.0))  # reaches beyond the lower right corner
    drawn = pane.grab().toImage()
    assert drawn.pixelColor(pane.to_screen(30, 45).toPoint()).red() > 200
    assert drawn.pixelColor(pane.to_screen(10, 45).toPoint()).red() < 30
    assert pane.to_screen(39, 62).x() < 600
    assert drawn.pixelColor(pane.to_screen(30, 62).toPoint()).red() < 30


def test_letters_stand_at_the_four_edges(pane: ImagePane) -> None:
    pane.set_picture(np.zeros((40, 60), np.uint8), (0, 255), (1.0, 1.0))
    pane.furniture.letters = Letters(top="A", bottom="P", left="R", right="L")
    drawn = pane.grab().toImage()

    def ink(left: int, top: int) -> int:
        return sum(drawn.pixelColor(x, y).lightness() > 150 for x in range(left, left + 24) for y in range(top, top + 24))

    assert all(ink(*corner) > 8 for corner in ((288, 2), (288, 372), (2, 188), (572, 188)))
    assert ink(288, 188) == 0
