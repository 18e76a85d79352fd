"""What the MRI panes show for a `Look`: a phase, a subtraction or a projection, with its grey scale; cut as late as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from breastai_gui.services.chosen import chosen_phases, pre_phase
from breastai_gui.services.kinetics import robust_window, shown_phase, subtraction_window
from breastai_gui.services.planes import PLANES, PlaneCut, PlaneName
from breastai_gui.views.reading.phase_table import phase_name
from breastai_gui.views.reading.viewpoint import Look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_gui.data.study import DceSeries, Study
    from breastai_gui.services.session import Choices, Session

_VOXELS_A_TURN = 1_500_000
"""So many voxels of a projection are done before the window gets a turn: under 20 ms."""


def first_look(study: Study, choices: Choices) -> Look:
    """Return what a freshly opened study shows: the early subtraction's phase, robust grey scales, the middle of the volume.

    Takes a tenth of a second on a large study: called in the background.
    """
    view_id = next((view.id for view in study.ultrasound if view.proposed), study.ultrasound[0].id if study.ultrasound else None)
    if study.dce is None:
        return Look(view_id=view_id)
    dce, pre, phases = study.dce, pre_phase(study.dce, choices), chosen_phases(study, choices)
    before = phases[0] if pre is None else pre
    if choices.lesion_mm is not None:
        cursor = choices.lesion_mm
    else:
        x, y, z = dce.grid.to_patient((np.asarray(dce.grid.shape, dtype=np.float64) - 1) / 2)
        cursor = (float(x), float(y), float(z))
    return Look(
        cursor_mm=cursor,
        phase=shown_phase(dce, before, phases),
        window=robust_window(dce, before, phases),
        subtraction_window=subtraction_window(dce, before, phases),
        view_id=view_id,
    )


class PlanePictures(QObject):
    """Cuts the pictures of one study's MRI.

    Signals
    -------
    projected
        A projection that was asked for is ready.
    """

    projected = Signal()

    def __init__(self, session: Session, dce: DceSeries, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.dce = dce
        self.cuts: dict[PlaneName, PlaneCut] = {plane: PlaneCut(dce.grid, plane) for plane in PLANES}
        self._projection: Projection | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._project)

    @property
    def pre(self) -> int | None:
        """The phase before contrast that is in force."""
        return pre_phase(self.dce, self._session.choices)

    @property
    def phases(self) -> tuple[int, ...]:
        """The phases that are used, in order."""
        return chosen_phases(self._session.study, self._session.choices)

    def name(self, phase: int) -> str:
        """Return the name of a phase: "pre", "P1", "P2" …."""
        return phase_name(phase, self.phases, self.pre)

    def can_subtract(self, look: Look) -> bool:
        """Return whether the phase of a look has something to be subtracted from it."""
        return self.pre is not None and look.phase != self.pre

    def shown_as(self, look: Look) -> str:
        """Return the name of what is shown: "P2 +150 s", "P2 − pre", "MIP of P2 − pre"."""
        name, time = self.name(look.phase), self.dce.times_s[look.phase]
        when = "time unknown" if time is None else f"{time:+.0f} s"
        if name == "–":
            name = f"left out (phase {look.phase + 1})"
        if look.mode == "phase" or not self.can_subtract(look):
            return f"{name}  {when}"
        return f"{name} − pre  {when}" if look.mode == "subtraction" else f"MIP of {name} − pre  {when}"

    def picture(self, plane: PlaneName, position: int, look: Look) -> NDArray[np.float32] | None:
        """Return (row, column) real values; None while a projection is still being computed."""
        cut = self.cuts[plane]
        if look.mode == "phase" or not self.can_subtract(look):
            return self._real(cut, position, look.phase)
        pre = self.pre
        assert pre is not None  # can_subtract
        if look.mode == "subtraction":
            return self._real(cut, position, look.phase) - self._real(cut, position, pre)
        if self._projection is None or self._projection.of != (look.phase, pre):
            self._projection = Projection(self.dce, look.phase, pre)
            self._timer.start()
        return np.asarray(cut.project(self._projection.stack(cut)), dtype=np.float32) if self._projection.done else None

    def window(self, look: Look) -> tuple[float, float]:
        """Return the (low, high) that belongs to what is shown."""
        return look.window if look.mode == "phase" or not self.can_subtract(look) else look.subtraction_window

    def values_at(self, position_mm: tuple[float, float, float]) -> tuple[float, ...] | None:
        """Return the real value of every used phase at the voxel nearest to a place, None outside the volume."""
        index = np.rint(self.dce.grid.to_index(np.asarray(position_mm))).astype(int)
        if (index < 0).any() or (index >= self.dce.grid.shape).any():
            return None
        stored = self.dce.values[:, index[0], index[1], index[2]].astype(np.float64)
        real = stored * self.dce.scale[:, 0] + self.dce.scale[:, 1]
        return tuple(float(real[phase]) for phase in self.phases)

    def hottest_along(self, plane: PlaneName, row: float, column: float, look: Look) -> tuple[float, float, float]:
        """Return the place of the greatest difference behind a pixel of a projection, LPS mm."""
        cut = self.cuts[plane]
        at = [round(row), round(column)]
        pre = self.pre if self.pre is not None else look.phase
        line = [self._pixel(cut, place, at, look.phase) - self._pixel(cut, place, at, pre) for place in range(cut.count)]
        return cut.to_patient(int(np.argmax(line)), row, column)

    def _pixel(self, cut: PlaneCut, place: int, at: list[int], phase: int) -> float:
        slope, intercept = self.dce.scale[phase]
        return float(cut.cut(self.dce.values[phase], place)[at[0], at[1]]) * float(slope) + float(intercept)

    def _real(self, cut: PlaneCut, position: int, phase: int) -> NDArray[np.float32]:
        slope, intercept = self.dce.scale[phase]
        stored = np.asarray(cut.cut(self.dce.values[phase], position), dtype=np.float32)
        return stored * np.float32(slope) + np.float32(intercept)

    def _project(self) -> None:
        if self._projection is None or self._projection.done:
            self._timer.stop()
            return
        if self._projection.advance():
            self._timer.stop()
            self.projected.emit()


class Projection:
    """Maximum of phase minus pre along each axis of the grid, computed a few slices at a time.

    Attributes
    ----------
    of
        (phase, pre).
    """

    def __init__(self, dce: DceSeries, phase: int, pre: int) -> None:
        self.of = (phase, pre)
        self._dce = dce
        slices, rows, columns = dce.grid.shape
        self._next = 0
        self._along: list[NDArray[np.float32]] = [
            np.full((rows, columns), -np.inf, dtype=np.float32),
            np.empty((slices, columns), dtype=np.float32),
            np.empty((slices, rows), dtype=np.float32),
        ]

    @property
    def done(self) -> bool:
        """True once every slice was seen."""
        return self._next >= self._dce.grid.shape[0]

    def advance(self) -> bool:
        """Take the next slices in; True after the last."""
        phase, pre = self.of
        count = max(1, _VOXELS_A_TURN // (self._dce.grid.shape[1] * self._dce.grid.shape[2]))
        part = slice(self._next, self._next + count)
        (slope, intercept), (slope_pre, intercept_pre) = self._dce.scale[phase].astype(np.float32), self._dce.scale[pre].astype(np.float32)
        difference = self._dce.values[phase][part] * slope - self._dce.values[pre][part] * slope_pre + (intercept - intercept_pre)
        np.maximum(self._along[0], difference.max(axis=0), out=self._along[0])
        self._along[1][part] = difference.max(axis=1)
        self._along[2][part] = difference.max(axis=2)
        self._next += count
        return self.done

    def stack(self, cut: PlaneCut) -> NDArray[np.float32]:
        """Return the projection along a cut's stack as a volume of one picture, for `PlaneCut.project`."""
        axis = cut.stack_axis
        return np.expand_dims(self._along[axis], axis)
