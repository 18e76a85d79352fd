"""What each input added to the answers, as small bars on the card; asked for with a button."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QComboBox, QGridLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from breastai_gui.services.contribution_words import EXPLANATION, contribution_rows, error_words, signed
from breastai_gui.services.words import TASK_WORDS
from breastai_gui.views.panel_parts import Text, empty, row, tones
from breastai_gui.views.plain_text import literal_tooltip
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.services.assessment import Assessment


class ContributionBar(QWidget):
    """A bar from the middle to the right, towards the positive answer, or to the left.

    Parameters
    ----------
    number
        Log-odds.
    most
        The number that fills half the width.
    """

    def __init__(self, number: float, most: float) -> None:
        super().__init__()
        self._share = max(-1.0, min(1.0, number / most)) if most > 0 else 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"adds {signed(number)}")

    def sizeHint(self) -> QSize:
        """One thin line."""
        return QSize(80, 10)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the middle and the bar."""
        painter, colours = QPainter(self), tones(self.palette())
        middle = self.width() / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colours.ai if self._share > 0 else colours.good)
        painter.drawRect(QRectF(middle, 2, middle * self._share, 6).normalized())
        painter.fillRect(QRectF(middle - 0.5, 0, 1, self.height()), self.palette().color(QPalette.ColorRole.WindowText))


class ContributionsPart(QWidget):
    """A button, then the bars of one question at a time.

    Parameters
    ----------
    assessment
        With or without contributions.
    weigh
        Called when the person asks for them; None while they are computed.
    """

    def __init__(self, assessment: Assessment, weigh: Callable[[], None] | None) -> None:
        super().__init__()
        self._rows = contribution_rows(assessment)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 2, 0, 2)
        box.setSpacing(3)
        if not self._rows:
            button = QPushButton("What did each input add?" if weigh is not None else "Weighing the inputs…")
            button.setObjectName("weigh")
            button.setEnabled(weigh is not None)
            button.setToolTip("Compute how much each modality, phase and image moved the answer; takes about as long as the answer did")
            if weigh is not None:
                button.clicked.connect(lambda _checked=False: weigh())
            box.addLayout(row(button, 1))
            return
        self._task = QComboBox()
        self._task.setObjectName("contributions_task")
        for task in TASKS:
            self._task.addItem(TASK_WORDS[task])
        self._task.currentIndexChanged.connect(self._show)
        title = Text("What each input added (log-odds)", tone="muted", size=-0.5)
        title.setToolTip(literal_tooltip(EXPLANATION))
        box.addWidget(title)
        box.addWidget(self._task)
        self._grid = QGridLayout()
        self._grid.setVerticalSpacing(1)
        self._grid.setColumnStretch(1, 1)
        box.addLayout(self._grid)
        if note := error_words(assessment):
            box.addWidget(Text(note, tone="muted", size=-1))
        self._show(0)

    def _show(self, task: int) -> None:
        empty(self._grid)
        most = max(abs(line.numbers[task]) for line in self._rows)
        for place, line in enumerate(self._rows):
            name = Text(("   " if line.part else "") + line.name, tone="muted" if line.part else "text", size=-1, wrap=False)
            number = Text(signed(line.numbers[task]), size=-1, wrap=False)
            number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._grid.addWidget(name, place, 0)
            self._grid.addWidget(ContributionBar(line.numbers[task], most), place, 1)
            self._grid.addWidget(number, place, 2)
