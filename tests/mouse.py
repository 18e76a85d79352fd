"""What a hand on a mouse does to a pane: wheel, drag, move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

if TYPE_CHECKING:
    from PySide6.QtWidgets import QAbstractScrollArea
    from pytestqt.qtbot import QtBot


def turn_wheel(pane: QAbstractScrollArea, notches: int, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """Turn the wheel over the middle; away from the person is positive."""
    middle = QPointF(pane.viewport().rect().center())
    buttons, phase = Qt.MouseButton.NoButton, Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(middle, pane.viewport().mapToGlobal(middle), QPoint(), QPoint(0, 120 * notches), buttons, modifiers, phase, False)
    QApplication.sendEvent(pane.viewport(), event)


def drag(qtbot: QtBot, pane: QAbstractScrollArea, button: Qt.MouseButton, steps: list[tuple[int, int]], *, shift: bool = False) -> None:
    """Press in the middle, move by each step, let go."""
    keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
    here = QPoint(300, 200)
    qtbot.mousePress(pane.viewport(), button, keys, here)
    for right, down in steps:
        here += QPoint(right, down)
        move(pane, here, button, keys)
    qtbot.mouseRelease(pane.viewport(), button, keys, here)


def move(pane: QAbstractScrollArea, here: QPoint, button: Qt.MouseButton, keys: Qt.KeyboardModifier) -> None:
    """Move the mouse; unlike QTest, with the buttons and keys that are held."""
    where = QPointF(here)
    QApplication.sendEvent(
        pane.viewport(),
        QMouseEvent(QEvent.Type.MouseMove, where, pane.viewport().mapToGlobal(where), Qt.MouseButton.NoButton, button, keys),
    )
