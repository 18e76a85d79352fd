"""The training wizard: Data, Check, Run, Use this model. The training itself lives in another process and folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from breastai_gui.services.training_runs import TrainingRuns
from breastai_gui.views.training.check_page import CheckPage
from breastai_gui.views.training.data_page import DataPage
from breastai_gui.views.training.run_page import RunPage
from breastai_gui.views.training.use_page import UsePage

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtGui import QShowEvent

    from breastai_gui.services.application import Application

STEPS = ("Data", "Check", "Run", "Use this model")


class TrainingWizard(QDialog):
    """Four pages from a folder of patients to an installed model.

    Closing it never ends a run: the trainer is a process of its own. Opened again, the first page lists all runs and
    the wizard can watch any of them.

    Parameters
    ----------
    application
        The services.
    parent
        The window that it belongs to, or None.
    """

    def __init__(self, application: Application, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Train a model")
        self.setMinimumSize(820, 560)
        self.resize(1000, 700)
        self.runs = TrainingRuns(application.places)
        self.data_page = DataPage(self.runs)
        self.check_page = CheckPage(application)
        self.run_page = RunPage(self.runs)
        self.use_page = UsePage(application, self.runs)
        self._pages = QStackedWidget()
        for page in (self.data_page, self.check_page, self.run_page, self.use_page):
            self._pages.addWidget(page)
        self._step_labels = [QLabel() for _ in STEPS]
        self.back_button = QPushButton("Back")
        self.next_button = QPushButton("Next")
        self.next_button.setAutoDefault(False)  # Return in a field of the first page must not leave the page
        self.close_button = QPushButton("Close")
        self._reason = QLabel()
        self._reason.setTextFormat(Qt.TextFormat.PlainText)
        self._reason.setWordWrap(True)
        self._lay_out()

        self.back_button.clicked.connect(self._back)
        self.next_button.clicked.connect(self._next)
        self.close_button.clicked.connect(self.close)
        for page in (self.data_page, self.check_page, self.run_page, self.use_page):
            page.changed.connect(self._refresh)
        self.data_page.watchRequested.connect(self.watch)
        self._show(0)

    def watch(self, folder: Path) -> None:
        """Show a run that is there already, whoever started it."""
        self.run_page.watch(folder)
        self._show(2)

    def _lay_out(self) -> None:
        steps = QVBoxLayout()
        steps.setContentsMargins(20, 24, 20, 24)
        steps.setSpacing(18)
        for label in self._step_labels:
            steps.addWidget(label)
        steps.addStretch(1)
        research = QLabel("RESEARCH USE ONLY")
        research.setFont(_font(self, 0.85, bold=True))
        steps.addWidget(research)
        side = QFrame()
        side.setObjectName("wizardSteps")
        side.setLayout(steps)
        side.setFixedWidth(180)
        side.setAutoFillBackground(True)
        side.setBackgroundRole(side.palette().ColorRole.AlternateBase)

        buttons = QHBoxLayout()
        buttons.setContentsMargins(24, 8, 24, 16)
        buttons.setSpacing(10)
        buttons.addWidget(self.close_button)
        buttons.addWidget(self._reason, 1)
        buttons.addWidget(self.back_button)
        buttons.addWidget(self.next_button)
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, 0)
        right.addWidget(self._pages, 1)
        right.addLayout(buttons)
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(side)
        whole.addLayout(right, 1)

    @property
    def page(self) -> int:
        """The page that is shown, from 0."""
        return self._pages.currentIndex()

    def _show(self, page: int) -> None:
        self._pages.setCurrentIndex(page)
        self.run_page.set_watching(page == 2)
        if page == 0:
            self.data_page.refresh()
        self._refresh()

    def _refresh(self) -> None:
        page = self.page
        for index, (label, name) in enumerate(zip(self._step_labels, STEPS, strict=True)):
            label.setText(f"{'✓' if index < page else index + 1}   {name}")
            label.setFont(_font(self, 1.0, bold=index == page))
            label.setEnabled(index <= page)
        ready, reason = self._may_go_on()
        self.next_button.setEnabled(ready)
        self.next_button.setText("Start training" if page == 2 and self.run_page.folder is None else "Next")
        self.next_button.setVisible(page < 3)
        self.back_button.setEnabled(page > 0)
        self._reason.setText(reason)

    def _may_go_on(self) -> tuple[bool, str]:
        if self.page == 0:
            reason = self.data_page.why_not_yet()
        elif self.page == 1:
            reason = self.check_page.why_not_yet()
        elif self.page == 2:
            reason = self.run_page.why_not_yet()
        else:
            reason = ""
        return reason == "", reason

    def _next(self) -> None:
        if self.page == 0:
            self.check_page.check(self.data_page.request())
            self._show(1)
        elif self.page == 1:
            cohort = self.check_page.cohort
            assert cohort is not None, "the button is off until the check is done"
            self.run_page.prepare(cohort)
            self._show(2)
        elif self.page == 2 and self.run_page.folder is None:
            self.run_page.start()
        elif self.page == 2 and self.run_page.folder is not None:
            self.use_page.show_run(self.run_page.folder)
            self._show(3)

    def _back(self) -> None:
        if self.page == 1:
            self.check_page.cancel()
        # A run that is only watched has no check page behind it.
        watched_only = self.page == 2 and self.check_page.cohort is None
        self._show(0 if watched_only else self.page - 1)

    def showEvent(self, event: QShowEvent) -> None:
        """Look at the runs again after having been closed."""
        super().showEvent(event)
        self._show(self.page)

    def reject(self) -> None:
        """End what this window does, on Close, Escape and the frame's cross; the trainer is not one of these things."""
        self.check_page.cancel()
        self.use_page.cancel()
        self.run_page.set_watching(False)
        super().reject()


def _font(widget: QWidget, scale: float, *, bold: bool) -> QFont:
    font = QFont(widget.font())
    font.setPointSizeF(font.pointSizeF() * scale)
    font.setBold(bold)
    return font
