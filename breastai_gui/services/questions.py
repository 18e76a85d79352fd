"""What a person has to decide before an exam can be assessed as one: the open questions of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from breastai_gui.services.breasts import REACH_MM, shown_breasts

if TYPE_CHECKING:
    from breastai_gui.data.study import Study
    from breastai_gui.services.session import Choices

NARROW_SENTENCE = (
    f"Which breast the MRI shows is not known (it reaches less than {REACH_MM:.0f} mm to either side of the middle, or its file does "
    "not say where in the patient it lies): say which breast this reading is about."
)

QuestionKind = Literal["phase_order", "pre_contrast", "same_patient", "side", "lesion", "is_ultrasound", "incomplete"]


@dataclass(frozen=True, slots=True)
class Question:
    """One open question.

    Attributes
    ----------
    kind
        What it is about.
    text
        The question in one sentence, with what was found.
    blocks
        "joint": no prediction from both modalities together; "mri": MRI is not assessed; "nothing": told, not in the way.
    """

    kind: QuestionKind
    text: str
    blocks: Literal["joint", "mri", "nothing"]

    @property
    def blocking(self) -> bool:
        """True while it keeps a part of the exam from the model: until it is answered, all that is written is a draft."""
        return self.blocks != "nothing"


def open_questions(study: Study, choices: Choices) -> tuple[Question, ...]:
    """Return what is still undecided, most important first. Nothing is guessed: order, identity, side."""
    found: list[Question] = []
    mismatch = study.patient_mismatch
    if mismatch and choices.same_patient is None:
        if mismatch == ("nothing in common to compare",):
            text = "MRI and ultrasound carry no patient identity that could be compared: do they show the same patient?"
        else:
            text = f"MRI and ultrasound disagree in {', '.join(mismatch)}: do they show the same patient?"
        found.append(Question("same_patient", text, "joint"))
    if study.dce is not None:
        if study.dce.order_confidence == "question" and not choices.phases_confirmed:
            text = f"The order of the {study.dce.phase_count} dynamic phases is only a proposal ({study.dce.order_evidence}): is it right?"
            found.append(Question("phase_order", text, "mri"))
        unsure = study.dce.pre_confidence == "question" and not choices.phases_confirmed
        if choices.pre is None and (study.dce.pre is None or unsure):  # confirming the table names no phase where it names none
            found.append(Question("pre_contrast", f"Which phase is before contrast? {study.dce.pre_evidence}", "mri"))
    doubtful = sum(view.doubtful for view in study.ultrasound)
    if doubtful and choices.is_ultrasound is None:
        count = f"{doubtful} of {len(study.ultrasound)}"
        text = f"{count} ultrasound images do not say that they show a breast: do they show one lesion of one patient's breast?"
        found.append(Question("is_ultrasound", text, "nothing"))
    if choices.side is None:
        if len(study.ultrasound_sides) > 1:
            found.append(Question("side", "The ultrasound shows both breasts: which one is this reading about?", "joint"))
        elif not study.ultrasound_sides:
            found.extend(_side_unnamed(study, choices))
    side = choices.side or (study.ultrasound_sides[0] if len(study.ultrasound_sides) == 1 else None)
    shown = shown_breasts(study.dce, choices.midline_mm) if study.dce is not None else frozenset()
    if side is not None and shown and side not in shown:
        text = f"This reading is about the {side} breast, but the MRI shows the {next(iter(shown))} one only: which breast is it?"
        found.append(Question("side", text, "joint"))
    lesions = sorted({view.lesion for view in study.ultrasound if view.lesion})
    if len(lesions) > 1 and choices.lesion is None:
        found.append(
            Question(
                "lesion", f"The ultrasound names {len(lesions)} lesions ({', '.join(lesions)}): which one is this reading about?", "joint"
            )
        )
    found.extend(Question("incomplete", problem.text, "mri") for problem in study.problems if problem.stops)
    return tuple(found)


def blocking_questions(study: Study, choices: Choices) -> tuple[Question, ...]:
    """Return the open questions that a person must answer first: with any, report, JSON and exit code say draft."""
    return tuple(question for question in open_questions(study, choices) if question.blocking)


def _side_unnamed(study: Study, choices: Choices) -> tuple[Question, ...]:
    """Return the question for the breast where no ultrasound names one; none where an MRI alone shows one breast only."""
    if study.dce is not None:
        shown = shown_breasts(study.dce, choices.midline_mm)
        if not shown:
            return (Question("side", NARROW_SENTENCE, "mri"),)
        if len(shown) == 1 and not study.ultrasound:
            return ()
    return (Question("side", "In which breast is the tumour? No file says so.", "nothing"),)
