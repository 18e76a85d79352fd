"""What exam this is, what is open, and that answers reach the session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QTableWidget, QWidget

from breastai_gui.data.study import FileUse, OtherSeries, Patient, Problem, Study
from breastai_gui.services.assess import plan_of
from breastai_gui.services.plain_text import person_name
from breastai_gui.services.questions import open_questions
from breastai_gui.services.session import Session
from breastai_gui.views.reading.exam_panel import ExamPanel
from breastai_gui.views.reading.viewpoint import Viewpoint
from phantoms import simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def panel_of(qtbot: QtBot, session: Session) -> ExamPanel:
    panel = ExamPanel(session, Viewpoint())
    qtbot.addWidget(panel)
    panel.resize(270, 900)
    panel.show()
    return panel


def words(widget: QWidget) -> str:
    QApplication.processEvents()
    return "\n".join(label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget))


def press(panel: QWidget, text: str) -> None:
    QApplication.processEvents()
    next(b for b in panel.findChildren(QPushButton) if b.text() == text and b.isVisibleTo(panel)).click()


def rows(panel: ExamPanel) -> list[tuple[bool, str, str, str]]:
    table = panel.findChild(QTableWidget)
    assert table is not None
    return [
        (
            table.item(at, 0).checkState() == Qt.CheckState.Checked,
            table.item(at, 1).text(),
            table.item(at, 2).text(),
            table.item(at, 3).text(),
        )
        for at in range(table.rowCount())
    ]


def table_of(panel: ExamPanel) -> QTableWidget:
    table = panel.findChild(QTableWidget)
    assert table is not None
    return table


def test_patient_date_and_counts_are_said(qtbot: QtBot) -> None:
    text = words(panel_of(qtbot, Session(simple_study(views=9))))
    assert "Test, Patient" in text
    assert "ID ID-1 · born 1970-01-01 · F" in text
    assert "2026-03-14 · Breast MRI" in text
    assert "MRI: 5 phases" in text
    assert "Ultrasound: 9 of 9 used" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>Bold</b>^<img>", "<b>Bold</b>, <img>"),
        ("Wang^XiaoDong=王^小东=", "Wang, XiaoDong (王, 小东)"),
        ("Yamada^Tarou^Mid^Dr.^Jr.", "Yamada, Dr. Tarou Mid Jr."),
        ("a\u202eb\nc", "ab c"),
        ("", "Name not given"),
    ],
)
def test_d13_a_name_is_shown_literally(qtbot: QtBot, name: str, shown: str) -> None:
    panel = panel_of(qtbot, Session(simple_study(name=name)))
    label = next(found for found in panel.findChildren(QLabel) if found.text() == shown)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert "<b>" not in label.toolTip(), "a tooltip would be read as HTML"


def test_d13_a_name_of_64_kb_leaves_the_panel_as_narrow_as_it_is(qtbot: QtBot) -> None:
    panel = panel_of(qtbot, Session(simple_study(name="W" * 65536)))
    assert panel.width() == 270
    assert len(person_name("W" * 65536)) <= 300
    label = next(found for found in panel.findChildren(QLabel) if found.text().startswith("WWW"))
    assert label.width() <= 270


def test_d13_every_label_of_the_panels_is_plain_text(qtbot: QtBot) -> None:
    study = simple_study(ultrasound_name="<i>Else</i>", problems=(Problem("<b>Odd</b>", "a.dcm"),))
    panel = panel_of(qtbot, Session(study))
    assert {label.textFormat() for label in panel.findChildren(QLabel)} == {Qt.TextFormat.PlainText}


def test_i1_both_identities_stand_side_by_side_and_yes_joins_them(qtbot: QtBot) -> None:
    session = Session(simple_study(ultrasound_name="Other^Person"))
    panel = panel_of(qtbot, session)
    text = words(panel)
    assert "≠\N{NO-BREAK SPACE}Test, Patient" in text
    assert "≠\N{NO-BREAK SPACE}Other, Person" in text
    assert "≠\N{NO-BREAK SPACE}ID-2" in text
    press(panel, "Keep apart")
    assert session.choices.same_patient is False
    assert "kept apart" in words(panel)
    press(panel, "change")
    press(panel, "Same patient")
    assert session.choices.same_patient
    assert "≠" not in words(panel), "an answered question is gone"
    assert "one patient (you)" in words(panel), "and the answer is told as the person's own"
    press(panel, "change")
    assert session.choices.same_patient is None


def test_images_that_do_not_say_that_they_are_ultrasound_are_asked_about(qtbot: QtBot) -> None:
    study = simple_study()
    session = Session(replace(study, ultrasound=tuple(replace(view, doubtful=True) for view in study.ultrasound)))
    panel = panel_of(qtbot, session)
    assert "12 of 12 ultrasound images do not say that they show a breast" in words(panel)
    press(panel, "No, leave them out")
    assert plan_of(session.study, session.choices).scopes == ("mri",)
    press(panel, "change")
    press(panel, "Yes")
    assert plan_of(session.study, session.choices).scopes == ("joint",)
    assert "do not say that they show a breast" not in words(panel)


def test_a_side_that_the_files_name_wrongly_can_be_changed(qtbot: QtBot) -> None:
    session = Session(simple_study())
    panel = panel_of(qtbot, session)
    assert "Left breast (ultrasound)" in words(panel)
    press(panel, "change side")
    assert session.choices.side == "right"
    assert "Right breast (you)" in words(panel)
    assert "Left breast (ultrasound)" not in words(panel)
    press(panel, "change")
    assert session.choices.side is None
    assert "Left breast (ultrasound)" in words(panel)


def test_the_side_is_asked_when_no_file_names_it(qtbot: QtBot) -> None:
    study = simple_study()
    session = Session(replace(study, ultrasound=tuple(replace(view, side=None) for view in study.ultrasound)))
    panel = panel_of(qtbot, session)
    assert "In which breast is the tumour?" in words(panel)
    press(panel, "Left breast")
    assert session.choices.side == "left"
    assert "In which breast" not in words(panel)
    session.undo()
    assert "In which breast is the tumour?" in words(panel)


def test_one_of_several_lesions_is_picked(qtbot: QtBot) -> None:
    study = simple_study()
    views = tuple(replace(view, lesion="A" if at % 2 else "B & C") for at, view in enumerate(study.ultrasound))
    session = Session(replace(study, ultrasound=views))
    panel = panel_of(qtbot, session)
    press(panel, "B && C")
    assert session.choices.lesion == "B & C"


def test_1_plus_5_phases_are_reduced_to_1_plus_4(qtbot: QtBot) -> None:
    session = Session(simple_study(phases=6))
    panel = panel_of(qtbot, session)
    assert [row[1] for row in rows(panel)] == ["pre", "P1", "P2", "P3", "P4", "P5"]
    table_of(panel).item(3, 0).setCheckState(Qt.CheckState.Unchecked)
    assert session.choices.phases == (0, 1, 2, 4, 5)
    assert [(row[0], row[1]) for row in rows(panel)] == [
        (True, "pre"),
        (True, "P1"),
        (True, "P2"),
        (False, "–"),
        (True, "P3"),
        (True, "P4"),
    ]
    assert "MRI: 5 of 6 phases used" in words(panel)
    table_of(panel).item(3, 0).setCheckState(Qt.CheckState.Checked)
    assert session.choices.phases is None, "all as read again"


def test_times_and_evidence_of_each_phase_can_be_read(qtbot: QtBot) -> None:
    panel = panel_of(qtbot, Session(simple_study()))
    assert rows(panel)[2][2:] == ("150 s", "series 10")
    assert "AcquisitionNumber: 3" in table_of(panel).item(2, 1).toolTip()
    assert "AcquisitionNumber rises with the series number" in words(panel)
    untimed = panel_of(qtbot, Session(simple_study(times=False)))
    assert {row[2] for row in rows(untimed)} == {"–"}
    assert "The files carry no times" in words(untimed)


def test_the_phase_before_contrast_cannot_be_left_out_by_mistake(qtbot: QtBot) -> None:
    panel = panel_of(qtbot, Session(simple_study()))
    flags = table_of(panel).item(0, 0).flags()
    assert not flags & Qt.ItemFlag.ItemIsUserCheckable


def test_a_proposed_order_is_edited_and_confirmed(qtbot: QtBot) -> None:
    session = Session(simple_study(order="question"))
    panel = panel_of(qtbot, session)
    assert "is only a proposal" in words(panel)
    table_of(panel).selectRow(2)
    press(panel, "▲")
    assert session.choices.phases == (0, 2, 1, 3, 4)
    assert "In this order the times do not rise." in words(panel)
    assert table_of(panel).currentRow() == 1, "the moved phase stays selected"
    press(panel, "▼")
    assert session.choices.phases is None
    press(panel, "The order is right")
    assert session.choices.phases_confirmed
    assert not open_questions(session.study, session.choices)
    assert "is only a proposal" not in words(panel)
    assert "✓ Confirmed by you." in words(panel)
    press(panel, "Reset")
    assert not session.choices.phases_confirmed


def test_another_phase_is_marked_as_pre(qtbot: QtBot) -> None:
    session = Session(simple_study())
    panel = panel_of(qtbot, session)
    table_of(panel).selectRow(1)
    press(panel, "Is pre")
    assert session.choices.pre == 1
    assert [row[1] for row in rows(panel)] == ["pre -1", "pre", "P1", "P2", "P3"]
    assert "A phase stands before the pre-contrast phase." in words(panel)


def test_an_open_pre_phase_is_asked_and_nothing_can_be_confirmed_before(qtbot: QtBot) -> None:
    study = simple_study(order="question")
    assert study.dce is not None
    session = Session(replace(study, dce=replace(study.dce, pre=None, pre_confidence="question")))
    panel = panel_of(qtbot, session)
    assert "Which phase is before contrast?" in words(panel)
    assert [row[1] for row in rows(panel)] == ["1", "2", "3", "4", "5"]
    right = next(b for b in panel.findChildren(QPushButton) if b.text() == "The order is right")
    assert not right.isEnabled()
    press(panel, "1")
    assert session.choices.pre == 0
    assert "Which phase is before contrast?" not in words(panel)


def test_problems_other_series_and_files_are_told(qtbot: QtBot) -> None:
    study = replace(
        simple_study(
            problems=(Problem("Phase 3: slice 21 of 48 is damaged.", "S3/IM21.dcm", stops=True), Problem("One photo.", "foto.jpg"))
        ),
        others=(OtherSeries("series 4 t2", "T2", 40),),
    )
    text = words(panel_of(qtbot, Session(study)))
    assert "Phase 3: slice 21 of 48 is damaged." in text
    assert "S3/IM21.dcm" in text
    assert "MRI is looked at, but not assessed." in text
    assert "1 of 2 files are used, 1 is not." in text


def test_every_file_is_in_the_account_which_can_be_filtered_and_copied(qtbot: QtBot) -> None:
    files = (*tuple(FileUse(f"IM{n:04d}", f"phase 1, slice {n}") for n in range(300)), FileUse("<b>x</b>.txt", "", "not an image"))
    study: Study = replace(simple_study(), files=files)
    dialog = panel_of(qtbot, Session(study)).show_files()
    qtbot.addWidget(dialog)
    assert dialog.table.model().rowCount() == 301
    dialog.only_unused.setChecked(True)
    assert dialog.table.model().rowCount() == 1
    dialog.copy()
    assert QApplication.clipboard().text() == "File\tUsed as\tNot used because\n<b>x</b>.txt\t\tnot an image"
    dialog.close()


def test_mri_or_ultrasound_alone_are_said_plainly(qtbot: QtBot) -> None:
    mri = panel_of(qtbot, Session(simple_study(views=0)))
    assert "No ultrasound" in words(mri)
    ultrasound = panel_of(qtbot, Session(simple_study(phases=0)))
    assert "No MRI" in words(ultrasound)
    assert ultrasound.findChild(QTableWidget) is None
    nameless = replace(simple_study(), patient=Patient())
    assert "ID not given" in words(panel_of(qtbot, Session(nameless)))
