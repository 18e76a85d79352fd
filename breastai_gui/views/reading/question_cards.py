"""Open questions as cards with the buttons that answer them, and a line for every answer that a person gave."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from breastai_gui.services.chosen import pre_phase
from breastai_gui.services.plain_text import date_text, one_line, person_name
from breastai_gui.services.questions import open_questions
from breastai_gui.views.panel_parts import Card, ElidedText, Text, empty, follow, link, row
from breastai_gui.views.plain_text import literal_caption, literal_tooltip

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.data.study import Patient, Side
    from breastai_gui.services.questions import Question
    from breastai_gui.services.session import Session
    from breastai_gui.views.panel_parts import Tone

_BLOCKS = {
    "joint": "Until then each modality is assessed alone.",
    "mri": "Until then MRI is not assessed.",
    "nothing": "",
}


class QuestionCards(QWidget):
    """The questions of a session.

    Parameters
    ----------
    session
        Whose questions.
    confirm_phases
        Called when the person says that the proposed order is right.
    parent
        The panel: shown without one, the cards would be a window of their own for a moment and take the keys.
    """

    def __init__(self, session: Session, confirm_phases: Callable[[], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._confirm_phases = confirm_phases
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(6)
        follow(session.changed, self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        empty(self._box)
        study, choices = self._session.study, self._session.choices
        for question in open_questions(study, choices):
            if question.kind == "incomplete":
                continue  # the list of problems says it, with the file
            self._box.addWidget(self._card(question))
        answers: list[tuple[str, dict[str, object]]] = []
        if choices.side is None and len(study.ultrasound_sides) == 1:
            (named,) = study.ultrasound_sides
            other: Side = "right" if named == "left" else "left"
            tip = f"The files are wrong: the tumour is in the {other} breast"
            self._add_line(
                f"{named.capitalize()} breast (ultrasound)", "muted", link("change side", partial(self._choose, side=other), tip=tip)
            )
        if choices.same_patient is not None:
            words = "one patient" if choices.same_patient else "kept apart"
            answers.append((f"MRI and ultrasound: {words}", {"same_patient": None}))
        if choices.is_ultrasound is not None:
            answers.append(("Ultrasound images" if choices.is_ultrasound else "No ultrasound: left out", {"is_ultrasound": None}))
        if choices.side is not None:
            answers.append((f"{choices.side.capitalize()} breast", {"side": None}))
        if choices.lesion is not None:
            answers.append((f"Ultrasound lesion {one_line(choices.lesion)}", {"lesion": None}))
        for words, taken_back in answers:
            self._add_line(f"✓ {words} (you)", "human", link("change", partial(self._choose, **taken_back)))
        self.setVisible(self._box.count() > 0)

    def _add_line(self, words: str, tone: Tone, change: QPushButton) -> None:
        line = row(ElidedText(words, tone=tone, size=-0.5), change)
        line.setStretch(0, 1)
        self._box.addLayout(line)

    def _choose(self, **changes: object) -> None:
        self._session.choose(**changes)

    def _card(self, question: Question) -> Card:
        card = Card("ask")
        card.box.addWidget(Text(f"? {question.text}", bold=question.blocking))
        if question.kind == "same_patient":
            card.box.addLayout(self._identities())
        if _BLOCKS[question.blocks]:
            card.box.addWidget(Text(_BLOCKS[question.blocks], tone="muted", size=-0.5))
        buttons = self._answers(question)
        for at in range(0, len(buttons), 4):
            card.box.addLayout(row(*buttons[at : at + 4], 1, spacing=4))
        return card

    def _answers(self, question: Question) -> list[QPushButton]:
        study = self._session.study
        if question.kind == "same_patient":
            return [
                self._button("Same patient", lambda: self._choose(same_patient=True)),
                self._button("Keep apart", lambda: self._choose(same_patient=False)),
            ]
        if question.kind == "is_ultrasound":
            return [
                self._button("Yes", lambda: self._choose(is_ultrasound=True)),
                self._button("No, leave them out", lambda: self._choose(is_ultrasound=False)),
            ]
        if question.kind == "side":
            # As the reader sees the patient: her right breast stands on the left.
            return [
                self._button("Right breast", lambda: self._choose(side="right")),
                self._button("Left breast", lambda: self._choose(side="left")),
            ]
        if question.kind == "lesion":
            lesions = sorted({view.lesion for view in study.ultrasound if view.lesion})
            return [self._button(lesion, partial(self._choose, lesion=lesion)) for lesion in lesions]
        if question.kind == "phase_order":
            button = self._button("The order is right", self._confirm_phases)
            pre_known = study.dce is not None and pre_phase(study.dce, self._session.choices) is not None
            button.setEnabled(pre_known)
            button.setToolTip("Or change it in the table below." if pre_known else "First say which phase is before contrast.")
            return [button]
        if question.kind == "pre_contrast" and study.dce is not None:
            used = self._session.choices.phases or tuple(range(study.dce.phase_count))
            return [self._button(f"{place + 1}", partial(self._choose, pre=phase)) for place, phase in enumerate(used)]
        return []

    def _button(self, words: str, pressed: Callable[[], None]) -> QPushButton:
        button = QPushButton(literal_caption(words))
        button.setAutoDefault(False)
        button.setStyleSheet("QPushButton { padding: 3px 6px; }")
        button.setMinimumWidth(30)
        button.clicked.connect(lambda _checked=False: pressed())
        return button

    def _identities(self) -> QGridLayout:
        study = self._session.study
        other = study.ultrasound_patient or study.patient
        grid = QGridLayout()
        grid.setContentsMargins(0, 2, 0, 2)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 1)
        grid.addWidget(Text("MRI", tone="muted", size=-0.5, wrap=False), 0, 1)
        grid.addWidget(Text("Ultrasound", tone="muted", size=-0.5, wrap=False), 0, 2)
        different = study.patient_mismatch
        for at, (what, mine, theirs) in enumerate(_identity_rows(study.patient, other), start=1):
            sign = "≠\N{NO-BREAK SPACE}" if what in different else ""
            grid.addWidget(Text(_SHORT[what], tone="muted", size=-0.5, wrap=False), at, 0)
            for column, words in ((1, mine), (2, theirs)):
                value = Text(
                    f"{sign}{_short(words)}" if words else "not given",
                    tone="text" if words else "muted",
                    bold=bool(sign),
                    size=-0.5,
                    least_width=70,
                )
                value.setToolTip(literal_tooltip(words))
                grid.addWidget(value, at, column)
        return grid


_BREAK_AT = 8
_SHORT = {"name": "Name", "patient ID": "ID", "birth date": "Born", "sex": "Sex"}


def _short(words: str) -> str:
    """Return at most 60 characters that break anywhere: an ID that is cut off at the edge could look like another."""
    cut = words if len(words) <= 60 else f"{words[:59]}…"
    return " ".join("\N{ZERO WIDTH SPACE}".join(_pieces(word)) for word in cut.split(" "))


def _pieces(word: str) -> list[str]:
    return [word] if len(word) <= _BREAK_AT else [word[at : at + 4] for at in range(0, len(word), 4)]


def _identity_rows(mine: Patient, theirs: Patient) -> list[tuple[str, str, str]]:
    return [
        ("name", person_name(mine.name), person_name(theirs.name)),
        ("patient ID", one_line(mine.id), one_line(theirs.id)),
        ("birth date", date_text(mine.birth_date), date_text(theirs.birth_date)),
        ("sex", one_line(mine.sex), one_line(theirs.sex)),
    ]
