"""Every key and mouse gesture, and what this program is."""

from __future__ import annotations

import platform

from PySide6 import __version__ as qt_version
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from breastai_gui import __version__
from breastai_gui.views.actions import ACTIONS, HELD, MENUS, MOUSE
from breastai_gui.views.panel_parts import Column, Text

TRADEMARK = "BI-RADS is a trademark of the American College of Radiology, which does not endorse this program."


class KeysDialog(QDialog):
    """All keys, menu by menu, and the mouse."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Keys and mouse")
        self.resize(860, 600)
        keyed = [(text.menu.split("/")[0], text.words, text.keys) for text in ACTIONS if text.keys and not text.name.startswith("phase_")]
        groups = [(menu, [(words, _shown(keys)) for of, words, keys in keyed if of == menu]) for menu in MENUS]
        groups = [("Mouse on an image", [(what, gesture) for gesture, what in MOUSE]), *(group for group in groups if group[1])]
        groups.append(("Held and others", [*((what, keys) for keys, what in HELD), ("Phase by its place: the first is 1", "1 – 9")]))
        column = Column()
        halves = [QVBoxLayout(), QVBoxLayout()]
        filled = [0, 0]
        for title, lines in groups:
            shorter = filled.index(min(filled))
            halves[shorter].addLayout(_table(title, lines))
            filled[shorter] += len(lines) + 2
        across = QHBoxLayout()
        across.setSpacing(28)
        for half in halves:
            half.addStretch(1)
            across.addLayout(half, 1)
        column.box.addLayout(across)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        box = QVBoxLayout(self)
        box.addWidget(column, 1)
        box.addWidget(buttons)


class AboutDialog(QDialog):
    """Name, version, what it is for and what it is not."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("About BreastAI")
        self.setMinimumWidth(460)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        box = QVBoxLayout(self)
        box.setSpacing(8)
        box.addWidget(Text(f"BreastAI {__version__}", size=5, bold=True))
        box.addWidget(Text("Reads breast DCE-MRI and ultrasound together."))
        box.addWidget(Text("RESEARCH USE ONLY. Not a medical device: not for diagnosis or treatment.", tone="ai", bold=True))
        box.addWidget(Text(f"{TRADEMARK} Apache License 2.0.", tone="muted"))
        box.addWidget(Text(f"Python {platform.python_version()}, Qt {qt_version}, {platform.system()}", tone="muted"))
        box.addWidget(buttons)


def _shown(keys: tuple[str, ...]) -> str:
    return ", ".join(QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) for key in keys)


def _table(title: str, lines: list[tuple[str, str]]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(14)
    grid.setVerticalSpacing(3)
    grid.setContentsMargins(0, 0, 0, 12)
    grid.setColumnStretch(1, 1)
    grid.addWidget(Text(title, bold=True), 0, 0, 1, 2)
    for row, (words, keys) in enumerate(lines, start=1):
        grid.addWidget(Text(keys, tone="ask", wrap=False), row, 0)
        grid.addWidget(Text(words), row, 1)
    return grid
