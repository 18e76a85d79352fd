"""The reader's own side: marks listed with sizes, notes, jumps; words kept without a button."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.session import Reading, Session
from breastai_gui.views.reading.findings_panel import FindingsPanel
from breastai_gui.views.reading.viewpoint import Viewpoint
from phantoms import simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

RULER = Annotation("r", "ruler", DCE, ((48.0, -40.0, 10.0), (72.0, -40.0, 10.0)), (0.0, 0.0, 1.0), "long <b>axis</b>")
ELLIPSE = Annotation("e", "ellipse", "view-02", ((30.0, 40.0), (90.0, 120.0)), None)


@pytest.fixture
def session() -> Session:
    return Session(simple_study())


@pytest.fixture
def viewpoint() -> Viewpoint:
    return Viewpoint()


@pytest.fixture
def panel(qtbot: QtBot, session: Session, viewpoint: Viewpoint) -> FindingsPanel:
    panel = FindingsPanel(session, viewpoint)
    qtbot.addWidget(panel)
    panel.resize(310, 700)
    panel.show()
    panel.activateWindow()
    return panel


def test_each_mark_is_listed_with_kind_size_and_place(panel: FindingsPanel, session: Session) -> None:
    assert any("No marks yet" in label.text() for label in panel.findChildren(QLabel) if label.isVisibleTo(panel))
    session.add_annotation(RULER)
    session.add_annotation(ELLIPSE)
    first, second = panel.rows
    assert first.extent.text() == "Ruler 24.0 mm"
    assert first.where.text() == "MRI axial · L 60 A 40 H 10 mm"
    assert first.note.text() == "long <b>axis</b>"
    assert second.extent.text() == "Ellipse 20.0 × 15.0 mm"
    assert second.where.text() == "235.6 mm² · US 30°"


def test_without_calibration_a_size_is_in_pixels(qtbot: QtBot) -> None:
    session = Session(simple_study(spacing=False))
    session.add_annotation(ELLIPSE)
    panel = FindingsPanel(session, Viewpoint())
    qtbot.addWidget(panel)
    assert panel.rows[0].extent.text() == "Ellipse 80.0 × 60.0 px"


def test_a_jump_brings_the_views_to_the_mark(panel: FindingsPanel, session: Session, viewpoint: Viewpoint) -> None:
    session.add_annotation(RULER)
    session.add_annotation(ELLIPSE)
    panel.rows[0].jump.click()
    assert viewpoint.look.cursor_mm == (60.0, -40.0, 10.0)
    panel.rows[1].jump.click()
    assert viewpoint.look.view_id == "view-02"


def test_a_note_is_edited_in_the_list_and_can_be_undone(panel: FindingsPanel, session: Session) -> None:
    session.add_annotation(RULER)
    note = panel.rows[0].note
    note.setFocus()
    note.clear()
    QTest.keyClicks(note, "spiculated")
    note.clearFocus()
    QApplication.processEvents()
    if session.annotations[0].text != "spiculated":  # offscreen windows are not always active: leave as Enter does
        note.editingFinished.emit()
    assert session.annotations[0].text == "spiculated"
    session.undo()
    assert panel.rows[0].note.text() == "long <b>axis</b>"


def test_delete_takes_the_row_away_and_undo_brings_it_back_in_place(panel: FindingsPanel, session: Session) -> None:
    session.add_annotation(RULER)
    session.add_annotation(ELLIPSE)
    panel.rows[0].delete.click()
    assert [row.mark.id for row in panel.rows] == ["e"]
    session.undo()
    assert [row.mark.id for row in panel.rows] == ["r", "e"]
    assert panel.rows[0].extent.text() == "Ruler 24.0 mm"


def test_words_are_kept_after_a_pause_as_one_step(qtbot: QtBot, panel: FindingsPanel, session: Session) -> None:
    QTest.keyClicks(panel.findings, "Irregular mass, ")
    QTest.keyClicks(panel.findings, "12 mm.")
    assert session.state.reading == Reading(), "not at every key"
    qtbot.waitUntil(lambda: session.state.reading.findings == "Irregular mass, 12 mm.", timeout=3000)
    session.undo()
    assert session.state.reading == Reading()
    assert panel.findings.toPlainText() == ""
    session.redo()
    assert panel.findings.toPlainText() == "Irregular mass, 12 mm."


def test_closing_the_panel_keeps_what_was_just_typed(panel: FindingsPanel, session: Session) -> None:
    QTest.keyClicks(panel.impression, "BI-RADS 4")
    panel.hide()
    assert session.state.reading.impression == "BI-RADS 4"


def test_another_change_does_not_take_away_words_that_are_being_typed(panel: FindingsPanel, session: Session) -> None:
    QTest.keyClicks(panel.findings, "half a sen")
    session.add_annotation(RULER)
    assert panel.findings.toPlainText() == "half a sen"
    panel.flush()
    assert session.state.reading.findings == "half a sen"
    assert len(session.annotations) == 1
