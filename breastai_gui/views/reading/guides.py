"""What a person settled about the MRI itself, drawn on its planes: where the lesion is, and the midline, which can be dragged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsObject

from breastai_gui.views.panel_parts import follow
from breastai_gui.views.reading.mark_outline import distance

if TYPE_CHECKING:
    from breastai_gui.services.planes import PlaneCut
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.image_pane import ImagePane
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint

ESTIMATED = "The midline between the breasts was estimated."
"""The note of a prediction that had to find the midline itself (`breastai_model.prepare`)."""
_LESION = QColor("#a9c4e2")
_MIDLINE = QColor("#d8d4a0")
_SHADOW = QColor(0, 0, 0, 170)
_REACH_PX = 5.0
_RING_PX = 7.0


class Guides(QObject):
    """The lesion's marker and the midline on one MRI pane: its child, so it ends with it.

    Parameters
    ----------
    pane
        The pane.
    cut
        The plane that it shows.
    session, viewpoint
        What is read, and whether the midline is shown.
    """

    def __init__(self, pane: ImagePane, cut: PlaneCut, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__(pane)
        self._pane = pane
        self._cut = cut
        self._session = session
        self._viewpoint = viewpoint
        self._dragged_mm: float | None = None
        self._gripped = False
        self._drawing = _GuideDrawing(self, pane)
        self._port = pane.viewport()
        self._port.installEventFilter(self)
        follow(session.changed, self._redraw)
        follow(viewpoint.changed, self._looked)

    # What is seen -------------------------------------------------------------------------------------------------

    @property
    def lesion_place(self) -> tuple[float, float] | None:
        """(row, column) of the lesion where it lies on the slice that is shown."""
        place = self._session.choices.lesion_mm
        return None if place is None else self._pane.from_points(place)

    @property
    def midline_mm(self) -> float:
        """LPS x of the line as it is drawn: the person's, else the volume's middle, which is where a drag begins."""
        if self._dragged_mm is not None:
            return self._dragged_mm
        chosen = self._session.choices.midline_mm
        if chosen is not None:
            return chosen
        grid = self._cut.grid
        return float(grid.to_patient((np.asarray(grid.shape, dtype=np.float64) - 1) / 2)[0])

    @property
    def midline_words(self) -> str:
        """What stands beside the line; a line that nobody set says so."""
        if self._dragged_mm is None and self._session.choices.midline_mm is None:
            notes = (note for each in self._session.assessments for note in each.prediction.inputs.notes)
            return "midline (not set; the model estimated its own)" if ESTIMATED in notes else "midline (not set)"
        side = "L" if self.midline_mm >= 0 else "R"
        return f"midline {side} {abs(self.midline_mm):.1f} mm"

    def midline_ends(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Return (row, column) where the line meets the picture's upper and lower edge; None where it is not drawn."""
        if not self._viewpoint.look.midline or self._cut.plane == "sagittal" or self._pane.picture is None:
            return None
        corner, down, right = (self._pane.to_points(*place)[0] for place in ((0, 0), (1, 0), (0, 1)))
        last = self._pane.picture.shape[0] - 0.5
        top, bottom = ((self.midline_mm - corner - row * (down - corner)) / (right - corner) for row in (-0.5, last))
        return (-0.5, top), (last, bottom)

    def _redraw(self) -> None:
        self._port.update()

    def _looked(self, before: Look, after: Look) -> None:
        if before.midline != after.midline:
            self._redraw()

    # Dragging the midline -----------------------------------------------------------------------------------------

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Take the mouse where it grips the midline; marks are asked before, drawing tools keep their clicks."""
        if not isinstance(event, QMouseEvent):
            return False
        if event.type() == QEvent.Type.MouseButtonPress:
            free = not self._pane.drawing and event.modifiers() == Qt.KeyboardModifier.NoModifier
            self._gripped = event.button() == Qt.MouseButton.LeftButton and free and self._on_line(event.position())
            return self._gripped
        if not self._gripped:
            return False
        if event.type() == QEvent.Type.MouseMove:
            self._dragged_mm = round(float(self._pane.to_points(*self._pane.to_picture(event.position()))[0]), 1)
            self._redraw()
            return True
        if event.type() == QEvent.Type.MouseButtonRelease:
            where, self._dragged_mm, self._gripped = self._dragged_mm, None, False
            if where is not None:
                self._session.choose(midline_mm=where)
            return True
        return False

    def _on_line(self, at: QPointF) -> bool:
        ends = self.midline_ends()
        if ends is None:
            return False
        line = np.array([(point.x(), point.y()) for point in (self._pane.to_screen(*end) for end in ends)])
        return distance(line, (at.x(), at.y())) <= _REACH_PX


class _GuideDrawing(QGraphicsObject):
    """Draws in pixels of the screen, under the marks."""

    def __init__(self, guides: Guides, pane: ImagePane) -> None:
        super().__init__(pane.mark_layer)
        self._guides = guides
        self._pane = pane
        self.setZValue(40)
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)

    def boundingRect(self) -> QRectF:
        """Cover any place on the screen."""
        return QRectF(-1e5, -1e5, 2e5, 2e5)

    def paint(self, painter: QPainter, _option: object, _widget: object = None) -> None:
        """Draw the line, then the marker."""
        painter.save()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(painter.font())
        font.setPointSizeF(9)
        painter.setFont(font)
        if (ends := self._guides.midline_ends()) is not None:
            self._paint_midline(painter, *(self._pane.to_screen(*end) for end in ends))
        if (place := self._guides.lesion_place) is not None:
            self._paint_lesion(painter, self._pane.to_screen(*place))
        painter.restore()

    def _paint_midline(self, painter: QPainter, top: QPointF, bottom: QPointF) -> None:
        for pen in (QPen(_SHADOW, 3.0), QPen(_MIDLINE, 1.2)):
            pen.setDashPattern([length / pen.widthF() for length in (7.0, 5.0)])
            painter.setPen(pen)
            painter.drawLine(top, bottom)
        words = self._guides.midline_words
        area = self._pane.viewport().rect()
        width = QFontMetricsF(painter.font()).horizontalAdvance(words)
        y = min(bottom.y(), area.height()) - 30  # above the letter at the edge
        x = top.x() + (bottom.x() - top.x()) * (y - top.y()) / max(1.0, bottom.y() - top.y()) + 6
        self._write(painter, QPointF(max(4.0, min(x, area.width() - width - 26)), y), words, _MIDLINE)

    def _paint_lesion(self, painter: QPainter, at: QPointF) -> None:
        ring = QPainterPath()
        ring.addEllipse(at, _RING_PX, _RING_PX)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for pen in (QPen(_SHADOW, 3.4), QPen(_LESION, 1.6)):
            painter.setPen(pen)
            painter.drawPath(ring)
        self._write(painter, at + QPointF(_RING_PX + 4, -_RING_PX), "lesion", _LESION)

    def _write(self, painter: QPainter, at: QPointF, words: str, colour: QColor) -> None:
        path = QPainterPath()
        path.addText(at, painter.font(), words)
        painter.strokePath(path, QPen(_SHADOW, 3))
        painter.fillPath(path, colour)
