"""The reader's own side: marks with their sizes and notes, findings and impression in the reader's words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QFocusEvent, QHideEvent, QMouseEvent
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QToolButton, QVBoxLayout, QWidget

from breastai_gui.services.annotations import DCE, measure
from breastai_gui.services.session import Reading
from breastai_gui.services.ultrasound_angles import angle_words
from breastai_gui.views.panel_parts import Card, Chip, Column, ElidedText, Text, follow, link, row

if TYPE_CHECKING:
    from breastai_gui.data.study import Study
    from breastai_gui.services.annotations import Annotation, AnnotationKind
    from breastai_gui.services.session import Choices, Position, Session
    from breastai_gui.views.reading.viewpoint import Viewpoint

DEBOUNCE_MS = 800
_KINDS: dict[AnnotationKind, str] = {"ruler": "Ruler", "ellipse": "Ellipse", "polygon": "Polygon", "point": "Point"}
_PLANES = ("sagittal", "coronal", "axial")
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))


def where_words(mark: Annotation, study: Study, choices: Choices) -> str:
    """Return where a mark lies: "MRI axial · L 60 A 40 H 10 mm" or "US 30°"."""
    if mark.image != DCE:
        view = next((view for view in study.ultrasound if view.id == mark.image), None)
        return "US, a view that is not here" if view is None else f"US {angle_words(view, choices)}"
    normal = np.abs(np.asarray(mark.plane_normal))
    plane = _PLANES[int(normal.argmax())] if normal.max() > 0.9 else "oblique"
    x, y, z = (float(value) for value in np.asarray(mark.points).mean(axis=0))
    return f"MRI {plane} · {place_words((x, y, z))}"


def place_words(place_mm: Position) -> str:
    """Return a place in the patient: "L 60 A 40 H 10 mm"."""
    places = zip(_LETTERS, place_mm, strict=True)
    return " ".join(f"{letters[0 if value >= 0 else 1]} {abs(value):.0f}" for letters, value in places) + " mm"


def size_words(mark: Annotation, study: Study) -> list[str]:
    """Return the sizes of a mark, in mm or, on a view without calibration, px: the length or axes first, then the area."""
    spacing = next((view.spacing_mm for view in study.ultrasound if view.id == mark.image), None)
    return [part for part in str(measure(mark, spacing)).split(", ") if part]


class MarkRow(Card):
    """One mark in the list."""

    def __init__(self, mark: Annotation, panel: FindingsPanel) -> None:
        super().__init__("human")
        self._panel = panel
        self.mark = mark
        self.box.setContentsMargins(11, 5, 6, 6)
        self.box.setSpacing(3)
        self.extent = ElidedText(bold=True)
        self.where = ElidedText(tone="muted", size=-0.5)
        self.note = QLineEdit()
        self.note.setPlaceholderText("Note")
        self.note.setMaxLength(200)
        self.note.editingFinished.connect(self._noted)
        self.jump = self._tool("◎", "Show this mark", partial(panel.jump, mark.id))
        self.lesion = self._tool("◇", "This is the lesion: curve and report are taken here", partial(panel.choose_lesion, mark.id))
        self.delete = self._tool("✕", "Delete this mark", partial(panel.delete, mark.id))
        head = row(self.extent, self.lesion, self.jump, self.delete, spacing=2)
        head.setStretch(0, 1)
        self.box.addLayout(head)
        self.lesion.setVisible(mark.kind == "point" and mark.image == DCE)
        self.box.addWidget(self.where)
        self.box.addWidget(self.note)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def _tool(self, sign: str, tip: str, pressed: partial[None]) -> QToolButton:
        button = QToolButton()
        button.setText(sign)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setAutoRaise(True)
        button.setStyleSheet("QToolButton { padding: 1px 5px; border: none; background: transparent; }")
        button.clicked.connect(lambda _checked=False: pressed())
        return button

    def show_mark(self, mark: Annotation, sizes: list[str], where: str, *, is_lesion: bool) -> None:
        """Say what the mark is now."""
        self.lesion.setText("◆" if is_lesion else "◇")
        self.mark = mark
        self.extent.setText(" ".join((_KINDS[mark.kind], *sizes[:1])))
        self.where.setText(" · ".join((*sizes[1:], where)))
        if not self.note.hasFocus() or not self.note.isModified():
            self.note.setText(mark.text)
            self.note.setCursorPosition(0)

    def _noted(self) -> None:
        if self.note.isModified():
            self.note.setModified(False)
            self._panel.note(self.mark.id, self.note.text().strip())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the mark with a click anywhere in its row."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._panel.jump(self.mark.id)
        super().mousePressEvent(event)


class FindingsPanel(QWidget):
    """The right-hand panel's human half."""

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        self._rows: dict[str, MarkRow] = {}
        self._saving = False
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        column = Column()
        whole.addWidget(column)
        box = column.box
        box.addLayout(row(Text("Findings", bold=True, size=1, wrap=False), 1, Chip("YOU", "human", filled=True)))
        self._none = Text("No marks yet. Draw on any picture with a ruler, an ellipse, a polygon or a point.", tone="muted", size=-0.5)
        box.addWidget(self._none)
        self.lesion = ElidedText(tone="human", size=-0.5)
        self._forget = link("clear", lambda: session.choose(lesion_mm=None), tip="Forget where the lesion is; undo brings it back")
        self._show_lesion = link("show", self.jump_to_lesion, tip="Take the crosshair there")
        line = row(self.lesion, self._show_lesion, self._forget)
        line.setStretch(0, 1)
        box.addLayout(line)
        self._list = QVBoxLayout()
        self._list.setSpacing(5)
        box.addLayout(self._list)
        self.findings = self._editor("What you see")
        self.impression = self._editor("What you conclude")
        box.addWidget(Text("Your findings", tone="human", bold=True, size=-0.5))
        box.addWidget(self.findings)
        box.addWidget(Text("Your impression", tone="human", bold=True, size=-0.5))
        box.addWidget(self.impression)
        box.addStretch(1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DEBOUNCE_MS)
        self._timer.timeout.connect(self.flush)
        follow(session.changed, self._refresh)
        self._refresh()
        for editor in (self.findings, self.impression):
            editor.textChanged.connect(self._typed)

    def _editor(self, hint: str) -> QPlainTextEdit:
        editor = QPlainTextEdit()
        editor.setPlaceholderText(hint)
        editor.setTabChangesFocus(True)
        lines = 4
        editor.setFixedHeight(lines * editor.fontMetrics().lineSpacing() + 14)
        editor.installEventFilter(self)
        return editor

    # Marks --------------------------------------------------------------------------------------------------------

    def jump(self, mark_id: str) -> None:
        """Bring every view to a mark."""
        mark = self._mark(mark_id)
        if mark is None:
            return
        if mark.image == DCE:
            x, y, z = (float(value) for value in np.asarray(mark.points).mean(axis=0))
            self._viewpoint.set(cursor_mm=(x, y, z))
        else:
            self._viewpoint.set(view_id=mark.image)

    def choose_lesion(self, mark_id: str) -> None:
        """Say that the lesion is where a point on MRI stands."""
        mark = self._mark(mark_id)
        if mark is not None and mark.kind == "point" and mark.image == DCE:
            x, y, z = mark.points[0]
            self._session.choose(lesion_mm=(x, y, z))

    def jump_to_lesion(self) -> None:
        """Take the crosshair to the lesion."""
        if self._session.choices.lesion_mm is not None:
            self._viewpoint.set(cursor_mm=self._session.choices.lesion_mm)

    def delete(self, mark_id: str) -> None:
        """Take a mark away; undo brings it back."""
        self._session.remove_annotation(mark_id)

    def note(self, mark_id: str, text: str) -> None:
        """Keep another note of a mark."""
        mark = self._mark(mark_id)
        if mark is not None and mark.text != text:
            self._session.replace_annotation(mark.with_text(text))

    def _mark(self, mark_id: str) -> Annotation | None:
        return next((mark for mark in self._session.annotations if mark.id == mark_id), None)

    # The reader's words -------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Keep what was typed now, without waiting for a pause."""
        self._timer.stop()
        reading = Reading(self.findings.toPlainText(), self.impression.toPlainText())
        if reading != self._session.state.reading:
            self._saving = True
            self._session.set_reading(reading)
            self._saving = False

    def _typed(self) -> None:
        self._timer.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep a text when it is left."""
        if isinstance(event, QFocusEvent) and event.type() == QEvent.Type.FocusOut and self._timer.isActive():
            self.flush()
        return super().eventFilter(watched, event)

    def hideEvent(self, event: QHideEvent) -> None:
        """Keep what was typed when the panel closes."""
        if self._timer.isActive():
            self.flush()
        super().hideEvent(event)

    # Drawing anew -------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        marks = tuple({mark.id: mark for mark in self._session.annotations}.values())
        kept = {mark.id for mark in marks}
        for mark_id in [known for known in self._rows if known not in kept]:
            gone = self._rows.pop(mark_id)
            self._list.removeWidget(gone)
            gone.hide()
            gone.deleteLater()
        for place, mark in enumerate(marks):
            if mark.id not in self._rows:
                self._rows[mark.id] = MarkRow(mark, self)
            line = self._rows[mark.id]
            if self._list.indexOf(line) != place:
                self._list.insertWidget(place, line)
            study, choices = self._session.study, self._session.choices
            is_lesion = mark.image == DCE and mark.kind == "point" and mark.points[0] == choices.lesion_mm
            line.show_mark(mark, size_words(mark, study), where_words(mark, study, choices), is_lesion=is_lesion)
        self._none.setVisible(not marks)
        lesion = self._session.choices.lesion_mm
        self.lesion.setText("" if lesion is None else f"◆ The lesion: {place_words(lesion)}")
        for widget in (self.lesion, self._show_lesion, self._forget):
            widget.setVisible(lesion is not None)
        if not self._saving and not self._timer.isActive():
            self._show_reading(self._session.state.reading)

    def _show_reading(self, reading: Reading) -> None:
        for editor, words in ((self.findings, reading.findings), (self.impression, reading.impression)):
            if editor.toPlainText() != words:
                editor.blockSignals(True)
                editor.setPlainText(words)
                editor.blockSignals(False)

    @property
    def rows(self) -> tuple[MarkRow, ...]:
        """The marks as listed."""
        return tuple(self._rows[mark_id] for mark_id in {mark.id: mark for mark in self._session.annotations})
