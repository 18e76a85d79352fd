"""At 1366 x 768 the panels are 250 and 286 pixels wide: no button and no sentence is cut off there, in either theme."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication, QPushButton, QScrollArea, QWidget

from breastai_gui.data.study import OtherSeries, Problem
from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.session import Session
from breastai_gui.views.panel_parts import Chip, ElidedText, Text
from breastai_gui.views.reading.assessment_panel import AssessmentPanel
from breastai_gui.views.reading.exam_panel import ExamPanel
from breastai_gui.views.reading.findings_panel import FindingsPanel
from breastai_gui.views.reading.viewpoint import Viewpoint
from breastai_gui.views.theme import apply_theme
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot


@pytest.fixture(params=["dark", "light"])
def themed(request: pytest.FixtureRequest, qapp: QApplication) -> Iterator[None]:
    style, palette, sheet = qapp.style().name(), qapp.palette(), qapp.styleSheet()
    apply_theme(qapp, request.param)
    yield
    qapp.setStyleSheet(sheet)
    qapp.setPalette(palette)
    qapp.setStyle(style)


def exam(session: Session) -> QWidget:
    return ExamPanel(session, Viewpoint())


def assessment(session: Session) -> QWidget:
    panel = AssessmentPanel(session, Viewpoint())
    session.set_assessments((simple_assessment(session.study, scope="mri"), simple_assessment(session.study, scope="ultrasound")))
    session.choose(show_numbers=True)
    return panel


def findings(session: Session) -> QWidget:
    session.add_annotation(Annotation("a", "polygon", DCE, ((40, -60, 10), (80, -60, 10), (80, -20, 10)), (0, 0, 1), "x" * 90))
    return FindingsPanel(session, Viewpoint())


@pytest.mark.usefixtures("themed")
@pytest.mark.parametrize(("make", "width"), [(exam, 250), (assessment, 286), (findings, 286)])
def test_nothing_is_cut_off(qtbot: QtBot, make: Callable[[Session], QWidget], width: int) -> None:
    study = simple_study(phases=6, views=25, order="question", ultrasound_name="A^Person With A Rather Long Name")
    problems = (
        Problem("Phase 3: slice 21 of 48 is damaged (260,628 of 524,288 bytes).", "S3/IM21.dcm", stops=True),
        Problem("A photo.", "x"),
    )
    study = replace(study, problems=problems, others=(OtherSeries("series 4 t2_tse_tra_very_long_description", "T2", 40),))
    panel = make(Session(study))
    qtbot.addWidget(panel)
    panel.resize(width, 640)
    panel.show()
    for _ in range(6):
        QApplication.processEvents()
    area = panel.findChild(QScrollArea)
    assert area is not None
    assert area.widget().width() <= area.viewport().width(), "the panel would have to be scrolled sideways"
    for part in panel.findChildren(QWidget):
        if not part.isVisibleTo(panel) or not isinstance(part, QPushButton | Text | Chip):
            continue
        right = part.mapTo(panel, QPoint(part.width(), 0)).x()
        assert right <= width, f"{part.text()!r} runs out of the panel"
        if isinstance(part, QPushButton | Chip) or (isinstance(part, Text) and not part.wordWrap() and not isinstance(part, ElidedText)):
            assert part.width() >= part.minimumSizeHint().width() - 1, f"{part.text()!r} is narrower than its words"
        elif isinstance(part, Text) and part.wordWrap():
            needed = part.fontMetrics().boundingRect(0, 0, part.width(), 10_000, 0x1000, part.text()).height()  # TextWordWrap
            assert part.height() >= needed - 2, f"{part.text()!r} is cut off below"
