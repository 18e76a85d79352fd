"""Draws the marks of one picture: lines of constant width, sizes in words, handles on the one that is selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPainterPath, QPen, QPolygonF, QTransform
from PySide6.QtWidgets import QGraphicsItem, QGraphicsObject

from breastai_gui.services.annotations import measure
from breastai_gui.services.plain_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from breastai_gui.services.annotations import Annotation
    from breastai_gui.views.reading.mark_outline import Seen

# Pictures are dark in both themes, so the reader's grey-blue is the light one in both.
MARK_COLOUR = QColor("#a9c4e2")
SELECTED_COLOUR = QColor("#ffffff")
_SHADOW = QColor(0, 0, 0, 170)
HANDLE_PX = 4.0


def mark_words(mark: Annotation, spacing_mm: tuple[float, float] | None) -> str:
    """Return what stands beside a mark: its size, then its note."""
    size = str(measure(mark, spacing_mm)).replace(", ", "\n")
    note = one_line(mark.text)
    note = note if len(note) <= 32 else note[:31] + "…"
    return "\n".join(part for part in (size, note) if part)


@dataclass(frozen=True, eq=False, slots=True)
class Sight:
    """What a picture shows at this moment.

    Attributes
    ----------
    marks
        Every mark that the picture shows, the one being drawn among them.
    selected
        The id of the selected one.
    spacing_mm
        (row, column) mm of an ultrasound view, for sizes; not used on MRI.
    draft
        (n, 2) rows and columns of a polygon's corners as long as it is none yet.
    """

    marks: tuple[Seen, ...]
    selected: str | None
    spacing_mm: tuple[float, float] | None
    draft: NDArray[np.float64]


class MarkDrawing(QGraphicsObject):
    """All marks of one picture. Its coordinates are the picture's: x is the column, y the row, whole numbers are pixel centres."""

    def __init__(self, layer: QGraphicsItem, look: Callable[[], Sight]) -> None:
        super().__init__(layer)
        self._look = look
        self.setZValue(50)
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)

    def boundingRect(self) -> QRectF:
        """Cover any place on the screen: whether a mark is drawn must not hang on a picture that was shown before."""
        return QRectF(-1e5, -1e5, 2e5, 2e5)

    def paint(self, painter: QPainter, _option: object, _widget: object = None) -> None:
        """Draw in pixels of the screen, so that lines and words keep their size whatever the zoom."""
        sight = self._look()
        to_screen = painter.worldTransform()
        painter.save()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(painter.font())
        font.setPointSizeF(9)
        painter.setFont(font)
        for seen in sight.marks:
            selected = seen.mark.id == sight.selected
            self._paint_mark(painter, to_screen, seen, selected, mark_words(seen.mark, sight.spacing_mm))
        if len(sight.draft):
            self._stroke(painter, _line(self._screen(sight.draft, to_screen)), SELECTED_COLOUR)
        painter.restore()

    def _paint_mark(self, painter: QPainter, to_screen: QTransform, seen: Seen, selected: bool, words: str) -> None:
        colour = SELECTED_COLOUR if selected else MARK_COLOUR
        for place in self._screen(seen.crossings, to_screen):
            self._stroke(painter, _cross(place, 4), colour)
        if not len(seen.handles):
            return
        line = self._screen(seen.outline, to_screen)
        handles = self._screen(seen.handles, to_screen)
        path = _cross(handles[0], 6) if seen.mark.kind == "point" else _line(line)
        if seen.mark.kind == "ruler":
            for at, other in ((0, 1), (1, 0)):
                path.addPath(_end(line[at], line[other]))
        self._stroke(painter, path, colour)
        if selected:
            for place in handles:
                painter.setPen(QPen(_SHADOW, 1))
                painter.setBrush(colour)
                painter.drawRect(QRectF(place.x() - HANDLE_PX, place.y() - HANDLE_PX, 2 * HANDLE_PX, 2 * HANDLE_PX))
        self._write(painter, words, line, colour)

    def _screen(self, places: NDArray[np.float64], to_screen: QTransform) -> list[QPointF]:
        return [to_screen.map(QPointF(column, row)) for row, column in np.asarray(places)]

    def _stroke(self, painter: QPainter, path: QPainterPath, colour: QColor) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(_SHADOW, 3.4))
        painter.drawPath(path)
        painter.setPen(QPen(colour, 1.5))
        painter.drawPath(path)

    def _write(self, painter: QPainter, words: str, line: list[QPointF], colour: QColor) -> None:
        if not words or not line:
            return
        corner = QPointF(max(point.x() for point in line) + 7, max(point.y() for point in line))
        if len(line) == 2:
            end = max(line, key=QPointF.x)
            corner = QPointF(end.x() + 9, end.y() - 2)
        elif len(line) == 1:
            corner = QPointF(line[0].x() + 9, line[0].y() - 4)
        metrics = painter.fontMetrics()
        widest = max(metrics.horizontalAdvance(part) for part in words.split("\n"))
        corner.setX(min(corner.x(), painter.viewport().width() - widest - 6.0))
        for number, part in enumerate(words.split("\n")):
            path = QPainterPath()
            path.addText(corner + QPointF(0, number * metrics.height()), painter.font(), part)
            painter.setPen(QPen(_SHADOW, 3))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(path)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawPath(path)


def _line(places: list[QPointF]) -> QPainterPath:
    path = QPainterPath()
    path.addPolygon(QPolygonF(places))
    return path


def _cross(place: QPointF, half: float) -> QPainterPath:
    path = QPainterPath()
    for across, down in ((half, 0.0), (0.0, half)):
        path.moveTo(place.x() - across, place.y() - down)
        path.lineTo(place.x() + across, place.y() + down)
    return path


def _end(end: QPointF, other: QPointF) -> QPainterPath:
    """Return the short stroke across a ruler's end."""
    away = other - end
    length = max(1e-6, float(np.hypot(away.x(), away.y())))
    across = QPointF(-away.y() / length * 5, away.x() / length * 5)
    path = QPainterPath()
    path.moveTo(end - across)
    path.lineTo(end + across)
    return path
