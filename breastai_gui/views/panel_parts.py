"""The small parts that the panels beside the images are made of: plain text, cards, chips and the wish to be told."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import shiboken6
from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from breastai_gui.resource import resource
from breastai_gui.views.plain_text import literal_caption, literal_tooltip

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance

Tone = Literal["text", "muted", "human", "ai", "good", "stop", "ask"]


@dataclass(frozen=True, slots=True)
class Tones:
    """The colours that carry meaning, for one theme; each is always joined by a word or a sign."""

    human: QColor
    ai: QColor
    good: QColor
    stop: QColor
    ask: QColor
    muted: QColor
    line: QColor
    card: QColor

    def of(self, tone: Tone, palette: QPalette) -> QColor:
        """Return the colour of a tone."""
        if tone == "text":
            return palette.color(QPalette.ColorRole.WindowText)
        colour: QColor = getattr(self, tone)
        return colour


TABLE_STYLE = """
QHeaderView { background: transparent; }
QHeaderView::section { background: transparent; border: none; border-bottom: 1px solid palette(mid); padding: 3px 5px; }
QTableView { border: 1px solid palette(mid); border-radius: 3px; }
"""
"""Tables in panels: quiet headings, no grid."""


def visible_boxes(widget: QWidget) -> None:
    """Draw check boxes and radio buttons of a widget with a rim that is seen on dark ground; Fusion's own is darker than it."""
    check = resource("icons").joinpath("check.png").as_posix()
    both = "QCheckBox::indicator, QTableView::indicator"
    widget.setStyleSheet(
        widget.styleSheet()
        + f"{both} {{ width: 12px; height: 12px; border: 1px solid palette(placeholder-text); border-radius: 2px; }}"
        + "QCheckBox::indicator:checked, QTableView::indicator:checked"
        + f'{{ background: palette(highlight); border-color: palette(highlight); image: url("{check}"); }}'
        + "QRadioButton::indicator { width: 12px; height: 12px; border: 1px solid palette(placeholder-text); border-radius: 7px; }"
        + "QRadioButton::indicator:checked { border: 4px solid palette(highlight); width: 6px; height: 6px; background: white; }"
    )


_DARK = Tones(
    human=QColor("#93aac4"),
    ai=QColor("#e3a83f"),
    good=QColor("#6fbf98"),
    stop=QColor("#ec8079"),
    ask=QColor("#7fb2f0"),
    muted=QColor("#98a0a9"),
    line=QColor(255, 255, 255, 30),
    card=QColor(255, 255, 255, 12),
)
_LIGHT = Tones(
    human=QColor("#45607d"),
    ai=QColor("#8f5a00"),
    good=QColor("#1d6f49"),
    stop=QColor("#ad2a22"),
    ask=QColor("#1f5fae"),
    muted=QColor("#5c656e"),
    line=QColor(0, 0, 0, 34),
    card=QColor(255, 255, 255, 150),
)


def tones(palette: QPalette | None = None) -> Tones:
    """Return the colours that fit the theme in force: told from the window colour of the palette."""
    window = (palette or QApplication.palette()).color(QPalette.ColorRole.Window)
    return _DARK if window.lightness() < 128 else _LIGHT


def follow(signal: SignalInstance, function: Callable[..., None]) -> None:
    """Call a widget's method whenever a signal says so, for as long as the widget lives; the signal keeps nothing alive."""
    method = weakref.WeakMethod(function)

    def call(*values: Any) -> None:
        target = method()
        if target is not None and shiboken6.isValid(target.__self__):  # type: ignore[attr-defined]
            target(*values)

    signal.connect(call, check_nargs=False)


class Text(QLabel):
    """Words, always plain text: what a file says can never be markup.

    Parameters
    ----------
    words
        What it says.
    tone
        Which meaning its colour carries.
    size
        Points more (or less) than the window's own font.
    bold, wrap
        Weight; whether it breaks into lines.
    least_width
        Pixels below which it is never laid out: Qt asks how high a column of words is in the narrowest case, and would
        make windows as high as that.
    """

    def __init__(
        self, words: str = "", *, tone: Tone = "text", size: float = 0.0, bold: bool = False, wrap: bool = True, least_width: int = 200
    ) -> None:
        super().__init__()
        self._least_width = least_width
        self._tone: Tone = tone
        self._sheet = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        font = self.font()
        font.setPointSizeF(max(6.0, font.pointSizeF() + size))
        font.setBold(bold)
        self.setFont(font)
        if wrap:
            policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
            self.setMinimumWidth(1)
        self.setText(words)
        self._paint_tone()

    def set_tone(self, tone: Tone) -> None:
        """Give the words another meaning."""
        self._tone = tone
        self._paint_tone()

    def heightForWidth(self, width: int) -> int:
        """Return how high the words are."""
        return super().heightForWidth(max(width, self._least_width))

    def say(self, words: str) -> None:
        """Show these words; without any the label takes no room."""
        self.setText(words)
        self.setVisible(bool(words))

    def changeEvent(self, event: QEvent) -> None:
        """Take the colour of a new theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._paint_tone()

    def _paint_tone(self) -> None:
        colour = None if self._tone == "text" else tones().of(self._tone, self.palette()).name()
        sheet = f"color: {colour};" if colour else ""
        if sheet != self._sheet:
            self._sheet = sheet
            self.setStyleSheet(sheet)


class ElidedText(Text):
    """One line of plain text that ends in "…" where the room ends; the whole of it is in the tooltip."""

    def __init__(self, words: str = "", *, tone: Tone = "text", size: float = 0.0, bold: bool = False) -> None:
        super().__init__(words, tone=tone, size=size, bold=bold, wrap=False)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(literal_tooltip(words))

    def setText(self, words: str) -> None:
        """Show these words."""
        super().setText(words)
        self.setToolTip(literal_tooltip(words))

    def minimumSizeHint(self) -> QSize:
        """Nothing is too narrow."""
        return QSize(24, super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw what fits."""
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        area = self.contentsRect()
        shown = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, area.width())
        painter.drawText(area, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextSingleLine), shown)


