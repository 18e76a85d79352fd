"""Page 2: every patient with what was found; the person decides about each that has a problem."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QInputDialog, QProgressBar, QPushButton, QTableView

from breastai_gui.services import cohort as cohorts
from breastai_gui.views.training.page_parts import Page, plain_label

if TYPE_CHECKING:
    from breastai_gui.services.application import Application
    from breastai_gui.services.cohort import Cohort, CohortRow
    from breastai_gui.services.jobs import Task
    from breastai_gui.views.training.data_page import CheckRequest

COLUMNS = ("Patient", "State", "Phases", "Angles", "LNM", "Grade", "Ki-67", "What was found")
_STATES = {"ready": "✓ ready", "asks": "? decide", "stops": "✕ cannot be used", "left out": "– left out"}
_COLOURS = {"ready": "#2e9e5b", "asks": "#c98a00", "stops": "#d4483b", "left out": "#8a8f98"}
REASONS = ("Images are incomplete", "Not a confirmed cancer", "Files of two patients are mixed", "Answer is not known", "Duplicate")
_CELL_ROLES = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
Index = QModelIndex | QPersistentModelIndex


class CohortTable(QAbstractTableModel):
    """The rows of a cohort as a table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[CohortRow, ...] = ()

    def show(self, rows: tuple[CohortRow, ...]) -> None:
        """Show these rows."""
        if len(rows) == len(self.rows):
            self.rows = rows
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(COLUMNS) - 1))
            return
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        """Return how many patients there are."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        """Return how many columns there are."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name of a column."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text or colour of a cell."""
        row = self.rows[index.row()]
        if role in _CELL_ROLES:
            return self._text(row, index.column())
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 1:
            return QColor(_COLOURS[row.status])
        return None

    def _text(self, row: CohortRow, column: int) -> str:
        if column == 0:
            return row.patient
        if column == 1:
            return _STATES[row.status]
        if column == 2:
            return str(row.phases) if row.phases else "–"
        if column == 3:
            return str(row.angles) if row.angles else "–"
        if column < 7:
            answer = (row.labels.lymph_node_metastasis, row.labels.high_grade, row.labels.high_ki67)[column - 4]
            return "–" if answer is None else ("yes", "no")[not answer] if column == 4 else ("high", "low")[not answer]
        found = " ".join(problem.text for problem in row.problems)
        return f"Left out: {row.left_out}. {found}".strip() if row.left_out else found


class CheckPage(Page):
    """Read every patient in the background; take the person's decisions."""

    changed = Signal()

    def __init__(self, application: Application) -> None:
        super().__init__(
            "Check",
            "Every patient's files are read as the reading room would read them. Nobody is left out unless you say so, with a reason.",
        )
        self._application = application
        self._task: Task | None = None
        self._failure = ""
        self.cohort: Cohort | None = None
        self.bar = QProgressBar()
        self.bar.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.summary_label = plain_label()
        self.model = CohortTable()
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setAlternatingRowColors(True)
        self.table.setShowGrid(False)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.accept_button = QPushButton("Use as read")
        self.accept_button.setToolTip(
            "You confirm what the program found: the patient is the same in both modalities, the phases are in order."
        )
        self.leave_out_button = QPushButton("Leave out …")
        self.take_back_button = QPushButton("Take back")
        self.detail_label = plain_label()
        buttons = QHBoxLayout()
        buttons.addWidget(self.detail_label, 1)
        for button in (self.accept_button, self.leave_out_button, self.take_back_button):
            buttons.addWidget(button)
        self.body.addWidget(self.bar)
        self.body.addWidget(self.summary_label)
        self.body.addWidget(self.table, 1)
        self.body.addLayout(buttons)
        self.table.selectionModel().selectionChanged.connect(self._refresh)
        self.model.modelReset.connect(self._refresh)
        self.accept_button.clicked.connect(self._accept)
        self.leave_out_button.clicked.connect(self._ask_reason)
        self.take_back_button.clicked.connect(self._take_back)

    def check(self, request: CheckRequest) -> None:
        """Start reading; rows appear as they are done."""
        self.cancel()
        self.cohort, self._failure = None, ""
        self.model.show(())
        self.bar.setRange(0, len(request.table.rows))
        self.bar.setValue(0)
        self.bar.show()
        reader = self._application.reader

        def work(task: Task) -> Cohort:
            task.when_cancelled(reader.stop)
            return cohorts.check(
                request.folder,
                request.table,
                request.columns,
                request.ki67_cutoff_percent,
                reader,
                lambda done, total, row: task.progress((done, total, row)),
            )

        self._task = self._application.jobs.start(work, self._done, self._failed, self._progressed)
        self._refresh()

    def cancel(self) -> None:
        """Give up a check that is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def why_not_yet(self) -> str:
        """Return what is still to be decided, "" when training may start."""
        if self._failure:
            return self._failure
        return "The patients are being read." if self.cohort is None else self.cohort.why_not_yet()

    def _progressed(self, value: tuple[int, int, CohortRow]) -> None:
        done, total, row = value
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.model.show((*self.model.rows, row))
        self.summary_label.setText(f"{done} of {total} patients read")

    def _done(self, cohort: Cohort) -> None:
        self._task = None
        self.bar.hide()
        self._set(cohort)

    def _failed(self, error: Exception) -> None:
        self._task = None
        self.bar.hide()
        self._failure = str(error) if type(error).__module__.startswith("breastai") else f"The check failed ({type(error).__name__})."
        self.summary_label.setText(self._failure)
        self._refresh()

    def _set(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.model.show(cohort.rows)
        text = cohorts.summary(cohort)
        if count := len(cohort.folders_without_row):
            shown = ", ".join(cohort.folders_without_row[:5]) + (" …" if count > 5 else "")
            text += f". Folders that no row names: {shown}"
        self.summary_label.setText(text)
        self._refresh()

    def _selected(self) -> list[CohortRow]:
        return [self.model.rows[index.row()] for index in self.table.selectionModel().selectedRows()]

    def _refresh(self) -> None:
        chosen = self._selected()
        done = self.cohort is not None
        self.accept_button.setEnabled(done and any(row.status == "asks" for row in chosen))
        self.leave_out_button.setEnabled(done and any(row.status != "left out" for row in chosen))
        self.take_back_button.setEnabled(done and any(row.left_out or row.accepted for row in chosen))
        self.detail_label.setText(self.model._text(chosen[0], 7) if len(chosen) == 1 else "")
        self.changed.emit()

    def _change(self, decide: Any) -> None:
        if self.cohort is None:
            return
        cohort = self.cohort
        for row in self._selected():
            cohort = cohort.with_row(decide(row))
        self._set(cohort)

    def _accept(self) -> None:
        self._change(lambda row: replace(row, accepted=True) if row.status == "asks" else row)

    def _ask_reason(self) -> None:
        reason, given = QInputDialog.getItem(
            self, "Leave out", "Why is it left out? The reason is kept with the run.", list(REASONS), 0, True
        )
        if given and reason.strip():
            self.leave_out(reason.strip())

    def leave_out(self, reason: str) -> None:
        """Leave the selected patients out for this reason."""
        self._change(lambda row: replace(row, left_out=reason))

    def _take_back(self) -> None:
        self._change(lambda row: replace(row, left_out="", accepted=False))
