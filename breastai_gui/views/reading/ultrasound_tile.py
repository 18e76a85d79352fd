"""One cell of the ultrasound grid: a view with its angle, calibration and use, or words that say what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QFont,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from breastai_gui.services.plain_text import one_line
from breastai_gui.views.panel_parts import tones
from breastai_gui.views.plain_text import literal_tooltip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import UltrasoundView

_GROUND = QColor("#0b0d0f")
_WORDS = QColor("#dfe4e8")
_QUIET = QColor("#8b949c")
_SELECTED = QColor("#7fb2f0")
_TOP, _FOOT = 20, 17
_BOX = 15


def grey_image(pixels: NDArray[np.uint8]) -> QImage:
    """Return (row, column) uint8 as a picture that owns its memory."""
    rows, columns = pixels.shape
    packed = np.ascontiguousarray(pixels)
    return QImage(packed.data, columns, rows, columns, QImage.Format.Format_Grayscale8).copy()


def colour_image(rgba: NDArray[np.uint8]) -> QImage:
    """Return (row, column, 4) uint8 as a picture that owns its memory."""
    rows, columns, _ = rgba.shape
    packed = np.ascontiguousarray(rgba)
    return QImage(packed.data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888).copy()


class UltrasoundTile(QWidget):
    """A cell.

    Signals
    -------
    picked
        Clicked, or reached with the keyboard.
    opened
        Double-clicked, or Return was pressed.
    useToggled
        The box at the top right was clicked, or Space was pressed.
    menuAsked
        Right click; carries the position on the screen.
    """

    picked = Signal()
    opened = Signal()
    useToggled = Signal()
    menuAsked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.view: UltrasoundView | None = None
        self._picture: QPixmap | None = None
        self._heat: QImage | None = None
        self._angle = self._place = self._scale = self._missing = ""
        self._used = self._selected = False
        self.setMinimumSize(74, 74)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that is written in the cell, for tests and for screen readers."""
        if self.view is None:
            return (self._missing,)
        use = () if self._used else ("not used",)
        return tuple(part for part in (self._angle, self._place, self._scale) if part) + use

    @property
    def has_heat(self) -> bool:
        """Whether a heatmap lies over the view."""
        return self._heat is not None

    def show_missing(self, words: str) -> None:
        """Be an empty cell that says what is missing."""
        self.view, self._picture, self._heat, self._missing, self._selected = None, None, None, words, False
        self.setToolTip("")
        self.setAccessibleName(words)
        self.setEnabled(False)
        self.update()

    def show_view(self, view: UltrasoundView, *, angle: str, place: str, scale: str, tip: str, used: bool) -> None:
        """Show a view with these words."""
        if view is not self.view:
            self._picture = QPixmap.fromImage(grey_image(view.pixels))
        self.view, self._angle, self._place, self._scale, self._used = view, angle, one_line(place), scale, used
        self.setToolTip(literal_tooltip(tip))
        self.setAccessibleName(" ".join(self.words))
        self.setEnabled(True)
        self.update()

    def show_heat(self, rgba: NDArray[np.uint8] | None) -> None:
        """Lay a heatmap over the view, (row, column, 4) of its own pixels, or take it away."""
        self._heat = None if rgba is None else colour_image(rgba)
        self.update()

    def set_selected(self, selected: bool) -> None:
        """Say whether this is the view in the focus."""
        if selected != self._selected:
            self._selected = selected
            self.update()

    def sizeHint(self) -> QSize:
        """Ask for a comfortable cell."""
        return QSize(180, 150)

    def picture_rect(self) -> QRectF:
        """Where the picture lies in the cell, its shape by millimetres where they are known."""
        if self.view is None:
            return QRectF()
        rows, columns = self.view.pixels.shape
        down, across = self.view.spacing_mm or (1.0, 1.0)
        room = QRectF(self.rect()).adjusted(3, _TOP, -3, -_FOOT)
        scale = min(room.width() / (columns * across), room.height() / (rows * down))
        size = (columns * across * scale, rows * down * scale)
        return QRectF(room.center().x() - size[0] / 2, room.center().y() - size[1] / 2, *size)

    def use_rect(self) -> QRect:
        """Where the box lies that takes the view in or leaves it out."""
        return QRect(self.width() - _BOX - 4, 3, _BOX, _BOX)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw picture, heat and words."""
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        small = QFont(self.font())
        small.setPointSizeF(max(6.5, small.pointSizeF() - 1))
        painter.setFont(small)
        if self.view is None or self._picture is None:
            self._paint_missing(painter)
            return
        painter.fillRect(self.rect(), _GROUND)
        target = self.picture_rect()
        painter.setOpacity(1.0 if self._used else 0.4)
        painter.drawPixmap(target, self._picture, QRectF(self._picture.rect()))
        if self._heat is not None:
            painter.drawImage(target, self._heat, QRectF(self._heat.rect()))
        painter.setOpacity(1.0)
        self._paint_words(painter)
        if self._selected or self.hasFocus():
            painter.setPen(QPen(_SELECTED, 2 if self._selected else 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))

    def _paint_missing(self, painter: QPainter) -> None:
        colours = tones(self.palette())
        painter.setPen(QPen(colours.line, 1, Qt.PenStyle.DashLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 3, 3)
        painter.setPen(colours.muted)
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), self._missing)

    def _paint_words(self, painter: QPainter) -> None:
        metrics = painter.fontMetrics()
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        elide = Qt.TextElideMode.ElideRight
        box = self.use_rect()
        top = QRect(5, 0, box.left() - 8, _TOP)
        words = next((way for way in self._angle_ways() if metrics.horizontalAdvance(way) < top.width() - 3), self._angle)
        painter.setPen(_WORDS if self._used else _QUIET)
        painter.drawText(top, int(left), metrics.elidedText(words, elide, top.width()))
        foot = QRect(5, self.height() - _FOOT, self.width() - 10, _FOOT)
        painter.setPen(_QUIET)
        wide = metrics.horizontalAdvance(self._scale)
        painter.drawText(foot, int(right), self._scale)
        rest = foot.adjusted(0, 0, -wide - 6, 0)
        painter.drawText(rest, int(left), metrics.elidedText(self._place, elide, rest.width()))
        painter.setPen(QPen(_WORDS if self._used else _QUIET, 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(box).adjusted(1.5, 1.5, -1.5, -1.5), 2, 2)
        if self._used:
            painter.setPen(QPen(_WORDS, 1.6))
            corner = box.topLeft()
            painter.drawPolyline([corner + QPoint(4, 7), corner + QPoint(6, 10), corner + QPoint(11, 4)])

    def _angle_ways(self) -> tuple[str, ...]:
        """Return how the angle can be written, the longest first; in small cells "?" stands for what the tooltip says whole."""
        short = self._angle.replace(" (assumed)", " ?").replace("angle unknown", "? °")
        return (self._angle, short) if self._used else (f"{self._angle} – not used", f"{short} – not used", "not used", short)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select, or turn the use."""
        if self.view is None:
            return
        if event.button() == Qt.MouseButton.LeftButton and self.use_rect().adjusted(-3, -3, 3, 3).contains(event.position().toPoint()):
            self.useToggled.emit()
            return
        self.picked.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open."""
        if self.view is None or self.use_rect().adjusted(-3, -3, 3, 3).contains(event.position().toPoint()):
            return
        if event.button() == Qt.MouseButton.LeftButton:
            self.opened.emit()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Ask for the menu."""
        if self.view is not None:
            self.menuAsked.emit(event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return opens, Space takes in or leaves out."""
        if self.view is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.opened.emit()
        elif self.view is not None and event.key() == Qt.Key.Key_Space:
            self.useToggled.emit()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Select with the keyboard, too."""
        super().focusInEvent(event)
        if self.view is not None and event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason):
            self.picked.emit()
        self.update()
