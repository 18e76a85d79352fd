"""All ultrasound angles at once: twelve cells in order of angle, or every view of the exam in pages of twelve."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from breastai_gui.services.chosen import MOST_VIEWS, chosen_views
from breastai_gui.services.colour_maps import overlay
from breastai_gui.services.plain_text import one_line
from breastai_gui.services.ultrasound_angles import angle_of, angle_words
from breastai_gui.services.ultrasound_heat import first_heat
from breastai_gui.views.panel_parts import ElidedText, Text, follow, row, visible_boxes
from breastai_gui.views.reading.ultrasound_choice import (
    STEP_DEG,
    Slot,
    calibration_sentence,
    calibration_words,
    place_words,
    slots,
    with_use,
)
from breastai_gui.views.reading.ultrasound_tile import UltrasoundTile

if TYPE_CHECKING:
    from breastai_gui.data.study import UltrasoundView
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.viewpoint import Look, Viewpoint

_HEAT_FIELDS = ("heatmap", "stream", "map_kind", "opacity", "paired")


class AngleDialog(QDialog):
    """Asks for the angle of one view."""

    def __init__(self, view: UltrasoundView, angle: float | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Angle of this view")
        self.degrees = QDoubleSpinBox()
        self.degrees.setRange(0.0, 179.9)
        self.degrees.setDecimals(1)
        self.degrees.setSingleStep(STEP_DEG)
        self.degrees.setSuffix("°")
        self.degrees.setValue(angle or 0.0)
        self.unknown = QCheckBox("Angle unknown")
        visible_boxes(self.unknown)
        self.unknown.toggled.connect(self.degrees.setDisabled)
        self.unknown.setChecked(angle is None)
        form = QFormLayout()
        form.addRow("Clockwise from the largest cross-section", self.degrees)
        form.addRow("", self.unknown)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        box = QVBoxLayout(self)
        box.addWidget(ElidedText(one_line(view.label), bold=True))
        box.addLayout(form)
        box.addWidget(buttons)

    def angle(self) -> float | None:
        """Return what was entered."""
        return None if self.unknown.isChecked() else self.degrees.value()


class UltrasoundGrid(QWidget):
    """The grid of views.

    Signals
    -------
    maximiseRequested
        A view was double-clicked: it is in the focus, and wants the whole room.
    """

    maximiseRequested = Signal()

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__()
        self._session = session
        self._viewpoint = viewpoint
        self._all = False
        self._page = 0
        self._title = Text(bold=True, wrap=False)
        self._message = ElidedText(tone="ask")
        self.show_all = QPushButton()
        self.show_all.setCheckable(True)
        self.show_all.toggled.connect(self._set_all)
        self.back = QPushButton("‹")
        self.forward = QPushButton("›")
        for button, step, tip in ((self.back, -1, "Previous twelve views"), (self.forward, 1, "Next twelve views")):
            button.setToolTip(tip)
            button.setFixedWidth(26)
            button.clicked.connect(partial(self._turn, step))
        self._where = Text(tone="muted", wrap=False)
        head = row(self._title, self._message, self.back, self._where, self.forward, self.show_all)
        head.setStretch(1, 1)
        self.tiles = tuple(UltrasoundTile() for _ in range(MOST_VIEWS))
        grid = QGridLayout()
        grid.setSpacing(3)
        for at, tile in enumerate(self.tiles):
            grid.addWidget(tile, at // 4, at % 4)
            tile.picked.connect(partial(self._pick, tile))
            tile.opened.connect(partial(self._open, tile))
            tile.useToggled.connect(partial(self._toggle, tile))
            tile.menuAsked.connect(partial(self._menu, tile))
        for line in range(3):
            grid.setRowStretch(line, 1)
        for column in range(4):
            grid.setColumnStretch(column, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(4, 4, 4, 4)
        box.setSpacing(4)
        box.addLayout(head)
        box.addLayout(grid, 1)
        follow(session.changed, self._refresh)
        follow(viewpoint.changed, self._looked)
        self._refresh()
        first = next((tile.view for tile in self.tiles if tile.view is not None), None)
        if viewpoint.look.view_id is None and first is not None:
            viewpoint.set(view_id=first.id)

    def _refresh(self) -> None:
        study, choices = self._session.study, self._session.choices
        used = {view.id for view in chosen_views(study, choices)}
        found = len(study.ultrasound)
        self._title.setText(f"Ultrasound: {len(used)} of {found} views used" if found else "No ultrasound")
        self.show_all.setVisible(found > 0)
        self.show_all.setText("Used views" if self._all else f"All {found}")
        self.show_all.setToolTip("Show the twelve slots" if self._all else "Show every view of the exam, to take in or leave out")
        pages = max(1, -(-found // MOST_VIEWS)) if self._all else 1
        self._page = min(self._page, pages - 1)
        for widget in (self.back, self.forward, self._where):
            widget.setVisible(pages > 1)
        self._where.setText(f"{self._page + 1}/{pages}")
        self.back.setEnabled(self._page > 0)
        self.forward.setEnabled(self._page + 1 < pages)
        cells = self._cells()
        for tile, slot in zip(self.tiles, cells, strict=True):
            if slot.view is None:
                tile.show_missing(slot.words)
            else:
                self._fill(tile, slot.view, slot.view.id in used)
        self._mark_selected()
        self._heat()

    def _cells(self) -> tuple[Slot, ...]:
        study, choices = self._session.study, self._session.choices
        if not self._all:
            return slots(study, choices)
        views = study.ultrasound[self._page * MOST_VIEWS :][:MOST_VIEWS]
        return tuple(Slot(view) for view in views) + tuple(Slot(None) for _ in range(MOST_VIEWS - len(views)))

    def _fill(self, tile: UltrasoundTile, view: UltrasoundView, used: bool) -> None:
        choices = self._session.choices
        angle = angle_words(view, choices)
        source = f" ({view.angle_source})" if view.angle_source and angle_of(view, choices) is not None else ""
        tip = "\n".join(
            (
                one_line(view.label),
                f"Angle: {angle}{source}",
                calibration_sentence(view),
                f"Side and lesion: {place_words(view) or 'not named by the file'}",
                "Given to the model." if used else "Not given to the model.",
            )
        )
        tile.show_view(
            view,
            angle=angle,
            place=view.label if self._all else place_words(view) or view.label,
            scale=calibration_words(view),
            tip=tip,
            used=used,
        )

    def _heat(self) -> None:
        look = self._viewpoint.look
        stream = look.stream_of("us")
        for tile in self.tiles:
            found = None
            if stream is not None and tile.view is not None:
                found = first_heat(self._session.assessments, tile.view, stream, look.map_kind)
            tile.show_heat(None if found is None else overlay(found[1], look.opacity))

    def _looked(self, before: Look, after: Look) -> None:
        if before.view_id != after.view_id:
            self._bring_to_page(after.view_id)
            self._mark_selected()
        if any(getattr(before, field) != getattr(after, field) for field in _HEAT_FIELDS):
            self._heat()

    def _bring_to_page(self, view_id: str | None) -> None:
        ids = [view.id for view in self._session.study.ultrasound]
        if self._all and view_id in ids and (page := ids.index(view_id) // MOST_VIEWS) != self._page:
            self._page = page
            self._refresh()

    def _mark_selected(self) -> None:
        for tile in self.tiles:
            tile.set_selected(tile.view is not None and tile.view.id == self._viewpoint.look.view_id)

    def _set_all(self, every: bool) -> None:
        self._all = every
        self._page = 0
        self._message.setText("")
        self._refresh()

    def _turn(self, step: int, _checked: bool = False) -> None:
        self._page += step
        self._refresh()

    def _pick(self, tile: UltrasoundTile) -> None:
        if tile.view is not None:
            self._viewpoint.set(view_id=tile.view.id)

    def _open(self, tile: UltrasoundTile) -> None:
        self._pick(tile)
        self.maximiseRequested.emit()

    def _toggle(self, tile: UltrasoundTile) -> None:
        if tile.view is None:
            return
        study, choices = self._session.study, self._session.choices
        used = {view.id for view in chosen_views(study, choices)}
        take_in = tile.view.id not in used
        if take_in and len(used) >= MOST_VIEWS:
            self._message.setText("Twelve views at most: leave one out first.")
            return
        self._session.choose(views=with_use(study, choices, tile.view.id, take_in))
        refused = take_in and tile.view.id not in {view.id for view in chosen_views(study, self._session.choices)}
        self._message.setText("This view names another breast or lesion than the one chosen." if refused else "")

    def _menu(self, tile: UltrasoundTile, where: QPoint) -> None:
        if tile.view is not None:
            self._pick(tile)
            self.menu_of(tile).popup(where)

    def menu_of(self, tile: UltrasoundTile) -> QMenu:
        """Return the menu of a cell."""
        menu = QMenu(self)
        menu.aboutToHide.connect(menu.deleteLater)
        edit = QAction("Set the angle…", menu)
        edit.triggered.connect(lambda _checked=False: self.edit_angle(tile))
        use = QAction("Leave out" if "not used" not in tile.words else "Use for the model", menu)
        use.triggered.connect(lambda _checked=False: self._toggle(tile))
        menu.addActions([edit, use])
        return menu

    def edit_angle(self, tile: UltrasoundTile) -> AngleDialog | None:
        """Open the dialog for the angle of a cell's view and return it."""
        view = tile.view
        if view is None:
            return None
        dialog = AngleDialog(view, angle_of(view, self._session.choices), self)
        dialog.accepted.connect(lambda: self._set_angle(view, dialog.angle()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
        return dialog

    def _set_angle(self, view: UltrasoundView, angle: float | None) -> None:
        kept = tuple(pair for pair in self._session.choices.angles if pair[0] != view.id)
        self._session.choose(angles=kept if angle == view.angle_deg and "assumed" not in view.angle_source else (*kept, (view.id, angle)))
