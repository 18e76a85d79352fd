"""The assessment as a JSON document for another program: what was read, what was used, what the model said.

It names no patient: who it is about is known to whoever opened the folder.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE, OUTSIDE_SENTENCE
from breastai_gui.services.chosen import chosen_phases, chosen_views, pre_phase, reading_side
from breastai_gui.services.preview import refuse_preview
from breastai_gui.services.questions import blocking_questions, open_questions
from breastai_gui.services.ultrasound_angles import angle_of
from breastai_model.case import TASKS
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_gui.data.study import Study
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.session import Choices, Session

SCHEMA = "breastai-assessment/1"


def document(session: Session, version: str) -> dict[str, Any]:
    """Return the whole document as plain JSON values.

    Parameters
    ----------
    session
        Study, choices and assessments.
    version
        The program's version.

    Returns
    -------
    dict
        Probabilities are None where a demonstration model looked at a study that the phantom did not write, or the exam lies
        outside what the model has seen, and nobody asked for the numbers.
    """
    refuse_preview(session.assessments)
    study, choices = session.study, session.choices
    questions = open_questions(study, choices)
    return {
        "schema": SCHEMA,
        "research_use_only": True,
        "draft": bool(blocking_questions(study, choices)),
        "valid_for_patients": bool(session.assessments) and all(assessment.valid_for_patients for assessment in session.assessments),
        "study": _study(study, choices),
        "questions": [{"kind": question.kind, "text": question.text, "blocks": question.blocks} for question in questions],
        "choices": {
            "same_patient_confirmed": choices.same_patient,
            "phases_confirmed": choices.phases_confirmed,
            "show_numbers": choices.show_numbers,
        },
        "assessments": [_assessment(assessment, study, choices) for assessment in session.assessments],
        "files": [{"file": use.file, "used_as": use.used_as or None, "why_not": use.why_not or None} for use in study.files],
        "problems": [{"text": problem.text, "file": problem.file or None, "stops": problem.stops} for problem in study.problems],
        "program": {"name": "BreastAI", "version": version},
    }


def write(session: Session, version: str, path: Path) -> None:
    """Write the document; OSError when it cannot be written."""
    text = json.dumps(document(session, version), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    replace_text(path, text)


def _study(study: Study, choices: Choices) -> dict[str, Any]:
    angles = dict(choices.angles)
    used_views = {view.id for view in chosen_views(study, choices)}
    return {
        "key": study.key,
        "taken_on": study.taken_on.isoformat() if study.taken_on else None,
        "made_by_phantom": study.phantom,
        "identity_differs_in": list(study.patient_mismatch),
        "side": reading_side(study, choices),
        "lesion": choices.lesion,
        "mri": _mri(study, choices),
        "ultrasound": [
            {
                "id": view.id,
                "label": view.label,
                "angle_deg": angle_of(view, choices),
                "angle_source": "edited" if view.id in angles else view.angle_source or None,
                "spacing_mm": list(view.spacing_mm) if view.spacing_mm else None,
                "spacing_source": view.spacing_source or None,
                "side": view.side,
                "lesion": view.lesion or None,
                "in_use": view.id in used_views,
            }
            for view in study.ultrasound
        ],
        "other_series": [{"label": other.label, "role": other.role, "files": other.file_count} for other in study.others],
    }


def _mri(study: Study, choices: Choices) -> dict[str, Any] | None:
    dce = study.dce
    if dce is None:
        return None
    used = chosen_phases(study, choices)
    return {
        "shape": list(dce.grid.shape),
        "spacing_mm": [round(float(spacing), 6) for spacing in dce.grid.spacing_mm],
        "affine_lps_mm": [[round(float(number), 6) + 0.0 for number in row] for row in dce.grid.affine],
        "time_origin": dce.time_origin,
        "order": {"confidence": dce.order_confidence, "evidence": dce.order_evidence},
        "pre_contrast": {
            "phase": pre_phase(dce, choices),
            "confidence": "confirmed" if choices.pre is not None or choices.phases_confirmed else dce.pre_confidence,
            "evidence": dce.pre_evidence,
        },
        "phases": [
            {
                "index": index,
                "label": phase.label,
                "series_number": phase.series_number,
                "time_s": dce.times_s[index],
                "files": phase.file_count,
                "evidence": dict(phase.evidence),
                "in_use": index in used,
            }
            for index, phase in enumerate(dce.phases)
        ],
        "phases_in_use": list(used),
    }


def _assessment(assessment: Assessment, study: Study, choices: Choices) -> dict[str, Any]:
    prediction, inputs = assessment.prediction, assessment.prediction.inputs
    hidden = assessment.withheld and not choices.show_numbers
    used_phases = [assessment.phases[index] for index in inputs.phases]
    used_views = [assessment.views[index] for index in inputs.angles]
    return {
        "scope": assessment.scope,
        "subject": assessment.subject,
        "valid_for_patients": assessment.valid_for_patients,
        "notice": DEMONSTRATION_SENTENCE if assessment.says_nothing else None,
        "numbers_hidden": hidden,
        "in_distribution": _distribution(assessment),
        "predictions": {
            task: {
                "probability": None if hidden else round(answer.probability, 6),
                "spread": None if hidden or answer.spread is None else [round(bound, 6) for bound in answer.spread],
                "prediction_set": None if hidden or answer.prediction_set is None else list(answer.prediction_set),
                "calibrated": answer.calibrated,
                "threshold": answer.threshold,
                "decision": None if hidden else answer.decision,
            }
            for task in TASKS
            for answer in [prediction.task(task)]
        },
        "inputs": {
            "phases": used_phases,
            "phases_not_used": [phase for phase in range(study.dce.phase_count if study.dce else 0) if phase not in used_phases],
            "phase_slots": inputs.phase_slots,
            "views": used_views,
            "views_not_used": [view.id for view in study.ultrasound if view.id not in used_views],
            "angle_slots": inputs.angle_slots,
            "breasts": list(inputs.breasts),
            "side_unknown": inputs.side_unknown,
            "missing": _missing(assessment),
            "notes": list(inputs.notes),
        },
        "energy_share": None if hidden else {stream: round(float(share), 6) for stream, share in prediction.heatmaps.energy_share.items()},
        "contributions": _contributions(assessment, hidden),
        "provenance": {
            "model": assessment.model_name,
            "model_version": assessment.model_version,
            "model_sha256": assessment.model_sha256,
            "trained_on": assessment.trained_on,
            "device": prediction.device,
            "device_note": prediction.device_note or None,
            "engine": prediction.engine,
            "precision": prediction.precision,
            "seconds": round(prediction.seconds, 3),
            "made_at": assessment.made_at.isoformat(timespec="seconds"),
            "input_key": input_key(assessment, choices),
        },
    }


def _distribution(assessment: Assessment) -> dict[str, Any] | None:
    """Return the verdict on whether the exam is like what the model has seen; None where the weights cannot say."""
    verdict = assessment.prediction.distribution
    if verdict is None:
        return None
    return {
        "inside": verdict.inside,
        "distance": None if verdict.distance is None else round(verdict.distance, 4),
        "threshold": verdict.threshold,
        "reasons": list(verdict.reasons),
        "sentence": None if verdict.inside else f"{OUTSIDE_SENTENCE}.",
    }


def _contributions(assessment: Assessment, hidden: bool) -> dict[str, Any] | None:
    """Return what each input added to the log-odds; None where it was not asked for or the numbers are hidden."""
    found = assessment.prediction.contributions
    if found is None or hidden:
        return None

    def by_task(numbers: tuple[float, ...]) -> dict[str, float]:
        return {task: round(number, 4) for task, number in zip(TASKS, numbers, strict=True)}

    return {
        "unit": "log-odds",
        "base": by_task(found.base),
        "mri": None if found.mri is None else by_task(found.mri),
        "ultrasound": None if found.ultrasound is None else by_task(found.ultrasound),
        "phases": [{"phase": assessment.phases[index], **by_task(numbers)} for index, numbers in found.phases],
        "views": [{"view": assessment.views[index], **by_task(numbers)} for index, numbers in found.angles],
        "standard_error": round(found.angle_error, 4),
    }


def _missing(assessment: Assessment) -> list[str]:
    inputs = assessment.prediction.inputs
    missing = []
    if not inputs.phases:
        missing.append("MRI")
    elif len(inputs.phases) < inputs.phase_slots:
        missing.append(f"{inputs.phase_slots - len(inputs.phases)} of {inputs.phase_slots} MRI phases")
    if not inputs.angles:
        missing.append("ultrasound")
    elif len(inputs.angles) < inputs.angle_slots:
        missing.append(f"{inputs.angle_slots - len(inputs.angles)} of {inputs.angle_slots} ultrasound angles")
    return missing


def input_key(assessment: Assessment, choices: Choices) -> str:
    """Return a SHA-256 of all that the answer rests on besides the weights: files, phases, views, angles, side, midline."""
    values = {
        "study": assessment.study_key,
        "scope": assessment.scope,
        "phases": assessment.phases,
        "pre": choices.pre,
        "views": assessment.views,
        "angles": sorted(pair for pair in choices.angles if pair[0] in assessment.views),
        "side": choices.side,
        "lesion": choices.lesion,
        "midline_mm": choices.midline_mm,
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()
