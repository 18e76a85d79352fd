"""One open exam: left what exam it is, in the middle the images, right what the model says and what the reader says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from breastai_gui.services.chosen import chosen_phases, pre_phase
from breastai_gui.views.panel_parts import follow
from breastai_gui.views.reading.assessment_panel import AssessmentPanel
from breastai_gui.views.reading.curve_view import CurveView
from breastai_gui.views.reading.exam_panel import ExamPanel
from breastai_gui.views.reading.findings_panel import FindingsPanel
from breastai_gui.views.reading.heatmap_bar import HeatmapBar
from breastai_gui.views.reading.image_area import ImageArea
from breastai_gui.views.reading.mark_tools import MarkTools
from breastai_gui.views.reading.mri_pictures import PlanePictures
from breastai_gui.views.reading.pane_menu import pane_menu
from breastai_gui.views.reading.phase_strip import PhaseStrip
from breastai_gui.views.reading.phase_table import phase_name
from breastai_gui.views.reading.slice_view import SliceView
from breastai_gui.views.reading.ultrasound_focus import UltrasoundFocus
from breastai_gui.views.reading.ultrasound_grid import UltrasoundGrid
from breastai_gui.views.reading.viewpoint import Viewpoint
from breastai_gui.views.reading.volume_view import VolumeView

if TYPE_CHECKING:
    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QKeyEvent

    from breastai_gui.services.planes import PlaneName
    from breastai_gui.services.session import Position, Session
    from breastai_gui.views.reading.image_pane import ImagePane
    from breastai_gui.views.reading.viewpoint import Look, PictureMode, Tool

LEFT_PX, RIGHT_PX = 250, 286
"""Widths of the panels when the page opens, and the least that they can have."""


class ReadingPage(QWidget):
    """Everything about one session.

    Signals
    -------
    assessRequested, cancelRequested
        The person asks for a prediction, or gives it up.
    spoke(str)
        What the status bar should say: the place under the cursor and its values.

    Attributes
    ----------
    session, viewpoint
        What is read and what is looked at.
    planes
        The MRI panes by name; empty without MRI.
    images
        The room of the images.
    """

    assessRequested = Signal()
    cancelRequested = Signal()
    spoke = Signal(str)

    def __init__(self, session: Session, look: Look) -> None:
        super().__init__()
        self.session = session
        self.first_look = look
        self.viewpoint = Viewpoint(look)
        self.tools = MarkTools(session, self.viewpoint)
        self._flicker: int | None = None
        study = session.study
        self.pictures = PlanePictures(session, study.dce, self) if study.dce is not None else None
        self.planes: dict[PlaneName, SliceView] = {}
        self.volume: VolumeView | None = None
        self.strip: PhaseStrip | None = None
        self.curve: CurveView | None = None
        if self.pictures is not None:
            self.planes = {plane: SliceView(session, self.viewpoint, self.pictures, plane) for plane in self.pictures.cuts}
            self.volume = VolumeView(session, self.viewpoint, self.pictures)
            self.strip = PhaseStrip(session, self.viewpoint, self.pictures)
            self.curve = CurveView(session, self.viewpoint, self.pictures)
        self.focus = UltrasoundFocus(session, self.viewpoint) if study.ultrasound else None
        self.grid = UltrasoundGrid(session, self.viewpoint) if study.ultrasound else None
        self.heatmaps = HeatmapBar(session, self.viewpoint)
        self.images = ImageArea(self.planes, self.volume, self.focus, self.grid)
        self.exam = ExamPanel(session, self.viewpoint)
        self.assessment = AssessmentPanel(session, self.viewpoint)
        self.findings = FindingsPanel(session, self.viewpoint)
        self._lay_out()
        for pane in self.planes.values():
            self.tools.attach(pane)
            pane.hovered.connect(lambda row, column, pane=pane: self._tell(pane.place_of(row, column)))
            pane.contextRequested.connect(lambda where, pane=pane: self.show_menu(pane, where))
            pane.left.connect(lambda: self._tell(self.viewpoint.look.cursor_mm))
        if self.focus is not None:
            self.tools.attach(self.focus.pane)
            self.focus.pane.contextRequested.connect(lambda where: self.show_menu(self.focus.pane, where) if self.focus else None)
        self.assessment.assessRequested.connect(self.assessRequested)
        self.assessment.cancelRequested.connect(self.cancelRequested)
        self.images.layoutChanged.connect(self._layout_changed)
        follow(self.viewpoint.changed, self._looked)
        follow(session.changed, self._session_changed)

    def _lay_out(self) -> None:
        band = QWidget()
        below = QHBoxLayout(band)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(0)
        rows = QVBoxLayout()
        rows.setSpacing(0)
        if self.strip is not None:
            rows.addWidget(self.strip)
        rows.addWidget(self.heatmaps)
        rows.addStretch(1)
        below.addLayout(rows, 2)
        if self.curve is not None:
            below.addWidget(self.curve, 1)
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.images, 1)
        column.addWidget(band)
        self.right = QSplitter(Qt.Orientation.Vertical)
        self.right.setChildrenCollapsible(False)
        self.right.addWidget(self.assessment)
        self.right.addWidget(self.findings)
        self.right.setSizes([560, 440])
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        for widget in (self.exam, centre, self.right):
            self.splitter.addWidget(widget)
        self.splitter.setHandleWidth(4)
        self.exam.setMinimumWidth(LEFT_PX)  # narrower, its words would be cut off; it can be folded away
        self.right.setMinimumWidth(RIGHT_PX)
        self.splitter.setStretchFactor(0, 0)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setStretchFactor(2, 0)
        self.splitter.setCollapsible(1, False)
        self.splitter.setSizes([LEFT_PX, 900, RIGHT_PX])
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.splitter)

    # What the window's actions call -------------------------------------------------------------------------------

    def show_menu(self, pane: ImagePane, where: QPoint) -> None:
        """Open the menu of a right click."""
        pane_menu(self, pane, where).popup(where)

    def set_lesion(self, place_mm: Position | None = None) -> None:
        """Say that the lesion is at a place, else at the crosshair; curve and report follow it."""
        place = place_mm or self.viewpoint.look.cursor_mm
        if place is not None and self.pictures is not None:
            x, y, z = (round(value, 2) for value in place)
            self.session.choose(lesion_mm=(x, y, z))

    def forget_lesion(self) -> None:
        """Take it back: the report then looks for the lesion itself."""
        self.session.choose(lesion_mm=None)

    @property
    def active(self) -> SliceView | None:
        """The MRI pane that has the keys: the focused one, else the axial one."""
        return next((pane for pane in self.planes.values() if pane.hasFocus()), self.planes.get("axial"))

    def take_focus(self) -> None:
        """Give the keys to the images."""
        pane = self.active or (self.focus.pane if self.focus is not None else None)
        if pane is not None:
            pane.setFocus()

    def step_slice(self, steps: int) -> None:
        """Move the cursor in the active plane."""
        if self.active is not None:
            self.active.step_slice(steps)

    def go_to_slice(self, position: int) -> None:
        """Go to the first (0) or last (-1) slice of the active plane."""
        if self.active is not None:
            self.active.go_to_slice(self.active.last_slice if position == -1 else position)

    def step_phase(self, steps: int) -> None:
        """Show an earlier or later phase."""
        if self.active is not None:
            self.active.step_phase(steps)

    def show_phase(self, number: int) -> None:
        """Show the phase with that place among the used ones; 0 is the first."""
        if self.strip is not None:
            self.strip.show_number(number)

    def toggle_mode(self, mode: PictureMode) -> None:
        """Show subtraction or projection, or the phase again."""
        if self.strip is not None:
            self.strip.toggle_mode(mode)

    def toggle_cine(self) -> None:
        """Start or stop running through the phases."""
        if self.strip is not None:
            self.strip.toggle_cine()

    def set_tool(self, tool: Tool) -> None:
        """Say what a left drag does."""
        self.viewpoint.set(tool=tool)

    def maximise(self) -> None:
        """Give the focused image the whole room, or show all again."""
        if self.images.maximised is not None:
            self.images.maximise(None)
        elif self.focus is not None and (self.focus.pane.hasFocus() or not self.planes):
            self.images.maximise("focus")
        elif self.active is not None:
            self.images.maximise(self.active.plane)

    def reset(self) -> None:
        """Show everything as when the exam was opened, but for the place."""
        first = self.first_look
        self.viewpoint.set(zoom=1.0, window=first.window, subtraction_window=first.subtraction_window)
        for pane in self.planes.values():
            pane.fit()
        if self.focus is not None:
            self.focus.reset()

    def set_smooth(self, smooth: bool) -> None:
        """Interpolate between pixels, or not."""
        for pane in self.planes.values():
            pane.set_smooth(smooth)
        if self.focus is not None:
            self.focus.pane.set_smooth(smooth)

    def escape(self) -> None:
        """Give up drawing, then the tool, then the maximised image."""
        if self.tools.cancel():
            return
        if self.viewpoint.look.tool != "navigate":
            self.viewpoint.set(tool="navigate")
        elif self.images.maximised is not None:
            self.images.maximise(None)

    def close_down(self) -> None:
        """Keep what was typed and end timers and threads; the page is not used again."""
        self.findings.flush()
        if self.strip is not None:
            self.strip.stop_cine()
        if self.volume is not None:
            self.volume.close_down()

    # What is told -------------------------------------------------------------------------------------------------

    def _looked(self, before: Look, after: Look) -> None:
        if before.cursor_mm != after.cursor_mm:
            self._tell(after.cursor_mm)

    def _session_changed(self) -> None:
        self._tell(self.viewpoint.look.cursor_mm)

    def _layout_changed(self) -> None:
        shown = self.images.shows_mri
        if self.strip is not None and self.curve is not None:
            self.strip.setVisible(shown)
            self.curve.setVisible(shown)

    def _tell(self, place_mm: tuple[float, float, float] | None) -> None:
        self.spoke.emit(self.words_at(place_mm))

    def words_at(self, place_mm: tuple[float, float, float] | None) -> str:
        """Return a place in the patient and the values of all used phases there."""
        if place_mm is None or self.pictures is None:
            return ""
        where = " · ".join(f"{letters[value < 0]} {abs(value):.1f}" for letters, value in zip(("LR", "PA", "HF"), place_mm, strict=True))
        values = self.pictures.values_at(place_mm)
        if values is None:
            return f"{where} mm · outside the MRI"
        study, choices = self.session.study, self.session.choices
        used = chosen_phases(study, choices)
        pre = pre_phase(self.pictures.dce, choices)
        parts = [f"{phase_name(phase, used, pre)} {value:.0f}" for phase, value in zip(used, values, strict=True)]
        return f"{where} mm   {'  '.join(parts)}"

    # Flicker ------------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Show the phase before contrast while B is down."""
        if event.key() == Qt.Key.Key_B and self.pictures is not None and self.pictures.pre is not None:
            if not event.isAutoRepeat() and self._flicker is None:
                self._flicker = self.viewpoint.look.phase
                self.viewpoint.set(phase=self.pictures.pre)
            event.accept()
            return
        super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Show the phase again that was shown before."""
        if event.key() == Qt.Key.Key_B and not event.isAutoRepeat() and self._flicker is not None:
            phase, self._flicker = self._flicker, None
            self.viewpoint.set(phase=phase)
            event.accept()
            return
        super().keyReleaseEvent(event)
