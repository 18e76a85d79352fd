"""The tables of a report: who, with what, which phases, which marks, what the model said, and where it all came from."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from breastai_gui.services.annotations import DCE, measure
from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE, OUTSIDE_SENTENCE
from breastai_gui.services.chosen import chosen_phases, pre_phase, reading_side
from breastai_gui.services.contribution_words import EXPLANATION, contribution_rows, error_words, signed
from breastai_gui.services.kinetics import early_phase, late_phase
from breastai_gui.services.plain_text import date_text, person_name
from breastai_gui.services.report_contents import RESEARCH_SENTENCE, Table, Words
from breastai_gui.services.report_pictures import plane_of
from breastai_gui.services.ultrasound_angles import angles_found
from breastai_gui.services.words import SCOPE_WORDS, STREAM_WORDS, TASK_WORDS, capital
from breastai_model.case import TASKS

if TYPE_CHECKING:
    import datetime as dt

    from breastai_gui.data.study import DceSeries, Patient, Study
    from breastai_gui.services.annotations import Annotation
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.report_contents import Part
    from breastai_gui.services.session import Choices
    from breastai_model.case import TaskPrediction

MOST_FILE_GROUPS = 30
LONGEST_NOTE = 120


def position_words(position_mm: tuple[float, ...]) -> str:
    """Return an LPS position as letters and millimetres: "L 60.0, A 40.0, H 10.0 mm"."""
    letters = (("L", "R"), ("P", "A"), ("H", "F"))
    return ", ".join(f"{pair[value < 0]} {abs(value):.1f}" for pair, value in zip(letters, position_mm, strict=True)) + " mm"


def phase_name(dce: DceSeries, phase: int, role: str) -> str:
    """Return "phase 3 (+150 s, early)", counted as read, without the time where it is unknown."""
    time = dce.times_s[phase]
    return f"phase {phase + 1} (" + ("" if time is None else f"{time:+.0f} s, ") + f"{role})"


def patient_part(study: Study, choices: Choices) -> tuple[Part, ...]:
    """Return who was examined; both identities side by side where MRI and ultrasound disagree."""
    mismatch = study.patient_mismatch

    def rows(patient: Patient) -> tuple[str, ...]:
        return person_name(patient.name), patient.id, date_text(patient.birth_date), patient.sex

    labels = ("Name", "Patient ID", "Birth date", "Sex")
    exam = (
        ("Date of exam", study.taken_on.isoformat() if study.taken_on else "unknown"),
        ("Exam", study.description or "not named"),
        ("Breast of this reading", reading_side(study, choices) or "unknown"),
        *((("Lesion of this reading", choices.lesion),) if choices.lesion else ()),
    )
    if not mismatch or study.ultrasound_patient is None:
        found = rows(study.patient)
        return (Table(tuple((a, b or "unknown") for a, b in (*zip(labels, found, strict=True), *exam)), (0.25, 0.75)),)
    both = zip(labels, rows(study.patient), rows(study.ultrasound_patient), strict=True)
    text = f"MRI and ultrasound disagree: {', '.join(mismatch)}."
    text += {
        True: " The reader confirmed that they show the same patient.",
        False: " The reader said that they show different patients: each modality is assessed alone.",
        None: " Nobody has confirmed that it is one patient.",
    }[choices.same_patient]
    return (
        Table(tuple((a, b or "unknown", c or "unknown") for a, b, c in both), (0.25, 0.375, 0.375), ("", "MRI", "Ultrasound")),
        Words(text, "plain" if choices.same_patient else "warning"),
        Table(exam, (0.25, 0.75)),
    )


def inputs_part(study: Study, choices: Choices, assessments: tuple[Assessment, ...]) -> tuple[Part, ...]:
    """Return what was found, what the model was given, and what was missing."""
    rows: list[tuple[str, ...]] = []
    if study.dce is None:
        rows.append(("MRI, dynamic phases", "none", "absent"))
    else:
        kept = chosen_phases(study, choices)
        rows.append(
            (
                "MRI, dynamic phases",
                f"{study.dce.phase_count} phases" + (f", {len(kept)} kept by the reader" if choices.phases is not None else ""),
                _phases_used(assessments),
            )
        )
    if not study.ultrasound:
        rows.append(("Ultrasound, angles", "none", "absent"))
    else:
        known = sum(view.spacing_mm is not None for view in study.ultrasound)
        found = f"{len(study.ultrasound)} images, {angles_found(study, choices)}, {known} with millimetres"
        rows.append(("Ultrasound, angles", found, _angles_used(study, assessments)))
    parts: list[Part] = [Table(tuple(rows), (0.2, 0.35, 0.45), ("Input", "Found", "Used by the model"))]
    for assessment in assessments:
        inputs = assessment.prediction.inputs
        breasts = f" Breasts on MRI: {' and '.join(inputs.breasts)}." if inputs.breasts else ""
        told = any(note.startswith("Side ") for note in inputs.notes)
        side = " Side of the tumour unknown: both orders were run and averaged." if inputs.side_unknown and not told else ""
        parts.append(Words(f"{capital(SCOPE_WORDS[assessment.scope])}: {assessment.subject}.{breasts}{side}", "note"))
        parts.extend(Words(note, "note") for note in inputs.notes)
    return tuple(parts)


def _phases_used(assessments: tuple[Assessment, ...]) -> str:
    for assessment in assessments:
        inputs = assessment.prediction.inputs
        if inputs.phases:
            used = [assessment.phases[place] + 1 for place in inputs.phases]
            left = [phase + 1 for phase in assessment.phases if phase + 1 not in used]
            more = f"; not used: {', '.join(map(str, left))}" if left else ""
            return f"{len(used)} of {inputs.phase_slots}: phases {', '.join(map(str, used))}{more}"
    return "none: MRI was not assessed" if assessments else "not assessed yet"


def _angles_used(study: Study, assessments: tuple[Assessment, ...]) -> str:
    for assessment in assessments:
        inputs = assessment.prediction.inputs
        if inputs.angles:
            left = len(study.ultrasound) - len(inputs.angles)
            return f"{len(inputs.angles)} of {inputs.angle_slots}" + (f"; images not used: {left}" if left else "")
    return "none: ultrasound was not assessed" if assessments else "not assessed yet"


def phases_part(dce: DceSeries, choices: Choices, phases: tuple[int, ...]) -> tuple[Part, ...]:
    """Return the phase table with times and the evidence for the order."""
    pre = pre_phase(dce, choices)
    early, late = (None, None) if pre is None else (early_phase(dce, pre, phases), late_phase(dce, pre, phases))
    rows = []
    for phase in (*phases, *(p for p in range(dce.phase_count) if p not in phases)):
        roles = [word for word, which in (("pre-contrast", pre), ("early", early), ("late", late)) if which == phase]
        time = dce.times_s[phase]
        source = dce.phases[phase]
        rows.append(
            (
                str(phase + 1),
                source.label,
                "unknown" if time is None else f"{time:.0f} s",
                ", ".join(roles) if phase in phases else "left out by the reader",
                ", ".join(f"{name} {re.sub(r'[.]0+$', '', value)}" for name, value in source.evidence.items()),
                str(source.file_count),
            )
        )
    confirmed = " Confirmed by the reader." if choices.phases_confirmed else ""
    who = "chosen by the reader" if choices.pre is not None else f"{dce.pre_confidence}: {dce.pre_evidence}"
    return (
        Table(tuple(rows), (0.065, 0.195, 0.095, 0.125, 0.45, 0.07), ("Phase", "Series", "Time", "Role", "Evidence", "Files")),
        Words(f"Order {dce.order_confidence}: {dce.order_evidence}.{confirmed}".replace("..", "."), "note"),
        Words(f"Pre-contrast phase {who}".rstrip(".") + ".", "note"),
        Words(time_words(dce), "note"),
    )


def time_words(dce: DceSeries) -> str:
    """Return one sentence that says what the times are counted from."""
    return {
        "injection": "Times are seconds from injection.",
        "assumed": "Times are seconds from the start of the first phase after contrast (injection assumed there).",
        "unknown": "The times of the phases are not known.",
    }[dce.time_origin]


def marks_part(study: Study, annotations: tuple[Annotation, ...]) -> tuple[Part, ...]:
    """Return every mark with its place, size and note."""
    if not annotations:
        return (Words("No marks.", "note"),)
    views = {view.id: view for view in study.ultrasound}
    rows = []
    for number, mark in enumerate(annotations, 1):
        middle = np.mean(mark.points, axis=0)
        if mark.image == DCE:
            image = f"MRI, {plane_of(mark, study.dce)}" if study.dce is not None else "MRI"
            place, spacing = position_words(tuple(float(value) for value in middle)), None
        else:
            view = views.get(mark.image)
            image = f"Ultrasound, {view.label}" if view else "Ultrasound, an image that is not here"
            place, spacing = f"row {middle[0]:.0f}, column {middle[1]:.0f} px", view.spacing_mm if view else None
        rows.append((str(number), mark.kind, image, place, str(measure(mark, spacing)) or "–", _short(mark.text, number)))
    long = ((number, mark.text) for number, mark in enumerate(annotations, 1) if len(mark.text) > LONGEST_NOTE)
    notes = (Words(f"Note to mark {number}: {text}") for number, text in long)
    return (Table(tuple(rows), (0.05, 0.09, 0.21, 0.23, 0.2, 0.22), ("No.", "Kind", "Image", "Centre", "Size", "Note")), *notes)


def _short(note: str, number: int) -> str:
    """Return a note as it stands in the table; a long one stands below it, whole."""
    return note if len(note) <= LONGEST_NOTE else f"below, note to mark {number}"


def answer_part(assessment: Assessment, show_numbers: bool) -> tuple[Part, ...]:
    """Return the model's answers; without the numbers where they say nothing of this patient and nobody asked for them."""
    parts: list[Part] = [Words(f"From {SCOPE_WORDS[assessment.scope]}", "heading")]
    parts.append(Words(assessment.subject, "note"))
    if assessment.says_nothing:
        parts.append(Words(f"{DEMONSTRATION_SENTENCE}.", "warning"))
    elif not assessment.valid_for_patients:
        parts.append(Words("Made-up patient of this program's own phantom, seen by a demonstration model that learnt from such.", "note"))
    if assessment.outside:
        parts.append(Words(f"{OUTSIDE_SENTENCE}.", "warning"))
        parts += [Words(f"• {reason}", "note") for reason in assessment.outside]
    elif assessment.prediction.distribution is not None:
        parts.append(Words("Its pictures are like those that the model has seen.", "note"))
    header = ("Question", "Probability", "Model spread", "Answer", "Answers that remain possible")
    widths = (0.26, 0.14, 0.16, 0.22, 0.22)
    if assessment.withheld and not show_numbers:
        rows = tuple((TASK_WORDS[task], "hidden", "hidden", "hidden", "hidden") for task in TASKS)
        parts.append(Table(rows, widths, header))
        parts.append(Words("hidden: the numbers are printed only when the reader asks for them.", "note"))
        return tuple(parts)
    parts.append(Table(tuple((TASK_WORDS[task], *_answer(assessment.prediction.task(task))) for task in TASKS), widths, header))
    share = assessment.prediction.heatmaps.energy_share
    text = ", ".join(f"{STREAM_WORDS[name]} {100 * share.get(name, 0.0):.0f} %" for name in STREAM_WORDS)
    parts.append(Words(f"Share of the feature energy: {text}.", "note"))
    return (*parts, *contributions_part(assessment))


