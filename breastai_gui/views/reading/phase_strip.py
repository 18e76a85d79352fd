"""The dynamic phases as a line of buttons with their times; previous, next, cine; subtraction and projection."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from breastai_gui.views.panel_parts import follow, tones
from breastai_gui.views.reading.phase_table import row_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtGui import QHideEvent

    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.mri_pictures import PlanePictures
    from breastai_gui.views.reading.viewpoint import Look, PictureMode, Viewpoint

CINE_MS = 450
"""Each phase is shown so long while they run."""


class PhaseButton(QAbstractButton):
    """One phase: its name, its time, and whether it is shown, used or left out."""

    def __init__(self, phase: int, name: str, when: str, *, used: bool) -> None:
        super().__init__()
        self.phase = phase
        self.used = used
        self._name, self._when = name, when
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setText(f"{name} {when}")
        self.setAccessibleName(f"Phase {name}, {when}")

    def sizeHint(self) -> QSize:
        """Room for both lines."""
        metrics = self.fontMetrics()
        width = max(metrics.horizontalAdvance(self._name), metrics.horizontalAdvance(self._when))
        return QSize(max(44, min(width, 76) + 14), 2 * metrics.height() + 10)

    def minimumSizeHint(self) -> QSize:
        """Many phases leave room for a number only."""
        return QSize(12, self.sizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the frame and both lines."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, colours = self.palette(), tones(self.palette())
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        ink = palette.color(QPalette.ColorRole.ButtonText)
        fill = palette.color(QPalette.ColorRole.Button)
        if self.isChecked():
            fill, ink = palette.color(QPalette.ColorRole.Highlight), palette.color(QPalette.ColorRole.HighlightedText)
        elif self.underMouse():
            fill = palette.color(QPalette.ColorRole.Light)
        if not self.used:
            ink = colours.muted
            fill = fill if self.isChecked() else QColor(0, 0, 0, 0)
            if self.isChecked():
                ink = palette.color(QPalette.ColorRole.HighlightedText)
        pen = QPen(palette.color(QPalette.ColorRole.Mid) if self.used else colours.muted, 1.0)
        if not self.used:
            pen.setStyle(Qt.PenStyle.DotLine)
        painter.setPen(pen)
        painter.setBrush(QBrush(fill))
        painter.drawRoundedRect(area, 4, 4)
        painter.setPen(ink)
        upper, lower = QRectF(area), QRectF(area)
        upper.setBottom(area.center().y())
        lower.setTop(area.center().y() - 1)
        font = self.font()
        font.setBold(True)
        painter.setFont(font)
        self._draw_words(painter, upper, self._name)
        font.setBold(False)
        painter.setFont(font)
        if not self.isChecked():
            painter.setPen(colours.muted)
        self._draw_words(painter, lower, self._when)

    @staticmethod
    def _draw_words(painter: QPainter, area: QRectF, words: str) -> None:
        """Draw them as far as they have room; the tooltip says all."""
        forms = (words, words.replace("unknown", "?"), words.removeprefix("P"))
        fits = next((form for form in forms if painter.fontMetrics().horizontalAdvance(form) <= area.width() - 2), "")
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, fits)


class Line(QWidget):
    """The row of phases, joined by a line."""

    def __init__(self) -> None:
        super().__init__()
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.set_close(False)

    def set_close(self, close: bool) -> None:
        """Put the buttons closer together."""
        self.row.setSpacing(2 if close else 7)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the line behind the buttons."""
        painter = QPainter(self)
        painter.setPen(QPen(tones(self.palette()).muted, 1.5))
        places = [button.geometry() for button in self.findChildren(PhaseButton) if self.row.indexOf(button) >= 0]
        for earlier, later in itertools.pairwise(sorted(places, key=QRect.left)):
            painter.drawLine(QPointF(earlier.right(), self.height() / 2), QPointF(later.left(), self.height() / 2))


