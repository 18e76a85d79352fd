"""What each input added, and the verdict that an exam lies outside what the model has seen, as a reader meets them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QPushButton, QWidget

from breastai_gui.services.assessment import OUTSIDE_SENTENCE, Assessment
from breastai_gui.services.session import Session
from breastai_gui.views.reading.assessment_contributions import ContributionBar
from breastai_gui.views.reading.assessment_panel import AssessmentPanel
from breastai_gui.views.reading.viewpoint import Viewpoint
from breastai_model.case import Contributions, InDistribution
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

REASON = "The MRI differs from what this model has seen: grey values and texture lie 4.7 times as far away as its limit."
PHASES = tuple((index, (0.1 * index, -0.05, 0.0)) for index in range(5))
ANGLES = tuple((index, (-0.02 * index, 0.01, 0.0)) for index in range(12))
WEIGHED = Contributions((0.2, 0.0, 0.0), (1.0, -0.25, 0.0), (-1.32, 0.12, 0.0), PHASES, ANGLES, 0.07, 1.0)


def words(widget: QWidget) -> str:
    QApplication.processEvents()
    parts = [*widget.findChildren(QLabel), *widget.findChildren(QPushButton)]
    return "\n".join(part.text() for part in parts if part.isVisibleTo(widget))


def panel_of(qtbot: QtBot, session: Session) -> AssessmentPanel:
    panel = AssessmentPanel(session, Viewpoint())
    qtbot.addWidget(panel)
    panel.resize(330, 1100)
    panel.show()
    return panel


def with_parts(assessment: Assessment, **parts: object) -> Assessment:
    return replace(assessment, prediction=replace(assessment.prediction, **parts))


def test_numbers_of_an_exam_outside_are_withheld_with_the_reasons(qtbot: QtBot) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    inside = with_parts(simple_assessment(study), distribution=InDistribution(True, 0.6, 1.0, ()))
    session.set_assessments((inside,))
    assert "68 %" in words(panel)
    assert OUTSIDE_SENTENCE not in words(panel)
    outside = with_parts(inside, distribution=InDistribution(False, 4.7, 1.0, (REASON,)))
    session.set_assessments((outside,))
    assert OUTSIDE_SENTENCE in words(panel)
    assert REASON in words(panel)
    assert "68" not in words(panel)
    assert not panel.findChildren(QPushButton, "weigh"), "what each input added would be a number too"
    panel.findChild(QPushButton, "show_numbers").click()
    assert "68 %" in words(panel)
    assert REASON in words(panel), "the reasons stay beside the numbers"


def test_contributions_are_asked_for_and_shown_question_by_question(qtbot: QtBot) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    session.set_assessments((simple_assessment(study),))
    with qtbot.waitSignal(panel.weighRequested, timeout=2000):
        panel.findChild(QPushButton, "weigh").click()
    QApplication.processEvents()
    assert "Weighing the inputs…" in words(panel)
    assert not panel.findChild(QPushButton, "weigh").isEnabled(), "once is enough"
    session.set_assessments((with_parts(simple_assessment(study), contributions=WEIGHED),))
    text = words(panel)
    for line in ("MRI", "+1.00", "ultrasound", "−1.32", "   phase 5", "+0.40", "   image 12", "−0.22", "standard error at most 0.07"):
        assert line in text
    bars = [bar.accessibleName() for bar in panel.findChildren(ContributionBar) if bar.isVisibleTo(panel)]
    assert bars[:2] == ["adds +0.20", "adds +1.00"]
    panel.findChild(QComboBox, "contributions_task").setCurrentIndex(1)
    assert "−0.25" in words(panel)
    assert "+1.00" not in words(panel)


def test_why_the_inputs_could_not_be_weighed_is_said_and_the_button_is_back(qtbot: QtBot) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    session.set_assessments((simple_assessment(study),))
    panel.findChild(QPushButton, "weigh").click()
    panel.show_weighed("There is not enough memory for this prediction: close other programs, or choose the CPU as device.")
    assert "not enough memory" in words(panel)
    assert panel.findChild(QPushButton, "weigh").isEnabled()