def contributions_part(assessment: Assessment) -> tuple[Part, ...]:
    """Return what each input added to the answers, where that was computed."""
    rows = contribution_rows(assessment)
    if not rows:
        return ()
    table = tuple((("– " if row.part else "") + row.name, *(signed(number) for number in row.numbers)) for row in rows)
    header = ("Input", *(TASK_WORDS[task] for task in TASKS))
    note = f"{EXPLANATION} {error_words(assessment)}".strip()
    return (Words("What each input added", "heading"), Table(table, (0.25, 0.25, 0.25, 0.25), header), Words(note, "note"))


def _answer(answer: TaskPrediction) -> tuple[str, str, str, str]:
    spread = "one model" if answer.spread is None else f"{answer.spread[0]:.2f} to {answer.spread[1]:.2f}"
    none = "too few to say" if answer.calibrated else "not calibrated"
    possible = none if answer.prediction_set is None else " or ".join(answer.prediction_set) or "none"
    return f"{answer.probability:.2f}", spread, f"{answer.decision} (threshold {answer.threshold:.2f})", possible


def files_part(study: Study) -> tuple[Part, ...]:
    """Return what became of the files: grouped, every one counted."""
    used = Counter(_group(file.used_as) for file in study.files if file.used_as)
    unused = Counter(file.why_not or "no reason given" for file in study.files if not file.used_as)
    rows = [(f"used as {what}", str(count)) for what, count in used.items()]
    rows += [(f"not used: {why}", str(count)) for why, count in unused.most_common()]
    if len(rows) > MOST_FILE_GROUPS:
        rest = sum(int(count) for _, count in rows[MOST_FILE_GROUPS - 1 :])
        rows = [*rows[: MOST_FILE_GROUPS - 1], (f"{len(rows) - MOST_FILE_GROUPS + 1} more reasons", str(rest))]
    total = f"{len(study.files)} files read: {sum(used.values())} used, {sum(unused.values())} not used."
    parts: list[Part] = [Words(total)]
    if rows:
        parts.append(Table(tuple(rows), (0.85, 0.15), ("What became of them", "Files")))
    if study.others:
        listed = tuple((other.label, other.role, str(other.file_count)) for other in study.others)
        parts.append(Words("Series that are listed, never given to the model", "heading"))
        parts.append(Table(listed, (0.5, 0.35, 0.15), ("Series", "What it is", "Files")))
    return tuple(parts)


