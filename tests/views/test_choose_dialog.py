"""Several patients or series: the person chooses, nothing is chosen beforehand."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialogButtonBox, QLabel, QRadioButton

from breastai_gui.data.study import Candidate, Catalogue, Patient, Selection
from breastai_gui.views.choose_dialog import CatalogueDialog

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

ANNA = Patient("1", "Anna^A", "19700101", "F")
BETA = Patient("2", "<b>Beta</b>^B", "19600101", "F")
DATE = dt.date(2026, 3, 14)


def candidate(key: str, kind: str, patient: Patient, counts: tuple[int, ...], confidence: str = "certain") -> Candidate:
    return Candidate(key, kind, patient, f"label of {key}", DATE, confidence, counts)  # type: ignore[arg-type]


MRI_A = candidate("mri-a", "dynamic", ANNA, (6, 32, 192, 320))
MRI_B = candidate("mri-b", "dynamic", BETA, (5, 40, 256, 256))
US_A = candidate("us-a", "ultrasound", ANNA, (25,), "question")


def dialog_of(qtbot: QtBot, *candidates: Candidate, proposed: Selection | None = None, reason: str = "") -> CatalogueDialog:
    dialog = CatalogueDialog(Catalogue("x", candidates, (), (), (), proposed, reason), None)
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def choose(dialog: CatalogueDialog, words: str) -> None:
    next(button for button in dialog.findChildren(QRadioButton) if words in button.accessibleName()).click()


def can_open(dialog: CatalogueDialog) -> bool:
    return dialog.buttons.button(QDialogButtonBox.StandardButton.Open).isEnabled()


def words(dialog: CatalogueDialog) -> str:
    return "\n".join(label.text() for label in dialog.findChildren(QLabel) if label.isVisibleTo(dialog))


def test_nothing_is_chosen_beforehand(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, MRI_B, US_A, reason="The folder holds two patients.")
    assert not any(button.isChecked() for button in dialog.findChildren(QRadioButton))
    assert not can_open(dialog)
    assert dialog.selection() is None
    assert "The folder holds two patients." in words(dialog)


def test_each_candidate_names_patient_date_and_counts_literally(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, MRI_B, US_A)
    text = words(dialog)
    assert "Anna, A · ID 1 · born 1970-01-01" in text
    assert "<b>Beta</b>, B · ID 2 · born 1960-01-01" in text
    assert "2026-03-14 · 6 phases · 32 slices · 192 × 320" in text
    assert "2026-03-14 · 25 images" in text
    assert {label.textFormat() for label in dialog.findChildren(QLabel)} == {Qt.TextFormat.PlainText}


def test_both_modalities_need_an_answer_and_one_may_be_left_out(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, MRI_B, US_A)
    choose(dialog, "label of mri-b")
    assert not can_open(dialog)
    choose(dialog, "No ultrasound")
    assert can_open(dialog)
    assert dialog.selection() == Selection("mri-b", None)
    choose(dialog, "No MRI")
    assert not can_open(dialog)
    assert "Choose at least one of the two." in words(dialog)
    choose(dialog, "label of us-a")
    assert dialog.selection() == Selection(None, "us-a")


def test_i1_two_patients_together_are_warned_of(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, MRI_B, US_A)
    choose(dialog, "label of mri-b")
    choose(dialog, "label of us-a")
    assert "These disagree in patient ID, name, birth date" in words(dialog)
    choose(dialog, "label of mri-a")
    assert "disagree" not in words(dialog)


def test_one_kind_alone_needs_one_click(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, MRI_B)
    choose(dialog, "label of mri-a")
    dialog.buttons.button(QDialogButtonBox.StandardButton.Open).click()
    assert dialog.selection() == Selection("mri-a", None)


def test_cancel_chooses_nothing(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, MRI_B)
    choose(dialog, "label of mri-a")
    dialog.reject()
    assert dialog.selection() is None


def test_where_the_program_has_a_proposal_it_is_shown_as_one(qtbot: QtBot) -> None:
    dialog = dialog_of(qtbot, MRI_A, US_A, proposed=Selection("mri-a", "us-a"))
    assert can_open(dialog)
    assert dialog.selection() == Selection("mri-a", "us-a")
