"""What a reader sees of the model: words, hidden numbers, states, honesty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE, Assessment
from breastai_gui.services.session import Session
from breastai_gui.views.panel_parts import Chip
from breastai_gui.views.reading.assessment_panel import AssessmentPanel
from breastai_gui.views.reading.viewpoint import Viewpoint
from breastai_model.case import TaskPrediction
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def words(widget: QWidget) -> str:
    """Everything that can be read on a widget."""
    QApplication.processEvents()
    labels = [label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget)]
    buttons = [button.text() for button in widget.findChildren(QPushButton) if button.isVisibleTo(widget)]
    chips = [chip.text() for chip in widget.findChildren(Chip) if chip.isVisibleTo(widget)]
    return "\n".join([*labels, *buttons, *chips])


def tips(widget: QWidget) -> str:
    return "\n".join(f"{child.toolTip()} {child.accessibleName()}" for child in widget.findChildren(QWidget))


def press(panel: QWidget, text: str) -> None:
    QApplication.processEvents()
    button = next(b for b in panel.findChildren(QPushButton) if b.text() == text and b.isVisibleTo(panel))
    assert button.isEnabled()
    button.click()


def panel_of(qtbot: QtBot, session: Session) -> AssessmentPanel:
    panel = AssessmentPanel(session, Viewpoint())
    qtbot.addWidget(panel)
    panel.resize(310, 700)
    panel.show()
    return panel


def changed(assessment: Assessment, answer: TaskPrediction) -> Assessment:
    return replace(assessment, prediction=replace(assessment.prediction, lymph_node_metastasis=answer))


def test_a_demonstration_model_hides_its_numbers_until_they_are_asked_for(qtbot: QtBot) -> None:
    study = simple_study()
    session = Session(study)
    panel = panel_of(qtbot, session)
    session.set_assessments((simple_assessment(study, probability=0.68),))
    assert DEMONSTRATION_SENTENCE in words(panel)
    assert "68" not in words(panel)
    assert "68" not in tips(panel)
    assert "N+" not in words(panel), "the decision is as much a number as the number"
    press(panel, "Show numbers anyway")
    assert session.choices.show_numbers
    assert "68 %" in words(panel)
    assert DEMONSTRATION_SENTENCE in words(panel), "the sentence stays beside the numbers"
    press(panel, "Hide numbers")
    assert "68" not in words(panel)


def test_on_the_demo_patient_the_numbers_are_shown_and_named_as_made_up(qtbot: QtBot) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    session.set_assessments((simple_assessment(study),))
    text = words(panel)
    assert "Made-up patient, demonstration model." in text
    assert "68 %" in text
    assert "▲ N+" in text, "word and sign, never colour alone"
    assert "Inputs used: MRI 5/5 · US 12/12" in text
    assert "abababab" in text
    assert "ab" * 32 in tips(panel), "the whole digest is in a tooltip"
    assert "Research use only. Do not use alone for patient management." in text


def test_weights_that_learnt_from_patients_carry_no_demonstration_sentence(qtbot: QtBot) -> None:
    study = simple_study()
    session = Session(study)
    panel = panel_of(qtbot, session)
    session.set_assessments((simple_assessment(study, trained_on="patients"),))
    assert "emonstration model" not in words(panel)
    assert "learnt from patients" in words(panel)


@pytest.mark.parametrize("members", [("negative", "positive"), ()])
def test_a_set_that_does_not_decide_reads_not_determined(qtbot: QtBot, members: tuple[str, ...]) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    open_answer = TaskPrediction(0.55, (0.4, 0.7), members, 0.5, "positive")  # type: ignore[arg-type]
    session.set_assessments((changed(simple_assessment(study), open_answer),))
    text = words(panel)
    assert "◇ not determined" in text
    assert "▲ N+" not in text
    assert "models 40 % to 70 %" in text


def test_each_modality_alone_stands_on_its_own_card_with_what_was_absent(qtbot: QtBot) -> None:
    study = simple_study(ultrasound_name="Another^Person", phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    assert "Assesses each modality alone" in words(panel)
    assert "do they show the same patient?" in words(panel)
    session.set_assessments((simple_assessment(study, scope="mri"), simple_assessment(study, scope="ultrasound")))
    text = words(panel)
    assert "MRI alone" in text
    assert "Ultrasound alone" in text
    assert "MRI 5/5 · US absent" in text
    assert "MRI absent · US 12/12" in text


def test_a_fall_back_to_another_device_says_why(qtbot: QtBot) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    answer = simple_assessment(study)
    note = "The graphics card has too little free memory (1.1 of 2.0 GB)."
    session.set_assessments((replace(answer, prediction=replace(answer.prediction, device_note=note)),))
    assert note in words(panel)


def test_running_failed_and_back(qtbot: QtBot) -> None:
    session = Session(simple_study())
    panel = panel_of(qtbot, session)
    with qtbot.waitSignal(panel.assessRequested):
        press(panel, "Predict")
    panel.show_running(0.25, "Preparing the phases")
    assert "Preparing the phases" in words(panel)
    assert not panel.can_assess
    with qtbot.waitSignal(panel.cancelRequested):
        press(panel, "Cancel")
    panel.show_failed("The model file is damaged: install it again.")
    assert "The model file is damaged: install it again." in words(panel)
    with qtbot.waitSignal(panel.assessRequested):
        press(panel, "Try again")
    panel.show_running(0.5, "")
    session.set_assessments((simple_assessment(session.study),))
    assert "Cancel" not in words(panel), "an answer ends the running state"
    assert panel.can_assess


def test_the_button_is_disabled_with_the_reason_when_nothing_may_be_assessed(qtbot: QtBot) -> None:
    panel = panel_of(qtbot, Session(simple_study(views=0, order="question")))
    assert not panel.can_assess
    assert "The order of the 5 dynamic phases is only a proposal" in words(panel)


def test_a_changed_input_takes_the_answer_away_and_says_so(qtbot: QtBot) -> None:
    study = simple_study(phantom=True)
    session = Session(study)
    panel = panel_of(qtbot, session)
    session.set_assessments((simple_assessment(study),))
    session.choose(phases=(0, 1, 2, 3))
    assert "68 %" not in words(panel)
    assert "What is used has changed since the last prediction." in words(panel)


def test_a_cancelled_prediction_is_told_until_the_next_one(qtbot: QtBot) -> None:
    study = simple_study()
    session = Session(study)
    panel = panel_of(qtbot, session)
    panel.show_running(0.4, "Reading the phases")
    panel.show_cancelled()
    assert "Cancelled. Nothing was kept." in words(panel)
    assert "Reading the phases" not in words(panel)
    press(panel, "Predict")
    panel.show_running(0.0, "")
    assert "Cancelled" not in words(panel)
    session.set_assessments((simple_assessment(study),))
    panel.show_running(0.0, "")
    panel.show_cancelled()
    assert "Cancelled. The answer below is the one from before." in words(panel)
    assert "Demonstration model" in words(panel)
