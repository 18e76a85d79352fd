"""Which heatmap lies over the images: on or off, which of the four, of what, how strongly; with its scale and what it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QSlider, QToolButton, QVBoxLayout, QWidget

from breastai_gui.services.chosen import chosen_phases, pre_phase
from breastai_gui.services.colour_maps import table
from breastai_gui.services.words import STREAM_WORDS
from breastai_gui.views.panel_parts import Text, follow, tones
from breastai_gui.views.reading.phase_table import phase_name
from breastai_gui.views.reading.viewpoint import MODALITIES
from breastai_model.case import MAP_KINDS, STREAMS

if TYPE_CHECKING:
    import datetime as dt

    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint
    from breastai_model.case import MapKind, Stream

STREAM_TIPS: dict[Stream, str] = {
    "mri_agnostic": "Where the MRI carried what it shares with ultrasound (modality-agnostic)",
    "mri_specific": "Where the MRI carried what only MRI shows (modality-specific)",
    "us_agnostic": "Where the ultrasound carried what it shares with MRI (modality-agnostic)",
    "us_specific": "Where the ultrasound carried what only ultrasound shows (modality-specific)",
}
KIND_WORDS: dict[MapKind, str] = {
    "feature": "Features",
    "lymph_node_metastasis": "for LNM",
    "high_grade": "for grade 3",
    "high_ki67": "for high Ki-67",
}


class Scale(QWidget):
    """The colours from low to high."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip("Relative scale of this heatmap: 0, where it found least, to 1, where it found most")

    def sizeHint(self) -> QSize:
        """Room for the bar with 0 and 1 beside it."""
        return QSize(108, 16)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw bar and ends."""
        painter = QPainter(self)
        area = QRectF(12, 3, self.width() - 24, self.height() - 6)
        gradient = QLinearGradient(area.topLeft(), area.topRight())
        for stop in range(0, 256, 15):
            red, green, blue = (int(part) for part in table("inferno")[stop])
            gradient.setColorAt(stop / 255, QColor(red, green, blue))
        painter.fillRect(area, gradient)
        painter.setPen(tones(self.palette()).muted)
        painter.drawRect(area)
        painter.drawText(QRectF(0, 0, 10, self.height()), Qt.AlignmentFlag.AlignCenter, "0")
        painter.drawText(QRectF(self.width() - 10, 0, 10, self.height()), Qt.AlignmentFlag.AlignCenter, "1")


class HeatmapBar(QWidget):
    """Switches heatmaps; has no effect, and says so, while there is no prediction.

    Signals
    -------
    phasesRequested
        The person wants the MRI heatmaps of single phases, which the answer does not hold yet.
    """

    phasesRequested = Signal()

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        self._answers: tuple[dt.datetime, ...] = ()
        self._reading_phases = False
        self._phase_failure = ""
        self.shown = QToolButton()
        self.shown.setText("Heatmap")
        self.shown.setCheckable(True)
        self.shown.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.shown.setToolTip("Show or hide the heatmap (H)")
        self.shown.clicked.connect(lambda checked: viewpoint.set(heatmap=checked))
        self.streams: dict[Stream, QToolButton] = {}
        box = QHBoxLayout()
        box.setSpacing(3)
        box.addWidget(self.shown)
        for stream in STREAMS:
            button = QToolButton()
            button.setText(STREAM_WORDS[stream])
            button.setToolTip(f"{STREAM_TIPS[stream]} (J: next)")
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _checked=False, stream=stream: self.choose(stream))
            self.streams[stream] = button
            box.addWidget(button)
        self.kind = QComboBox()
        for kind in MAP_KINDS:
            self.kind.addItem(KIND_WORDS[kind], kind)
        self.kind.setToolTip("All that the stream found, or what spoke for one answer")
        self.kind.activated.connect(lambda _index: viewpoint.set(map_kind=self.kind.currentData()))
        box.addWidget(self.kind)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(5, 100)
        self.opacity.setFixedWidth(64)
        self.opacity.setToolTip("Opacity of the heatmap ([ and ])")
        self.opacity.valueChanged.connect(lambda value: viewpoint.set(opacity=value / 100))
        box.addStretch(1)
        self.both = QToolButton()
        self.both.setText("Both")
        self.both.setToolTip("The map of the same sort on MRI and on ultrasound: shared beside shared, own beside own")
        self.both.setCheckable(True)
        self.both.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.both.clicked.connect(lambda checked: viewpoint.set(paired=checked, heatmap=True))
        self.one_phase = QToolButton()
        self.one_phase.setText("Phase")
        self.one_phase.setToolTip(
            "The MRI heatmap of the phase that is shown, instead of the mean over the phases; all phases have one scale. "
            "Computed when first asked for, which takes about as long as the answer did"
        )
        self.one_phase.setCheckable(True)
        self.one_phase.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.one_phase.clicked.connect(self._choose_phase)
        self.words = Text(tone="muted", size=-1)
        below = QHBoxLayout()
        below.setSpacing(8)
        below.addWidget(self.both)
        below.addWidget(self.one_phase)
        below.addWidget(self.opacity)
        below.addWidget(Scale())
        below.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(8, 2, 8, 4)
        whole.setSpacing(3)
        whole.addLayout(box)
        whole.addLayout(below)
        whole.addWidget(self.words)
        self.words.installEventFilter(self)
        follow(session.changed, self._refresh)
        follow(viewpoint.changed, self._looked)
        self._refresh()

    def choose(self, stream: Stream) -> None:
        """Show that heatmap."""
        self._viewpoint.set(stream=stream, heatmap=True)
        self._refresh()

    def next_stream(self) -> None:
        """Show the next heatmap that there is."""
        there = [stream for stream in STREAMS if self._assessment(stream) is not None]
        if there:
            stream = self._viewpoint.look.stream
            self.choose(there[(there.index(stream) + 1) % len(there)] if stream in there else there[0])

    def toggle(self) -> None:
        """Show or hide the heatmap."""
        if self.shown.isEnabled():
            self._viewpoint.set(heatmap=not self._viewpoint.look.heatmap)

    def fade(self, step: float) -> None:
        """Make the heatmap stronger or weaker."""
        self._viewpoint.set(opacity=min(1.0, max(0.05, self._viewpoint.look.opacity + step)))

    def show_phases(self, failure: str) -> None:
        """Show that the maps of single phases are there, "", or why not."""
        self._reading_phases, self._phase_failure = False, failure
        if failure:
            self._viewpoint.set(by_phase=False)
        self._refresh()

    def _choose_phase(self, checked: bool) -> None:
        self._phase_failure = ""
        wanted = checked and not self._reading_phases and not self._has_phases()
        self._reading_phases = self._reading_phases or wanted
        self._viewpoint.set(by_phase=checked, heatmap=True)
        self._refresh()
        if wanted:
            self.phasesRequested.emit()

    def _has_phases(self) -> bool:
        return any(assessment.prediction.phase_heatmaps is not None for assessment in self._session.assessments)

    def _assessment(self, stream: Stream) -> Assessment | None:
        for assessment in self._session.assessments:
            if assessment.prediction.heatmaps.stream(stream) is not None:
                return assessment
        return None

    def _refresh(self) -> None:
        answers = tuple(assessment.made_at for assessment in self._session.assessments)
        if answers != self._answers:  # what was asked for belongs to another answer
            self._answers, self._reading_phases, self._phase_failure = answers, False, ""
            if not self._has_phases():
                self._viewpoint.set(by_phase=False)
        there = {stream for stream in STREAMS if self._assessment(stream) is not None}
        look = self._viewpoint.look
        if there and look.stream not in there:
            self._viewpoint.set(stream=next(stream for stream in STREAMS if stream in there))
        for stream, button in self.streams.items():
            button.setEnabled(stream in there)
        for widget in (self.shown, self.kind, self.opacity):
            widget.setEnabled(bool(there))
        self.both.setEnabled(len({stream.split("_")[0] for stream in there}) == 2)
        self._looked(look, self._viewpoint.look)

    def _looked(self, _before: Look, after: Look) -> None:
        assessment = self._assessment(after.stream)
        self.shown.setChecked(after.heatmap and assessment is not None)
        for stream, button in self.streams.items():
            button.setChecked(assessment is not None and stream in (after.stream_of("mri"), after.stream_of("us")))
        self.both.setChecked(after.heatmap and after.paired and self.both.isEnabled())
        self.one_phase.setEnabled(assessment is not None and (after.stream.startswith("mri") or after.paired))
        self.one_phase.setChecked(after.heatmap and after.by_phase and self.one_phase.isEnabled())
        self.kind.setCurrentIndex(MAP_KINDS.index(after.map_kind))
        self.opacity.blockSignals(True)  # it follows the look; its own signal would set it again, rounded
        self.opacity.setValue(round(100 * after.opacity))
        self.opacity.blockSignals(False)
        self._say(assessment, after)
        self._give_room()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the sentence whole whatever room the window leaves to it."""
        if watched is self.words and event.type() == QEvent.Type.Resize:
            QTimer.singleShot(0, self, self._give_room)  # the layouts around it are at work now and would not listen
        return super().eventFilter(watched, event)

    def _give_room(self) -> None:
        self.words.setMinimumHeight(self.words.heightForWidth(self.words.width()))

    def _say(self, assessment: Assessment | None, look: Look) -> None:
        self.words.set_tone("muted")
        self.words.setToolTip(STREAM_TIPS[look.stream])
        if assessment is None:
            self.words.setText("Heatmaps come with a prediction (F5).")
            return
        if self._phase_failure:
            self.words.set_tone("stop")
            self.words.setText(self._phase_failure)
            return
        phase = self._phase_words(look)
        if assessment.warning:
            self.words.set_tone("ai")
            self.words.setText(f"{phase} {assessment.warning}".strip())
            return
        streams = [stream for modality in MODALITIES if (stream := look.stream_of(modality))] or [look.stream]
        shares = [
            (stream, found.prediction.heatmaps.energy_share.get(stream, 0.0)) for stream in streams if (found := self._assessment(stream))
        ]
        worth = ", ".join(f"{STREAM_WORDS[stream]}: {100 * share:.0f} %" for stream, share in shares)
        self.words.setText(f"{phase} {worth} of the feature energy. Where the network looked, not the outline of a lesion.".strip())

    def _phase_words(self, look: Look) -> str:
        """Return which phase's heatmap the MRI shows; "" where it is the mean, or none."""
        stream, dce = look.stream_of("mri"), self._session.study.dce
        found = self._assessment(stream) if stream is not None else None
        if not look.by_phase or found is None or dce is None:
            return ""
        if self._reading_phases:
            return "Reading the phases; the mean is shown until then."
        choices = self._session.choices
        name = phase_name(look.phase, chosen_phases(self._session.study, choices), pre_phase(dce, choices))
        return f"{name} alone." if look.phase in found.phases_read else f"No heatmap of {name}: the network was not given this phase."
