"""One MRI plane: linked crosshair, phases, grey scale and zoom; heatmap; letters; which breast the cursor is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from breastai_gui.services.annotations import DCE
from breastai_gui.services.breasts import shown_breasts
from breastai_gui.services.colour_maps import overlay
from breastai_gui.services.kinetics import robust_window, subtraction_window
from breastai_gui.views.panel_parts import follow
from breastai_gui.views.reading.guides import Guides
from breastai_gui.views.reading.image_furniture import LEFT_BADGE, RIGHT_BADGE
from breastai_gui.views.reading.image_pane import ImagePane
from breastai_model.case import MAP_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PySide6.QtGui import QColor, QFocusEvent

    from breastai_gui.services.planes import PlaneName
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.mri_pictures import PlanePictures
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint

_HEAT_FIELDS = ("heatmap", "stream", "map_kind", "opacity", "paired", "by_phase")
_HEAT_PIXELS = 128
"""Heat is sampled on about this many places a side; it is smooth, and Qt interpolates between them."""
_WINDOW_PIXELS = 300.0
"""A drag over so many pixels doubles the width of the grey scale, or moves its level by the width."""


class SliceView(ImagePane):
    """Shows one anatomical plane through the linked cursor.

    Parameters
    ----------
    session, viewpoint
        What is read, and what all views look at.
    pictures
        Cuts the study's MRI.
    plane
        Which plane.

    Attributes
    ----------
    guides
        The lesion's marker and the midline.
    """

    def __init__(self, session: Session, viewpoint: Viewpoint, pictures: PlanePictures, plane: PlaneName) -> None:
        super().__init__(DCE)
        self.plane: PlaneName = plane
        self._session = session
        self._viewpoint = viewpoint
        self._pictures = pictures
        self._cut_of = pictures.cuts[plane]
        self.furniture.letters = self._cut_of.letters
        self._pointing = False
        self.position = 0
        self.guides = Guides(self, self._cut_of, session, viewpoint)
        self.setAccessibleName(f"MRI, {plane}")
        self.sliceStepped.connect(self.step_slice)
        self.phaseStepped.connect(self.step_phase)
        self.windowDragged.connect(self._drag_window)
        self.zoomDragged.connect(lambda factor: viewpoint.set(zoom=min(40.0, max(0.25, viewpoint.look.zoom * factor))))
        self._before_click = viewpoint.look.cursor_mm
        self.pointed.connect(self._point)
        self.unpointed.connect(lambda: viewpoint.set(cursor_mm=self._before_click))
        self.swept.connect(self._point)
        self.autoWindowRequested.connect(self.find_window)
        follow(viewpoint.changed, self._looked)
        follow(session.changed, self._refresh)
        pictures.projected.connect(self._refresh)
        self._refresh()

    # The person's gestures ----------------------------------------------------------------------------------------

    def step_slice(self, steps: int) -> None:
        """Move the cursor by so many slices of this plane."""
        self.go_to_slice(self.position + steps)

    def go_to_slice(self, position: int) -> None:
        """Move the cursor to a slice of this plane; beyond the ends the first or the last."""
        cursor = self._viewpoint.look.cursor_mm
        if cursor is None or self._viewpoint.look.mode == "mip":
            return
        position = max(0, min(self.last_slice, position))
        _, row, column = self._cut_of.from_patient(cursor)
        self._viewpoint.set(cursor_mm=self._cut_of.to_patient(position, row, column))

    @property
    def last_slice(self) -> int:
        """The number of the last slice."""
        return self._cut_of.count - 1

    def step_phase(self, steps: int) -> None:
        """Show an earlier or later phase."""
        phases = self._pictures.phases
        phase = self._viewpoint.look.phase
        place = phases.index(phase) if phase in phases else 0
        self._viewpoint.set(phase=phases[max(0, min(len(phases) - 1, place + steps))])

    def find_window(self) -> None:
        """Take the grey scale from the picture that is shown."""
        if self.picture is None:
            return
        picture = np.asarray(self.picture, dtype=np.float32)
        if self._difference:
            high = float(np.percentile(picture, 99.8))
            self._viewpoint.set(subtraction_window=(0.0, high) if high > 0 else self._default_window())
        else:
            low, high = (float(level) for level in np.percentile(picture, (1.0, 99.7)))
            self._viewpoint.set(window=(low, high) if high > low else self._default_window())

    def _default_window(self) -> tuple[float, float]:
        pre = self._pictures.pre
        phases = self._pictures.phases
        before = phases[0] if pre is None else pre
        return (subtraction_window if self._difference else robust_window)(self._pictures.dce, before, phases)

    @property
    def _difference(self) -> bool:
        look = self._viewpoint.look
        return look.mode != "phase" and self._pictures.can_subtract(look)

    def _drag_window(self, right: float, down: float) -> None:
        look = self._viewpoint.look
        low, high = self._pictures.window(look)
        width, level = high - low, (low + high) / 2
        level += down / _WINDOW_PIXELS * width  # dragged down: a higher level, a darker picture
        width *= 2 ** (right / _WINDOW_PIXELS)
        levels = (level - width / 2, level + width / 2)
        if self._difference:
            self._viewpoint.set(subtraction_window=levels)
        else:
            self._viewpoint.set(window=levels)

    def _point(self, row: float, column: float) -> None:
        if self.picture is None:
            return
        self._before_click = self._viewpoint.look.cursor_mm
        self._pointing = True  # the picture under the mouse stays where it is
        self._viewpoint.set(cursor_mm=self.place_under(row, column))
        self._pointing = False

    def place_under(self, row: float, column: float) -> tuple[float, float, float]:
        """Return the LPS mm of what a person points at: within the picture, in a projection the brightest behind the pixel."""
        rows, columns = self._cut_of.shape
        row, column = min(rows - 1.0, max(0.0, row)), min(columns - 1.0, max(0.0, column))
        look = self._viewpoint.look
        if look.mode == "mip" and self._difference:
            return self._pictures.hottest_along(self.plane, row, column, look)
        return self._cut_of.to_patient(self.position, row, column)

    def place_of(self, row: float, column: float) -> tuple[float, float, float]:
        """Return the LPS mm of a place in the picture that is shown."""
        return self._cut_of.to_patient(self.position, row, column)

    # What is shown ------------------------------------------------------------------------------------------------

    def _looked(self, before: Look, after: Look) -> None:
        moved = before.cursor_mm != after.cursor_mm
        another = (before.phase, before.mode) != (after.phase, after.mode)
        if (moved and self._slice_of(after) != self.position) or another:
            self._show_picture(after)
            self._show_heat(after)
        else:
            if (before.window, before.subtraction_window) != (after.window, after.subtraction_window):
                self.set_window(self._pictures.window(after))
            if any(getattr(before, field) != getattr(after, field) for field in _HEAT_FIELDS):
                self._show_heat(after)
        if before.zoom != after.zoom:
            self._zoom_to(after)
        if before.tool != after.tool:
            self.set_tool(after.tool)
        self._show_words(after)
        if moved:
            self._keep_in_sight()

    def _refresh(self) -> None:
        look = self._viewpoint.look
        self._show_picture(look)
        self._show_heat(look)
        self.set_zoom(look.zoom)
        self.set_tool(look.tool)
        self._show_words(look)

    def _slice_of(self, look: Look) -> int:
        return self._cut_of.nearest(look.cursor_mm) if look.cursor_mm is not None else self._cut_of.count // 2

    def _show_picture(self, look: Look) -> None:
        self.position = self._slice_of(look)
        self.markable = look.mode != "mip" or not self._difference
        self.mark_layer.setVisible(self.markable)
        self.set_plane(self._cut_of, self.position)
        picture = self._pictures.picture(self.plane, self.position, look)
        if picture is None and self.picture is not None:
            return  # a projection is under way: the last picture stays for some tens of milliseconds
        self.set_picture(picture, self._pictures.window(look), self._cut_of.spacing_mm)

    def _show_heat(self, look: Look) -> None:
        heat = None if look.mode == "mip" and self._difference else mri_heat(self._session, look)
        if heat is None:
            self.set_overlay(None)
            return
        values, affine = heat
        step = max(1, max(self._cut_of.shape) // _HEAT_PIXELS)
        level = self._cut_of.resample(values, affine, self.position, step)
        box = (0.0, 0.0, float(level.shape[0] * step), float(level.shape[1] * step))
        self.set_overlay(overlay(level, look.opacity), box)

    def _zoom_to(self, look: Look) -> None:
        cross = self.furniture.crosshair
        if cross is not None and self.zoom <= 1.0 < look.zoom and not self.shows(*cross):
            self.centre_on(*cross)
        self.set_zoom(look.zoom)
        if look.zoom == 1.0:
            self.fit()

    def _keep_in_sight(self) -> None:
        cross = self.furniture.crosshair
        if cross is not None and not self._pointing and self.zoom > 1.0 and not self.shows(*cross):
            self.centre_on(*cross)

    def _show_words(self, look: Look) -> None:
        low, high = self._pictures.window(look)
        furniture, shown = self.furniture, self._pictures.shown_as(look)
        furniture.top_left = (f"{shown}|{shown.split('  ')[0]}",)
        slices = self._cut_of.count
        where = "projection" if look.mode == "mip" and self._difference else f"{self.position + 1}/{slices}"
        furniture.top_right = (f"{self.plane}  {where}|{where}", f"W {high - low:.0f}  L {(low + high) / 2:.0f}|W {high - low:.0f}")
        furniture.bottom_left = (f"{100 * look.zoom:.0f} %",) if abs(look.zoom - 1) > 0.005 else ()
        furniture.crosshair = None
        furniture.badge = None
        if look.cursor_mm is not None:
            _, row, column = self._cut_of.from_patient(look.cursor_mm)
            furniture.crosshair = (row, column) if look.crosshair else None
            furniture.badge = breast_badge(self._session, self._pictures, look.cursor_mm)
        self.viewport().update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show that the keys go here."""
        super().focusInEvent(event)
        self.furniture.highlighted = True
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show that the keys go elsewhere."""
        super().focusOutEvent(event)
        self.furniture.highlighted = False
        self.viewport().update()


def breast_badge(session: Session, pictures: PlanePictures, cursor_mm: tuple[float, float, float]) -> tuple[str, QColor]:
    """Return which breast the cursor is in, told from patient coordinates: words and colour.

    The midline is the one that the person set, else the scanner's x = 0. Where `shown_breasts` names none (a volume too narrow, one
    breast alone in a file that does not say where x = 0 is) the badge reads "unknown".
    """
    middle, dce = session.choices.midline_mm, pictures.dce
    shown = shown_breasts(dce, middle)
    if not shown:
        return "○ SIDE UNKNOWN|○ SIDE ?", RIGHT_BADGE
    left = cursor_mm[0] > (0.0 if middle is None else middle)  # LPS: x grows to the patient's left
    return ("● LEFT BREAST|● LEFT", LEFT_BADGE) if left else ("● RIGHT BREAST|● RIGHT", RIGHT_BADGE)


def mri_heat(session: Session, look: Look) -> tuple[NDArray[np.generic], NDArray[np.float64]] | None:
    """Return the MRI heatmap that a look asks for, (slice, row, column), with its affine; None where it asks for none.

    While the maps of single phases are asked for and not yet there it is the mean; of a phase that the network was not given there is
    none.
    """
    stream = look.stream_of("mri")
    if stream is None:
        return None
    kind = MAP_KINDS.index(look.map_kind)
    for assessment in session.assessments:
        heatmaps, by_phase = assessment.prediction.heatmaps, assessment.prediction.phase_heatmaps
        values = heatmaps.stream(stream)
        if values is None or heatmaps.mri_affine is None:
            continue
        if look.by_phase and by_phase is not None:
            read = assessment.phases_read
            if look.phase not in read:
                return None
            whole = by_phase.mri_agnostic if stream == "mri_agnostic" else by_phase.mri_specific
            return whole[kind, read.index(look.phase)], by_phase.mri_affine
        return values[kind], heatmaps.mri_affine
    return None
