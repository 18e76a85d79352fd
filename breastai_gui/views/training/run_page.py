"""Page 3: choose how to train, start, and watch: the same page whether this window started the run or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from breastai_gui.services.training_plan import LOSS_CHOICES, PRESETS, plan_for
from breastai_gui.services.training_runs import RunError
from breastai_gui.views.training.curve_plot import CurvePlot
from breastai_gui.views.training.page_parts import Page, card, plain_label

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_gui.services.cohort import Cohort
    from breastai_gui.services.training_runs import RunStatus, TrainingRuns

_STATES = {
    "starting": "Starting: the training process is being loaded.",
    "running": "At work. You may close this window or the program: the training goes on.",
    "finished": "Finished.",
    "stopped": "Paused.",
    "broken": "Ended unexpectedly.",
}
POLL_MS = 1000


class RunPage(Page):
    """Settings before the start, a live curve after it."""

    changed = Signal()

    def __init__(self, runs: TrainingRuns) -> None:
        super().__init__("Run", "The training runs in a process of its own and survives closing this window.")
        self._runs = runs
        self._cohort: Cohort | None = None
        self._failure = ""
        self._discarding = False
        self.folder: Path | None = None
        self.status: RunStatus | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.poll)

        self.name_edit = QLineEdit("my-first-model")
        self.preset_box = QComboBox()
        for preset in PRESETS:
            self.preset_box.addItem(preset.title, preset)
        self.about_label = plain_label()
        self.about_label.setWordWrap(False)
        self.epochs_box = QSpinBox()
        self.epochs_box.setRange(1, 500)
        self.batch_box = QSpinBox()
        self.batch_box.setRange(1, 64)
        self.losses_box = QComboBox()
        for title, losses in LOSS_CHOICES:
            self.losses_box.addItem(title, losses)
        self.start_box = QComboBox()
        self.start_box.setToolTip("Random weights, or a pre-activation ResNet of your own (breastai models import-imagenet).")
        self.device_box = QComboBox()
        for title, device in (("Automatic: the graphics card where there is one", "auto"), ("Processor (CPU)", "cpu")):
            self.device_box.addItem(title, device)
        self.preset_box.currentIndexChanged.connect(self._take_preset)
        form = QFormLayout()
        form.setSpacing(10)
        form.addRow("Name of the model", self.name_edit)
        form.addRow("Preset", self.preset_box)
        form.addRow("", self.about_label)
        form.addRow("Epochs", self.epochs_box)
        form.addRow("Patients in a batch", self.batch_box)
        form.addRow("Losses", self.losses_box)
        form.addRow("Start from", self.start_box)
        form.addRow("Device", self.device_box)
        frame = card()
        frame.setLayout(form)
        self.cohort_label = plain_label()
        self.failure_label = plain_label()
        settings = QWidget()
        column = QVBoxLayout(settings)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(frame)
        column.addWidget(self.cohort_label)
        column.addWidget(self.failure_label)
        column.addStretch(1)

        self.state_label = plain_label()
        self.bar = QProgressBar()
        self.bar.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.plot = CurvePlot()
        self.note_label = plain_label()
        self.pause_button = QPushButton("Pause")
        self.finish_button = QPushButton("Stop early, keep the best")
        self.go_on_button = QPushButton("Go on")
        self.discard_button = QPushButton("Cancel and discard …")
        self.pause_button.clicked.connect(self._pause)
        self.finish_button.clicked.connect(self._finish)
        self.go_on_button.clicked.connect(self._go_on)
        self.discard_button.clicked.connect(self._ask_discard)
        buttons = QHBoxLayout()
        buttons.addWidget(self.discard_button)
        buttons.addStretch(1)
        for button in (self.pause_button, self.finish_button, self.go_on_button):
            buttons.addWidget(button)
        watching = QWidget()
        column = QVBoxLayout(watching)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.state_label, self.bar):
            column.addWidget(widget)
        column.addWidget(self.plot, 1)
        column.addWidget(self.note_label)
        column.addLayout(buttons)

        self._stack = QStackedWidget()
        self._stack.addWidget(settings)
        self._stack.addWidget(watching)
        self.body.addWidget(self._stack, 1)
        self._take_preset()

    def prepare(self, cohort: Cohort) -> None:
        """Ask how to train on this cohort."""
        self._cohort, self.folder, self.status, self._failure = cohort, None, None, ""
        held_out = max(1, round(len(cohort.ready) * 0.2))
        self.cohort_label.setText(
            f"{len(cohort.ready)} patients: about {len(cohort.ready) - held_out} to learn from, about {held_out} held out to measure, "
            "whole patients at a time."
        )
        self.failure_label.setText("")
        self._stack.setCurrentIndex(0)
        self.changed.emit()

    def start(self) -> None:
        """Start the run and watch it."""
        assert self._cohort is not None, "the page was not prepared"
        try:
            plan = plan_for(
                self.name_edit.text().strip(),
                self.preset_box.currentData(),
                self._cohort,
                epochs=self.epochs_box.value(),
                batch_size=self.batch_box.value(),
                device=self.device_box.currentData(),
                losses=self.losses_box.currentData(),
                start_from=self.start_box.currentData() or "",
            )
            self.watch(self._runs.start(plan, self._cohort))
        except RunError as error:
            self.failure_label.setText(str(error))
        self.set_watching(True)
        self.changed.emit()

    def watch(self, folder: Path) -> None:
        """Show this run, whoever started it."""
        self.folder = folder
        self._discarding = False
        self._stack.setCurrentIndex(1)
        self.poll()

    def set_watching(self, on: bool) -> None:
        """Look at the run each second, or rest."""
        if on and self.folder is not None:
            self._timer.start()
            self.poll()
        else:
            self._timer.stop()

    def why_not_yet(self) -> str:
        """Return why the next page has nothing to show, "" when it has."""
        if self.folder is None:
            return "" if self.name_edit.text().strip() else "Give the model a name."
        return "" if self.status is not None and self.status.state == "finished" else "The next page opens when the run is finished."

    def poll(self) -> None:
        """Read the run's folder and show what it says."""
        if self.folder is None:
            return
        status = self._runs.status(self.folder)
        if self._discarding and not status.alive:
            self._discarded()
            return
        before = self.status
        self.status = status
        self.state_label.setText(_state_text(status))
        progress = status.progress
        self.bar.setRange(0, progress.total if progress.total else (0 if status.alive else 1))
        self.bar.setValue(progress.done)
        self.bar.setFormat("Preparing the patients: %v of %m" if progress.stage == "preparing" else "%p %")
        self.plot.show_progress(progress)
        self.note_label.setText("  ".join(progress.notes[-2:]))
        self.pause_button.setVisible(status.alive)
        self.finish_button.setVisible(status.alive)
        self.finish_button.setEnabled(bool(progress.epochs))
        self.go_on_button.setVisible(status.can_go_on)
        self.discard_button.setVisible(status.state != "finished")
        self.discard_button.setEnabled(not self._discarding)
        if not status.alive:
            self._timer.stop()
        if before is None or before.state != status.state:
            self.changed.emit()

    def _take_preset(self) -> None:
        preset = self.preset_box.currentData()
        self.about_label.setText(preset.about)
        self.epochs_box.setValue(preset.epochs)
        self.batch_box.setValue(preset.batch_size)
        # The backbones that can be brought have the published method's size.
        self.start_box.clear()
        self.start_box.addItem("Random weights", "")
        for sha256 in self._runs.backbones() if preset.name == "paper" else ():
            self.start_box.addItem(f"Imported backbone {sha256[:12]}…", sha256)
        self.start_box.setEnabled(self.start_box.count() > 1)

    def _pause(self) -> None:
        if self.folder is not None:
            self._runs.pause(self.folder)
            self.state_label.setText("Pausing after this batch …")

    def _finish(self) -> None:
        if self.folder is not None:
            self._runs.finish_early(self.folder)
            self.state_label.setText("Stopping after this batch; the best epoch so far becomes the model …")

    def _go_on(self) -> None:
        if self.folder is None:
            return
        try:
            self._runs.go_on(self.folder)
        except RunError as error:
            self.note_label.setText(str(error))
        self.set_watching(True)

    def _ask_discard(self) -> None:
        answer = QMessageBox.question(self, "Cancel and discard", "Stop this run and delete what it has learnt? This cannot be undone.")
        if answer == QMessageBox.StandardButton.Yes:
            self.discard()

    def discard(self) -> None:
        """Stop the run; delete its folder as soon as the trainer has let go of it."""
        if self.folder is not None:
            self._discarding = True
            self._runs.pause(self.folder)
            self.set_watching(True)

    def _discarded(self) -> None:
        self._timer.stop()
        self._discarding = False
        folder, self.folder, self.status = self.folder, None, None
        assert folder is not None, "poll looks at a folder"
        try:
            self._runs.remove(folder)
        except (RunError, OSError) as error:
            self.failure_label.setText(str(error) if isinstance(error, RunError) else "The run's folder could not be deleted.")
        self._stack.setCurrentIndex(0)
        self.changed.emit()


def _state_text(status: RunStatus) -> str:
    text = f"{status.title}: {_STATES[status.state]}"
    epochs = status.progress.epochs
    if status.why:
        text += f" {status.why[0].upper()}{status.why[1:]}"
    if status.alive and epochs:
        left = max(0.0, (status.epochs_planned - len(epochs)) * sum(epoch.seconds for epoch in epochs) / len(epochs))
        text += f" About {_duration(left)} left."
    return text


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
