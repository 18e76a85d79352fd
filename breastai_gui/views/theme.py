"""The look of the window: Fusion with a palette of our own, dark or light, and one small style sheet."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QIconEngine, QPainter, QPalette, QPen, QPixmap

from breastai_gui.resource import resource

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

Theme = Literal["system", "dark", "light"]
THEMES: tuple[Theme, ...] = ("system", "dark", "light")

_DARK = {
    "Window": "#1b1e22",
    "WindowText": "#e3e6e9",
    "Base": "#14171a",
    "AlternateBase": "#1a1d21",
    "Text": "#e3e6e9",
    "Button": "#2a2f35",
    "ButtonText": "#e3e6e9",
    "BrightText": "#ffffff",
    "Highlight": "#3a6ea5",
    "HighlightedText": "#ffffff",
    "ToolTipBase": "#2a2f35",
    "ToolTipText": "#e3e6e9",
    "PlaceholderText": "#8d949b",
    "Link": "#7fb2f0",
    "LinkVisited": "#a99ad6",
    "Light": "#3a4047",
    "Midlight": "#31363c",
    "Mid": "#24282d",
    "Dark": "#101215",
    "Shadow": "#000000",
    "Accent": "#3a6ea5",
}
_LIGHT = {
    "Window": "#eef0f2",
    "WindowText": "#1c2126",
    "Base": "#ffffff",
    "AlternateBase": "#f5f6f8",
    "Text": "#1c2126",
    "Button": "#e3e6e9",
    "ButtonText": "#1c2126",
    "BrightText": "#ffffff",
    "Highlight": "#2f6cab",
    "HighlightedText": "#ffffff",
    "ToolTipBase": "#ffffff",
    "ToolTipText": "#1c2126",
    "PlaceholderText": "#6b737b",
    "Link": "#1f5fae",
    "LinkVisited": "#5b4a9c",
    "Light": "#ffffff",
    "Midlight": "#f3f4f6",
    "Mid": "#c5cad0",
    "Dark": "#a3a9b0",
    "Shadow": "#7a8087",
    "Accent": "#2f6cab",
}
_SHEET = {
    "dark": {
        "line": "#353b42",
        "hover": "#363c44",
        "on": "#2f5f92",
        "on_text": "#ffffff",
        "button": "#2a2f35",
        "pressed": "#20242a",
        "handle": "#454c55",
        "gap": "#121417",
        "disabled": "#70777e",
        "bar": "#22262b",
    },
    "light": {
        "line": "#c3c8ce",
        "hover": "#d8dce1",
        "on": "#2f6cab",
        "on_text": "#ffffff",
        "button": "#e6e9ec",
        "pressed": "#c9ced4",
        "handle": "#b4bac1",
        "gap": "#d3d7dc",
        "disabled": "#8f969d",
        "bar": "#e4e7ea",
    },
}
"""Colours that `resources/theme/window.qss` names with a dollar sign."""


def apply_theme(application: QApplication, theme: Theme) -> None:
    """Give the whole program its look."""
    kind: Literal["dark", "light"] = _system_kind() if theme == "system" else theme
    application.setStyle("Fusion")
    application.setPalette(_palette(kind))
    sheet = resource("theme").joinpath("window.qss").read_text(encoding="utf-8")
    application.setStyleSheet(Template(sheet).substitute(_SHEET[kind]))


def _system_kind() -> Literal["dark", "light"]:
    return "light" if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Light else "dark"


def _palette(kind: Literal["dark", "light"]) -> QPalette:
    palette = QPalette()
    for name, colour in (_DARK if kind == "dark" else _LIGHT).items():
        palette.setColor(QPalette.ColorRole[name], QColor(colour))
    for name in ("WindowText", "Text", "ButtonText"):
        palette.setColor(QPalette.ColorGroup.Disabled, QPalette.ColorRole[name], QColor(_SHEET[kind]["disabled"]))
    return palette


class PanelIcon(QIconEngine):
    """A window with its left or right part filled, drawn in the colours of the theme in force."""

    def __init__(self, side: Literal["left", "right"]) -> None:
        super().__init__()
        self._side: Literal["left", "right"] = side

    def paint(self, painter: QPainter, rect: QRect, _mode: QIcon.Mode, _state: QIcon.State) -> None:
        """Draw it."""
        ink = QGuiApplication.palette().color(QPalette.ColorRole.WindowText)
        area = QRectF(rect).adjusted(1.5, 2.5, -1.5, -2.5)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(ink, 1.2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area, 2, 2)
        part = QRectF(area)
        part.setWidth(0.36 * area.width())
        if self._side == "right":
            part.moveRight(area.right())
        painter.fillRect(part, ink)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        """Return it as a picture."""
        picture = QPixmap(size)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return picture

    def clone(self) -> QIconEngine:
        """Return another one like it."""
        return PanelIcon(self._side)
