"""Writes the report: where to, what will be in it, what is still open, and whether it is really on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import QStandardPaths, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QCheckBox, QDialog, QFileDialog, QLineEdit, QProgressBar, QPushButton, QVBoxLayout, QWidget

from breastai_gui import __version__
from breastai_gui.services.chosen import chosen_phases, chosen_views
from breastai_gui.services.failures import log_failure, sentence_of
from breastai_gui.services.questions import open_questions
from breastai_gui.services.session import Session
from breastai_gui.services.words import SCOPE_WORDS
from breastai_gui.views.panel_parts import Card, Column, Text, row, visible_boxes

if TYPE_CHECKING:
    from breastai_gui.services.application import Application
    from breastai_gui.services.jobs import Task


def contents(session: Session) -> tuple[str, ...]:
    """Return one line for each part that the report will have, or lack."""
    study, state = session.study, session.state
    lines = []
    if study.dce is None:
        lines.append("No MRI")
    else:
        lines.append(f"MRI: {len(chosen_phases(study, state.choices))} of {study.dce.phase_count} phases")
    if study.ultrasound:
        lines.append(f"Ultrasound: {len(chosen_views(study, state.choices))} of {len(study.ultrasound)} views")
    else:
        lines.append("No ultrasound")
    marks = len(state.annotations)
    lines.append("No marks" if not marks else "1 mark" if marks == 1 else f"{marks} marks")
    lines.append("Your findings and impression" if state.reading.findings or state.reading.impression else "No words of yours yet")
    if session.assessments:
        lines.append("The model's answer: " + " and ".join(SCOPE_WORDS[answer.scope] for answer in session.assessments))
        if any(answer.says_nothing for answer in session.assessments):
            shown = "shown, as you asked" if state.choices.show_numbers else "left out"
            lines.append(f"Demonstration model: its numbers say nothing about this patient and are {shown}")
        elif any(answer.withheld for answer in session.assessments):
            shown = "shown, as you asked" if state.choices.show_numbers else "left out"
            lines.append(f"This exam is outside what the model has seen: its numbers are {shown}")
    else:
        lines.append("No prediction: none was made")
    return tuple(lines)


class ReportDialog(QDialog):
    """The way to a PDF, and to JSON beside it."""

    def __init__(self, application: Application, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._application = application
        self._session = session
        self._task: Task | None = None
        self._written: Path | None = None
        self.setWindowTitle("Write the report")
        self.resize(560, 460)
        self.path = QLineEdit(str(_proposed_path(session)))
        self.path.textChanged.connect(self._path_changed)
        browse = QPushButton("Choose…")
        browse.clicked.connect(lambda _checked=False: self._browse())
        self._exists = Text("This file is there already and will be replaced.", tone="ask", size=-0.5)
        self.with_json = QCheckBox("Also write the same as JSON, for other programs")
        visible_boxes(self.with_json)
        self.export = QPushButton("Write the report")
        self.export.setDefault(True)
        self.export.clicked.connect(lambda _checked=False: self.start())
        self._progress = QProgressBar()
        self._progress.setRange(0, 0)
        self._progress.setTextVisible(False)
        self._progress.setFixedHeight(6)
        self.result_card = Card("good")
        self.result_words = Text()
        self._open_file = QPushButton("Open report")
        self._open_file.clicked.connect(lambda _checked=False: self._open(folder=False))
        self._open_folder = QPushButton("Open folder")
        self._open_folder.clicked.connect(lambda _checked=False: self._open(folder=True))
        self.result_card.box.addWidget(self.result_words)
        self.result_card.box.addLayout(row(self._open_folder, self._open_file, 1))
        self.result_card.hide()
        close = QPushButton("Close")
        close.clicked.connect(self.reject)
        column = Column()
        column.box.addWidget(Text("What will be in it", bold=True))
        column.box.addWidget(Text("\n".join(f"•  {line}" for line in contents(session))))
        self._questions(column.box)
        column.box.addWidget(Text("Where to", bold=True))
        column.box.addLayout(row(self.path, browse))
        column.box.addWidget(self._exists)
        column.box.addWidget(self.with_json)
        column.box.addWidget(self.result_card)
        column.box.addStretch(1)
        research = Text("Research use only. The report carries the patient's name.", tone="muted", size=-0.5, wrap=False)
        box = QVBoxLayout(self)
        box.addWidget(column, 1)
        box.addWidget(self._progress)
        box.addLayout(row(research, 1, close, self.export))
        self._show_running(False)
        self._path_changed()

    def _questions(self, box: QVBoxLayout) -> None:
        questions = open_questions(self._session.study, self._session.choices)
        if not questions:
            return
        blocking = any(question.blocking for question in questions)
        card = Card("ask")
        self.draft = Text("This will be a DRAFT: these questions are open." if blocking else "Still open:", bold=True)
        card.box.addWidget(self.draft)
        for question in questions:
            card.box.addWidget(Text(f"?  {question.text}", size=-0.5))
        box.addWidget(card)

    def start(self) -> None:
        """Write what the dialog says."""
        path = self._path()
        if path is None or self._task is not None:
            return
        self.result_card.hide()
        self._show_running(True)
        self._task = self._application.export_report(self._session, path, self._report_done, self._failed)

    def _report_done(self, path: Path) -> None:
        if not shiboken6.isValid(self):
            return  # closed meanwhile; the file is there all the same
        if not self.with_json.isChecked():
            self._done(path, f"Saved and read back: {path}")
            return
        beside = path.with_suffix(".json")
        frozen = Session(self._session.study, self._session.state)
        frozen.set_assessments(self._session.assessments)

        def work(_task: Task) -> Path:
            from breastai_gui.services import assessment_json

            assessment_json.write(frozen, __version__, beside)
            return beside

        def failed(error: Exception) -> None:
            log_failure("Writing JSON", error)
            self._failed(f"The report is saved, the JSON is not: {sentence_of(error)}")

        self._task = self._application.jobs.start(work, lambda _: self._done(path, f"Saved: {path} and {beside.name}"), failed)

    def _done(self, path: Path, words: str) -> None:
        if not shiboken6.isValid(self):
            return
        self._task = None
        self._written = path
        self._show_running(False)
        self._show_result(words, good=True)
        self._path_changed()

    def _failed(self, sentence: str) -> None:
        if not shiboken6.isValid(self):
            return
        self._task = None
        self._show_running(False)
        self._show_result(sentence, good=False)

    def _show_result(self, words: str, *, good: bool) -> None:
        self.result_card.set_accent("good" if good else "stop")
        self.result_words.setText(f"{'✓' if good else '✖'} {words}")
        self._open_file.setVisible(good)
        self._open_folder.setVisible(good)
        self.result_card.show()

    def _show_running(self, running: bool) -> None:
        self._progress.setVisible(running)
        self.export.setEnabled(not running)
        self.path.setEnabled(not running)

    def _path(self) -> Path | None:
        text = self.path.text().strip()
        if not text:
            return None
        path = Path(text).expanduser()
        if not path.name:
            return None  # "/" and "." name no file
        return path if path.suffix.lower() == ".pdf" else path.with_name(path.name + ".pdf")

    def _path_changed(self) -> None:
        path = self._path()
        there = path is not None and path.is_file()
        self._exists.setVisible(there and path != self._written)
        self.export.setText("Replace" if there else "Write the report")
        self.export.setEnabled(path is not None and self._task is None)

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Write the report", self.path.text(), "PDF (*.pdf)")
        if chosen:
            self.path.setText(chosen)

    def _open(self, *, folder: bool) -> None:
        if self._written is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._written.parent if folder else self._written)))


def _proposed_path(session: Session) -> Path:
    """Return a place for the report; its name says the exam's date, never the patient."""
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    when = session.study.taken_on
    return Path(folder or Path.home()) / f"breast-report-{when.isoformat() if when else 'undated'}.pdf"
