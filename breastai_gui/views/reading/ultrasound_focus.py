"""The large ultrasound view: one angle with real millimetres or plain pixels, gain and window, zoom, heatmap and marks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QKeyCombination, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from breastai_gui.services.chosen import chosen_views
from breastai_gui.services.colour_maps import overlay
from breastai_gui.services.plain_text import one_line
from breastai_gui.services.ultrasound_angles import angle_words
from breastai_gui.services.ultrasound_heat import first_heat
from breastai_gui.services.words import MAP_KIND_WORDS, STREAM_WORDS
from breastai_gui.views.panel_parts import Chip, ElidedText, Text, follow, row
from breastai_gui.views.plain_text import literal_tooltip
from breastai_gui.views.reading.image_pane import ImagePane
from breastai_gui.views.reading.ultrasound_choice import calibration_sentence, calibration_words, place_words

if TYPE_CHECKING:
    from breastai_gui.data.study import UltrasoundView
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint
    from breastai_model.case import MapKind, Stream

FULL_WINDOW = (0.0, 255.0)


class UltrasoundFocus(QWidget):
    """The view in the focus, `viewpoint.look.view_id`.

    Signals
    -------
    maximiseRequested
        Double click on the picture.

    Attributes
    ----------
    pane
        Where the picture is; `MarkTools.attach` takes it.
    """

    maximiseRequested = Signal()

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        self._windows: dict[str, tuple[float, float]] = {}
        self.pane = ImagePane()
        self._angle = Text(bold=True, size=1, wrap=False)
        self._label = ElidedText(tone="muted")
        self._calibration = Chip("")
        self._place = Text(tone="muted", wrap=False)
        back, forward = QPushButton("‹"), QPushButton("›")
        for button, step, words in ((back, -1, "Previous angle (Shift+,)"), (forward, 1, "Next angle (Shift+.)")):
            button.setFixedWidth(26)
            button.setToolTip(words)
            button.clicked.connect(partial(self._clicked, step))
        self._steps = (back, forward)
        head = row(back, self._angle, forward, self._place, self._label, self._calibration, spacing=5)
        head.setStretch(4, 1)
        self._legend = Text(tone="ai", size=-0.5)
        box = QVBoxLayout(self)
        box.setContentsMargins(4, 4, 4, 4)
        box.setSpacing(4)
        box.addLayout(head)
        box.addWidget(self.pane, 1)
        box.addWidget(self._legend)
        self.pane.windowDragged.connect(self._drag_window)
        self.pane.zoomDragged.connect(lambda factor: self.pane.set_zoom(self.pane.zoom * factor))
        self.pane.sliceStepped.connect(lambda step: self.step(-step))
        self.pane.maximiseRequested.connect(self.maximiseRequested)
        self.pane.autoWindowRequested.connect(self._auto_window)
        self._shortcut(Qt.Key.Key_Comma, Qt.Key.Key_Less, -1)
        self._shortcut(Qt.Key.Key_Period, Qt.Key.Key_Greater, 1)
        follow(session.changed, self._refresh)
        follow(viewpoint.changed, self._looked)
        self._refresh()

    def _shortcut(self, plain: Qt.Key, shifted: Qt.Key, step: int) -> None:
        # Shift + comma arrives as "<" on many keyboards, as Shift + comma on others.
        for keys in (QKeyCombination(Qt.Modifier.SHIFT, plain), QKeyCombination(Qt.Modifier.SHIFT, shifted)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(partial(self.step, step))

    @property
    def view(self) -> UltrasoundView | None:
        """The view that is shown."""
        view_id = self._viewpoint.look.view_id
        return next((view for view in self._session.study.ultrasound if view.id == view_id), None)

    def step(self, step: int) -> None:
        """Go to the next or previous of the views in use, in order of angle; round at the ends."""
        study, choices = self._session.study, self._session.choices
        ids = [view.id for view in chosen_views(study, choices)] or [view.id for view in study.ultrasound]
        if not ids:
            return
        here = self._viewpoint.look.view_id
        place = ids.index(here) + step if here in ids else 0
        self._viewpoint.set(view_id=ids[place % len(ids)])

    def reset(self) -> None:
        """Show the whole picture with the window as read."""
        if self.view is not None:
            self._windows.pop(self.view.id, None)
        self.pane.fit()
        self._refresh()

    def _clicked(self, step: int, _checked: bool = False) -> None:
        self.step(step)

    def _looked(self, before: Look, after: Look) -> None:
        if before.tool != after.tool:
            self.pane.set_tool(after.tool)
        touched = ("view_id", "heatmap", "stream", "map_kind", "opacity", "paired")
        if any(getattr(before, field) != getattr(after, field) for field in touched):
            self._refresh()

    def _refresh(self) -> None:
        view, choices = self.view, self._session.choices
        self.pane.set_tool(self._viewpoint.look.tool)
        for widget in (*self._steps, self._calibration):
            widget.setVisible(view is not None)
        if view is None:
            self.pane.image_key = ""
            self.pane.furniture.message = "No ultrasound in this exam" if not self._session.study.ultrasound else "No view chosen"
            self.pane.set_picture(None, FULL_WINDOW, None)
            for text in (self._angle, self._label, self._place, self._legend):
                text.setText("")
            return
        self.pane.furniture.message = ""
        another = self.pane.image_key != view.id
        self.pane.image_key = view.id
        window = self._windows.get(view.id, FULL_WINDOW)
        self.pane.set_picture(view.pixels, window, view.spacing_mm)
        if another:
            self.pane.fit()
        self._angle.setText(angle_words(view, choices))
        self._label.setText(one_line(view.label))
        self._place.setText(place_words(view))
        self._calibration.show_words(calibration_words(view), "muted" if view.spacing_mm else "ask")
        self._calibration.setToolTip(literal_tooltip(calibration_sentence(view)))
        self._texts(view, window)
        self._heat(view)

    def _texts(self, view: UltrasoundView, window: tuple[float, float]) -> None:
        used = view in chosen_views(self._session.study, self._session.choices)
        furniture = self.pane.furniture
        furniture.top_right = () if used else ("not used",)
        low, high = window
        adjusted = () if window == FULL_WINDOW else (f"W {high - low:.0f} L {(high + low) / 2:.0f}",)
        furniture.bottom_left = (*adjusted, *(() if view.spacing_mm else ("px – not calibrated",)))
        self.pane.viewport().update()

    def _heat(self, view: UltrasoundView) -> None:
        look = self._viewpoint.look
        stream = look.stream_of("us")
        if stream is None or not self._session.assessments:
            self.pane.set_overlay(None)
            self._legend.say("")
            return
        found = first_heat(self._session.assessments, view, stream, look.map_kind)
        if found is None:
            self.pane.set_overlay(None)
            self._legend.say("No heatmap: the model did not use this view.")
            return
        assessment, heat = found
        self.pane.set_overlay(overlay(heat, look.opacity))
        self._legend.say(legend_words(assessment, stream, look.map_kind))

    def _drag_window(self, right: float, down: float) -> None:
        """Right widens the window, down raises its level, as on MRI."""
        view = self.view
        if view is None:
            return
        low, high = self._windows.get(view.id, FULL_WINDOW)
        width = float(np.clip((high - low) * 1.005**right, 4.0, 1020.0))
        level = float(np.clip((high + low) / 2 + 0.5 * down, -255.0, 510.0))
        self._set_window(view, (level - width / 2, level + width / 2))

    def _auto_window(self) -> None:
        """Spread what the picture holds, without its darkest and brightest half percent, over all grey levels."""
        view = self.view
        if view is None:
            return
        low, high = (float(value) for value in np.percentile(view.pixels, (0.5, 99.5)))
        self._set_window(view, (low, max(high, low + 4.0)))

    def _set_window(self, view: UltrasoundView, window: tuple[float, float]) -> None:
        self._windows[view.id] = window
        self.pane.set_window(window)
        self._texts(view, window)


def legend_words(assessment: Assessment, stream: Stream, kind: MapKind) -> str:
    """Return what stands under a heatmap: which one it is, and whether it says anything."""
    words = f"Heatmap: {STREAM_WORDS[stream]}, {MAP_KIND_WORDS[kind]}, dark 0 to bright 1."
    return f"{words}\n⚠ {assessment.warning}" if assessment.warning else words
