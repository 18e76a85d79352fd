"""Which mouse gesture on a picture means what: the default preset of most viewers, a drag told from a click by 4 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QNativeGestureEvent

if TYPE_CHECKING:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent, QWheelEvent

    from breastai_gui.views.reading.image_pane import ImagePane

DRAG_PX = 4.0
"""So far the mouse may wander between press and release of a click."""
NOTCH = 120
"""Eighths of a degree of one notch of a wheel (QWheelEvent)."""
PIXELS_A_STEP = 30
"""Pixels of a two-finger scroll that make one step."""

Gesture = Literal["none", "window", "pan", "zoom", "draw"]


class PaneGestures:
    """Turns mouse events of one pane into its signals."""

    def __init__(self, pane: ImagePane) -> None:
        self._pane = pane
        self._gesture: Gesture = "none"
        self._start = QPointF()
        self._last = QPointF()
        self._dragged = False
        self._turned = 0.0

    def press(self, event: QMouseEvent) -> None:
        """Begin."""
        self._start = self._last = event.position()
        self._dragged = False
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        button = event.button()
        if button == Qt.MouseButton.MiddleButton or (button == Qt.MouseButton.LeftButton and shift):
            self._gesture = "pan"
        elif button == Qt.MouseButton.RightButton:
            self._gesture = "zoom"
        elif button == Qt.MouseButton.LeftButton and self._pane.drawing:
            self._gesture = "draw"
            self._pane.drawPressed.emit(*self._pane.to_picture(event.position()))
        elif button == Qt.MouseButton.LeftButton:
            self._gesture = "window"
        event.accept()

    def move(self, event: QMouseEvent) -> None:
        """Go on."""
        here = event.position()
        if self._gesture == "none":
            place = self._pane.to_picture(here)
            self._pane.hovered.emit(*place)
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self._pane.swept.emit(*place)
            return
        if not self._dragged:
            offset = here - self._start
            if max(abs(offset.x()), abs(offset.y())) < DRAG_PX:
                return
            self._dragged = True
        moved = here - self._last
        self._last = here
        if self._gesture == "window":
            self._pane.windowDragged.emit(moved.x(), moved.y())
        elif self._gesture == "zoom":
            self._pane.zoomDragged.emit(1.01 ** -moved.y())
        elif self._gesture == "pan":
            self._pane.move_by(moved.x(), moved.y())
            self._pane.panned.emit()
        elif self._gesture == "draw":
            self._pane.drawMoved.emit(*self._pane.to_picture(here))

    def release(self, event: QMouseEvent) -> None:
        """End."""
        gesture, self._gesture = self._gesture, "none"
        place = self._pane.to_picture(event.position())
        if gesture == "draw":
            self._pane.drawReleased.emit(*place)
        elif gesture == "window" and not self._dragged:
            self._pane.pointed.emit(*place)
        elif gesture == "zoom" and not self._dragged:
            self._pane.contextRequested.emit(event.globalPosition().toPoint())
        event.accept()

    def double_click(self, event: QMouseEvent) -> None:
        """Answer the second press of a double click; its release is then no click."""
        self._gesture = "none"
        if event.button() == Qt.MouseButton.LeftButton:
            if self._pane.drawing:
                self._pane.drawFinished.emit(*self._pane.to_picture(event.position()))
            else:
                self._pane.unpointed.emit()
                control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
                (self._pane.autoWindowRequested if control else self._pane.maximiseRequested).emit()
        event.accept()

    def wheel(self, event: QWheelEvent) -> None:
        """Step or zoom; parts of a notch, as touch pads send them, are added up."""
        event.accept()
        pixels, angle = event.pixelDelta(), event.angleDelta()
        # Shift turns the wheel sideways on macOS and on some desktops.
        scrolled = pixels.y() or pixels.x()
        steps = scrolled / PIXELS_A_STEP if scrolled else (angle.y() or angle.x()) / NOTCH
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._pane.zoomDragged.emit(1.15**steps)
            return
        if steps * self._turned < 0:
            self._turned = 0.0
        self._turned += steps
        whole = int(self._turned)
        if whole:
            self._turned -= whole
            shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            (self._pane.phaseStepped if shift else self._pane.sliceStepped).emit(whole)

    def pinch(self, event: QEvent) -> bool:
        """Zoom with two fingers; False for any other gesture."""
        if isinstance(event, QNativeGestureEvent) and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture:
            self._pane.zoomDragged.emit(1.0 + event.value())
            return True
        return False
