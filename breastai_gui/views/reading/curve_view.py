"""The enhancement curve at the crosshair: percent enhancement over seconds from injection, or over phase numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from breastai_gui.services.kinetics import curve
from breastai_gui.views.panel_parts import follow, tones

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PySide6.QtGui import QShowEvent

    from breastai_gui.services.kinetics import Curve
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.mri_pictures import PlanePictures
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint

RADIUS_MM = 3.0
_STEPS = (1, 2, 2.5, 5, 10)


class CurveView(QWidget):
    """Draws the mean enhancement within a small sphere at the cursor; what is shown now is marked."""

    def __init__(self, session: Session, viewpoint: Viewpoint, pictures: PlanePictures) -> None:
        super().__init__()
        self._viewpoint = viewpoint
        self._pictures = pictures
        self.curve: Curve | None = None
        self.setMinimumSize(170, 84)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("Enhancement curve at the crosshair")
        self.setToolTip(f"Mean within {RADIUS_MM:.0f} mm of the crosshair; click in an MRI plane to move it")
        follow(session.changed, self._compute)
        follow(viewpoint.changed, self._looked)
        self._compute()

    def sizeHint(self) -> QSize:
        """Ask for a strip."""
        return QSize(280, 108)

    def summary(self) -> str:
        """Return the peak and the type of the curve in a few words."""
        if self._pictures.pre is None:
            return "No curve: the phase before contrast is not known"
        if self.curve is None:
            return "No curve: the crosshair is outside the MRI"
        if self.curve.percent is None:
            return "No signal before contrast here"
        peak = f"peak {max(self.curve.percent):+.0f} %"
        named = [word for word in (self.curve.initial, self.curve.delayed) if word is not None]
        kind = ", ".join(named) if named else ""
        return f"{peak} · {kind}" if kind else peak

    def _looked(self, before: Look, after: Look) -> None:
        if before.cursor_mm != after.cursor_mm:
            self._compute()
        elif before.phase != after.phase:
            self.update()

    def _compute(self) -> None:
        if not self.isVisible():
            return
        self.curve = None
        pre, where = self._pictures.pre, self._viewpoint.look.cursor_mm
        if pre is not None and where is not None:
            try:
                self.curve = curve(self._pictures.dce, pre, self._pictures.phases, where, RADIUS_MM)
            except ValueError:  # outside the volume: the summary says so
                self.curve = None
        self.update()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what changed unseen."""
        super().showEvent(event)
        self._compute()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw axes, curve and summary."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, colours = self.palette(), tones(self.palette())
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.Base))
        font = self.font()
        font.setPointSizeF(max(6.0, font.pointSizeF() - 1))
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        line = metrics.height()
        head = QRectF(8, 3, self.width() - 16, line)
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        if self.curve is not None and self.curve.percent is not None:
            unit = "s from injection" if self.curve.times_s is not None else "phases, times unknown"
            if metrics.horizontalAdvance(self.summary()) + metrics.horizontalAdvance(unit) + 8 > head.width():
                unit = "s" if self.curve.times_s is not None else "phases"
            painter.setPen(colours.muted)
            painter.drawText(head, int(Qt.AlignmentFlag.AlignRight), unit)
            head.setRight(head.right() - metrics.horizontalAdvance(unit) - 8)
            painter.setPen(palette.color(QPalette.ColorRole.Text))
        words = metrics.elidedText(self.summary(), Qt.TextElideMode.ElideRight, head.width())
        painter.drawText(head, int(Qt.AlignmentFlag.AlignLeft), words)
        if self.curve is None or self.curve.percent is None:
            return
        across = np.asarray(self.curve.times_s if self.curve.times_s is not None else np.arange(len(self.curve.phases)), dtype=float)
        percent = np.asarray(self.curve.percent)
        area = QRectF(metrics.horizontalAdvance("−000 %") + 8, line + 8, 0, 0)
        area.setRight(self.width() - 12)
        area.setBottom(self.height() - line - 6)
        low, high = min(0.0, float(percent.min())), max(50.0, float(percent.max()) * 1.08)
        left, right = float(across.min()), float(across.max())
        right = right if right > left else left + 1

        def place(x: float, y: float) -> QPointF:
            return QPointF(
                area.left() + (x - left) / (right - left) * area.width(), area.bottom() - (y - low) / (high - low) * area.height()
            )

        for level in _ticks(low, high, 3):
            y = place(left, level).y()
            painter.setPen(QPen(colours.line, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(colours.muted)
            box = QRectF(0, y - line / 2, area.left() - 5, line)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{level:.0f} %")
        self._draw_axis(painter, area, metrics, across, colours.muted)
        points = [place(float(x), float(y)) for x, y in zip(across, percent, strict=True)]
        painter.setPen(QPen(colours.human, 2))
        painter.drawPolyline(QPolygonF(points))
        for phase, point in zip(self.curve.phases, points, strict=True):
            shown = phase == self._viewpoint.look.phase
            painter.setPen(QPen(palette.color(QPalette.ColorRole.Base), 1.5))
            painter.setBrush(palette.color(QPalette.ColorRole.Highlight) if shown else colours.human)
            size = 5.0 if shown else 3.5
            painter.drawEllipse(point, size, size)

    def _draw_axis(self, painter: QPainter, area: QRectF, metrics: QFontMetricsF, across: NDArray[np.float64], ink: QColor) -> None:
        """Name the first, the last and as many phases between as have room; times in seconds, else the phases' names."""
        assert self.curve is not None
        names = [f"{x:.0f}" for x in across] if self.curve.times_s is not None else [self._pictures.name(p) for p in self.curve.phases]
        left, right = float(across.min()), max(float(across.max()), float(across.min()) + 1)
        painter.setPen(ink)
        y = area.bottom() + 2
        taken = -1e9
        for x, name in zip(across, names, strict=True):
            at = area.left() + (float(x) - left) / (right - left) * area.width()
            width = metrics.horizontalAdvance(name)
            begin = max(0.0, min(at - width / 2, self.width() - width - 2))
            if begin < taken + 6:
                continue
            painter.drawText(QPointF(begin, y + metrics.ascent()), name)
            taken = begin + width


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers from low to high."""
    raw = (high - low) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(float(step * power) for step in _STEPS if step * power >= raw - 1e-9)
    first = np.ceil(low / step) * step
    return [float(value) for value in np.arange(first, high + 1e-9, step)]
