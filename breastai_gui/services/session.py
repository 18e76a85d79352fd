"""One open study and everything that a person decided about it: the only part of a record that changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

if TYPE_CHECKING:
    from breastai_gui.data.study import Side, Study
    from breastai_gui.services.annotations import Annotation
    from breastai_gui.services.assessment import Assessment

Position = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person settled; None or empty means "as read".

    Attributes
    ----------
    phases
        Indices into the study's phases that are used, in order of time; None: all, as read.
    pre
        The phase before contrast, an index into the study's phases.
    phases_confirmed
        True once the person accepted the phase table.
    same_patient
        True once the person confirmed that MRI and ultrasound show one patient, False once they said the opposite.
    is_ultrasound
        True once the person confirmed that images without a word on what they are show ultrasound; False leaves them out.
    side
        The breast of the tumour.
    lesion
        Which ultrasound lesion label this reading is about.
    angles
        (view id, degrees or None) for views whose angle was edited.
    views
        Ids of the ultrasound views given to the model; None: those proposed.
    midline_mm
        LPS x of the plane between the breasts.
    lesion_mm
        LPS position of the lesion, where the person marked it.
    show_numbers
        True once the person asked to see a demonstration model's numbers.
    """

    phases: tuple[int, ...] | None = None
    pre: int | None = None
    phases_confirmed: bool = False
    same_patient: bool | None = None
    is_ultrasound: bool | None = None
    side: Side | None = None
    lesion: str | None = None
    angles: tuple[tuple[str, float | None], ...] = ()
    views: tuple[str, ...] | None = None
    midline_mm: float | None = None
    lesion_mm: Position | None = None
    show_numbers: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The radiologist's own words, kept apart from the model's answer."""

    findings: str = ""
    impression: str = ""


@dataclass(frozen=True, slots=True)
class SessionState:
    """Everything a person decided, at one moment. Undo and redo move between such states."""

    choices: Choices = Choices()
    annotations: tuple[Annotation, ...] = ()
    reading: Reading = Reading()


class Session:
    """One open study, the list of its states with a position, and what the model said.

    Signals
    -------
    changed
        After every new state, undo, redo and assessment.
    state_added
        With the new `SessionState`, after every gesture that can be undone; the journal listens.
    """

    changed = Signal()
    state_added = Signal(SessionState)

    def __init__(self, study: Study, state: SessionState | None = None) -> None:
        self.study = study
        self._states = [state or SessionState()]
        self._position = 0
        self._assessments: tuple[Assessment, ...] = ()

    @property
    def state(self) -> SessionState:
        """The state that is in force."""
        return self._states[self._position]

    @property
    def choices(self) -> Choices:
        """The choices that are in force."""
        return self.state.choices

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """The marks that are in force."""
        return self.state.annotations

    @property
    def assessments(self) -> tuple[Assessment, ...]:
        """What the model said: one joint assessment, or each modality alone while identities disagree, or nothing.

        Empty again as soon as a choice changes that the answer rested on.
        """
        return self._assessments

    @property
    def can_undo(self) -> bool:
        """True when there is an earlier state."""
        return self._position > 0

    @property
    def can_redo(self) -> bool:
        """True when a state was undone."""
        return self._position + 1 < len(self._states)

    def choose(self, **changes: Any) -> None:
        """Change fields of `Choices`; a gesture of its own that can be undone."""
        self._add(replace(self.state, choices=replace(self.choices, **changes)))

    def add_annotation(self, annotation: Annotation) -> None:
        """Add a mark."""
        self._add(replace(self.state, annotations=(*self.annotations, annotation)))

    def replace_annotation(self, annotation: Annotation) -> None:
        """Put this mark in the place of the one with its id."""
        self._add(replace(self.state, annotations=tuple(annotation if old.id == annotation.id else old for old in self.annotations)))

    def remove_annotation(self, annotation_id: str) -> None:
        """Take a mark away."""
        self._add(replace(self.state, annotations=tuple(old for old in self.annotations if old.id != annotation_id)))

    def set_reading(self, reading: Reading) -> None:
        """Keep the radiologist's words."""
        self._add(replace(self.state, reading=reading))

    def set_assessments(self, assessments: tuple[Assessment, ...]) -> None:
        """Take over what the model said; refused (ValueError) when it speaks of other files than this study's."""
        if any(assessment.study_key != self.study.key for assessment in assessments):
            raise ValueError("This assessment belongs to another study.")
        self._assessments = assessments
        self.changed.emit()

    def undo(self) -> None:
        """Go back one state."""
        if self.can_undo:
            self._move(self._position - 1)

    def redo(self) -> None:
        """Go forward one state."""
        if self.can_redo:
            self._move(self._position + 1)

    def _add(self, state: SessionState) -> None:
        if state == self.state:
            return
        del self._states[self._position + 1 :]
        self._states.append(state)
        self._move(len(self._states) - 1)

    def _move(self, position: int) -> None:
        before = model_choices(self.choices)
        self._position = position
        if model_choices(self.choices) != before:
            self._assessments = ()
        self.state_added.emit(self.state)
        self.changed.emit()


def model_choices(choices: Choices) -> Choices:
    """Return the choices without those that the model's answer does not rest on."""
    return replace(choices, show_numbers=False, phases_confirmed=False, lesion_mm=None)
