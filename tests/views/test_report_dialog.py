"""Writing the report: what will be in it, where it went, and the truth about whether it worked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PySide6.QtWidgets import QApplication, QLabel

from breastai_gui.services.annotations import Annotation
from breastai_gui.services.application import Application
from breastai_gui.services.places import Places
from breastai_gui.services.session import Reading, Session
from breastai_gui.views.gui_thread import GuiThread
from breastai_gui.views.report.report_dialog import ReportDialog, contents
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot


@pytest.fixture
def application(qapp: QApplication) -> Iterator[Application]:
    thread = GuiThread()
    application = Application(Places(), thread.post)
    yield application
    application.close()


def dialog_of(qtbot: QtBot, application: Application, session: Session, path: Path) -> ReportDialog:
    dialog = ReportDialog(application, session)
    qtbot.addWidget(dialog)
    dialog.path.setText(str(path))
    dialog.show()
    return dialog


def words(dialog: ReportDialog) -> str:
    return "\n".join(label.text() for label in dialog.findChildren(QLabel) if label.isVisibleTo(dialog))


def test_the_contents_are_named_before_anything_is_written() -> None:
    session = Session(simple_study(views=9))
    session.add_annotation(Annotation("e", "ellipse", "view-02", ((30.0, 40.0), (90.0, 120.0)), None))
    session.set_reading(Reading("Mass.", ""))
    session.set_assessments((simple_assessment(session.study),))
    lines = contents(session)
    assert "MRI: 5 of 5 phases" in lines
    assert "Ultrasound: 9 of 9 views" in lines
    assert "1 mark" in lines
    assert "Your findings and impression" in lines
    assert "The model's answer: MRI and ultrasound together" in lines
    assert any("its numbers say nothing about this patient and are left out" in line for line in lines)


def test_a_report_and_its_json_are_written_and_said_to_be_there(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    path = tmp_path / "中文 folder" / "report.pdf"
    path.parent.mkdir()
    session = Session(simple_study(phases=0, views=2))
    dialog = dialog_of(qtbot, application, session, path)
    dialog.with_json.setChecked(True)
    dialog.export.click()
    assert not dialog.export.isEnabled(), "not twice at once"
    qtbot.waitUntil(lambda: dialog.result_card.isVisibleTo(dialog), timeout=60_000)
    assert f"✓ Saved: {path} and report.json" in words(dialog)
    assert path.read_bytes().startswith(b"%PDF-")
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["valid_for_patients"] is False
    assert dialog.export.text() == "Replace"


def test_a_folder_that_cannot_be_written_gives_one_sentence(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"")
    path = tmp_path / "a file" / "report.pdf"  # what should be a folder is a file
    dialog = dialog_of(qtbot, application, Session(simple_study(phases=0, views=1)), path)
    dialog.export.click()
    qtbot.waitUntil(lambda: dialog.result_card.isVisibleTo(dialog), timeout=60_000)
    assert dialog.result_words.text().startswith("✖ ")
    assert "Traceback" not in dialog.result_words.text()
    assert dialog.export.isEnabled(), "the person can try again"
    assert not path.exists()


def test_open_questions_make_it_a_draft_and_stand_in_the_dialog(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    session = Session(simple_study(ultrasound_name="Other^Person"))
    dialog = dialog_of(qtbot, application, session, tmp_path / "r")
    assert "This will be a DRAFT" in words(dialog)
    assert "do they show the same patient?" in words(dialog)
    plain = dialog_of(qtbot, application, Session(simple_study()), tmp_path / "r")
    assert "DRAFT" not in words(plain)


def test_the_proposed_name_never_holds_the_patient(qtbot: QtBot, application: Application) -> None:
    dialog = ReportDialog(application, Session(simple_study(name="ZZCANARY^PAT")))
    qtbot.addWidget(dialog)
    assert dialog.path.text().endswith("breast-report-2026-03-14.pdf")
    assert "CANARY" not in dialog.windowTitle()


def test_a_file_that_is_there_is_not_replaced_unsaid(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"old")
    dialog = dialog_of(qtbot, application, Session(simple_study(views=0)), path)
    assert "This file is there already and will be replaced." in words(dialog)
    assert dialog.export.text() == "Replace"
    dialog.path.setText("")
    assert not dialog.export.isEnabled()
