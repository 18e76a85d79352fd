"""Page 4: what the run reached, said honestly, and the button that puts the model to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QPushButton, QTableWidget, QTableWidgetItem

from breastai_gui.services.models import ModelError
from breastai_gui.services.words import TASK_WORDS
from breastai_gui.views.training.page_parts import Page, plain_label
from breastai_model.case import TASKS
from breastai_model.run_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_gui.services.application import Application
    from breastai_gui.services.jobs import Task
    from breastai_gui.services.models import InstalledModel
    from breastai_gui.services.training_runs import TrainingRuns

_COLUMNS = ("AUC, held-out patients", "MRI and ultrasound", "95 % interval", "MRI alone", "Ultrasound alone", "Patients (positive)")


class UsePage(Page):
    """Metrics of a finished run; install and activate."""

    changed = Signal()

    def __init__(self, application: Application, runs: TrainingRuns) -> None:
        super().__init__("Use this model", "What the run reached on the patients that it did not learn from.")
        self._application = application
        self._runs = runs
        self._folder: Path | None = None
        self._task: Task | None = None
        self.metrics_table = QTableWidget(0, len(_COLUMNS))
        self.metrics_table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.metrics_table.verticalHeader().hide()
        self.metrics_table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.metrics_table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.metrics_table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.metrics_table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.metrics_table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.metrics_table.setShowGrid(False)
        self.honest_label = plain_label()
        self.active_label = plain_label()
        self.install_button = QPushButton("Install and use for new assessments")
        self.install_button.clicked.connect(self.install)
        row = QHBoxLayout()
        row.addWidget(self.install_button)
        row.addStretch(1)
        self.body.addWidget(self.metrics_table)
        self.body.addWidget(self.honest_label)
        self.body.addSpacing(8)
        self.body.addWidget(self.active_label)
        self.body.addLayout(row)
        self.body.addStretch(1)

    def show_run(self, folder: Path) -> None:
        """Show what this finished run reached."""
        self._folder = folder
        status = self._runs.status(folder)
        result = status.result or {}
        metrics = result.get("metrics", {})
        self.metrics_table.setRowCount(len(TASKS))
        for line, task in enumerate(TASKS):
            values = metrics.get(task, {})
            interval = values.get("interval")
            cells = (
                TASK_WORDS[task],
                _figure(values),
                "–" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
                _figure(metrics.get("without_ultrasound", {}).get(task, {})),
                _figure(metrics.get("without_mri", {}).get(task, {})),
                f"{values.get('n', 0)} ({values.get('positives', 0)})",
            )
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setTextAlignment(
                    Qt.AlignmentFlag.AlignCenter if column else Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
                )
                self.metrics_table.setItem(line, column, item)
        self.metrics_table.resizeRowsToContents()
        rows = sum(self.metrics_table.rowHeight(line) for line in range(len(TASKS)))
        self.metrics_table.setFixedHeight(self.metrics_table.horizontalHeader().sizeHint().height() + rows + 6)
        self.honest_label.setText(honest_sentence(result))
        self.install_button.setEnabled(RunFolder(folder).model.is_file())
        self.install_button.setText("Install and use for new assessments")
        self._show_active()

    def install(self) -> None:
        """Install the run's model and make it the one that assesses."""
        if self._folder is None:
            return
        path = RunFolder(self._folder).model
        models = self._application.models

        def work(_task: Task) -> InstalledModel:
            model = models.install(path)
            models.activate(model.sha256)
            return model

        self.install_button.setEnabled(False)
        self.active_label.setText("Reading the weights back …")
        self._task = self._application.jobs.start(work, self._installed, self._failed)

    def cancel(self) -> None:
        """Wait for no answer any more: this page may be gone by then."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _installed(self, _model: InstalledModel) -> None:
        self._task = None
        self.install_button.setText("Installed")
        self._show_active()
        self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self._task = None
        self.install_button.setEnabled(True)
        self.active_label.setText(
            str(error) if type(error).__module__.startswith("breastai") else f"The model could not be installed ({type(error).__name__})."
        )

    def _show_active(self) -> None:
        try:
            model = self._application.models.active()
        except ModelError as error:
            self.active_label.setText(str(error))
            return
        learnt = "made-up patients" if model.trained_on == "synthetic" else "patients"
        self.active_label.setText(
            f"Now in use: {model.name} {model.version}, learnt from {learnt}, SHA-256 {model.sha256[:12]}….\n"
            "Models that were in use before stay installed."
        )


def _figure(values: dict[str, Any]) -> str:
    value = values.get("auc")
    return "not measurable" if value is None else f"{value:.2f}"


def honest_sentence(result: dict[str, object]) -> str:
    """Return what the numbers do and do not say."""
    trained_on, held_out, learnt = result.get("trained_on"), result.get("held_out"), result.get("learnt_from")
    counts = (
        f"Learnt from {learnt} patients, measured on {held_out} others of the same collection. "
        "These also chose the best epoch, so the true value is rather lower."
    )
    if trained_on == "synthetic":
        made_up = "The patients were made up: these numbers say nothing about real patients, and the program says so with every answer."
        return f"{counts}\n{made_up}"
    return f"{counts}\nThey say nothing about other hospitals, scanners or patients. Research use only."
