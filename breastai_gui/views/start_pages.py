"""What the window shows while no exam is open: the place to drop one, its being read, or why it could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QApplication, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from breastai_gui import __version__
from breastai_gui.views.panel_parts import Card, Text, link, tones
from breastai_gui.views.reading.image_pane import ImagePane

if TYPE_CHECKING:
    from breastai_gui.data.study import ReadProgress


class EmptyPage(QWidget):
    """No exam: a place to drop one.

    Signals
    -------
    folderRequested, fileRequested, demoRequested
        The buttons.
    """

    folderRequested = Signal()
    fileRequested = Signal()
    demoRequested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._dragged_over = False
        self.note = Text(tone="muted")
        self.note.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        title = Text("Drop a patient's folder here", size=9, bold=True, wrap=False)
        words = Text("or a zip, or a single file: breast DCE-MRI and ultrasound, in any order", tone="muted", wrap=False)
        formats = Text("DICOM with or without a DICOMDIR, NIfTI, NRRD, MHA, PNG, JPEG", tone="muted", wrap=False)
        self.folder, self.file, self.demo = QPushButton("Open folder…"), QPushButton("Open file or zip…"), QPushButton("Open demo patient")
        self.folder.clicked.connect(lambda _checked=False: self.folderRequested.emit())
        self.file.clicked.connect(lambda _checked=False: self.fileRequested.emit())
        self.demo.clicked.connect(lambda _checked=False: self.demoRequested.emit())
        buttons = QHBoxLayout()
        buttons.setSpacing(10)
        buttons.addStretch(1)
        for button in (self.folder, self.file, self.demo):
            button.setMinimumHeight(34)
            button.setMinimumWidth(140)
            buttons.addWidget(button)
        buttons.addStretch(1)
        box = QVBoxLayout(self)
        box.setContentsMargins(60, 60, 60, 60)
        box.setSpacing(14)
        box.addStretch(3)
        box.addWidget(title, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addWidget(words, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addWidget(formats, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addSpacing(10)
        box.addLayout(buttons)
        box.addSpacing(6)
        box.addWidget(self.note)
        box.addStretch(4)
        foot = Text("Nothing leaves this computer. Research use only.", tone="muted", wrap=False)
        box.addWidget(foot, 0, Qt.AlignmentFlag.AlignHCenter)
        self.say("")

    def say(self, note: str) -> None:
        """Show one sentence on what happened last."""
        self.note.setText(note)

    def show_drag(self, over: bool) -> None:
        """Show that what is dragged over the window can be dropped."""
        self._dragged_over = over
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the frame to drop into."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        strong = self.palette().color(QPalette.ColorRole.Highlight)
        pen = QPen(strong, 2.0) if self._dragged_over else QPen(tones(self.palette()).muted, 1.2)
        pen.setDashPattern([6, 5])
        painter.setPen(pen)
        fill = QColor(strong)
        fill.setAlpha(36)
        painter.setBrush(fill if self._dragged_over else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(28, 24, -28, -24), 14, 14)


class LoadingPage(QWidget):
    """An exam is being read: how far, a first picture as soon as there is one, and a way out.

    Signals
    -------
    cancelRequested
        The person gives it up.
    """

    cancelRequested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = Text("Reading the exam", size=4, bold=True, wrap=False)
        self.words = Text(tone="muted", wrap=False)
        self.words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedSize(420, 10)
        self.picture = ImagePane()
        self.picture.setMinimumSize(300, 180)
        self.picture.setEnabled(False)
        cancel = QPushButton("Cancel")
        cancel.setMinimumWidth(120)
        cancel.clicked.connect(lambda _checked=False: self.cancelRequested.emit())
        self.cancel = cancel
        middle = Qt.AlignmentFlag.AlignHCenter
        box = QVBoxLayout(self)
        box.setContentsMargins(80, 40, 80, 40)
        box.setSpacing(12)
        box.addStretch(1)
        box.addWidget(self.title, 0, middle)
        box.addWidget(self.bar, 0, middle)
        box.addWidget(self.words)
        box.addWidget(self.picture, 12)
        box.addWidget(cancel, 0, middle)
        box.addStretch(1)

    def begin(self, title: str) -> None:
        """Start anew."""
        self.title.setText(title)
        self.words.setText("Looking for files")
        self.bar.setRange(0, 0)
        self.picture.set_picture(None, (0, 1), None)
        self.picture.furniture.message = "The first image appears here"
        self.picture.furniture.bottom_left = ()

    def show_progress(self, progress: ReadProgress) -> None:
        """Show how far it has come."""
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        if progress.total:
            what = "Looked at" if progress.stage == "headers" else "Read the pixels of"
            self.words.setText(f"{what} {progress.done:,} of {progress.total:,} files")
        if progress.preview is not None:
            picture = np.asarray(progress.preview.picture, dtype=np.float32)
            low, high = (float(level) for level in np.percentile(picture, (1.0, 99.5)))
            self.picture.furniture.message = ""
            self.picture.furniture.bottom_left = (progress.preview.caption,)
            self.picture.set_picture(picture, (low, max(high, low + 1e-6)), None)

    def say(self, words: str) -> None:
        """Say what is being done after the files were read."""
        self.bar.setRange(0, 0)
        self.words.setText(words)


class FailedPage(QWidget):
    """An exam could not be read: one sentence, one thing to do, and details for whoever helps.

    Signals
    -------
    retryRequested, folderRequested
        The buttons.
    """

    retryRequested = Signal()
    folderRequested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sentence = Text(size=2)
        card = Card("stop")
        card.box.setContentsMargins(20, 16, 20, 16)
        card.box.setSpacing(10)
        card.box.addWidget(Text("This exam could not be opened", size=4, bold=True))
        card.box.addWidget(self.sentence)
        self.retry, self.another = QPushButton("Try again"), QPushButton("Open another folder…")
        self.another.setDefault(True)
        self.retry.clicked.connect(lambda _checked=False: self.retryRequested.emit())
        self.another.clicked.connect(lambda _checked=False: self.folderRequested.emit())
        line = QHBoxLayout()
        line.addWidget(self.another)
        line.addWidget(self.retry)
        line.addStretch(1)
        line.addWidget(link("Copy the details", self.copy, tip="The sentence and the program's version; no patient data"))
        card.box.addLayout(line)
        card.setMaximumWidth(640)
        card.setMinimumWidth(440)
        across = QHBoxLayout()
        across.addStretch(1)
        across.addWidget(card, 6)
        across.addStretch(1)
        box = QVBoxLayout(self)
        box.addStretch(1)
        box.addLayout(across)
        box.addStretch(2)

    def show_sentence(self, sentence: str) -> None:
        """Say why."""
        self.sentence.setText(sentence)

    def copy(self) -> None:
        """Put the details on the clipboard."""
        QApplication.clipboard().setText(f"{self.sentence.text()}\nBreastAI {__version__}")
