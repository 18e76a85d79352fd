"""Marks drawn with the mouse: right millimetres, one undo each, only where they lie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit

from breastai_gui.services.annotations import DCE, Annotation, measure, outline_points
from breastai_gui.services.planes import PlaneCut, PlaneName
from breastai_gui.services.session import Session
from breastai_gui.views.reading.image_pane import ImagePane
from breastai_gui.views.reading.mark_drawing import MARK_COLOUR, SELECTED_COLOUR, mark_words
from breastai_gui.views.reading.mark_outline import see
from breastai_gui.views.reading.mark_tools import MarkTools, PaneMarks
from breastai_gui.views.reading.ultrasound_focus import UltrasoundFocus
from breastai_gui.views.reading.viewpoint import Look, Tool, Viewpoint
from phantoms import LESION_MM, simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


class Bench:
    """One pane with marks, and a hand that holds the mouse."""

    def __init__(self, qtbot: QtBot, plane: PlaneName = "axial", session: Session | None = None) -> None:
        self.session = session or Session(simple_study())
        self.viewpoint = Viewpoint()
        self.tools = MarkTools(self.session, self.viewpoint)
        self.pane = ImagePane(DCE)
        qtbot.addWidget(self.pane)
        self.pane.resize(600, 360)
        assert self.session.study.dce is not None
        self.cut = PlaneCut(self.session.study.dce.grid, plane)
        self.marks: PaneMarks = self.tools.attach(self.pane)
        self.show(self.cut.nearest(LESION_MM))
        self.pane.show()

    def show(self, position: int) -> None:
        assert self.session.study.dce is not None
        self.pane.set_plane(self.cut, position)
        self.pane.set_picture(self.cut.cut(self.session.study.dce.real(2), position), (0.0, 600.0), self.cut.spacing_mm)

    def tool(self, tool: Tool) -> None:
        self.viewpoint.set(tool=tool)
        self.pane.set_tool(tool)

    def at(self, row: float, column: float) -> QPoint:
        return self.pane.to_screen(row, column).toPoint()

    def drag(self, start: QPoint, end: QPoint) -> None:
        port = self.pane.viewport()
        QTest.mousePress(port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
        for share in (0.3, 0.7, 1.0):
            QTest.mouseMove(port, start + (end - start) * share)
            QApplication.processEvents()
        QTest.mouseRelease(port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, end)

    def click(self, place: QPoint) -> None:
        QTest.mouseClick(self.pane.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    def point_mm(self, place: QPoint) -> np.ndarray:
        return np.array(self.pane.to_points(*self.pane.to_picture(QPointF(place))))

    @property
    def only(self) -> Annotation:
        (mark,) = self.session.annotations
        return mark


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_i6_a_drawn_ruler_has_the_millimetres_between_its_ends(qtbot: QtBot, plane: PlaneName) -> None:
    bench = Bench(qtbot, plane)
    bench.tool("ruler")
    start, end = QPoint(200, 150), QPoint(320, 210)
    bench.drag(start, end)
    mark = bench.only
    expected = np.linalg.norm(bench.point_mm(end) - bench.point_mm(start))
    assert measure(mark).length == pytest.approx(expected, rel=1e-6)
    assert np.allclose(mark.points[0], bench.point_mm(start))
    assert mark.plane_normal == bench.pane.plane_normal
    assert mark_words(mark, None) == f"{expected:.1f} mm"
    bench.session.undo()
    assert bench.session.annotations == ()
    bench.session.redo()
    assert bench.only == mark


def test_two_clicks_draw_a_ruler_too(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    bench.click(QPoint(200, 150))
    assert bench.session.annotations == ()
    QTest.mouseMove(bench.pane.viewport(), QPoint(250, 150))
    bench.click(QPoint(300, 150))
    assert measure(bench.only).length == pytest.approx(np.linalg.norm(bench.point_mm(QPoint(300, 150)) - bench.point_mm(QPoint(200, 150))))


def test_an_ellipse_is_drawn_as_it_is_measured(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ellipse")
    bench.drag(bench.at(20, 90), bench.at(40, 110))
    size = measure(bench.only)
    assert size.axes == pytest.approx((40.0, 40.0), abs=1.0)
    line = outline_points(bench.only)
    extent = line.max(axis=0) - line.min(axis=0)
    assert sorted(extent)[1:] == pytest.approx(sorted(size.axes or ()), abs=0.2)


def test_a_polygon_takes_corners_and_closes_on_a_double_click(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("polygon")
    corners = [bench.at(20, 90), bench.at(20, 110), bench.at(40, 110)]
    for corner in corners:
        bench.click(corner)
    last = bench.at(40, 90)
    bench.click(last)
    assert bench.session.annotations == ()
    QTest.mouseDClick(bench.pane.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, last)
    assert len(bench.only.points) == 4
    assert measure(bench.only).area == pytest.approx(1600.0, rel=0.03)
    assert not bench.marks.give_up(), "nothing is left half drawn"


def test_enter_closes_a_polygon_and_escape_gives_it_up(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("polygon")
    for row, column in ((20, 90), (20, 110), (40, 110)):
        bench.click(bench.at(row, column))
    QTest.keyClick(bench.pane, Qt.Key.Key_Return)
    assert len(bench.only.points) == 3
    bench.click(bench.at(60, 40))
    bench.click(bench.at(60, 60))
    QTest.keyClick(bench.pane, Qt.Key.Key_Escape)
    QTest.keyClick(bench.pane, Qt.Key.Key_Return)
    assert len(bench.session.annotations) == 1


def test_a_point_asks_for_its_note_and_is_one_step(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("point")
    bench.click(bench.at(30, 100))
    note = bench.pane.findChild(QLineEdit, "mark_note")
    assert note is not None
    assert bench.session.annotations == ()
    QTest.keyClicks(note, "clip <b>")
    QTest.keyClick(note, Qt.Key.Key_Return)
    assert bench.only.text == "clip <b>"
    assert mark_words(bench.only, None) == "clip <b>"
    bench.session.undo()
    assert not bench.session.can_undo
    bench.click(bench.at(30, 100))
    note = bench.pane.findChildren(QLineEdit, "mark_note")[-1]
    QTest.keyClick(note, Qt.Key.Key_Escape)
    assert bench.session.annotations == ()


def test_dragging_a_handle_changes_the_mark_in_one_step(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    start, end = QPoint(200, 150), QPoint(300, 150)
    bench.drag(start, end)
    before = bench.only
    bench.tool("navigate")
    moved: list[tuple[float, float]] = []
    bench.pane.windowDragged.connect(lambda right, down: moved.append((right, down)))
    bench.drag(end, QPoint(380, 150))
    assert bench.only.id == before.id
    assert np.allclose(bench.only.points[1], bench.point_mm(QPoint(380, 150)))
    assert bench.only.points[0] == before.points[0]
    assert moved == [], "the grey scale stays while a handle is dragged"
    bench.session.undo()
    assert bench.only == before


def test_dragging_the_line_moves_the_whole_mark(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    bench.drag(QPoint(200, 150), QPoint(300, 150))
    before = bench.only
    bench.tool("navigate")
    bench.drag(QPoint(250, 150), QPoint(250, 190))
    step = bench.point_mm(QPoint(250, 190)) - bench.point_mm(QPoint(250, 150))
    assert np.allclose(np.array(bench.only.points) - np.array(before.points), step)
    assert measure(bench.only).length == pytest.approx(measure(before).length)


def test_delete_takes_the_selected_mark_and_a_press_elsewhere_lets_go_of_it(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    bench.drag(QPoint(200, 150), QPoint(300, 150))
    bench.tool("navigate")
    bench.click(QPoint(420, 60))
    assert bench.tools.selected is None
    QTest.keyClick(bench.pane, Qt.Key.Key_Delete)
    assert len(bench.session.annotations) == 1
    bench.click(QPoint(250, 150))
    assert bench.tools.selected == bench.only.id
    QTest.keyClick(bench.pane, Qt.Key.Key_Delete)
    assert bench.session.annotations == ()
    bench.session.undo()
    assert len(bench.session.annotations) == 1


def colours(pane: ImagePane) -> set[str]:
    QApplication.processEvents()
    image = pane.viewport().grab().toImage()
    return {image.pixelColor(x, y).name() for x in range(0, image.width()) for y in range(0, image.height())}


def test_a_mark_is_drawn_on_its_slice_only(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    bench.drag(QPoint(200, 150), QPoint(300, 150))
    assert len(bench.marks.seen) == 1
    assert SELECTED_COLOUR.name() in colours(bench.pane)
    bench.tools.select(None)
    assert MARK_COLOUR.name() in colours(bench.pane)
    here = bench.cut.nearest(LESION_MM)
    bench.show(here + 1)
    assert bench.marks.seen == ()
    assert MARK_COLOUR.name() not in colours(bench.pane)
    bench.show(here)
    assert len(bench.marks.seen) == 1


def test_a_mark_of_another_plane_shows_where_it_crosses(qtbot: QtBot) -> None:
    session = Session(simple_study())
    session.add_annotation(Annotation("r", "ruler", DCE, ((40.0, -40.0, 10.0), (80.0, -40.0, 10.0)), (0.0, 0.0, 1.0)))
    bench = Bench(qtbot, "sagittal", session)
    (seen,) = bench.marks.seen
    assert len(seen.handles) == 0
    assert np.allclose(np.array(bench.pane.to_points(*seen.crossings[0])), (61.0, -40.0, 10.0)), "on the sagittal slice at x = 61 mm"
    bench.show(bench.cut.nearest((-60.0, 0.0, 0.0)))
    assert bench.marks.seen == ()


def test_a_polygon_begun_on_one_slice_is_not_finished_on_another(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("polygon")
    for row, column in ((20, 90), (20, 110), (40, 110)):
        bench.click(bench.at(row, column))
    bench.show(bench.cut.nearest(LESION_MM) + 2)
    QTest.keyClick(bench.pane, Qt.Key.Key_Return)
    assert bench.session.annotations == ()


def test_a_projection_shows_no_marks(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    bench.drag(QPoint(200, 150), QPoint(300, 150))
    bench.pane.markable = False
    assert bench.marks.seen == ()


@pytest.mark.parametrize("calibrated", [True, False])
def test_on_ultrasound_a_ruler_has_mm_only_with_a_calibration(qtbot: QtBot, calibrated: bool) -> None:
    session = Session(simple_study(spacing=calibrated))
    viewpoint = Viewpoint(Look(view_id="view-02"))
    focus = UltrasoundFocus(session, viewpoint)
    qtbot.addWidget(focus)
    focus.resize(500, 460)
    tools = MarkTools(session, viewpoint)
    marks = tools.attach(focus.pane)
    focus.show()
    QApplication.processEvents()
    viewpoint.set(tool="ruler")
    port = focus.pane.viewport()
    QTest.mousePress(port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, focus.pane.to_screen(60, 40).toPoint())
    end = focus.pane.to_screen(60, 120).toPoint()
    QTest.mouseMove(port, end)
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, end)
    (mark,) = session.annotations
    assert mark.image == "view-02"
    assert mark.plane_normal is None
    length = mark.points[1][1] - mark.points[0][1]
    assert length == pytest.approx(80.0, abs=1.0)
    expected = f"{length * 0.25:.1f} mm" if calibrated else f"{length:.1f} px"
    assert mark_words(mark, session.study.view("view-02").spacing_mm) == expected
    assert len(marks.seen) == 1
    viewpoint.set(view_id="view-03")
    assert marks.seen == (), "a mark belongs to its view"


def test_a_mark_outside_the_picture_is_brought_back_onto_it(qtbot: QtBot) -> None:
    bench = Bench(qtbot)
    bench.tool("ruler")
    bench.drag(bench.at(40, 70), QPoint(599, 170))
    _row, column = bench.pane.from_points(bench.only.points[1]) or (np.nan, np.nan)
    assert column <= bench.cut.shape[1] - 0.5


def test_marks_on_an_oblique_grid_have_the_same_millimetres(qtbot: QtBot) -> None:
    study = simple_study()
    assert study.dce is not None
    turn = np.deg2rad(20.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    affine = study.dce.grid.affine.copy()
    affine[:3] = rotation @ affine[:3]
    grid = replace(study.dce.grid, affine=affine)
    session = Session(replace(study, dce=replace(study.dce, grid=grid)))
    bench = Bench(qtbot, "axial", session)
    bench.tool("ruler")
    bench.drag(bench.at(30, 60), bench.at(30, 80))
    assert measure(bench.only).length == pytest.approx(40.0, abs=0.6)
    seen = see(bench.only, bench.pane)
    assert seen is not None
    assert len(seen.handles) == 2
