"""Where the lesion is and where the midline lies: said by the person, seen on the planes, and what the report then rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QMenu

from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.report import compose
from breastai_gui.services.session import Session
from breastai_gui.views.reading.mri_pictures import first_look
from breastai_gui.views.reading.reading_page import ReadingPage
from mouse import move
from phantoms import LESION_MM, simple_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from breastai_gui.views.reading.image_pane import ImagePane
    from breastai_gui.views.reading.slice_view import SliceView

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
"""Menus under Qt's offscreen platform."""
ELSEWHERE_MM = (-61.0, 12.0, 6.0)
NODE = Annotation("node", "point", DCE, ((41.0, -20.0, 10.0),), (0.0, 0.0, 1.0), "node")


@pytest.fixture
def page(qtbot: QtBot) -> Iterator[ReadingPage]:
    study = simple_study()
    session = Session(study)
    page = ReadingPage(session, first_look(study, session.choices))
    qtbot.addWidget(page)
    page.resize(1366, 680)
    page.show()
    qtbot.waitExposed(page)
    page.viewpoint.set(cursor_mm=LESION_MM)
    yield page
    page.close_down()


def drawn(pane: ImagePane) -> np.ndarray:
    """Return (row, column, RGBA) of the pane as it is painted."""
    image = pane.grab().toImage().convertToFormat(pane.grab().toImage().Format.Format_RGBA8888)
    return np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), image.width(), 4).astype(int)


def open_menu(page: ReadingPage, pane: ImagePane, at: QPoint, qtbot: QtBot) -> dict[str, object]:
    """Click with the right button; return what the menu that opened offers."""
    for old in page.findChildren(QMenu):
        old.hide()
        old.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
    qtbot.mouseClick(pane.viewport(), Qt.MouseButton.RightButton, pos=at)
    (menu,) = page.findChildren(QMenu)
    assert menu.isVisible()
    return {action.text(): action for action in menu.actions() if action.text()}


def place_on(pane: SliceView, place_mm: tuple[float, float, float]) -> QPoint:
    place = pane.from_points(place_mm)
    assert place is not None
    return pane.to_screen(*place).toPoint()


def report_text(session: Session) -> str:
    return str(compose(session, "0"))


def test_the_lesion_that_a_person_marks_is_the_one_of_the_report(page: ReadingPage) -> None:
    assert "lesion marked by the reader" not in report_text(page.session)
    page.viewpoint.set(cursor_mm=ELSEWHERE_MM)
    page.set_lesion()
    assert page.session.choices.lesion_mm == ELSEWHERE_MM
    marked = report_text(page.session)
    assert "lesion marked by the reader" in marked
    assert "suggested lesion" not in marked
    assert "R 61" in marked
    page.session.undo()
    assert "lesion marked by the reader" not in report_text(page.session)
    page.session.redo()
    page.forget_lesion()
    assert page.session.choices.lesion_mm is None


def test_the_marker_is_painted_on_its_slice_of_every_plane_and_on_no_other(page: ReadingPage) -> None:
    page.viewpoint.set(crosshair=False)
    before = {name: drawn(pane) for name, pane in page.planes.items()}
    page.set_lesion()
    for name, pane in page.planes.items():
        changed = np.argwhere(np.abs(drawn(pane) - before[name]).sum(axis=-1) > 60)
        assert len(changed) > 30, name
        at = place_on(pane, LESION_MM)
        ratio = pane.devicePixelRatioF()
        assert np.abs(changed / ratio - (at.y(), at.x())).max(axis=0) == pytest.approx([17, 30], abs=22), name
    page.viewpoint.set(cursor_mm=(LESION_MM[0] + 12, LESION_MM[1] + 12, LESION_MM[2] + 12))
    elsewhere = {name: drawn(pane) for name, pane in page.planes.items()}
    page.forget_lesion()
    for name, pane in page.planes.items():
        np.testing.assert_array_equal(drawn(pane), elsewhere[name], err_msg=name)


def test_a_point_in_the_list_can_be_the_lesion(page: ReadingPage, qtbot: QtBot) -> None:
    page.session.add_annotation(NODE)
    page.session.add_annotation(Annotation("line", "ruler", DCE, ((0.0, 0.0, 10.0), (9.0, 0.0, 10.0)), (0.0, 0.0, 1.0)))
    point, ruler = page.findings.rows
    assert not ruler.lesion.isVisibleTo(ruler)
    assert not page.findings.lesion.isVisibleTo(page.findings)
    qtbot.mouseClick(point.lesion, Qt.MouseButton.LeftButton)
    assert page.session.choices.lesion_mm == (41.0, -20.0, 10.0)
    assert point.lesion.text() == "◆"
    assert page.findings.lesion.text() == "◆ The lesion: L 41 A 20 H 10 mm"
    page.session.undo()
    assert point.lesion.text() == "◇"
    assert not page.findings.lesion.isVisibleTo(page.findings)


