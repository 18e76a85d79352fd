"""Page 1: which folder of patients, which table of answers, which column is which; and the runs that are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
)

from breastai_gui.services.labels_table import Columns, LabelsTable, TableError, propose_columns, read_table
from breastai_gui.services.subgroups import subgroup_columns
from breastai_gui.views.training.page_parts import Page, card, plain_label

if TYPE_CHECKING:
    from breastai_gui.services.training_runs import RunStatus, TrainingRuns


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What the check needs to know."""

    folder: Path
    table: LabelsTable
    columns: Columns
    ki67_cutoff_percent: float


class DataPage(Page):
    """Ask for folder and table; list earlier runs."""

    changed = Signal()
    watchRequested = Signal(object)
    """With the folder of a run that the person wants to look at."""

    def __init__(self, runs: TrainingRuns) -> None:
        super().__init__(
            "Data",
            "One folder that holds a folder for each patient (MRI and ultrasound, as exported), and a table with one row a patient. "
            "Nothing leaves this computer.",
        )
        self._runs = runs
        self._table: LabelsTable | None = None
        self._table_problem = ""
        self.folder_edit = _path_edit("Folder with one folder for each patient")
        self.table_edit = _path_edit("Table of answers: CSV or XLSX")
        folder_button, table_button = QPushButton("Choose folder …"), QPushButton("Choose table …")
        folder_button.clicked.connect(self._choose_folder)
        table_button.clicked.connect(self._choose_table)
        self.patient_box, self.lnm_box, self.grade_box, self.ki67_box = (_column_box() for _ in range(4))
        self.cutoff_box = QDoubleSpinBox()
        self.cutoff_box.setRange(1, 99)
        self.cutoff_box.setDecimals(0)
        self.cutoff_box.setSuffix(" %")
        self.cutoff_box.setValue(20)
        self.found_label = plain_label()
        self.found_label.setWordWrap(False)
        self.run_list = QListWidget()
        self.run_list.setAlternatingRowColors(True)
        self.watch_button = QPushButton("Open this run")

        form = QFormLayout()
        form.setSpacing(8)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Patients", _beside(self.folder_edit, folder_button))
        form.addRow("Table", _beside(self.table_edit, table_button))
        form.addRow("Patient column", self.patient_box)
        form.addRow("Lymph node metastasis", self.lnm_box)
        form.addRow("Grade", self.grade_box)
        form.addRow("Ki-67", _beside(self.ki67_box, _short("high from"), self.cutoff_box))
        form.addRow("", self.found_label)
        frame = card()
        frame.setLayout(form)
        self.body.addWidget(frame)
        self._runs_label = plain_label("Runs on this computer")
        self.body.addWidget(self._runs_label)
        self.body.addWidget(self.run_list, 100)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.watch_button)
        self.body.addLayout(row)
        self.body.addStretch(1)

        self.folder_edit.textChanged.connect(self._refresh)
        self.table_edit.textChanged.connect(self._read_table)
        for box in self._boxes():
            box.currentIndexChanged.connect(self._refresh)
        self.run_list.itemSelectionChanged.connect(self._refresh)
        self.run_list.itemActivated.connect(self._watch)
        self.watch_button.clicked.connect(self._watch)
        self._refresh()

    def refresh(self) -> None:
        """List the runs as they are now."""
        self.run_list.clear()
        for status in self._runs.list():
            item = QListWidgetItem(run_line(status))
            item.setData(Qt.ItemDataRole.UserRole, status.folder)
            self.run_list.addItem(item)
        has_runs = self.run_list.count() > 0
        self.run_list.setCurrentRow(0 if has_runs else -1)
        self.run_list.setVisible(has_runs)
        self.watch_button.setVisible(has_runs)
        self._runs_label.setText("Runs on this computer" if has_runs else "No run on this computer yet.")

    def request(self) -> CheckRequest:
        """Return what was chosen; call it when `why_not_yet` says nothing."""
        assert self._table is not None, "why_not_yet was not asked"
        return CheckRequest(Path(self.folder_edit.text()), self._table, self._columns(), self.cutoff_box.value())

    def why_not_yet(self) -> str:
        """Return what is still to be chosen, "" when nothing is."""
        folder, table = self.folder_edit.text().strip(), self.table_edit.text().strip()
        if not folder:
            return "Choose the folder of the patients."
        if not Path(folder).is_dir():
            return "The folder of the patients is not there."
        if not table:
            return "Choose the table of answers."
        if self._table is None:
            return self._table_problem
        columns = self._columns()
        if columns.patient is None:
            return "Choose the column that names the patients."
        if not columns.any_answer:
            return "Choose a column for at least one answer."
        chosen = [value for value in (columns.patient, columns.lymph_node_metastasis, columns.grade, columns.ki67) if value is not None]
        return "Each column can be chosen once." if len(set(chosen)) < len(chosen) else ""

    def _boxes(self) -> tuple[QComboBox, QComboBox, QComboBox, QComboBox]:
        return self.patient_box, self.lnm_box, self.grade_box, self.ki67_box

    def _columns(self) -> Columns:
        patient, lnm, grade, ki67 = (None if box.currentIndex() <= 0 else box.currentIndex() - 1 for box in self._boxes())
        header = self._table.header if self._table is not None else ()

        def says_high(column: int | None) -> bool:
            return column is not None and "high" in header[column].casefold()

        return Columns(patient, lnm, grade, ki67, high_grade=says_high(grade), high_ki67=says_high(ki67))

    def _read_table(self) -> None:
        self._table, self._table_problem = None, ""
        text = self.table_edit.text().strip()
        if text:
            try:
                self._table = read_table(Path(text))
            except TableError as error:
                self._table_problem = str(error)
        header = self._table.header if self._table is not None else ()
        proposed = propose_columns(header)
        for box, column in zip(
            self._boxes(), (proposed.patient, proposed.lymph_node_metastasis, proposed.grade, proposed.ki67), strict=True
        ):
            box.blockSignals(True)
            box.clear()
            box.addItems(["— not in the table —", *header] if header else [])
            box.setCurrentIndex(0 if column is None else column + 1)
            box.blockSignals(False)
        self._refresh()

    def _refresh(self) -> None:
        for box in self._boxes():
            box.setEnabled(self._table is not None)
        columns = self._columns()
        self.cutoff_box.setEnabled(columns.ki67 is not None and not columns.high_ki67)
        self.watch_button.setEnabled(bool(self.run_list.selectedItems()))
        parts = []
        folder = Path(self.folder_edit.text().strip()) if self.folder_edit.text().strip() else None
        if folder is not None and folder.is_dir():
            parts.append(f"{_folder_count(folder)} folders")
        if self._table is not None:
            parts.append(f"{len(self._table.rows)} rows in the table")
            if told_apart := subgroup_columns(self._table.header):
                parts.append(f"subgroups for the evaluation: {', '.join(told_apart.values())}")
        self.found_label.setText(", ".join(parts))
        self.changed.emit()

    def _choose_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Folder of the patients", self.folder_edit.text()):
            self.folder_edit.setText(chosen)
            table = Path(chosen) / "labels.csv"
            if not self.table_edit.text() and table.is_file():
                self.table_edit.setText(str(table))

    def _choose_table(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Table of answers", self.table_edit.text(), "Tables (*.csv *.tsv *.txt *.xlsx *.xlsm)"
        )
        if chosen:
            self.table_edit.setText(chosen)

    def _watch(self) -> None:
        if items := self.run_list.selectedItems():
            self.watchRequested.emit(items[0].data(Qt.ItemDataRole.UserRole))


