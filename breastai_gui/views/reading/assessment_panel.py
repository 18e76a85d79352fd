"""The model's side of the reading: asks for a prediction, shows it under way, failed, or as cards; always apart from the reader's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from breastai_gui.services.assess import plan_of
from breastai_gui.views.panel_parts import Card, Chip, Column, Text, empty, follow, row
from breastai_gui.views.reading.assessment_card import RESEARCH_SENTENCE, AssessmentCard

if TYPE_CHECKING:
    from breastai_gui.data.study import Study
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.session import Choices, Session
    from breastai_gui.views.reading.viewpoint import Viewpoint

CANCELLED = "Cancelled. Nothing was kept."
KEPT = "Cancelled. The answer below is the one from before."


def what_can_run(study: Study, choices: Choices) -> tuple[bool, str]:
    """Return whether anything can be assessed now, and what that is or what is in the way."""
    plan = plan_of(study, choices)
    if not plan.scopes:
        why = " ".join(plan.reasons) or "There is neither an MRI series nor an ultrasound view in use."
        return False, f"Nothing can be assessed yet. {why}"
    if plan.scopes == ("joint",):
        return True, "Assesses MRI and ultrasound together."
    if len(plan.scopes) == 2:
        return True, f"Assesses each modality alone. {' '.join(plan.reasons)}"
    missing = "ultrasound" if plan.scopes == ("mri",) else "MRI"
    why = " ".join(plan.reasons) or f"No {missing} is in use."
    return True, f"Assesses {'MRI' if plan.scopes == ('mri',) else 'ultrasound'} alone. {why}"


class AssessmentPanel(QWidget):
    """Button, progress and cards.

    Signals
    -------
    assessRequested
        The person wants a prediction.
    cancelRequested
        The person gives the running one up.
    weighRequested
        The person wants to know what each input added to the answer.
    """

    assessRequested = Signal()
    cancelRequested = Signal()
    weighRequested = Signal()

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        self._state: Literal["idle", "running", "failed", "cancelled"] = "idle"
        self._shown: tuple[Assessment, ...] = ()
        self._weighing = False
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        self._column = Column()
        whole.addWidget(self._column)
        box = self._column.box
        box.addLayout(row(Text("Prediction", bold=True, size=1, wrap=False), 1, Chip("AI", "ai", filled=True)))
        self._predict = QPushButton("Predict")
        self._predict.setToolTip("Run the model on what is used of this exam (F5)")
        self._predict.clicked.connect(lambda _checked=False: self.assessRequested.emit())
        self._cancelled = Text()
        self._why = Text(tone="muted")
        box.addWidget(self._predict)
        box.addWidget(self._cancelled)
        box.addWidget(self._why)
        self._running = self._running_card()
        box.addWidget(self._running)
        self._failed = Card("stop")
        self._failure = Text(tone="stop")
        self._failed.box.addWidget(self._failure)
        retry = QPushButton("Try again")
        retry.clicked.connect(lambda _checked=False: self.assessRequested.emit())
        self._failed.box.addLayout(row(retry, 1))
        box.addWidget(self._failed)
        self._cards = QVBoxLayout()
        self._cards.setSpacing(8)
        box.addLayout(self._cards)
        box.addStretch(1)
        foot = Text(RESEARCH_SENTENCE, tone="muted", size=-0.5)
        foot.setContentsMargins(9, 4, 9, 6)
        whole.addWidget(foot)
        follow(session.changed, self._refresh)
        self._refresh()

    def _running_card(self) -> Card:
        card = Card("ai")
        self._progress = QProgressBar()
        self._progress.setRange(0, 1000)
        self._progress.setTextVisible(False)
        self._progress.setFixedHeight(8)
        self._progress_words = Text(tone="muted")
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(lambda _checked=False: self.cancelRequested.emit())
        card.box.addWidget(self._progress_words)
        card.box.addWidget(self._progress)
        card.box.addLayout(row(1, cancel))
        return card

    @property
    def can_assess(self) -> bool:
        """True when the button would do something now."""
        return self._predict.isVisibleTo(self) and self._predict.isEnabled()

    def show_running(self, fraction: float, text: str) -> None:
        """Show how far the prediction has come: 0 to 1, and what is being done."""
        self._state = "running"
        self._progress.setValue(round(1000 * min(1.0, max(0.0, fraction))))
        self._progress_words.setText(text or "Predicting")
        self._refresh()

    def show_failed(self, sentence: str) -> None:
        """Show why there is no prediction."""
        self._state = "failed"
        self._failure.setText(sentence)
        self._refresh()

    def show_cancelled(self) -> None:
        """Say that the prediction was given up; the button is there again."""
        self._state = "cancelled"
        self._refresh()

    def show_weighed(self, sentence: str) -> None:
        """Show that the inputs were weighed, or why not."""
        self._weighing = False
        if sentence:
            self.show_failed(sentence)
        else:
            self._refresh()

    def show_idle(self) -> None:
        """Show the button, and the cards where there is an answer."""
        self._state = "idle"
        self._refresh()

    def _refresh(self) -> None:
        assessments = self._session.assessments
        possible, words = what_can_run(self._session.study, self._session.choices)
        if [each.made_at for each in assessments] != [each.made_at for each in self._shown]:
            self._weighing = False  # what was asked for belongs to another answer
        if assessments and assessments is not self._shown:
            self._state = "idle"  # the answer is there, whatever was under way
        if assessments:
            self._shown = assessments
        elif self._shown:
            words = f"What is used has changed since the last prediction. {words}"
        self._running.setVisible(self._state == "running")
        self._failed.setVisible(self._state == "failed")
        self._predict.setVisible(self._state in ("idle", "cancelled"))
        self._predict.setEnabled(possible)
        self._predict.setText("Predict again" if assessments else "Predict")
        self._cancelled.say("" if self._state != "cancelled" else KEPT if assessments else CANCELLED)
        self._why.say("" if self._state == "running" or (assessments and self._state == "idle") else words)
        empty(self._cards)
        for assessment in assessments:
            weigh = None if self._weighing else self._weigh
            self._cards.addWidget(AssessmentCard(assessment, self._session.choices.show_numbers, self._choose_numbers, weigh))

    def _weigh(self) -> None:
        self._weighing = True
        self._refresh()
        self.weighRequested.emit()

    def _choose_numbers(self, shown: bool) -> None:
        self._session.choose(show_numbers=shown)