def test_a_right_click_says_that_this_is_the_lesion(page: ReadingPage, qtbot: QtBot) -> None:
    axial = page.planes["axial"]
    wanted = (-62.0, -8.0, 10.0)
    menu = open_menu(page, axial, place_on(axial, wanted), qtbot)
    assert "Delete mark" not in menu
    assert "Forget where the lesion is" not in menu
    menu["This is the lesion"].trigger()  # type: ignore[attr-defined]
    assert page.session.choices.lesion_mm == pytest.approx(wanted, abs=1.0)
    assert page.viewpoint.look.cursor_mm == pytest.approx(page.session.choices.lesion_mm, abs=0.01)
    menu = open_menu(page, axial, place_on(axial, wanted), qtbot)
    menu["Forget where the lesion is"].trigger()  # type: ignore[attr-defined]
    assert page.session.choices.lesion_mm is None


def test_a_right_click_on_a_mark_speaks_of_the_mark(page: ReadingPage, qtbot: QtBot) -> None:
    page.session.add_annotation(NODE)
    axial = page.planes["axial"]
    at = place_on(axial, NODE.points[0]) + QPoint(3, 2)  # type: ignore[arg-type]
    open_menu(page, axial, at, qtbot)["This is the lesion"].trigger()  # type: ignore[attr-defined]
    assert page.session.choices.lesion_mm == NODE.points[0]
    open_menu(page, axial, at, qtbot)["Delete mark"].trigger()  # type: ignore[attr-defined]
    assert page.session.annotations == ()


def test_the_menu_changes_window_view_and_room(page: ReadingPage, qtbot: QtBot) -> None:
    sagittal, middle = page.planes["sagittal"], QPoint(90, 60)
    page.viewpoint.set(window=(5000.0, 6000.0), zoom=3.0)
    open_menu(page, sagittal, middle, qtbot)["Auto window"].trigger()  # type: ignore[attr-defined]
    assert page.viewpoint.look.window[1] < 1000
    open_menu(page, sagittal, middle, qtbot)["Reset view"].trigger()  # type: ignore[attr-defined]
    assert page.viewpoint.look.zoom == 1.0
    open_menu(page, sagittal, middle, qtbot)["Maximise"].trigger()  # type: ignore[attr-defined]
    assert page.images.maximised == "sagittal"
    open_menu(page, sagittal, middle, qtbot)["Show all images"].trigger()  # type: ignore[attr-defined]
    assert page.images.maximised is None


def test_the_ultrasound_has_a_menu_without_a_place_in_the_mri(page: ReadingPage, qtbot: QtBot) -> None:
    assert page.focus is not None
    menu = open_menu(page, page.focus.pane, QPoint(60, 60), qtbot)
    assert set(menu) == {"Auto window", "Reset view", "Maximise"}


def test_a_right_drag_opens_no_menu(page: ReadingPage, qtbot: QtBot) -> None:
    port = page.planes["axial"].viewport()
    qtbot.mousePress(port, Qt.MouseButton.RightButton, pos=QPoint(100, 100))
    move(page.planes["axial"], QPoint(100, 60), Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier)
    qtbot.mouseRelease(port, Qt.MouseButton.RightButton, pos=QPoint(100, 60))
    assert not page.findChildren(QMenu)


def test_the_midline_is_never_guessed_and_is_dragged_into_place(page: ReadingPage, qtbot: QtBot) -> None:
    axial, coronal, sagittal = (page.planes[name] for name in ("axial", "coronal", "sagittal"))
    assert axial.guides.midline_ends() is None
    plain = drawn(axial)
    page.viewpoint.set(midline=True)
    assert np.abs(drawn(axial) - plain).max() > 60
    assert axial.guides.midline_words == "midline (not set)"
    assert axial.guides.midline_mm == pytest.approx(0.0)  # the middle of this volume
    assert sagittal.guides.midline_ends() is None
    assert page.session.choices.midline_mm is None
    start = place_on(axial, (0.0, -60.0, 10.0))
    end = place_on(axial, (-12.0, -60.0, 10.0))
    cursor, window = page.viewpoint.look.cursor_mm, page.viewpoint.look.window
    qtbot.mousePress(axial.viewport(), Qt.MouseButton.LeftButton, pos=start)
    move(axial, end, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    assert page.session.choices.midline_mm is None
    assert axial.guides.midline_words.startswith("midline R 1")
    qtbot.mouseRelease(axial.viewport(), Qt.MouseButton.LeftButton, pos=end)
    assert page.session.choices.midline_mm == pytest.approx(-12.0, abs=1.0)
    assert (page.viewpoint.look.cursor_mm, page.viewpoint.look.window) == (cursor, window)
    (_, top), (_, bottom) = coronal.guides.midline_ends() or ((0, 0), (0, 0))
    assert coronal.place_of(0, top)[0] == pytest.approx(page.session.choices.midline_mm)
    assert top == pytest.approx(bottom)
    page.session.undo()
    assert page.session.choices.midline_mm is None


def test_a_drag_beside_the_midline_is_the_grey_scale_as_ever(page: ReadingPage, qtbot: QtBot) -> None:
    page.viewpoint.set(midline=True)
    axial, window = page.planes["axial"], page.viewpoint.look.window
    start = place_on(axial, (30.0, -60.0, 10.0))
    qtbot.mousePress(axial.viewport(), Qt.MouseButton.LeftButton, pos=start)
    move(axial, start + QPoint(40, 0), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    qtbot.mouseRelease(axial.viewport(), Qt.MouseButton.LeftButton, pos=start + QPoint(40, 0))
    assert page.session.choices.midline_mm is None
    assert page.viewpoint.look.window != window
