"""One picture with its letters, corner texts and scale bar, and every mouse gesture on it: for MRI planes and ultrasound alike.

Picture coordinates: x is the column, y the row, whole numbers are pixel centres, row 0 is on top. The pane knows no
`Session`: a view sets what is shown and listens to what the person does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QTransform
from PySide6.QtWidgets import QFrame, QGraphicsItem, QGraphicsItemGroup, QGraphicsScene, QGraphicsView, QWidget

from breastai_gui.services.colour_maps import grey_levels
from breastai_gui.views.reading.image_furniture import Furniture
from breastai_gui.views.reading.pane_gestures import PaneGestures

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent, QWheelEvent

    from breastai_gui.services.planes import PlaneCut
    from breastai_gui.views.reading.viewpoint import Tool

BACKGROUND = QColor(8, 9, 11)
"""Around every picture, in the dark and in the light theme: a bright frame would blind the reader to faint enhancement."""


class ImagePane(QGraphicsView):
    """Shows one picture.

    Signals
    -------
    sliceStepped(int)
        +1 for one notch of the wheel away from the person (towards the head, the left, the back), -1 the other way.
    phaseStepped(int)
        The same with Shift.
    windowDragged(float, float)
        Pixels to the right and downwards since the last one; a left drag with the tool "navigate".
    zoomDragged(float)
        A factor to multiply the magnification with.
    panned()
        The picture was moved; the pane has done it already.
    pointed(float, float)
        (row, column) of a left click without a drag.
    unpointed()
        The last click was the first half of a double click.
    hovered(float, float)
        (row, column) under the mouse, whenever it moves without a button.
    swept(float, float)
        The same while Shift is held: the live crosshair.
    left()
        The mouse left the pane.
    maximiseRequested(), autoWindowRequested()
        Double click, Ctrl + double click.
    contextRequested(QPoint)
        A right click without a drag; global position.
    drawPressed, drawMoved, drawReleased, drawFinished (float, float)
        (row, column) of the left button with another tool than "navigate": pressed, moved while it is down, let go;
        `drawFinished` is a double click. Between two corners of a polygon `hovered` follows the mouse.

    Attributes
    ----------
    image_key
        `annotations.DCE`, or the id of the ultrasound view that is shown.
    mark_layer
        Parent for the graphics items of marks, in picture coordinates. Give their pens `setCosmetic(True)`, and text and
        handles the flag `ItemIgnoresTransformations`.
    markable
        False where marks make no sense (a projection): the drawing tools then do nothing, marks are not shown.
    """

    sliceStepped = Signal(int)
    phaseStepped = Signal(int)
    windowDragged = Signal(float, float)
    zoomDragged = Signal(float)
    panned = Signal()
    pointed = Signal(float, float)
    unpointed = Signal()
    hovered = Signal(float, float)
    swept = Signal(float, float)
    left = Signal()
    maximiseRequested = Signal()
    autoWindowRequested = Signal()
    contextRequested = Signal(object)
    drawPressed = Signal(float, float)
    drawMoved = Signal(float, float)
    drawReleased = Signal(float, float)
    drawFinished = Signal(float, float)

    def __init__(self, image_key: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image_key = image_key
        self.markable = True
        self.furniture = Furniture()
        self._picture: NDArray[np.generic] | None = None
        self._window = (0.0, 1.0)
        self._image: QImage | None = None
        self._overlay: QImage | None = None
        self._overlay_area = QRectF()
        self._spacing_mm: tuple[float, float] | None = None
        self._zoom = 1.0
        self._centre = QPointF(0.0, 0.0)
        self._cut: PlaneCut | None = None
        self._position = 0
        self._tool: Tool = "navigate"
        self._smooth = True
        self._gestures = PaneGestures(self)
        scene = QGraphicsScene(self)
        scene.setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self.mark_layer: QGraphicsItem = QGraphicsItemGroup()
        scene.addItem(self.mark_layer)
        self.setScene(scene)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setResizeAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setInteractive(False)  # gestures are ours; marks are drawn, not dragged by Qt
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setMinimumSize(90, 70)
        self.setAcceptDrops(False)  # a dropped folder is the window's

    # What is shown ------------------------------------------------------------------------------------------------

    def set_picture(self, picture: NDArray[np.generic] | None, window: tuple[float, float], spacing_mm: tuple[float, float] | None) -> None:
        """Show a (row, column) picture.

        Parameters
        ----------
        picture
            Grey values, or None for an empty pane.
        window
            (low, high) in the picture's own numbers.
        spacing_mm
            (row, column) mm, or None when unknown: pixels are then shown square, without a scale bar.
        """
        before = None if self._picture is None else (self._picture.shape, self._spacing_mm)
        self._picture, self._window, self._spacing_mm = picture, window, spacing_mm
        self._paint_grey()
        if picture is not None and before != (picture.shape, spacing_mm):
            self._overlay = None
            self._centre = QPointF((picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2)
            self._place()
        self.viewport().update()

    def set_window(self, window: tuple[float, float]) -> None:
        """Show the same picture with another grey scale."""
        if window != self._window:
            self._window = window
            self._paint_grey()
            self.viewport().update()

    def set_overlay(self, rgba: NDArray[np.uint8] | None, box: tuple[float, float, float, float] | None = None) -> None:
        """Lay colours over the picture.

        Parameters
        ----------
        rgba
            (row, column, 4) uint8, or None for nothing.
        box
            (top, left, height, width) in pixels of the picture that the colours cover; None: the whole picture.
        """
        if rgba is None or self._picture is None:
            self._overlay = None
        else:
            data = np.ascontiguousarray(rgba)
            rows, columns = data.shape[:2]
            self._overlay = QImage(data.data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888).copy()
            top, left, height, width = box or (0.0, 0.0, float(self._picture.shape[0]), float(self._picture.shape[1]))
            self._overlay_area = QRectF(left - 0.5, top - 0.5, width, height)
        self.viewport().update()

    def set_smooth(self, smooth: bool) -> None:
        """Interpolate between pixels, or show them as they are."""
        self._smooth = smooth
        self.viewport().update()

    @property
    def has_overlay(self) -> bool:
        """True while colours lie over the picture."""
        return self._overlay is not None

    @property
    def picture(self) -> NDArray[np.generic] | None:
        """The (row, column) picture that is shown."""
        return self._picture

    @property
    def window_levels(self) -> tuple[float, float]:
        """(low, high) of the grey scale in force."""
        return self._window

    def _paint_grey(self) -> None:
        if self._picture is None or 0 in self._picture.shape:
            self._image = None
            return
        grey = np.ascontiguousarray(grey_levels(self._picture, self._window))
        rows, columns = grey.shape
        self._image = QImage(grey.data, columns, rows, columns, QImage.Format.Format_Grayscale8).copy()

    # Where it lies ------------------------------------------------------------------------------------------------

    def set_plane(self, cut: PlaneCut | None, position: int = 0) -> None:
        """Say which MRI plane is shown; None for ultrasound."""
        self._cut, self._position = cut, position

    @property
    def plane_normal(self) -> tuple[float, float, float] | None:
        """LPS unit normal of the plane that is shown; None on ultrasound."""
        if self._cut is None:
            return None
        x, y, z = self._cut.normal
        return float(x), float(y), float(z)

    def to_points(self, row: float, column: float) -> tuple[float, ...]:
        """Return a place in the picture as marks keep it: LPS mm on MRI, (row, column) on ultrasound."""
        return (row, column) if self._cut is None else self._cut.to_patient(self._position, row, column)

    def from_points(self, point: tuple[float, ...]) -> tuple[float, float] | None:
        """Return (row, column) of a mark's point; None on MRI when it lies further than half a slice from this plane."""
        if self._cut is None:
            return float(point[0]), float(point[1])
        position, row, column = self._cut.from_patient((point[0], point[1], point[2]))
        return (row, column) if abs(position - self._position) <= 0.5 + 1e-6 else None

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """(row, column) mm of the picture, None when unknown."""
        return self._spacing_mm

    # Magnification ------------------------------------------------------------------------------------------------

    @property
    def zoom(self) -> float:
        """Magnification against "fits the pane"."""
        return self._zoom

    def set_zoom(self, zoom: float) -> None:
        """Magnify against "fits the pane" around what is in the middle."""
        self._zoom = min(40.0, max(0.25, zoom))
        self._place()

    def centre_on(self, row: float, column: float) -> None:
        """Bring a place into the middle."""
        self._centre = QPointF(column, row)
        self._place()

    def fit(self) -> None:
        """Show the whole picture."""
        self._zoom = 1.0
        if self._picture is not None:
            self._centre = QPointF((self._picture.shape[1] - 1) / 2, (self._picture.shape[0] - 1) / 2)
        self._place()

    def move_by(self, right: float, down: float) -> None:
        """Move the picture by so many pixels of the screen."""
        across, along = self.pixels_per_column, self.pixels_per_row
        self._centre -= QPointF(right / across, down / along)
        self._place()

    def shows(self, row: float, column: float) -> bool:
        """Return whether a place lies within what is visible."""
        return QRectF(self.viewport().rect()).contains(self.to_screen(row, column))

    @property
    def pixels_per_column(self) -> float:
        """Screen pixels for one column."""
        return self._scale() * (1.0 if self._spacing_mm is None else self._spacing_mm[1])

    @property
    def pixels_per_row(self) -> float:
        """Screen pixels for one row."""
        return self._scale() * (1.0 if self._spacing_mm is None else self._spacing_mm[0])

    def to_screen(self, row: float, column: float) -> QPointF:
        """Return where a place in the picture is in the pane, in its own (logical) pixels."""
        return self.viewportTransform().map(QPointF(column, row))

    def to_picture(self, place: QPointF) -> tuple[float, float]:
        """Return (row, column) of a place in the pane."""
        inverse, _ = self.viewportTransform().inverted()
        point = inverse.map(place)
        return point.y(), point.x()

    def _scale(self) -> float:
        """Return screen pixels for one mm (or one pixel where mm are unknown)."""
        if self._picture is None or 0 in self._picture.shape:
            return 1.0
        down, across = self._spacing_mm or (1.0, 1.0)
        rows, columns = self._picture.shape
        size = self.viewport().size()
        fits = min(size.width() / (columns * across), size.height() / (rows * down))
        return max(1e-3, float(fits)) * self._zoom

    def _place(self) -> None:
        across, along = self.pixels_per_column, self.pixels_per_row
        size = self.viewport().size()
        width, height = size.width() / across, size.height() / along
        self.setSceneRect(QRectF(self._centre.x() - width / 2, self._centre.y() - height / 2, width, height))
        self.setTransform(QTransform.fromScale(across, along))
        self.viewport().update()

    # Painting -----------------------------------------------------------------------------------------------------

    def drawBackground(self, painter: QPainter, rect: QRectF | QRect) -> None:
        """Draw the picture and the colours over it."""
        painter.fillRect(rect, BACKGROUND)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
        if self._image is not None:
            painter.drawImage(QRectF(-0.5, -0.5, self._image.width(), self._image.height()), self._image)
        if self._overlay is not None and self._image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)  # heat has no pixels of its own here
            painter.save()
            painter.setClipRect(QRectF(-0.5, -0.5, self._image.width(), self._image.height()))
            painter.drawImage(self._overlay_area, self._overlay)
            painter.restore()

    def drawForeground(self, painter: QPainter, _rect: QRectF | QRect) -> None:
        """Draw letters, texts, scale bar and crosshair in pixels of the screen."""
        painter.resetTransform()
        cross = self.furniture.crosshair
        where = None if cross is None else self.to_screen(*cross)
        pixels_per_mm = None if self._spacing_mm is None or self._image is None else self._scale()
        self.furniture.draw(painter, QRectF(self.viewport().rect()), where, pixels_per_mm)

    # Gestures -----------------------------------------------------------------------------------------------------

    @property
    def tool(self) -> Tool:
        """What a left drag does."""
        return self._tool

    def set_tool(self, tool: Tool) -> None:
        """Set what a left drag does."""
        self._tool = tool

    @property
    def drawing(self) -> bool:
        """True while a left click belongs to a drawing tool."""
        return self._tool != "navigate" and self.markable

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a gesture."""
        self._gestures.press(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with a gesture, or tell where the mouse is."""
        self._gestures.move(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a gesture."""
        self._gestures.release(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Maximise, find the window, or finish a polygon."""
        self._gestures.double_click(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Step through slices or phases, or zoom."""
        self._gestures.wheel(event)

    def viewportEvent(self, event: QEvent) -> bool:
        """Take two-finger pinches and the mouse's leaving."""
        if event.type() == QEvent.Type.NativeGesture and self._gestures.pinch(event):
            return True
        if event.type() == QEvent.Type.Leave:
            self.left.emit()
        return super().viewportEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave every key to the window: the arrow keys must not scroll the picture."""
        event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Leave keys that are let go to the window, too."""
        event.ignore()

    def contextMenuEvent(self, event: QEvent) -> None:
        """Nothing here: `contextRequested` comes when the right button is let go without a drag."""
        event.accept()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the picture into the new room."""
        super().resizeEvent(event)
        self._place()
