"""What the model said, on one card: probabilities with word, sign and bar, and all that a reader needs to weigh them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QPushButton, QSizePolicy, QVBoxLayout, QWidget

from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE, OUTSIDE_SENTENCE
from breastai_gui.services.words import SCOPE_WORDS, STREAM_WORDS, TASK_WORDS, capital
from breastai_gui.views.panel_parts import Card, Chip, ElidedText, Text, row, tones
from breastai_gui.views.plain_text import literal_tooltip
from breastai_gui.views.reading.assessment_contributions import ContributionsPart
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.services.assessment import Assessment
    from breastai_gui.views.panel_parts import Tone
    from breastai_model.case import InputsUsed, Prediction, Stream, Task, TaskPrediction

RESEARCH_SENTENCE = "Research use only. Do not use alone for patient management."
NUMBERS_HIDDEN = "The numbers are hidden."

ANSWER_WORDS: dict[Task, tuple[str, str]] = {
    "lymph_node_metastasis": ("N0", "N+"),
    "high_grade": ("grade 1–2", "grade 3"),
    "high_ki67": ("Ki-67 low", "Ki-67 high"),
}
"""How the negative and the positive answer to each question read."""


def percent(probability: float) -> str:
    """Return a probability as a whole percentage that never claims certainty."""
    if probability < 0.005:
        return "< 1 %"
    return "> 99 %" if probability > 0.995 else f"{100 * probability:.0f} %"


def answer_words(task: Task, answer: TaskPrediction) -> tuple[str, Tone]:
    """Return what an answer reads, a sign before it, and its colour; both or no answers possible is "not determined"."""
    negative, positive = ANSWER_WORDS[task]
    decision = answer.decision
    if answer.prediction_set is not None and len(answer.prediction_set) != 1:
        decision = "not determined"
    if decision == "positive":
        return f"▲ {positive}", "ai"
    if decision == "negative":
        return f"▽ {negative}", "good"
    return "◇ not determined", "muted"


def set_words(task: Task, answer: TaskPrediction) -> str:
    """Return the answers that remain possible, "" for weights without a calibrated set."""
    negative, positive = ANSWER_WORDS[task]
    if answer.prediction_set is None:
        return ""
    names = {"negative": negative, "positive": positive}
    return f"possible: {{{', '.join(names[member] for member in answer.prediction_set)}}}"


def inputs_words(inputs: InputsUsed) -> str:
    """Return "MRI 5/5 · US 11/12"."""
    mri = f"MRI {len(inputs.phases)}/{inputs.phase_slots}" if inputs.phases else "MRI absent"
    ultrasound = f"US {len(inputs.angles)}/{inputs.angle_slots}" if inputs.angles else "US absent"
    return f"{mri} · {ultrasound}"


class ProbabilityBar(QWidget):
    """A bar from 0 to 1 with a tick at the threshold and, for an ensemble, the range of its members."""

    def __init__(self, answer: TaskPrediction, tone: Tone) -> None:
        super().__init__()
        self._answer, self._tone = answer, tone
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(f"Tick: threshold {percent(answer.threshold)}")
        self.setAccessibleName(f"probability {percent(answer.probability)}")

    def sizeHint(self) -> QSize:
        """One line."""
        return QSize(120, 14)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw groove, bar, range and tick."""
        palette, colours = self.palette(), tones(self.palette())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        groove = QRectF(0, 3, self.width(), 8)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colours.line)
        painter.drawRoundedRect(groove, 4, 4)
        painter.setBrush(colours.of(self._tone, palette))
        painter.drawRoundedRect(QRectF(0, 3, max(8.0, groove.width() * self._answer.probability), 8), 4, 4)
        text = palette.color(QPalette.ColorRole.WindowText)
        if self._answer.spread is not None:
            low, high = (groove.width() * value for value in self._answer.spread)
            painter.setBrush(text)
            painter.drawRect(QRectF(low, 6, max(1.0, high - low), 2))
        painter.setBrush(text)
        painter.drawRect(QRectF(groove.width() * self._answer.threshold - 0.5, 0, 1.4, 14))


class ShareBar(QWidget):
    """The four streams' shares of feature energy, side by side."""

    def __init__(self, shares: dict[Stream, float]) -> None:
        super().__init__()
        self._shares = shares
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """One thin line."""
        return QSize(120, 7)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the four parts, the shared ones solid, the modality's own ones lighter."""
        painter = QPainter(self)
        base = tones(self.palette()).ai
        left = 0.0
        for name in STREAM_WORDS:
            width = self.width() * self._shares.get(name, 0.0)
            colour = QColor(base) if name.startswith("mri") else QColor(tones(self.palette()).muted)
            colour.setAlphaF(1.0 if name.endswith("agnostic") else 0.5)
            painter.fillRect(QRectF(left, 0, max(0.0, width - 1), self.height()), colour)
            left += width