def run_line(status: RunStatus) -> str:
    """Return one line for the list of runs."""
    words = {
        "starting": "starting",
        "running": "at work",
        "finished": "finished",
        "stopped": "paused",
        "broken": "ended unexpectedly",
    }
    stamp = status.folder.name  # begins with date and time: see TrainingRuns
    planned = f" of {status.epochs_planned}" if status.epochs_planned else ""
    epochs = f"{len(status.progress.epochs)}{planned} epochs"
    return f"{stamp[:10]} {stamp[11:13]}:{stamp[13:15]}   ·   {status.title}   ·   {words[status.state]}   ·   {epochs}"


def _column_box() -> QComboBox:
    box = QComboBox()
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumContentsLength(24)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def _path_edit(placeholder: str) -> QLineEdit:
    edit = QLineEdit()
    edit.setPlaceholderText(placeholder)
    edit.setClearButtonEnabled(True)
    return edit


def _beside(first: QLineEdit | QComboBox, *others: object) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(first, 1)
    for other in others:
        row.addWidget(other)  # type: ignore[arg-type]
    return row


def _short(text: str) -> QLabel:
    label = plain_label(text)
    label.setWordWrap(False)
    return label


def _folder_count(folder: Path) -> int:
    try:
        return sum(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir())
    except OSError:
        return 0
