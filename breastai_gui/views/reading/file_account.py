"""Every file that was opened, and what became of it: N files in, N rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from breastai_gui.services.plain_text import one_line
from breastai_gui.views.panel_parts import TABLE_STYLE, Text, row, visible_boxes
from breastai_gui.views.plain_text import literal_tooltip

if TYPE_CHECKING:
    from breastai_gui.data.study import FileUse

_HEADINGS = ("File", "Used as", "Not used because")
_Index = QModelIndex | QPersistentModelIndex


def account_sentence(files: tuple[FileUse, ...]) -> str:
    """Return "192 of 217 files are used, 25 are not."."""
    used = sum(1 for file in files if file.used_as)
    rest = len(files) - used
    files_words = "file is" if len(files) == 1 else "files are"
    return f"{used} of {len(files)} {files_words} used" + (f", {rest} {'is' if rest == 1 else 'are'} not." if rest else ".")


class FileTable(QAbstractTableModel):
    """The file account as rows; plain text only."""

    def __init__(self, files: tuple[FileUse, ...], parent: QWidget) -> None:
        super().__init__(parent)
        self._files = files

    def rowCount(self, parent: _Index | None = None) -> int:
        """One row a file."""
        return 0 if parent is not None and parent.isValid() else len(self._files)

    def columnCount(self, parent: _Index | None = None) -> int:
        """File, use, reason."""
        return 0 if parent is not None and parent.isValid() else len(_HEADINGS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Name of a column."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return _HEADINGS[section]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Words of a cell."""
        file = self._files[index.row()]
        words = one_line((file.file, file.used_as, file.why_not)[index.column()])
        if role == Qt.ItemDataRole.DisplayRole:
            return words
        return literal_tooltip(words) if role == Qt.ItemDataRole.ToolTipRole else None

    def is_used(self, at: int) -> bool:
        """Whether that row's file is used."""
        return bool(self._files[at].used_as)


class _Filter(QSortFilterProxyModel):
    only_unused = False

    def filterAcceptsRow(self, source_row: int, _source_parent: _Index) -> bool:
        model = self.sourceModel()
        return not (self.only_unused and isinstance(model, FileTable) and model.is_used(source_row))


class FileAccountDialog(QDialog):
    """The table, sortable, with a filter and a button that copies it."""

    def __init__(self, files: tuple[FileUse, ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Files of this exam")
        self.resize(820, 480)
        self._rows = _Filter(self)
        self._rows.setSourceModel(FileTable(files, self))
        self.table = QTableView()
        self.table.setModel(self._rows)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(self.table.fontMetrics().height() + 7)
        self.table.setShowGrid(False)
        self.table.setStyleSheet(TABLE_STYLE)
        self.table.setAlternatingRowColors(True)
        self.table.setWordWrap(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.only_unused = QCheckBox("Only files that are not used")
        visible_boxes(self.only_unused)
        self.only_unused.toggled.connect(self._filter)
        copy = QPushButton("Copy")
        copy.setToolTip("Copy the table as text, one line a file")
        copy.clicked.connect(lambda _checked=False: self.copy())
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        box = QVBoxLayout(self)
        box.addWidget(Text(account_sentence(files)))
        box.addWidget(self.table)
        box.addLayout(row(self.only_unused, 1, copy, close))

    def _filter(self, only: bool) -> None:
        self._rows.only_unused = only
        self._rows.invalidate()

    def copy(self) -> None:
        """Put the rows that are shown on the clipboard, tab-separated."""
        lines = ["\t".join(_HEADINGS)]
        for at in range(self._rows.rowCount()):
            lines.append("\t".join(str(self._rows.index(at, column).data()) for column in range(len(_HEADINGS))))
        QApplication.clipboard().setText("\n".join(lines))
