"""Several patients or series in what was opened: the person says which are meant, nothing is chosen beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QDialog, QDialogButtonBox, QGridLayout, QRadioButton, QVBoxLayout, QWidget

from breastai_gui.data.study import Selection
from breastai_gui.services.plain_text import date_text, one_line, person_name
from breastai_gui.views.panel_parts import Card, Chip, Column, ElidedText, Text, visible_boxes

if TYPE_CHECKING:
    from PySide6.QtGui import QMouseEvent

    from breastai_gui.data.study import Candidate, Catalogue, Patient

Kind = Literal["dynamic", "ultrasound"]
_TITLES: dict[Kind, tuple[str, str, str]] = {
    "dynamic": ("Dynamic MRI", "No MRI", "Read the ultrasound alone"),
    "ultrasound": ("Ultrasound", "No ultrasound", "Read the MRI alone"),
}


def counts_words(candidate: Candidate) -> str:
    """Return "6 phases · 32 slices · 192 × 320" or "25 images"."""
    if candidate.kind == "dynamic" and len(candidate.counts) == 4:
        phases, slices, rows, columns = candidate.counts
        return f"{phases} phases · {slices} slices · {rows} × {columns}"
    count = candidate.counts[0] if candidate.counts else 0
    return "1 image" if count == 1 else f"{count} images"


def patient_words(patient: Patient) -> str:
    """Return name, ID and birth date as far as they are given."""
    parts = (
        person_name(patient.name) or "name not given",
        f"ID {one_line(patient.id)}" if patient.id.strip() else "ID not given",
        f"born {date_text(patient.birth_date)}" if patient.birth_date else "",
    )
    return " · ".join(part for part in parts if part)


class _Choice(Card):
    """One row that can be chosen; a click anywhere in it chooses."""

    def __init__(self, title: str, lines: tuple[str, ...], doubtful: str = "") -> None:
        super().__init__("muted")
        self.button = QRadioButton()
        visible_boxes(self.button)
        self.button.setAccessibleName(", ".join((title, *lines)))
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(2)
        grid.addWidget(self.button, 0, 0)
        grid.addWidget(ElidedText(title, bold=True), 0, 1)
        if doubtful:
            grid.addWidget(Chip(doubtful, "ask"), 0, 2)
        for at, line in enumerate(lines, start=1):
            grid.addWidget(ElidedText(line, tone="muted"), at, 1, 1, 2)
        self.box.addLayout(grid)
        self.button.toggled.connect(lambda chosen: self.set_accent("ask" if chosen else "muted"))
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose this row."""
        self.button.setChecked(True)
        super().mousePressEvent(event)


class _Group(QWidget):
    """All candidates of one kind and, where there is another kind, the row that leaves this one out."""

    changed = Signal()

    def __init__(self, kind: Kind, candidates: tuple[Candidate, ...], may_be_none: bool) -> None:
        super().__init__()
        title, none_title, none_line = _TITLES[kind]
        self._keys: list[str | None] = []
        self.buttons = QButtonGroup(self)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 6)
        box.setSpacing(5)
        box.addWidget(Text(title, bold=True, size=1))
        for candidate in candidates:
            when = candidate.taken_on.isoformat() if candidate.taken_on else "date unknown"
            doubtful = ""
            if candidate.confidence == "question":
                doubtful = "not sure this is ultrasound" if kind == "ultrasound" else "not sure this is dynamic MRI"
            lines = (f"{when} · {counts_words(candidate)}", one_line(candidate.label))
            self._add(box, candidate.key, _Choice(patient_words(candidate.patient), lines, doubtful))
        if may_be_none:
            self._add(box, None, _Choice(none_title, (none_line,)))
        self.buttons.idToggled.connect(lambda _number, _on: self.changed.emit())

    def _add(self, box: QVBoxLayout, key: str | None, choice: _Choice) -> None:
        self.buttons.addButton(choice.button, len(self._keys))
        self._keys.append(key)
        box.addWidget(choice)

    @property
    def answered(self) -> bool:
        """Whether a row is chosen."""
        return self.buttons.checkedId() >= 0

    @property
    def key(self) -> str | None:
        """The candidate that is chosen; None for "none" and while nothing is."""
        number = self.buttons.checkedId()
        return self._keys[number] if number >= 0 else None

    def choose(self, key: str | None) -> None:
        """Choose a row."""
        if key in self._keys:
            self.buttons.button(self._keys.index(key)).setChecked(True)


class CatalogueDialog(QDialog):
    """Asks which dynamic series and which ultrasound images are meant, together or one alone."""

    def __init__(self, catalogue: Catalogue, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._catalogue = catalogue
        self._cancelled = False
        self.setWindowTitle("Which exam?")
        self.resize(620, 560)
        kinds: tuple[Kind, ...] = ("dynamic", "ultrasound")
        found = {kind: tuple(candidate for candidate in catalogue.candidates if candidate.kind == kind) for kind in kinds}
        both = all(found.values())
        self.groups: dict[Kind, _Group] = {kind: _Group(kind, found[kind], both) for kind in kinds if found[kind]}
        column = Column()
        for group in self.groups.values():
            column.box.addWidget(group)
            group.changed.connect(self._refresh)
        column.box.addStretch(1)
        self._note = Text(tone="ask")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        box = QVBoxLayout(self)
        box.addWidget(Text(catalogue.choice_reason or "Choose what to open."))
        box.addWidget(column, 1)
        box.addWidget(self._note)
        box.addWidget(self.buttons)
        if catalogue.proposed is not None:
            for kind, group in self.groups.items():
                group.choose(catalogue.proposed.dynamic if kind == "dynamic" else catalogue.proposed.ultrasound)
        self._refresh()

    def selection(self) -> Selection | None:
        """Return what was chosen; None while the choice is not complete, or when the dialog was cancelled."""
        return None if self._cancelled else self._chosen()

    def reject(self) -> None:
        """Choose nothing."""
        self._cancelled = True
        super().reject()

    def _chosen(self) -> Selection | None:
        if not all(group.answered for group in self.groups.values()):
            return None
        dynamic = self.groups["dynamic"].key if "dynamic" in self.groups else None
        ultrasound = self.groups["ultrasound"].key if "ultrasound" in self.groups else None
        return None if dynamic is None and ultrasound is None else Selection(dynamic, ultrasound)

    def _refresh(self) -> None:
        chosen = self._chosen()
        self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(chosen is not None)
        words = ""
        if chosen is not None and chosen.dynamic is not None and chosen.ultrasound is not None:
            mri, ultrasound = self._catalogue.candidate(chosen.dynamic), self._catalogue.candidate(chosen.ultrasound)
            different = mri.patient.differs_from(ultrasound.patient)
            if different == ("nothing in common to compare",):
                words = "Nothing says that these show one patient; each is assessed alone until you confirm it."
            elif different:
                words = f"These disagree in {', '.join(different)}; each is assessed alone until you confirm that they show one patient."
        elif chosen is None and all(group.answered for group in self.groups.values()):
            words = "Choose at least one of the two."
        self._note.say(words)
