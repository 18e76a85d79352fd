"""What stands on a picture besides its marks: letters at the edges, corner texts, scale bar, crosshair, a badge, a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen

if TYPE_CHECKING:
    from breastai_gui.services.planes import Letters

Lines = tuple[str, ...]

INK = QColor(232, 234, 237)
SHADE = QColor(0, 0, 0, 190)
CROSS = QColor(118, 178, 226)
LEFT_BADGE = QColor(120, 190, 150)
RIGHT_BADGE = QColor(205, 150, 200)
MARGIN = 7.0
_BAR_LENGTHS_MM = (1, 2, 5, 10, 20, 50, 100, 200)


class Furniture:
    """Texts and lines of one pane, drawn in pixels of the screen.

    Attributes
    ----------
    letters
        Patient-orientation letters at the four edges, or None.
    top_left, top_right, bottom_left, bottom_right
        Lines of text; what finds no room is left out from the end. A line "long|short" has two forms.
    badge
        (text, colour) of a line of its own under the top-left text, or None.
    crosshair
        (row, column), or None.
    gap_px
        Half the width of the opening in the crosshair.
    message
        One sentence in the middle, for a pane without a picture.
    highlighted
        Whether a thin frame says that this pane has the keys.
    """

    def __init__(self) -> None:
        self.letters: Letters | None = None
        self.top_left: Lines = ()
        self.top_right: Lines = ()
        self.bottom_left: Lines = ()
        self.bottom_right: Lines = ()
        self.badge: tuple[str, QColor] | None = None
        self.crosshair: tuple[float, float] | None = None
        self.gap_px = 10.0
        self.message = ""
        self.highlighted = False

    def draw(self, painter: QPainter, area: QRectF, cross: QPointF | None, pixels_per_mm: float | None) -> None:
        """Draw everything.

        Parameters
        ----------
        painter
            In pixels of the pane.
        area
            The pane.
        cross
            Where the crosshair is in the pane.
        pixels_per_mm
            For the scale bar; None without one.
        """
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        small = QFont(painter.font())
        small.setPointSizeF(8.0 if area.width() < 340 else 9.0)
        if cross is not None:
            self._draw_cross(painter, area, cross)
        if self.message:
            painter.setFont(small)
            painter.setPen(QColor(150, 156, 163))
            box = area.adjusted(16, 16, -16, -16)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), self.message)
        painter.setFont(small)
        metrics = QFontMetricsF(small)
        bar = self._draw_bar(painter, area, metrics, pixels_per_mm)
        self._draw_corners(painter, area, metrics, bar)
        if self.letters is not None:
            self._draw_letters(painter, area, small)
        if self.highlighted:
            painter.setPen(QPen(QColor(118, 178, 226, 130), 1.0))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(area.adjusted(0.5, 0.5, -0.5, -0.5))

    def _draw_cross(self, painter: QPainter, area: QRectF, at: QPointF) -> None:
        gap = self.gap_px
        lines = [
            QLineF(area.left(), at.y(), at.x() - gap, at.y()),
            QLineF(at.x() + gap, at.y(), area.right(), at.y()),
            QLineF(at.x(), area.top(), at.x(), at.y() - gap),
            QLineF(at.x(), at.y() + gap, at.x(), area.bottom()),
        ]
        colour = QColor(CROSS)
        colour.setAlpha(165)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(colour, 1.0))
        painter.drawLines(lines)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _draw_corners(self, painter: QPainter, area: QRectF, metrics: QFontMetricsF, bar: float) -> None:
        # Letters stand in the middle of the edges: half the width less their room belongs to each corner.
        half = area.width() / 2 - 3 * MARGIN
        line = metrics.height()
        most = max(1, int((area.height() / 2 - 2 * line) / line))
        top_left = self.top_left[:most]
        for index, text in enumerate(top_left):
            _text(painter, QPointF(MARGIN, MARGIN + metrics.ascent() + index * line), _cut(text, metrics, half))
        if self.badge is not None:
            words, colour = self.badge
            below = MARGIN + metrics.ascent() + len(top_left) * line
            _text(painter, QPointF(MARGIN, below), _cut(words, metrics, half), colour)
        for index, text in enumerate(self.top_right[:most]):
            shown = _cut(text, metrics, half)
            x = area.right() - MARGIN - metrics.horizontalAdvance(shown)
            _text(painter, QPointF(x, MARGIN + metrics.ascent() + index * line), shown)
        for index, text in enumerate(reversed(self.bottom_left[:most])):
            _text(painter, QPointF(MARGIN, area.bottom() - MARGIN - metrics.descent() - index * line), _cut(text, metrics, half))
        for index, text in enumerate(reversed(self.bottom_right[:most])):
            shown = _cut(text, metrics, half)
            x = area.right() - MARGIN - metrics.horizontalAdvance(shown)
            _text(painter, QPointF(x, area.bottom() - MARGIN - metrics.descent() - bar - index * line), shown)

    def _draw_bar(self, painter: QPainter, area: QRectF, metrics: QFontMetricsF, pixels_per_mm: float | None) -> float:
        """Draw the scale bar at the lower right; return the height that it takes."""
        if not pixels_per_mm or area.width() < 120:
            return 0.0
        room = 0.28 * area.width()
        length = max((mm for mm in _BAR_LENGTHS_MM if mm * pixels_per_mm <= room), default=0)
        if not length:
            return 0.0
        width = length * pixels_per_mm
        y = area.bottom() - MARGIN - 2
        left, right = area.right() - MARGIN - width, area.right() - MARGIN
        path = [QLineF(left, y, right, y), QLineF(left, y - 4, left, y + 1), QLineF(right, y - 4, right, y + 1)]
        painter.setPen(QPen(SHADE, 3.5))
        painter.drawLines(path)
        painter.setPen(QPen(INK, 1.5))
        painter.drawLines(path)
        words = f"{length} mm"
        _text(painter, QPointF(right - metrics.horizontalAdvance(words), y - 6), words)
        return metrics.height() + 8

    def _draw_letters(self, painter: QPainter, area: QRectF, font: QFont) -> None:
        assert self.letters is not None
        bold = QFont(font)
        bold.setBold(True)
        bold.setPointSizeF(font.pointSizeF() + 3)
        painter.setFont(bold)
        metrics = QFontMetricsF(bold)
        middle, centre = area.center().x(), area.center().y() + metrics.capHeight() / 2
        _text(painter, QPointF(middle - metrics.horizontalAdvance(self.letters.top) / 2, MARGIN + metrics.ascent() - 2), self.letters.top)
        _text(
            painter,
            QPointF(middle - metrics.horizontalAdvance(self.letters.bottom) / 2, area.bottom() - MARGIN - metrics.descent() + 2),
            self.letters.bottom,
        )
        _text(painter, QPointF(MARGIN, centre), self.letters.left)
        _text(painter, QPointF(area.right() - MARGIN - metrics.horizontalAdvance(self.letters.right), centre), self.letters.right)


def _cut(text: str, metrics: QFontMetricsF, width: float) -> str:
    for form in text.split("|"):
        text = form
        if metrics.horizontalAdvance(form) <= width:
            break
    return metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)


def _text(painter: QPainter, at: QPointF, text: str, colour: QColor = INK) -> None:
    """Draw text with a dark rim, readable on any picture; `at` is the left end of its base line."""
    path = QPainterPath()
    path.addText(at, painter.font(), text)
    painter.strokePath(path, QPen(SHADE, 2.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
    painter.fillPath(path, colour)
