"""Drawing, selecting, changing and deleting marks on the picture of a pane; each gesture is one state that can be undone."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QLineEdit

from breastai_gui.services.annotations import POINTS_NEEDED, Annotation
from breastai_gui.views.panel_parts import follow
from breastai_gui.views.reading.mark_drawing import MarkDrawing, Sight
from breastai_gui.views.reading.mark_outline import distance, see

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.image_pane import ImagePane
    from breastai_gui.views.reading.mark_outline import Seen
    from breastai_gui.views.reading.viewpoint import Viewpoint

_HANDLE_REACH_PX = 8.0
_LINE_REACH_PX = 5.0
_CLICK_PX = 4.0
_DRAFT_ID = "draft"


class MarkTools:
    """The marks of one reading on every pane that it is attached to.

    Attributes
    ----------
    selected
        The id of the selected mark, or None.
    """

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        self.session = session
        self.viewpoint = viewpoint
        self.selected: str | None = None
        self._panes: list[PaneMarks] = []

    def attach(self, pane: ImagePane) -> PaneMarks:
        """Show the marks on a pane and let the person draw there."""
        marks = PaneMarks(self, pane)
        self._panes.append(marks)
        return marks

    def select(self, mark_id: str | None) -> None:
        """Select a mark on every pane."""
        self.selected = mark_id
        self.redraw()

    def delete_selected(self) -> bool:
        """Delete the selected mark; False when none is."""
        ids = {mark.id for mark in self.session.annotations}
        if self.selected not in ids or self.selected is None:
            return False
        self.session.remove_annotation(self.selected)
        self.select(None)
        return True

    def cancel(self) -> bool:
        """Give up what is being drawn, else the selection; False when there is neither."""
        given_up = [marks.give_up() for marks in self._panes]
        if any(given_up):
            return True
        selected, self.selected = self.selected, None
        self.redraw()
        return selected is not None

    def mark_at(self, pane: ImagePane, at: QPointF) -> Annotation | None:
        """Return the mark under a place in a pane."""
        found = next((marks.under(at) for marks in self._panes if marks.pane is pane), None)
        return None if found is None else found[0]

    def redraw(self) -> None:
        """Draw the marks anew on every pane."""
        for marks in self._panes:
            marks.redraw()


class PaneMarks(QObject):
    """The marks on one pane: its child, so it ends with it."""

    def __init__(self, tools: MarkTools, pane: ImagePane) -> None:
        super().__init__(pane)
        self._tools = tools
        self.pane = pane
        self._draft: list[tuple[float, ...]] = []
        self._draft_image = ""
        self._hover: tuple[float, ...] | None = None
        self._pressed_at: QPointF | None = None
        self._changed: Annotation | None = None
        self._grip: tuple[Annotation, int | None, tuple[float, float]] | None = None
        self._note: QLineEdit | None = None
        self.drawing = MarkDrawing(pane.mark_layer, self.sight)
        pane.drawPressed.connect(self._press)
        pane.drawMoved.connect(self._move)
        pane.drawReleased.connect(self._release)
        pane.drawFinished.connect(self._finish)
        pane.hovered.connect(self._hovered)
        self._port = pane.viewport()  # asked for once: events still come while the pane is being taken apart
        self._port.installEventFilter(self)
        pane.installEventFilter(self)
        follow(tools.session.changed, self.redraw)
        follow(tools.viewpoint.changed, self._looked)

    # What is seen -------------------------------------------------------------------------------------------------

    def sight(self) -> Sight:
        """Return what the pane shows now; asked at every painting, so that no mark stands on a slice that has gone."""
        if not self.pane.markable or self.pane.picture is None:
            return Sight((), None, None, np.empty((0, 2)))
        marks = list(self._tools.session.annotations)
        if self._changed is not None:
            changed = self._changed
            marks = [changed if mark.id == changed.id else mark for mark in marks]
        draft = self._drafted()
        if draft is not None:
            marks.append(draft)
        seen = tuple(found for mark in marks if (found := see(mark, self.pane)) is not None)
        selected = _DRAFT_ID if draft is not None else self._tools.selected
        return Sight(seen, selected, self.pane.spacing_mm, self._corners() if draft is None else np.empty((0, 2)))

    @property
    def seen(self) -> tuple[Seen, ...]:
        """The marks that the pane shows now."""
        return self.sight().marks

    def redraw(self) -> None:
        """Draw anew."""
        self.pane.viewport().update()

    def _looked(self, before: object, after: object) -> None:
        if getattr(before, "tool", None) != getattr(after, "tool", None):
            self.give_up()

    def _points(self) -> list[tuple[float, ...]]:
        """Return the points of the draft, the one under the mouse among them."""
        if self._is_stale():
            return []
        return self._draft if self._hover is None else [*self._draft, self._hover]

    def _corners(self) -> NDArray[np.float64]:
        places = [self.pane.from_points(point) for point in self._points()]
        return np.array([place for place in places if place is not None], dtype=np.float64).reshape(-1, 2)

    def _drafted(self) -> Annotation | None:
        points = self._points()
        kind = self.pane.tool
        if kind == "navigate" or not self._draft or self._is_stale() or len(points) < POINTS_NEEDED[kind][0]:
            return None
        return self._mark(_DRAFT_ID, tuple(points))

    def _mark(self, mark_id: str, points: tuple[tuple[float, ...], ...], text: str = "") -> Annotation | None:
        kind = self.pane.tool
        if kind == "navigate":
            return None
        return Annotation(mark_id, kind, self.pane.image_key, points, self.pane.plane_normal, text)

    # Drawing ------------------------------------------------------------------------------------------------------

    def _inside(self, row: float, column: float) -> tuple[float, ...]:
        """Return the mark's point for a place, brought back onto the picture where the mouse left it."""
        assert self.pane.picture is not None
        rows, columns = self.pane.picture.shape
        return self.pane.to_points(min(max(row, -0.5), rows - 0.5), min(max(column, -0.5), columns - 0.5))

    def _press(self, row: float, column: float) -> None:
        if self.pane.picture is None:
            return
        self.pane.setFocus(Qt.FocusReason.MouseFocusReason)
        if self._note is not None:
            self._take_note(self._draft[0], self._note.text())
        if self._is_stale():
            self.give_up()
        self._pressed_at = self.pane.to_screen(row, column)
        self._hover = None
        self._draft_image = self.pane.image_key
        point = self._inside(row, column)
        if self.pane.tool == "polygon" and self._near_first(row, column):
            self._close()
        elif self.pane.tool in ("ruler", "ellipse") and self._draft:
            self._hover = point  # the second of two clicks
        else:
            self._draft.append(point)
        self._tools.selected = None
        self.redraw()

    def _move(self, row: float, column: float) -> None:
        if not self._draft:
            return
        if self.pane.tool in ("ruler", "ellipse"):
            self._hover = self._inside(row, column)
        else:
            self._draft[-1] = self._inside(row, column)
        self.redraw()

    def _release(self, row: float, column: float) -> None:
        if not self._draft or self._pressed_at is None or self._is_stale():
            return
        away = self.pane.to_screen(row, column) - self._pressed_at
        dragged = max(abs(away.x()), abs(away.y())) >= _CLICK_PX
        self._pressed_at = None
        if self.pane.tool == "point":
            self._ask_note(self._draft[0])
        elif self.pane.tool in ("ruler", "ellipse") and (dragged or self._hover is not None):
            self._hover = self._inside(row, column)
            self._keep(tuple(self._points()))

    def _hovered(self, row: float, column: float) -> None:
        if self._draft and self.pane.picture is not None and self.pane.tool != "point":
            self._hover = self._inside(row, column)
            self.redraw()

    def _finish(self, _row: float, _column: float) -> None:
        if self.pane.tool == "polygon":
            self._close()

    def _near_first(self, row: float, column: float) -> bool:
        place = self.pane.from_points(self._draft[0]) if len(self._draft) >= 3 else None
        if place is None:
            return False
        away = self.pane.to_screen(*place) - self.pane.to_screen(row, column)
        return bool(np.hypot(away.x(), away.y()) <= _HANDLE_REACH_PX)

    def _is_stale(self) -> bool:
        """Return whether the draft was begun on another slice or view than the one that is shown."""
        return bool(self._draft) and (
            self._draft_image != self.pane.image_key or any(self.pane.from_points(point) is None for point in self._draft)
        )

    def _close(self) -> None:
        """Make a polygon of the corners; with fewer than three there is none yet."""
        if self._is_stale():
            self.give_up()
        elif len(self._draft) >= POINTS_NEEDED["polygon"][0]:
            self._keep(tuple(self._draft))

    def _keep(self, points: tuple[tuple[float, ...], ...], text: str = "") -> None:
        mark = self._mark(uuid.uuid4().hex, points, text)
        self._draft, self._hover, self._pressed_at = [], None, None
        if mark is not None:
            self._tools.selected = mark.id
            self._tools.session.add_annotation(mark)
        self._tools.redraw()

    def give_up(self) -> bool:
        """Drop what is being drawn or dragged; False when nothing is."""
        busy = bool(self._draft) or self._grip is not None or self._note is not None
        self._draft, self._hover, self._pressed_at, self._changed, self._grip = [], None, None, None, None
        self._end_note()
        if busy:
            self.redraw()
        return busy

    # The note of a point ------------------------------------------------------------------------------------------

    def _ask_note(self, point: tuple[float, ...]) -> None:
        self._end_note()
        place = self.pane.from_points(point)
        if place is None:
            return
        note = QLineEdit(self.pane.viewport())
        note.setObjectName("mark_note")
        note.setPlaceholderText("Note, then Enter")
        note.setMaxLength(200)
        note.resize(min(190, self.pane.viewport().width() - 4), note.sizeHint().height())
        at = self.pane.to_screen(*place)
        room = self.pane.viewport().size()
        note.move(
            max(2, min(round(at.x()) + 10, room.width() - note.width() - 2)),
            max(2, min(round(at.y()) + 6, room.height() - note.height() - 2)),
        )
        note.setCursor(Qt.CursorShape.IBeamCursor)
        note.returnPressed.connect(lambda: self._take_note(point, note.text()))
        note.installEventFilter(self)
        self._note = note
        note.show()
        note.setFocus(Qt.FocusReason.OtherFocusReason)

    def _take_note(self, point: tuple[float, ...], text: str) -> None:
        self._end_note()
        self.pane.setFocus(Qt.FocusReason.OtherFocusReason)
        self._keep((point,), text.strip())

    def _end_note(self) -> None:
        note, self._note = self._note, None
        if note is not None:
            note.removeEventFilter(self)
            note.hide()
            note.deleteLater()

    # Selecting, changing, keys ------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take the mouse where it grips a mark, and the keys that belong to marks."""
        if isinstance(event, QKeyEvent):
            return self._key(watched, event)
        if watched is self._port and isinstance(event, QMouseEvent):
            return self._mouse(event)
        return False

    def _key(self, watched: QObject, event: QKeyEvent) -> bool:
        if event.type() not in (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride):
            return False
        action: Callable[[], object]
        key, press = event.key(), event.type() == QEvent.Type.KeyPress
        if watched is self._note:
            if key == Qt.Key.Key_Escape:
                event.accept()
                return self.give_up() if press else True
            return False
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and len(self._draft) >= 3 and self.pane.tool == "polygon":
            action = self._close
        elif key == Qt.Key.Key_Escape and (self._draft or self._grip is not None or self._tools.selected is not None):
            action = self._tools.cancel
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self._tools.selected is not None and not self._draft:
            action = self._tools.delete_selected
        else:
            return False
        event.accept()
        if press:
            action()
        return True

    def _mouse(self, event: QMouseEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonPress and event.button() == Qt.MouseButton.LeftButton:
            return self._take(event)
        if self._grip is None:
            return False
        if event.type() == QEvent.Type.MouseMove:
            self._drag(event.position())
            return True
        if event.type() == QEvent.Type.MouseButtonRelease and event.button() == Qt.MouseButton.LeftButton:
            changed, self._changed, self._grip = self._changed, None, None
            if changed is not None:
                self._tools.session.replace_annotation(changed)
            self._tools.redraw()
            return True
        return False

    def _take(self, event: QMouseEvent) -> bool:
        """Grip the handle or line under the mouse; a press beside every mark takes the selection away and goes on."""
        if self._draft or self._note is not None or event.modifiers() != Qt.KeyboardModifier.NoModifier:
            return False
        found = self.under(event.position())
        if found is None:
            if self._tools.selected is not None:
                self._tools.select(None)
            return False
        mark, handle = found
        self.pane.setFocus(Qt.FocusReason.MouseFocusReason)
        self._grip = (mark, handle, self.pane.to_picture(event.position()))
        self._changed = None
        self._tools.select(mark.id)
        return True

    def under(self, at: QPointF) -> tuple[Annotation, int | None] | None:
        """Return the mark under a place in the pane with the number of its handle, None for its line; the newest first."""
        for seen in reversed(self.seen):
            for number, (row, column) in enumerate(seen.handles):
                away = self.pane.to_screen(row, column) - at
                if np.hypot(away.x(), away.y()) <= _HANDLE_REACH_PX:
                    return seen.mark, number
            line = [self.pane.to_screen(row, column) for row, column in seen.outline]
            if len(line) > 1 and distance(np.array([(point.x(), point.y()) for point in line]), (at.x(), at.y())) <= _LINE_REACH_PX:
                return seen.mark, None
        return None

    def _drag(self, at: QPointF) -> None:
        assert self._grip is not None
        mark, handle, start = self._grip
        row, column = self.pane.to_picture(at)
        points = list(mark.points)
        if handle is not None:
            points[handle] = self._inside(row, column)
        else:
            for number, point in enumerate(mark.points):
                place = self.pane.from_points(point)
                if place is not None:
                    points[number] = self._inside(place[0] + row - start[0], place[1] + column - start[1])
        self._changed = replace(mark, points=tuple(points))
        self._tools.redraw()
