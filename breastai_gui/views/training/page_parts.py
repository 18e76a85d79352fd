"""What the wizard's pages look like: a title with one explaining sentence, plain-text labels, cards."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget


class Page(QWidget):
    """A page with its title, one sentence below it, and `body` to put things into."""

    def __init__(self, title: str, sentence: str) -> None:
        super().__init__()
        heading = plain_label(title)
        font = QFont(heading.font())
        font.setPointSizeF(font.pointSizeF() * 1.5)
        font.setBold(True)
        heading.setFont(font)
        self.sentence = plain_label(sentence)
        self.body = QVBoxLayout()
        self.body.setSpacing(12)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(24, 20, 24, 8)
        whole.setSpacing(6)
        whole.addWidget(heading)
        whole.addWidget(self.sentence)
        whole.addSpacing(8)
        whole.addLayout(self.body, 1)


def plain_label(text: str = "") -> QLabel:
    """Return a label that shows text from files as it is, never as markup, and wraps it."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label


def card() -> QFrame:
    """Return an empty frame that sets a group of controls apart."""
    frame = QFrame()
    frame.setFrameShape(QFrame.Shape.StyledPanel)
    return frame
