"""What exam this is: patient, what was found, open questions, phases, problems, other series, files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QVBoxLayout, QWidget

from breastai_gui.services.chosen import chosen_phases, chosen_views
from breastai_gui.services.plain_text import date_text, one_line, person_name
from breastai_gui.views.panel_parts import Card, Chip, Column, ElidedText, Fold, Text, follow, link, row
from breastai_gui.views.reading.file_account import FileAccountDialog, account_sentence
from breastai_gui.views.reading.phase_table import PhaseTable
from breastai_gui.views.reading.question_cards import QuestionCards

if TYPE_CHECKING:
    from breastai_gui.data.study import Problem
    from breastai_gui.services.session import Session
    from breastai_gui.views.panel_parts import Tone
    from breastai_gui.views.reading.viewpoint import Viewpoint


class ExamPanel(QWidget):
    """The left-hand panel of the reading page."""

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        self._column = Column()
        whole.addWidget(self._column)
        box = self._column.box
        box.addWidget(self._patient())
        self._phases: PhaseTable | None = PhaseTable(session) if session.study.dce is not None else None
        self._questions = QuestionCards(session, self._confirm_phases, self)
        box.addWidget(self._questions)
        if self._phases is not None:
            fold = Fold("Dynamic phases")
            fold.box.addWidget(self._phases)
            box.addWidget(fold)
            self._phases.phaseSelected.connect(lambda phase: viewpoint.set(phase=phase))
        self._problems()
        self._others()
        self._files()
        box.addStretch(1)
        follow(session.changed, self._refresh)
        self._refresh()

    def _patient(self) -> Card:
        study = self._session.study
        card = Card("human")
        name = person_name(study.patient.name)
        card.box.addWidget(ElidedText(name or "Name not given", bold=True, size=1, tone="text" if name else "muted"))
        details = [f"ID {one_line(study.patient.id)}" if study.patient.id.strip() else "ID not given"]
        if study.patient.birth_date:
            details.append(f"born {date_text(study.patient.birth_date)}")
        if study.patient.sex:
            details.append(one_line(study.patient.sex))
        card.box.addWidget(ElidedText(" · ".join(details), tone="muted"))
        when = study.taken_on.isoformat() if study.taken_on else "date unknown"
        card.box.addWidget(ElidedText(" · ".join(part for part in (when, one_line(study.description)) if part), tone="muted"))
        if study.phantom:
            card.box.addLayout(row(Chip("MADE-UP PATIENT", "ask"), 1))
        self._mri = ElidedText()
        self._ultrasound = ElidedText()
        card.box.addSpacing(2)
        card.box.addWidget(self._mri)
        card.box.addWidget(self._ultrasound)
        return card

    def _problems(self) -> None:
        problems = self._session.study.problems
        if not problems:
            return
        fold = Fold(f"Problems ({len(problems)})")
        for problem in problems:
            if problem.stops:
                fold.box.addWidget(self._problem_card((problem,), "stop"))
        if told := tuple(problem for problem in problems if not problem.stops):
            fold.box.addWidget(self._problem_card(told, "muted"))
        self._column.box.insertWidget(1 if any(problem.stops for problem in problems) else self._column.box.count(), fold)

    def _problem_card(self, problems: tuple[Problem, ...], tone: Tone) -> Card:
        card = Card(tone)
        for problem in problems:
            card.box.addWidget(Text(f"{'✖' if problem.stops else '⚠'} {problem.text}", size=-0.5))
            if problem.stops:
                card.box.addWidget(Text("MRI is looked at, but not assessed.", tone="muted", size=-0.5))
            if problem.file:
                card.box.addWidget(ElidedText(one_line(problem.file), tone="muted", size=-1))
        return card

    def _others(self) -> None:
        others = self._session.study.others
        if not others:
            return
        fold = Fold(f"Other series ({len(others)})", open_=False)
        fold.box.addWidget(Text("Listed only; never given to the model.", tone="muted", size=-0.5))
        for series in others:
            files = "1 file" if series.file_count == 1 else f"{series.file_count} files"
            fold.box.addWidget(ElidedText(f"{one_line(series.label)} · {one_line(series.role)} · {files}", size=-0.5))
        self._column.box.addWidget(fold)

    def _files(self) -> None:
        files = self._session.study.files
        fold = Fold("Files")
        fold.box.addWidget(Text(account_sentence(files), size=-0.5))
        fold.box.addLayout(row(link("What became of each file…", self.show_files), 1))
        self._column.box.addWidget(fold)

    def show_files(self) -> FileAccountDialog:
        """Open the file account and return its window."""
        dialog = FileAccountDialog(self._session.study.files, self)
        dialog.open()
        return dialog

    def _confirm_phases(self) -> None:
        if self._phases is not None:
            self._phases.confirm()

    def _refresh(self) -> None:
        study, choices = self._session.study, self._session.choices
        if study.dce is None:
            self._mri.setText("–  No MRI")
        else:
            used, found = len(chosen_phases(study, choices)), study.dce.phase_count
            self._mri.setText(f"✓  MRI: {found} phases" if used == found else f"✓  MRI: {used} of {found} phases used")
        self._mri.set_tone("muted" if study.dce is None else "text")
        if not study.ultrasound:
            self._ultrasound.setText("–  No ultrasound")
        else:
            used, found = len(chosen_views(study, choices)), len(study.ultrasound)
            self._ultrasound.setText(f"✓  Ultrasound: {used} of {found} used")
        self._ultrasound.set_tone("text" if study.ultrasound else "muted")
