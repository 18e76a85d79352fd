"""The one place where the window says what went wrong: a banner that is in nobody's way, with a copy for support."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from breastai_gui import __version__
from breastai_gui.services.plain_text import one_line
from breastai_gui.views.panel_parts import Card, Text, link


class ProblemBanner(QWidget):
    """Shows one sentence at a time, the newest; earlier ones that were not closed come back when it is closed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._waiting: list[tuple[str, str, bool]] = []
        self._card = Card("stop")
        self._card.box.setContentsMargins(12, 6, 6, 6)
        self._sentence = Text(least_width=420)
        self._more = Text(tone="muted", size=-0.5, wrap=False)
        self._details = Text(tone="muted", size=-0.5)
        self._show_details = link("Details", self._turn_details)
        self._copy = link("Copy", self.copy, tip="Copy the sentence and the details, to send them to whoever can help")
        close = QToolButton()
        close.setText("✕")
        close.setAutoRaise(True)
        close.setToolTip("Close")
        close.setAccessibleName("Close this message")
        close.clicked.connect(lambda _checked=False: self.close_newest())
        line = QHBoxLayout()
        line.setSpacing(10)
        line.addWidget(self._sentence, 1)
        for part in (self._more, self._show_details, self._copy, close):
            line.addWidget(part)
        self._card.box.addLayout(line)
        self._card.box.addWidget(self._details)
        box = QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 4)
        box.addWidget(self._card)
        self.hide()

    @property
    def sentence(self) -> str:
        """What is shown, "" when nothing is."""
        return self._waiting[-1][0] if self._waiting else ""

    def show_problem(self, sentence: str, details: str = "") -> None:
        """Show what happened and what to do; `details` are for whoever helps, without patient data."""
        self._add(sentence, details, stops=True)

    def show_notice(self, sentence: str) -> None:
        """Show something worth knowing that went well enough."""
        self._add(sentence, "", stops=False)

    def _add(self, sentence: str, details: str, *, stops: bool) -> None:
        entry = (sentence, details, stops)
        if entry in self._waiting:
            self._waiting.remove(entry)
        self._waiting.append(entry)
        self._details.hide()
        self._refresh()

    def close_newest(self) -> None:
        """Take the sentence away."""
        if self._waiting:
            self._waiting.pop()
        self._details.hide()
        self._refresh()

    def clear(self) -> None:
        """Take all sentences away."""
        self._waiting.clear()
        self._refresh()

    def copy(self) -> None:
        """Put sentence, details and version on the clipboard."""
        if self._waiting:
            sentence, details, _ = self._waiting[-1]
            QApplication.clipboard().setText("\n".join(part for part in (sentence, details, f"BreastAI {__version__}") if part))

    def _turn_details(self) -> None:
        self._details.setVisible(not self._details.isVisible())

    def _refresh(self) -> None:
        if not self._waiting:
            self.hide()
            return
        sentence, details, stops = self._waiting[-1]
        self._card.set_accent("stop" if stops else "ask")
        self._sentence.setText(f"{'✖' if stops else 'ℹ'} {one_line(sentence)}")
        self._details.setText(details)
        self._show_details.setVisible(bool(details))
        self._more.say(f"{len(self._waiting) - 1} more" if len(self._waiting) > 1 else "")
        self.show()