class PhaseStrip(QWidget):
    """Buttons for every phase and for how phases are shown."""

    def __init__(self, session: Session, viewpoint: Viewpoint, pictures: PlanePictures) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        self._pictures = pictures
        self._facts: object = None
        self.buttons: tuple[PhaseButton, ...] = ()
        self._line = Line()
        self.previous = self._button("◄", "Previous phase (←)", lambda: self._step(-1))
        self.next = self._button("►", "Next phase (→)", lambda: self._step(1))
        self.cine = self._button("▷", "Run through the phases (Space)", self.toggle_cine)
        self.cine.setCheckable(True)
        for button in (self.previous, self.next, self.cine):
            button.setProperty("narrow", True)  # window.qss
        tip = "Subtraction: this phase minus the one before contrast (S)"
        self.subtraction = self._button("SUB", tip, lambda: self.toggle_mode("subtraction"))
        self.mip = self._button("MIP", "Maximum-intensity projection of the subtraction (M)", lambda: self.toggle_mode("mip"))
        for button in (self.subtraction, self.mip):
            button.setCheckable(True)
        self._timer = QTimer(self)
        self._timer.setInterval(CINE_MS)
        self._timer.timeout.connect(self._run)
        box = QHBoxLayout()
        box.setSpacing(4)
        box.addWidget(self.previous)
        box.addWidget(self._line)
        box.addWidget(self.next)
        box.addWidget(self.cine)
        box.addSpacing(8)
        box.addWidget(self.subtraction)
        box.addWidget(self.mip)
        box.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(8, 5, 8, 3)
        whole.addLayout(box)
        follow(session.changed, self._refresh)
        follow(viewpoint.changed, self._looked)
        self._refresh()

    def _button(self, words: str, tip: str, pressed: Callable[[], None]) -> QToolButton:
        button = QToolButton()
        button.setText(words)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        button.clicked.connect(lambda _checked=False: pressed())
        return button

    # Gestures -----------------------------------------------------------------------------------------------------

    def show_number(self, number: int) -> None:
        """Show the phase with that place among the used ones; 0 is the first."""
        phases = self._pictures.phases
        if number < len(phases):
            self._viewpoint.set(phase=phases[number])

    def toggle_mode(self, mode: PictureMode) -> None:
        """Show subtraction or projection, or the phase again."""
        look = self._viewpoint.look
        if look.mode == mode:
            self._viewpoint.set(mode="phase")
        elif self._pictures.pre is not None:
            phase = look.phase
            if not self._pictures.can_subtract(look):  # the pre-contrast phase minus itself: go on to the next one
                later = [other for other in self._pictures.phases if other != self._pictures.pre]
                if not later:
                    return
                phase = later[0]
            self._viewpoint.set(mode=mode, phase=phase)
        self._looked(look, self._viewpoint.look)

    def toggle_cine(self) -> None:
        """Start or stop running through the phases."""
        if self._timer.isActive():
            self.stop_cine()
        elif len(self._pictures.phases) > 1:
            self._timer.start()
            self.cine.setText("❚❚")
            self.cine.setChecked(True)
        else:
            self.cine.setChecked(False)

    def stop_cine(self) -> None:
        """Stop running through the phases."""
        self._timer.stop()
        self.cine.setText("▷")
        self.cine.setChecked(False)

    @property
    def running(self) -> bool:
        """True while the phases run."""
        return self._timer.isActive()

    def _step(self, steps: int) -> None:
        phases, phase = self._pictures.phases, self._viewpoint.look.phase
        place = phases.index(phase) if phase in phases else 0
        self._viewpoint.set(phase=phases[max(0, min(len(phases) - 1, place + steps))])

    def _run(self) -> None:
        phases, look = self._pictures.phases, self._viewpoint.look
        shown = [phase for phase in phases if look.mode == "phase" or phase != self._pictures.pre]
        if shown:
            place = shown.index(look.phase) + 1 if look.phase in shown else 0
            self._viewpoint.set(phase=shown[place % len(shown)])

    def hideEvent(self, event: QHideEvent) -> None:
        """Nothing runs unseen."""
        self.stop_cine()
        super().hideEvent(event)

    # What is shown ------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        facts = (self._pictures.phases, self._pictures.pre)
        if facts != self._facts:
            self._facts = facts
            self._build()
        look = self._viewpoint.look
        if look.phase not in self._pictures.phases:
            self._viewpoint.set(phase=self._pictures.phases[0])
        self._looked(look, self._viewpoint.look)

    def _build(self) -> None:
        for button in self.buttons:
            self._line.row.removeWidget(button)
            button.hide()
            button.deleteLater()
        dce, used = self._pictures.dce, self._pictures.phases
        made = []
        for phase in row_order(dce.phase_count, used):
            time = dce.times_s[phase]
            name = self._pictures.name(phase)
            button = PhaseButton(
                phase,
                "out" if name == "–" else name,
                "time unknown" if time is None else f"{time:.0f} s",
                used=phase in used,
            )
            button.setToolTip(self._tip(phase, phase in used))
            button.clicked.connect(partial(self._show, phase))
            self._line.row.addWidget(button)
            made.append(button)
        self.buttons = tuple(made)
        self._line.set_close(len(made) > 8)

    def _tip(self, phase: int, used: bool) -> str:
        dce = self._pictures.dce
        time = dce.times_s[phase]
        origin = {"injection": "after injection", "assumed": "after injection (assumed)", "unknown": ""}[dce.time_origin]
        when = "time unknown: no file says it" if time is None else f"{time:.0f} s {origin}".strip()
        return f"Phase {phase + 1} as read, {when}{'' if used else '; left out'}"

    def _show(self, phase: int, _checked: bool = False) -> None:
        self._viewpoint.set(phase=phase)
        self._looked(self._viewpoint.look, self._viewpoint.look)

    def _looked(self, _before: Look, after: Look) -> None:
        for button in self.buttons:
            button.setChecked(button.phase == after.phase)
        possible = self._pictures.pre is not None and len(self._pictures.phases) > 1
        for toggle, mode in ((self.subtraction, "subtraction"), (self.mip, "mip")):
            toggle.setChecked(after.mode == mode)
            toggle.setEnabled(possible)

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of a new theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self.update()