def _group(used_as: str) -> str:
    """Return what a file was used as, without the number of its slice or view: "phase 2", "ultrasound view"."""
    first = used_as.split(",")[0].strip()
    return first if first.startswith("phase") else re.sub(r"\s*\d+( to \d+)?$", "", first)


def provenance_part(study: Study, assessments: tuple[Assessment, ...], program: str, made_at: dt.datetime) -> tuple[Part, ...]:
    """Return where every number came from."""
    moment = "%Y-%m-%d %H:%M:%S %Z"
    rows: list[tuple[str, str]] = [
        ("Program", program),
        ("Report written", made_at.strftime(moment)),
        ("Input (SHA-256)", study.key),
        ("Made-up patient", "yes, every image was written by this program's phantom" if study.phantom else "no"),
    ]
    for assessment in assessments:
        prediction = assessment.prediction
        note = f" ({prediction.device_note})" if prediction.device_note else ""
        rows += [
            ("Assessed from", SCOPE_WORDS[assessment.scope]),
            ("Model", f"{assessment.model_name} {assessment.model_version}"),
            ("Model SHA-256", assessment.model_sha256),
            ("Learnt from", "made-up patients" if assessment.trained_on == "synthetic" else "patients"),
            ("Valid for patients", "yes" if assessment.valid_for_patients else "no"),
            ("Device, engine, precision", f"{prediction.device}{note}, {prediction.engine}, {prediction.precision}"),
            ("Assessed at", f"{assessment.made_at.strftime(moment)}, in {prediction.seconds:.1f} s"),
        ]
    if not assessments:
        rows.append(("Model", "not assessed"))
    return (Table(tuple(rows), (0.25, 0.75)), Words(RESEARCH_SENTENCE, "plain"))
