"""How the images of one exam share the room: layouts, and one image in the whole of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from breastai_gui.views.reading.image_pane import ImagePane

if TYPE_CHECKING:
    from breastai_gui.services.planes import PlaneName
    from breastai_gui.views.reading.slice_view import SliceView
    from breastai_gui.views.reading.ultrasound_focus import UltrasoundFocus
    from breastai_gui.views.reading.ultrasound_grid import UltrasoundGrid
    from breastai_gui.views.reading.volume_view import VolumeView

LayoutName = Literal["reading", "mri", "ultrasound", "volume"]
LAYOUTS: tuple[LayoutName, ...] = ("reading", "mri", "ultrasound", "volume")
_CELLS: dict[LayoutName, tuple[str, ...]] = {
    "reading": ("axial", "sagittal", "coronal", "focus", "grid"),
    "mri": ("axial", "sagittal", "coronal"),
    "ultrasound": ("focus", "grid"),
    "volume": ("axial", "sagittal", "coronal", "volume"),
}


class ImageArea(QWidget):
    """Places the image views; any modality may be missing.

    Signals
    -------
    layoutChanged
        Another layout, or one image was maximised or not any more.
    """

    layoutChanged = Signal()

    def __init__(
        self,
        planes: dict[PlaneName, SliceView],
        volume: VolumeView | None,
        focus: UltrasoundFocus | None,
        grid: UltrasoundGrid | None,
    ) -> None:
        super().__init__()
        self._cells: dict[str, QWidget] = dict(planes.items())
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        self._whole, self._mri, self._lower, self._ultrasound = (QSplitter(way) for way in (across, down, across, down))
        for splitter in (self._whole, self._mri, self._lower, self._ultrasound):
            splitter.setChildrenCollapsible(False)
            splitter.setHandleWidth(4)
        self._whole.addWidget(self._mri)
        if planes:
            self._mri.addWidget(planes["axial"])
            self._mri.addWidget(self._lower)
            self._lower.addWidget(planes["sagittal"])
            self._lower.addWidget(planes["coronal"])
        if volume is not None:
            self._cells["volume"] = volume
            self._whole.addWidget(volume)
        self._whole.addWidget(self._ultrasound)
        if focus is not None and grid is not None:
            self._cells |= {"focus": focus, "grid": grid}
            self._ultrasound.addWidget(focus)
            self._ultrasound.addWidget(grid)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self._whole)
        for name, cell in self._cells.items():
            signal = getattr(cell, "maximiseRequested", None)
            if signal is not None:
                target = "focus" if name == "grid" else name  # a double click on a small view shows it large
                signal.connect(lambda target=target: self.maximise(None if self.maximised == target else target))
        self.maximised: str | None = None
        self.layout_name: LayoutName = "reading"
        self.set_layout("reading")

    def available(self) -> tuple[LayoutName, ...]:
        """Return the layouts that make sense for what there is."""
        mri, ultrasound = "axial" in self._cells, "focus" in self._cells
        both = mri and ultrasound
        possible = {"reading": True, "mri": both, "ultrasound": both, "volume": mri}
        return tuple(name for name in LAYOUTS if possible[name])

    def set_layout(self, name: LayoutName) -> None:
        """Show a layout."""
        self.layout_name = name
        self.maximised = None
        self._show(_CELLS[name])
        self.layoutChanged.emit()

    def step_layout(self, step: int) -> None:
        """Go to the next or previous layout."""
        there = self.available()
        place = there.index(self.layout_name) if self.layout_name in there else 0
        self.set_layout(there[(place + step) % len(there)])

    def maximise(self, name: str | None) -> None:
        """Give one image the whole room, or show the layout again."""
        if name is None or name not in self._cells:
            self.set_layout(self.layout_name)
            return
        self._show((name,))
        self.maximised = name
        self.layoutChanged.emit()

    @property
    def shows_mri(self) -> bool:
        """True while an MRI picture is visible."""
        return any(name in self._cells and not self._cells[name].isHidden() for name in ("axial", "sagittal", "coronal", "volume"))

    def _show(self, names: tuple[str, ...]) -> None:
        for name, cell in self._cells.items():
            cell.setVisible(name in names)
        there = {name for name in names if name in self._cells}
        self._lower.setVisible(bool(there & {"sagittal", "coronal"}))
        self._mri.setVisible(bool(there & {"axial", "sagittal", "coronal"}))
        self._ultrasound.setVisible(bool(there & {"focus", "grid"}))
        alone = not there & {"axial", "sagittal", "coronal", "volume"}
        self._ultrasound.setOrientation(Qt.Orientation.Horizontal if alone else Qt.Orientation.Vertical)
        self._whole.setSizes([380, 620, 380] if "volume" in there and "volume" in self._cells else self._shares())
        lower = round(1000 * self._lower_share())
        self._mri.setSizes([1000 - lower, lower])
        self._lower.setSizes([500, 500])
        self._ultrasound.setSizes([560, 440])

    def _lower_share(self) -> float:
        """Return how much of the height sagittal and coronal planes can use: a thin slab leaves more to the axial one."""
        heights = [
            pane.picture.shape[0] * pane.spacing_mm[0] / (pane.picture.shape[1] * pane.spacing_mm[1])
            for name in ("sagittal", "coronal")
            if isinstance(pane := self._cells.get(name), ImagePane) and pane.picture is not None and pane.spacing_mm is not None
        ]
        return min(0.42, max(0.27, 0.5 * max(heights, default=1.0) + 0.12))

    def _shares(self) -> list[int]:
        return [620, 0, 380] if "volume" in self._cells else [620, 380]
