"""The dynamic phases with times and evidence: which are used, in which order, which one is before contrast."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QPushButton, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from breastai_gui.services.chosen import chosen_phases, pre_phase
from breastai_gui.services.plain_text import one_line
from breastai_gui.views.panel_parts import TABLE_STYLE, Text, bold_font, follow, row, tones, visible_boxes
from breastai_gui.views.plain_text import literal_tooltip

if TYPE_CHECKING:
    from breastai_gui.data.study import DceSeries
    from breastai_gui.services.session import Choices, Session

_ORIGINS = {
    "injection": "Seconds from injection (ContrastBolusStartTime).",
    "assumed": "Seconds; time zero is assumed: the start of the first phase after contrast.",
    "unknown": "The files carry no times: phases are numbered only.",
}
_USED, _NAME, _TIME, _SOURCE = range(4)


def row_order(count: int, used: tuple[int, ...]) -> tuple[int, ...]:
    """Return all phases as rows: the used ones in their order, each one left out behind its neighbour as read."""
    rows = list(used)
    for phase in range(count):
        if phase not in rows:
            rows.insert(rows.index(phase - 1) + 1 if phase else 0, phase)
    return tuple(rows)


def phase_name(phase: int, used: tuple[int, ...], pre: int | None) -> str:
    """Return "pre", "P1", "P2" … by place among the used phases, "–" when left out; plain numbers while pre is open."""
    if phase not in used:
        return "–"
    if phase == pre:
        return "pre"
    place = used.index(phase)
    if pre is None or pre not in used:
        return str(place + 1)
    before = used.index(pre)
    return f"P{place - before}" if place > before else f"pre {place - before}"


class PhaseTable(QWidget):
    """Shows and edits the phases through the session's choices.

    Signals
    -------
    phaseSelected
        With the study's phase index of the row that was selected.
    """

    phaseSelected = Signal(int)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        if session.study.dce is None:
            raise ValueError("A phase table needs dynamic phases.")
        self._dce: DceSeries = session.study.dce
        self._rows: tuple[int, ...] = ()
        self._filling = False
        self._table = self._make_table()
        self._up = self._button("▲", "Move this phase earlier", lambda: self._move(-1))
        self._down = self._button("▼", "Move this phase later", lambda: self._move(1))
        self._pre = self._button("Is pre", "This phase was taken before contrast", self._mark_pre)
        self._confirm = self._button("Confirm this table", "The table is right as it stands", self.confirm)
        self._as_read = self._button("Reset", "Back to the phases as read", self._reset)
        self._note = Text(tone="muted", size=-0.5)
        self._evidence = Text(tone="muted", size=-0.5)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(5)
        box.addWidget(self._table)
        box.addLayout(row(self._up, self._down, self._pre, 1, self._as_read, spacing=4))
        box.addWidget(self._confirm)
        box.addWidget(self._note)
        box.addWidget(self._evidence)
        follow(session.changed, self._refresh)
        self._refresh()

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(self._dce.phase_count, 4)
        table.setHorizontalHeaderLabels(["Use", "Phase", "Time", "Source"])
        table.verticalHeader().hide()
        table.setShowGrid(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setTextElideMode(Qt.TextElideMode.ElideRight)
        table.setWordWrap(False)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setTabKeyNavigation(False)
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(20)
        for column in (_USED, _NAME, _TIME):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_SOURCE, QHeaderView.ResizeMode.Stretch)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 8)
        table.setStyleSheet(TABLE_STYLE)
        visible_boxes(table)
        table.itemChanged.connect(self._ticked)
        table.currentCellChanged.connect(self._selected)
        return table

    def _button(self, words: str, tip: str, pressed: object) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.setStyleSheet("QPushButton { padding: 2px 7px; }")
        button.setMinimumWidth(button.fontMetrics().horizontalAdvance(words) + 18)
        button.clicked.connect(lambda _checked=False: pressed())  # type: ignore[operator]
        return button

    @property
    def table(self) -> QTableWidget:
        """The rows."""
        return self._table

    def confirm(self) -> None:
        """Accept the table as it stands."""
        choices = self._session.choices
        pre = pre_phase(self._dce, choices)
        if pre is not None:
            self._session.choose(phases_confirmed=True, pre=choices.pre if self._dce.pre == pre else pre)

    def _refresh(self) -> None:
        choices = self._session.choices
        used, pre = chosen_phases(self._session.study, choices), pre_phase(self._dce, choices)
        selected = self._selected_phase()
        self._rows = row_order(self._dce.phase_count, used)
        self._filling = True
        for at, phase in enumerate(self._rows):
            self._fill(at, phase, used, pre)
        if selected is not None:
            self._table.selectRow(self._rows.index(selected))
        self._filling = False
        frame = 2 * self._table.frameWidth()
        self._table.setFixedHeight(self._table.horizontalHeader().sizeHint().height() + self._table.verticalHeader().length() + frame)
        self._as_read.setVisible(choices.phases is not None or choices.pre is not None or choices.phases_confirmed)
        asked = self._dce.order_confidence == "question" or self._dce.pre_confidence == "question" or self._dce.pre is None
        self._confirm.setVisible(asked and not choices.phases_confirmed)
        self._confirm.setEnabled(pre is not None)
        self._note.say("\n".join(self._notes(choices, used, pre)))
        order = self._dce.order_evidence.rstrip(".")
        self._evidence.say(f"{_ORIGINS[self._dce.time_origin]} Order: {order}. {self._dce.pre_evidence}")
        self._buttons()

    def _notes(self, choices: Choices, used: tuple[int, ...], pre: int | None) -> list[str]:
        notes = []
        if choices.phases_confirmed:
            notes.append("✓ Confirmed by you.")
        if left_out := self._dce.phase_count - len(used):
            notes.append(f"{len(used)} of {self._dce.phase_count} phases are used, {left_out} left out by you.")
        times = [time for time in (self._dce.times_s[phase] for phase in used) if time is not None]
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            notes.append("⚠ In this order the times do not rise.")
        if pre is not None and pre in used and used.index(pre) != 0:
            notes.append("⚠ A phase stands before the pre-contrast phase.")
        return notes

    def _fill(self, at: int, phase: int, used: tuple[int, ...], pre: int | None) -> None:
        values = self._dce.phases[phase]
        time = self._dce.times_s[phase]
        evidence = "\n".join(f"{one_line(name)}: {one_line(value)}" for name, value in values.evidence.items())
        tip = literal_tooltip(f"{one_line(values.label)}\n{values.file_count} files\n{evidence or 'no timing tags'}")
        words = ("", phase_name(phase, used, pre), "–" if time is None else f"{time:.0f} s", one_line(values.label))
        colours = tones(self.palette())
        for column, word in enumerate(words):
            item = QTableWidgetItem(word)
            item.setToolTip(tip)
            if phase not in used:
                item.setForeground(colours.muted)
            if phase == pre and column == _NAME:
                item.setFont(bold_font(self._table))
            if column == _TIME:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
            if column == _USED:
                flags |= Qt.ItemFlag.ItemIsUserCheckable
                item.setCheckState(Qt.CheckState.Checked if phase in used else Qt.CheckState.Unchecked)
                if phase == pre:
                    flags &= ~Qt.ItemFlag.ItemIsUserCheckable
                    item.setToolTip("The phase before contrast is always used; mark another one as pre first.")
            item.setFlags(flags)
            self._table.setItem(at, column, item)

    def _ticked(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column() != _USED:
            return
        phase = self._rows[item.row()]
        used = chosen_phases(self._session.study, self._session.choices)
        wanted = tuple(other for other in self._rows if (other == phase and phase not in used) or (other != phase and other in used))
        if len(wanted) < 2:
            self._refresh()
            self._note.say("At least two phases are needed.")
            return
        self._set(wanted)

    def _set(self, used: tuple[int, ...]) -> None:
        self._session.choose(phases=None if used == tuple(range(self._dce.phase_count)) else used)

    def _move(self, step: int) -> None:
        phase = self._selected_phase()
        used = list(chosen_phases(self._session.study, self._session.choices))
        if phase is None or phase not in used:
            return
        place = used.index(phase)
        if 0 <= place + step < len(used):
            used[place], used[place + step] = used[place + step], used[place]
            self._set(tuple(used))

    def _mark_pre(self) -> None:
        phase = self._selected_phase()
        if phase is None:
            return
        used = chosen_phases(self._session.study, self._session.choices)
        changes: dict[str, object] = {"pre": phase}
        if phase not in used:
            changes["phases"] = tuple(other for other in self._rows if other == phase or other in used)
        self._session.choose(**changes)

    def _reset(self) -> None:
        self._session.choose(phases=None, pre=None, phases_confirmed=False)

    def _selected_phase(self) -> int | None:
        at = self._table.currentRow()
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def _selected(self, at: int, _column: int, _before: int, _column_before: int) -> None:
        if not self._filling and 0 <= at < len(self._rows):
            self.phaseSelected.emit(self._rows[at])
        self._buttons()

    def _buttons(self) -> None:
        phase = self._selected_phase()
        used = chosen_phases(self._session.study, self._session.choices)
        place = used.index(phase) if phase in used else None
        self._up.setEnabled(place is not None and place > 0)
        self._down.setEnabled(place is not None and place + 1 < len(used))
        self._pre.setEnabled(phase is not None and phase != pre_phase(self._dce, self._session.choices))
