"""The 3-D view of the early subtraction: drag to turn, wheel to zoom; letters and a cube say which way it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from breastai_gui.data.study import direction_letters
from breastai_gui.services.kinetics import early_phase, shown_phase, subtraction, subtraction_window
from breastai_gui.services.planes import Letters
from breastai_gui.views.panel_parts import Text, follow
from breastai_gui.views.reading.image_furniture import CROSS, Furniture
from breastai_gui.views.reading.volume_renderer import View, Volume, VolumeRenderer, VolumeStyle, thinned

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PySide6.QtGui import QHideEvent, QMouseEvent, QResizeEvent, QShowEvent, QWheelEvent

    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.mri_pictures import PlanePictures
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint

# Rows: to the right of the picture, upwards, towards the viewer; LPS.
FROM_FRONT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
FROM_LEFT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
FROM_RIGHT = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
FROM_FEET = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
_VIEWS = (("feet", FROM_FEET), ("front", FROM_FRONT), ("left", FROM_LEFT), ("right", FROM_RIGHT))
RADIANS_A_PIXEL = 0.008
SETTLED_MS = 120
"""So long after the last movement the picture is drawn sharp; while it moves it is drawn at half size."""
_CUBE_PX = 22.0


class VolumeView(QWidget):
    """Buttons and the picture; nothing is loaded or drawn before it is first shown."""

    def __init__(self, session: Session, viewpoint: Viewpoint, pictures: PlanePictures) -> None:
        super().__init__()
        self.canvas = VolumeCanvas(session, viewpoint, pictures)
        box = QHBoxLayout()
        box.setSpacing(4)
        box.addWidget(Text("From the", tone="muted", wrap=False))
        for words, axes in _VIEWS:
            button = self._button(words)
            button.clicked.connect(lambda _checked=False, axes=axes: self.canvas.turn_to(axes))
            box.addWidget(button)
        box.addStretch(1)
        self._styles: dict[VolumeStyle, QToolButton] = {"mip": self._button("MIP"), "volume": self._button("Shaded")}
        for style, button in self._styles.items():
            button.setCheckable(True)
            button.setChecked(style == "mip")
            button.clicked.connect(lambda _checked=False, style=style: self._set_style(style))
            box.addWidget(button)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(6, 4, 6, 4)
        whole.setSpacing(4)
        whole.addLayout(box)
        whole.addWidget(self.canvas, 1)

    def close_down(self) -> None:
        """End the thread."""
        self.canvas.close_down()

    def _set_style(self, style: VolumeStyle) -> None:
        for name, button in self._styles.items():
            button.setChecked(name == style)
        self.canvas.set_style(style)

    @staticmethod
    def _button(words: str) -> QToolButton:
        button = QToolButton()
        button.setText(words)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return button


class VolumeCanvas(QWidget):
    """The picture, with the mouse on it."""

    _came_ready = Signal(object, object)
    _came_picture = Signal(object, object, object)
    _came_failure = Signal(object, str)

    def __init__(self, session: Session, viewpoint: Viewpoint, pictures: PlanePictures) -> None:
        super().__init__()
        self._viewpoint = viewpoint
        self._pictures = pictures
        self.axes: NDArray[np.float64] = FROM_FEET.copy()  # as breast projections are read: the heart lies behind, not before
        self.zoom = 1.0
        self._style: VolumeStyle = "mip"
        self._volume: Volume | None = None
        self._image: QImage | None = None
        self._furniture = Furniture()
        self._renderer: VolumeRenderer | None = None
        self._of: object = None
        self._grip: QPointF | None = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLED_MS)
        self._settled.timeout.connect(lambda: self._draw(sharp=True))
        queued = Qt.ConnectionType.QueuedConnection
        self._came_ready.connect(self._take_volume, queued)
        self._came_picture.connect(self._take_picture, queued)
        self._came_failure.connect(self._take_failure, queued)
        self.setMinimumSize(200, 150)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setAccessibleName("3-D view of the early subtraction")
        follow(session.changed, self._renew)
        follow(viewpoint.changed, self._looked)

    @property
    def message(self) -> str:
        """What is written instead of a picture, "" when there is one."""
        return self._furniture.message

    @property
    def has_picture(self) -> bool:
        """True once something was drawn."""
        return self._image is not None

    def set_style(self, style: VolumeStyle) -> None:
        """Draw as projection or shaded."""
        self._style = style
        self._draw(sharp=True)

    def turn_to(self, axes: NDArray[np.float64]) -> None:
        """Look from another side."""
        self.axes = axes.copy()
        self._draw(sharp=True)

    def turn_by(self, right: float, down: float) -> None:
        """Turn what is seen as if it were gripped and dragged by so many pixels."""
        across, along = right * RADIANS_A_PIXEL, down * RADIANS_A_PIXEL
        about_up = np.array([[np.cos(across), 0, np.sin(across)], [0, 1, 0], [-np.sin(across), 0, np.cos(across)]])
        about_right = np.array([[1, 0, 0], [0, np.cos(along), -np.sin(along)], [0, np.sin(along), np.cos(along)]])
        turned = about_right @ about_up @ self.axes
        u, _, v = np.linalg.svd(turned)  # thousands of small turns must not bend the axes
        self.axes = u @ v
        self._draw(sharp=False)

    def close_down(self) -> None:
        """End the thread; the view stays empty."""
        self._settled.stop()
        if self._renderer is not None:
            self._renderer.end()
            self._renderer = None

    # What is drawn ------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        if not self.isVisible():
            return
        pictures = self._pictures
        of = (pictures.pre, pictures.phases)
        if of == self._of:
            return
        self._of = of
        self.close_down()
        self._image = self._volume = None
        pre, phases, dce = pictures.pre, pictures.phases, pictures.dce
        shown = shown_phase(dce, pre, phases) if pre is not None else None
        if pre is None or shown == pre or shown is None:
            self._furniture.message = "The early subtraction needs to know which phase is before contrast, and one phase after it."
            self.update()
            return
        self._furniture.message = "Preparing the volume"
        early = early_phase(dce, pre, phases) is not None
        what = "early subtraction" if early else "subtraction of the brightest phase, times unknown|brightest phase, times unknown"
        self._furniture.top_left = (f"{pictures.name(shown)} − pre", what)

        def make() -> Volume:
            _, high = subtraction_window(dce, pre, phases)
            return thinned(subtraction(dce, shown, pre), dce.grid.affine, high)

        self._renderer = VolumeRenderer(
            make,
            ready=lambda volume: self._came_ready.emit(of, volume),
            drawn=lambda view, picture: self._came_picture.emit(of, view, picture),
            failed=lambda sentence: self._came_failure.emit(of, sentence),
        )
        self.update()

    def _take_volume(self, of: object, volume: Volume) -> None:
        if of == self._of:
            self._volume = volume
            self._draw(sharp=True)

    def _take_picture(self, of: object, view: View, picture: NDArray[np.uint8]) -> None:
        if of != self._of:
            return
        height, width, _ = picture.shape
        self._image = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self._furniture.message = ""
        self._furniture.letters = Letters(
            top=direction_letters(view.axes[1]),
            bottom=direction_letters(-view.axes[1]),
            left=direction_letters(-view.axes[0]),
            right=direction_letters(view.axes[0]),
        )
        self.update()

    def _take_failure(self, of: object, sentence: str) -> None:
        if of == self._of:
            self._image = None
            self._furniture.message = sentence
            self._furniture.letters = None
            self.update()

    @property
    def mm_a_pixel(self) -> float:
        """Millimetres for one (logical) pixel of the screen."""
        if self._volume is None:
            return 1.0
        size = np.linalg.norm(self._volume.affine[:3, :3], axis=0) * self._volume.levels.shape
        directions = self._volume.affine[:3, :3] / np.linalg.norm(self._volume.affine[:3, :3], axis=0)
        # The box as it looks from here: the size of the picture follows the side that is turned towards the viewer.
        width, height = (float(np.abs(self.axes[axis] @ directions) @ size) for axis in (0, 1))
        return max(width / max(1, self.width()), height / max(1, self.height())) / self.zoom * 1.04

    def _draw(self, *, sharp: bool) -> None:
        if self._renderer is None or self._volume is None or not self.isVisible():
            return
        share = self.devicePixelRatioF() if sharp else 0.5
        size = (max(8, round(self.width() * share)), max(8, round(self.height() * share)))
        self._renderer.ask(View(self.axes.copy(), self.mm_a_pixel / share, size, self._style))
        if not sharp:
            self._settled.start()

    def _looked(self, before: Look, after: Look) -> None:
        if before.cursor_mm != after.cursor_mm or before.crosshair != after.crosshair:
            self.update()

    # Events -------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Load and draw what was not needed before."""
        super().showEvent(event)
        self._renew()
        self._draw(sharp=True)

    def hideEvent(self, event: QHideEvent) -> None:
        """Draw nothing unseen."""
        self._settled.stop()
        super().hideEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw for the new room."""
        super().resizeEvent(event)
        self._draw(sharp=False)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Grip."""
        self._grip = event.position()
        self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Turn, or zoom with the right button."""
        if self._grip is None:
            return
        moved = event.position() - self._grip
        self._grip = event.position()
        if event.buttons() & Qt.MouseButton.RightButton:
            self.zoom_by(1.01 ** -moved.y())
        else:
            self.turn_by(moved.x(), moved.y())

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """Let go."""
        self._grip = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self._draw(sharp=True)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom."""
        self.zoom_by(1.15 ** (event.angleDelta().y() / 120))
        event.accept()

    def zoom_by(self, factor: float) -> None:
        """Come nearer or go further away."""
        self.zoom = min(20.0, max(0.3, self.zoom * factor))
        self._draw(sharp=False)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the last picture, the place of the crosshair, letters and the cube."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(8, 9, 11))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._image is not None:
            painter.drawImage(QRectF(self.rect()), self._image)
            self._draw_cursor(painter)
            self._draw_cube(painter)
        pixels_per_mm = 1 / self.mm_a_pixel if self._image is not None else None
        self._furniture.draw(painter, QRectF(self.rect()), None, pixels_per_mm)

    def _draw_cursor(self, painter: QPainter) -> None:
        look = self._viewpoint.look
        if look.cursor_mm is None or not look.crosshair or self._volume is None:
            return
        offset = self.axes @ (np.asarray(look.cursor_mm) - self._volume.centre_mm) / self.mm_a_pixel
        at = QPointF(self.width() / 2 + float(offset[0]), self.height() / 2 - float(offset[1]))
        painter.setPen(QPen(CROSS, 1.2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(at, 9, 9)
        for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            painter.drawLine(at + QPointF(9 * right, 9 * down), at + QPointF(15 * right, 15 * down))

    def _draw_cube(self, painter: QPainter) -> None:
        """Draw a cube whose faces carry the letters of the patient's sides, turned as the volume is."""
        middle = QPointF(_CUBE_PX + 26, self.height() - _CUBE_PX - 26)
        painter.save()
        font = QFont(self.font())
        font.setBold(True)
        painter.setFont(font)
        for axis in range(3):
            for sign in (1.0, -1.0):
                normal = np.zeros(3)
                normal[axis] = sign
                facing = float(self.axes[2] @ normal)
                if facing <= 0.02:
                    continue
                others = [np.eye(3)[other] for other in range(3) if other != axis]
                corners = [normal + a * others[0] + b * others[1] for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
                shade = round(45 + 75 * facing)
                painter.setPen(QPen(QColor(190, 197, 204, 150), 1))
                painter.setBrush(QColor(shade, shade + 4, shade + 10, 225))
                painter.drawPolygon(QPolygonF([self._on_screen(corner, middle) for corner in corners]))
                if facing > 0.3:
                    painter.setPen(QColor(235, 238, 241))
                    at = self._on_screen(normal, middle)
                    painter.drawText(QRectF(at.x() - 12, at.y() - 12, 24, 24), Qt.AlignmentFlag.AlignCenter, direction_letters(normal))
        painter.restore()

    def _on_screen(self, direction: NDArray[np.float64], middle: QPointF) -> QPointF:
        right, up, _ = self.axes @ direction * _CUBE_PX * 0.72
        return QPointF(middle.x() + float(right), middle.y() - float(up))