class Card(QFrame):
    """A quiet box with a line of colour at its left that says whose words these are."""

    def __init__(self, accent: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._accent: Tone = accent
        self.box = QVBoxLayout(self)
        self.box.setContentsMargins(11, 8, 9, 8)
        self.box.setSpacing(5)

    def set_accent(self, accent: Tone) -> None:
        """Change whose words these are."""
        self._accent = accent
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the box."""
        colours = tones(self.palette())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(colours.line)
        painter.setBrush(colours.card)
        painter.drawRoundedRect(area, 5, 5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colours.of(self._accent, self.palette()))
        painter.drawRoundedRect(QRectF(0.5, 4, 3, self.height() - 8), 1.5, 1.5)


class Chip(QWidget):
    """One or two words in a rounded frame, with a sign before them: never colour alone."""

    def __init__(self, words: str, tone: Tone = "muted", *, filled: bool = False) -> None:
        super().__init__()
        self._words, self._tone, self._filled = words, tone, filled
        font = self.font()
        font.setPointSizeF(max(6.0, font.pointSizeF() - 1))
        self.setFont(font)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        """Return what it says."""
        return self._words

    def show_words(self, words: str, tone: Tone) -> None:
        """Say something else."""
        self._words, self._tone = words, tone
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Room for the words and the frame."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._words) + 13, metrics.height() + 3)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw frame and words."""
        colour = tones(self.palette()).of(self._tone, self.palette())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(colour)
        if self._filled:
            painter.setBrush(colour)
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.drawRoundedRect(area, area.height() / 2, area.height() / 2)
        painter.setPen(self.palette().color(QPalette.ColorRole.Window) if self._filled else colour)
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._words)


class Fold(QWidget):
    """A heading that opens and closes what is below it."""

    toggled = Signal(bool)

    def __init__(self, title: str, *, open_: bool = True) -> None:
        super().__init__()
        self._title = title
        self._button = QPushButton()
        self._button.setFlat(True)
        self._button.setCheckable(True)
        self._button.setChecked(open_)
        self._button.setCursor(Qt.CursorShape.PointingHandCursor)
        self._button.setStyleSheet(
            "QPushButton, QPushButton:checked, QPushButton:hover { color: palette(window-text); background: transparent; }"
            "QPushButton { text-align: left; font-weight: 600; border: none; padding: 3px 0; }"
        )
        self.body = QWidget()
        self.box = QVBoxLayout(self.body)
        self.box.setContentsMargins(0, 2, 0, 4)
        self.box.setSpacing(5)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self._button)
        whole.addWidget(self.body)
        self._button.toggled.connect(self._turn)
        self._turn(open_)

    def _turn(self, open_: bool) -> None:
        self._button.setText(f"{'▾' if open_ else '▸'}  {literal_caption(self._title)}")
        self.body.setVisible(open_)
        self.toggled.emit(open_)


class _Content(QWidget):
    def minimumSizeHint(self) -> QSize:
        # Qt would answer with the height that the words need in the narrowest column, and scroll over empty room.
        return QSize(0, 0)


class Column(QScrollArea):
    """A panel that scrolls up and down and is never wider than the room that it has."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._content = _Content()
        self.box = QVBoxLayout(self._content)
        self.box.setContentsMargins(9, 8, 9, 8)
        self.box.setSpacing(8)
        self.setWidget(self._content)

    def minimumSizeHint(self) -> QSize:
        """Narrow docks are fine."""
        return QSize(200, 80)


def row(*parts: QWidget | int, spacing: int = 6) -> QHBoxLayout:
    """Return widgets side by side; a number is a stretch."""
    line = QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(spacing)
    for part in parts:
        if isinstance(part, int):
            line.addStretch(part)
        else:
            line.addWidget(part)
    return line


def link(words: str, pressed: Callable[[], object], *, tip: str = "") -> QPushButton:
    """Return a small flat button that reads like a link."""
    button = QPushButton(literal_caption(words))
    button.setFlat(True)
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    button.setStyleSheet("QPushButton { color: palette(link); border: none; padding: 0; background: none; text-decoration: underline; }")
    button.setToolTip(literal_tooltip(tip))
    button.clicked.connect(lambda _checked=False: pressed())
    return button


def empty(layout: QLayout) -> None:
    """Take everything out of a layout."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.setParent(None)
            widget.deleteLater()
        elif (inner := item.layout()) is not None:
            empty(inner)
            inner.deleteLater()


def bold_font(widget: QWidget) -> QFont:
    """Return the widget's font in bold."""
    font = QFont(widget.font())
    font.setBold(True)
    return font