class AssessmentCard(Card):
    """One assessment.

    Parameters
    ----------
    assessment
        What the model said.
    show_numbers
        Whether the person asked to see numbers that are withheld.
    choose_numbers
        Called with True or False when the person asks for them, or wants them gone.
    weigh
        Called when the person asks what each input added; None while that is under way.
    """

    def __init__(
        self, assessment: Assessment, show_numbers: bool, choose_numbers: Callable[[bool], None], weigh: Callable[[], None] | None = None
    ) -> None:
        super().__init__("ai")
        self.box.addWidget(Text(capital(SCOPE_WORDS[assessment.scope]), tone="ai", bold=True))
        self.box.addWidget(Text(assessment.subject))
        hidden = assessment.withheld and not show_numbers
        if assessment.withheld:
            self._warn(assessment, show_numbers, choose_numbers)
        elif assessment.trained_on == "synthetic":
            self.box.addWidget(Text("Made-up patient, demonstration model.", tone="muted", bold=True))
        prediction = assessment.prediction
        if not hidden:
            for task in TASKS:
                self.box.addWidget(_TaskLine(task, prediction.task(task)))
            if all(prediction.task(task).prediction_set is None for task in TASKS):
                few = any(prediction.task(task).calibrated for task in TASKS)
                why = "Too few patients for sets of possible answers." if few else "These weights carry no calibrated sets."
                self.box.addWidget(Text(f"Tick: threshold. {why}", tone="muted", size=-1))
        self._inputs(prediction)
        if not hidden:
            self._shares(prediction)
            self.box.addWidget(ContributionsPart(assessment, weigh))
        self._provenance(assessment)

    def _warn(self, assessment: Assessment, shown: bool, choose: Callable[[bool], None]) -> None:
        if assessment.says_nothing:
            self.box.addWidget(Text(f"⚠ {DEMONSTRATION_SENTENCE}.", tone="ai", bold=True, size=1.5))
        if assessment.outside:
            self.box.addWidget(Text(f"⚠ {OUTSIDE_SENTENCE}.", tone="ask", bold=True))
        for reason in assessment.outside:
            self.box.addWidget(Text(f"• {reason}", tone="muted", size=-0.5))
        if not shown:
            self.box.addWidget(Text(NUMBERS_HIDDEN, tone="muted"))
        button = QPushButton("Hide numbers" if shown else "Show numbers anyway")
        button.setObjectName("hide_numbers" if shown else "show_numbers")
        button.clicked.connect(lambda _checked=False: choose(not shown))
        self.box.addLayout(row(button, 1))

    def _inputs(self, prediction: Prediction) -> None:
        self.box.addSpacing(2)
        self.box.addWidget(Text(f"Inputs used: {inputs_words(prediction.inputs)}"))
        for note in prediction.inputs.notes:
            self.box.addWidget(Text(f"• {note}", tone="muted", size=-0.5))

    def _shares(self, prediction: Prediction) -> None:
        shares = {name: share for name, share in prediction.heatmaps.energy_share.items() if share > 0}
        if not shares:
            return
        line = " · ".join(f"{STREAM_WORDS[name]} {100 * shares[name]:.0f}\N{NO-BREAK SPACE}%" for name in STREAM_WORDS if name in shares)
        words = Text(f"Feature energy: {line}", tone="muted", size=-0.5)
        words.setToolTip(literal_tooltip("Each stream's share of the energy of the model's features. It is not a share of importance."))
        self.box.addWidget(words)
        self.box.addWidget(ShareBar(prediction.heatmaps.energy_share))

    def _provenance(self, assessment: Assessment) -> None:
        prediction = assessment.prediction
        self.box.addSpacing(2)
        model = ElidedText(f"{assessment.model_name} {assessment.model_version}", tone="muted", size=-0.5)
        digest = Text(assessment.model_sha256[:8], tone="muted", size=-0.5, wrap=False)
        digest.setToolTip(literal_tooltip(f"SHA-256 of the weights: {assessment.model_sha256}"))
        digest.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        line = row(model, digest)
        line.setStretch(0, 1)
        self.box.addLayout(line)
        learnt = "learnt from made-up patients" if assessment.trained_on == "synthetic" else "learnt from patients"
        device = Chip(prediction.device.upper(), "ask" if prediction.device_note else "muted")
        device.setToolTip(literal_tooltip(f"{prediction.engine}, {prediction.precision}, {prediction.seconds:.1f} s"))
        self.box.addLayout(row(Text(learnt, tone="muted", size=-0.5, wrap=False), 1, device))
        if prediction.device_note:
            self.box.addWidget(Text(f"⚠ {prediction.device_note}", tone="ask", size=-0.5))


class _TaskLine(QWidget):
    """One question with its answer."""

    def __init__(self, task: Task, answer: TaskPrediction) -> None:
        super().__init__()
        words, tone = answer_words(task, answer)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 3, 0, 3)
        box.setSpacing(2)
        name = Text(TASK_WORDS[task], bold=True, wrap=False)
        box.addLayout(row(name, 1, Chip(words, tone)))
        number = Text(percent(answer.probability), bold=True, wrap=False)
        number.setMinimumWidth(number.fontMetrics().horizontalAdvance("> 99 %"))
        number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        box.addLayout(row(ProbabilityBar(answer, tone), number))
        details = []
        if answer.spread is not None:
            details.append(f"models {percent(answer.spread[0])} to {percent(answer.spread[1])}")
        if answer.prediction_set is not None:
            details.append(set_words(task, answer))
        if details:
            box.addWidget(Text(" · ".join(details), tone="muted", size=-1))
