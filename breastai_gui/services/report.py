"""Session to Report: what the PDF says, in the order in which a radiologist reads it, without layout."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from breastai_gui.services.annotations import DCE
from breastai_gui.services.chosen import chosen_phases, pre_phase
from breastai_gui.services.kinetics import curve, early_phase, shown_phase, suggested_lesion_mm
from breastai_gui.services.plain_text import person_name
from breastai_gui.services.planes import PLANES, PlaneCut
from breastai_gui.services.preview import refuse_preview
from breastai_gui.services.questions import blocking_questions, open_questions
from breastai_gui.services.report_contents import CurvePlot, Legend, Pictures, Report, Section, Words
from breastai_gui.services.report_pictures import MriPictures, plane_of, ultrasound_image
from breastai_gui.services.report_tables import (
    answer_part,
    files_part,
    inputs_part,
    marks_part,
    patient_part,
    phase_name,
    phases_part,
    position_words,
    provenance_part,
    time_words,
)
from breastai_gui.services.ultrasound_angles import angle_words
from breastai_gui.services.words import STREAM_LONG_WORDS, STREAM_WORDS, TASK_WORDS
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from breastai_gui.data.study import DceSeries, Patient, Study
    from breastai_gui.services.annotations import Annotation
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.kinetics import Curve
    from breastai_gui.services.report_contents import KeyImage, Part
    from breastai_gui.services.session import Choices, Session
    from breastai_model.case import Stream

MOST_VIEWS = 12
MOST_MARKED_PLANES = 6
"""How many further MRI pictures are added for marks that lie on none of the key images."""


def compose(session: Session, version: str) -> Report:
    """Return the report of a session as it stands.

    Parameters
    ----------
    session
        The study, the person's choices, marks and words, and what the model said.
    version
        The program's version.

    Raises
    ------
    PreviewError
        If an answer is a fast preview.
    """
    study, state, assessments = session.study, session.state, session.assessments
    refuse_preview(assessments)
    choices = state.choices
    made_at = dt.datetime.now().astimezone()
    program = f"BreastAI {version}"
    sections = [
        Section("Patient and exam", patient_part(study, choices)),
        Section("Inputs", inputs_part(study, choices, assessments)),
    ]
    phases = chosen_phases(study, choices)
    if study.dce is not None:
        sections.append(Section("Dynamic phases", phases_part(study.dce, choices, phases)))
    sections.append(Section("The radiologist's reading", _reading_part(state.reading.findings, state.reading.impression)))
    sections.append(Section("Marks", marks_part(study, state.annotations)))
    sections.extend(_mri_sections(study, choices, phases, assessments, state.annotations))
    sections.extend(_ultrasound_sections(study, choices, assessments, state.annotations))
    sections.append(Section("The model's answer", _answers(assessments, choices)))
    problems: tuple[Part, ...] = tuple(
        Words(f"• {problem.text}" + (f" ({problem.file})" if problem.file else "")) for problem in study.problems
    )
    sections.append(Section("Problems found while reading", problems or (Words("None.", "note"),)))
    sections.append(Section("Files", files_part(study)))
    sections.append(Section("Provenance", provenance_part(study, assessments, program, made_at)))
    name, identifier = _identity(study, choices)
    shown = [word for word, there in (("MRI", study.dce is not None), ("ultrasound", bool(study.ultrasound))) if there]
    return Report(
        title="BreastAI report",
        heading=f"Breast {' and '.join(shown)}" if shown else "Breast exam without images",
        patient_name=name,
        patient_id=identifier,
        exam=study.taken_on.isoformat() if study.taken_on else "date unknown",
        draft_questions=tuple(question.text for question in blocking_questions(study, choices)),
        still_open=tuple(question.text for question in open_questions(study, choices) if not question.blocking),
        sections=tuple(sections),
        program=program,
        made_at=made_at,
    )


def _identity(study: Study, choices: Choices) -> tuple[str, str]:
    """Return what stands at the head of every page: name and ID, or both patients while they are not known to be one."""

    def whole(patient: Patient) -> str:
        return f"{person_name(patient.name) or 'name unknown'}, {patient.id or 'ID unknown'}"

    if study.ultrasound_patient is not None and study.patient_mismatch and choices.same_patient is not True:
        return f"MRI: {whole(study.patient)}", f"Ultrasound: {whole(study.ultrasound_patient)}"
    return person_name(study.patient.name) or "name unknown", study.patient.id or "ID unknown"


def lesion_of(study: Study, choices: Choices) -> tuple[tuple[float, float, float] | None, str]:
    """Return the lesion's LPS position in mm and what to call it: the person's mark, else a suggestion, else None."""
    if choices.lesion_mm is not None:
        return choices.lesion_mm, "lesion marked by the reader"
    pre = _pre_in_use(study, choices)
    if study.dce is None or pre is None:
        return None, ""
    return suggested_lesion_mm(study.dce, pre, chosen_phases(study, choices)), "suggested lesion"


def _pre_in_use(study: Study, choices: Choices) -> int | None:
    """Return the phase before contrast; None while it is not known, and where the person left it out."""
    pre = None if study.dce is None else pre_phase(study.dce, choices)
    return pre if pre in chosen_phases(study, choices) else None


def _reading_part(findings: str, impression: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for title, text in (("Findings", findings), ("Impression", impression)):
        parts += [Words(title, "heading"), Words(text) if text.strip() else Words("Nothing written.", "note")]
    return tuple(parts)


def _mri_sections(
    study: Study, choices: Choices, phases: tuple[int, ...], assessments: tuple[Assessment, ...], annotations: tuple[Annotation, ...]
) -> list[Section]:
    dce, pre = study.dce, _pre_in_use(study, choices)
    if dce is None:
        return []
    if pre is None or len(phases) < 2:
        why = "No subtraction, curve or key image: " + (
            "the pre-contrast phase is not known." if pre is None else "only one phase is in use."
        )
        return [Section("MRI", (Words(why, "warning"),))]
    lesion, word = lesion_of(study, choices)
    shown = shown_phase(dce, pre, phases)
    name = phase_name(dce, shown, "early" if early_phase(dce, pre, phases) == shown else "brightest")
    pictures = MriPictures(dce, pre, phases, shown, annotations)
    parts: list[Part] = []
    if lesion is not None and _inside(dce, lesion):
        parts.append(Words(f"Through the {word} at {position_words(lesion)}."))
        middle = lesion
        parts.append(Pictures(pictures.through(middle, name), 2, 70.0))
    else:
        x, y, z = (float(value) for value in dce.grid.to_patient((np.asarray(dce.grid.shape) - 1.0) / 2))
        middle, lesion = (x, y, z), None
        parts.append(Words("No lesion is marked and no enhancing region could be suggested: the middle of the volume is shown."))
        parts.append(Pictures(pictures.through(middle, name, target=False), 2, 70.0))
    sections = [Section("MRI key images", tuple(parts), new_page=True)]
    if extra := _marked_planes(dce, pictures, middle, annotations, name):
        sections.append(Section("MRI, further pictures with marks", extra))
    for assessment in assessments:
        heated: list[Part] = []
        maps = assessment.prediction.heatmaps
        both = [pictures.heated(middle, maps, stream, name) for stream in ("mri_agnostic", "mri_specific")]
        if all(both):
            heated = [_legend(assessment), Pictures(tuple(image for pair in zip(*both, strict=True) for image in pair), 2, 56.0)]
            heated += _task_part(assessment, choices, "mri_agnostic", pictures.task_maps(middle, maps, "mri_agnostic"))
            sections.append(Section("MRI heatmaps", tuple(heated), new_page=True))
    sections.append(Section("Enhancement curve", _curve_part(dce, pre, phases, lesion, word)))
    return sections


def _inside(dce: DceSeries, position_mm: tuple[float, float, float]) -> bool:
    index = dce.grid.to_index(np.asarray(position_mm))
    return bool(((index > -0.5) & (index < np.asarray(dce.grid.shape) - 0.5)).all())


def _marked_planes(
    dce: DceSeries, pictures: MriPictures, middle: tuple[float, float, float], annotations: tuple[Annotation, ...], name: str
) -> tuple[Part, ...]:
    """Return a picture for each MRI mark that lies on none of the three planes through `middle`."""
    images = []
    shown = {(plane, PlaneCut(dce.grid, plane).nearest(middle)) for plane in PLANES}
    for mark in annotations:
        if mark.image != DCE:
            continue
        x, y, z = (float(value) for value in np.mean(mark.points, axis=0))
        plane = plane_of(mark, dce)
        place = (plane, PlaneCut(dce.grid, plane).nearest((x, y, z)))
        if place not in shown:
            shown.add(place)
            images.append(pictures.image(plane, (x, y, z), "phase", name, target=False))
    parts: list[Part] = [Pictures(tuple(images[:MOST_MARKED_PLANES]), 3, 58.0)] if images else []
    if len(images) > MOST_MARKED_PLANES:
        parts.append(
            Words(f"{len(images) - MOST_MARKED_PLANES} more pictures with marks are left out; the table lists every mark.", "note")
        )
    return tuple(parts)


def _curve_part(
    dce: DceSeries, pre: int, phases: tuple[int, ...], lesion: tuple[float, float, float] | None, word: str
) -> tuple[Part, ...]:
    if lesion is None:
        return (Words("No curve: no lesion is marked and none could be suggested.", "note"),)
    found = curve(dce, pre, phases, lesion)
    axis = (
        "phase number"
        if found.times_s is None
        else {"injection": "seconds from injection"}.get(dce.time_origin, "seconds (injection assumed)")
    )
    where = f"Mean of {found.voxels} voxels within {found.radius_mm:g} mm of the {word} at {position_words(lesion)}."
    timed = f" {time_words(dce)}" if found.times_s is not None else ""
    return (CurvePlot(found, axis, pre), Words(f"{where} {curve_words(found)}{timed}"))


def curve_words(found: Curve) -> str:
    """Return the type of a curve in words, or why none is named."""
    parts = []
    if found.initial is not None:
        parts.append(f"Initial rise {found.initial}" + (f", delayed part {found.delayed}." if found.delayed else "."))
    if found.ser is not None:
        parts.append(f"Signal enhancement ratio {found.ser:.2f}.")
    if found.why_no_type:
        parts.append(found.why_no_type)
    return " ".join(parts)


def _ultrasound_sections(
    study: Study, choices: Choices, assessments: tuple[Assessment, ...], annotations: tuple[Annotation, ...]
) -> list[Section]:
    if not study.ultrasound:
        return []
    marked = {mark.image for mark in annotations}
    used = next((assessment.views for assessment in assessments if assessment.views), ())
    if used:
        first = [study.view(view_id) for view_id in used]
    else:
        first = [view for view in study.ultrasound if view.proposed or not any(other.proposed for other in study.ultrasound)]
    views = [*first[:MOST_VIEWS], *(view for view in study.ultrasound if view.id in marked and view not in first[:MOST_VIEWS])]
    parts: list[Part] = []
    if len(views) < len(study.ultrasound):
        parts.append(Words(f"{len(views)} of {len(study.ultrasound)} images are shown.", "note"))
    uncalibrated = sum(view.spacing_mm is None for view in views)
    if uncalibrated:
        parts.append(Words(f"{uncalibrated} of them carry no millimetres: they have no scale bar, and sizes are in pixels (px).", "note"))
    plain = tuple(ultrasound_image(view, angle_words(view, choices, "reader"), annotations) for view in views)
    parts.append(Pictures(plain, 4, 44.0))
    sections = [Section("Ultrasound", tuple(parts), new_page=True)]
    for assessment in assessments:
        if not assessment.prediction.inputs.angles:
            continue
        heated: list[Part] = [_legend(assessment)]
        streams: tuple[Stream, ...] = ("us_agnostic", "us_specific")
        for stream in streams:
            heated.append(Words(STREAM_LONG_WORDS[stream], "heading"))
            heated.append(
                Pictures(
                    tuple(
                        ultrasound_image(view, angle_words(view, choices, "reader"), (), (assessment, stream, "feature"))
                        for view in views[:MOST_VIEWS]
                    ),
                    4,
                    32.0,
                )
            )
        first_seen = study.view(assessment.views[assessment.prediction.inputs.angles[0]])
        by_task = tuple(
            replace(
                ultrasound_image(first_seen, angle_words(first_seen, choices, "reader"), (), (assessment, "us_agnostic", task)),
                caption=f"{first_seen.label}, {TASK_WORDS[task]}",
            )
            for task in TASKS
        )
        heated += _task_part(assessment, choices, "us_agnostic", by_task)
        sections.append(Section("Ultrasound heatmaps", tuple(heated), new_page=True))
    return sections


def _task_part(assessment: Assessment, choices: Choices, stream: Stream, images: tuple[KeyImage, ...]) -> tuple[Part, ...]:
    """Return one picture a question, with where its answer came from; nothing while the answers themselves are hidden."""
    if not images or (assessment.withheld and not choices.show_numbers):
        return ()
    what = f"Task maps, {STREAM_WORDS[stream]}: where each answer came from"
    return (Words(what, "heading"), Pictures(images, 3, 46.0))


def _legend(assessment: Assessment) -> Legend:
    return Legend(f"Heat, feature map of {assessment.model_name}: 0 (nothing) to 1 (strongest)", assessment.warning)


def _answers(assessments: tuple[Assessment, ...], choices: Choices) -> tuple[Part, ...]:
    if not assessments:
        return (Words("Not assessed: no model has looked at this exam.", "note"),)
    return tuple(part for assessment in assessments for part in answer_part(assessment, choices.show_numbers))
