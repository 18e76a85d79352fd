"""Study to Case to Prediction to Assessment: the only place where a patient's exam becomes model input."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from breastai_gui.services.assessment import Assessment
from breastai_gui.services.breasts import shown_breasts
from breastai_gui.services.chosen import chosen_phases, chosen_views, pre_phase, reading_side
from breastai_gui.services.questions import NARROW_SENTENCE, open_questions
from breastai_gui.services.ultrasound_angles import angle_assumed, angle_of
from breastai_gui.services.words import SCOPE_WORDS
from breastai_model.case import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from breastai_gui.data.study import DceSeries, Study
    from breastai_gui.services.assessment import Scope
    from breastai_gui.services.models import InstalledModel, Models
    from breastai_gui.services.predicting import PredictingProcess
    from breastai_gui.services.session import Choices
    from breastai_model.case import InputsUsed
    from breastai_model.inference.predict import Engine, MapDepth


class AssessError(Exception):
    """An exam cannot be assessed as it stands; the text is one sentence that says what is missing."""


@dataclass(frozen=True, slots=True)
class AssessmentPlan:
    """What will be assessed, and why not more.

    Attributes
    ----------
    scopes
        ("joint",), or each modality that can be assessed alone, or nothing.
    reasons
        One sentence for each modality or join that is left out on account of an open question.
    """

    scopes: tuple[Scope, ...]
    reasons: tuple[str, ...]


def plan_of(study: Study, choices: Choices) -> AssessmentPlan:
    """Return what may be assessed while the open questions are what they are."""
    questions = open_questions(study, choices)
    reasons = [question.text for question in questions if question.blocking]
    mri = study.dce is not None and not any(question.blocks == "mri" for question in questions)
    if mri and (refusal := _mri_refusal(study, choices)):
        mri = False
        reasons.append(refusal)
    # Views of two breasts or of two lesions are not the angles of one tumour: not even ultrasound alone says anything.
    lesions = {view.lesion for view in study.ultrasound if view.lesion}
    mixed = (reading_side(study, choices) is None and len(study.ultrasound_sides) > 1) or (choices.lesion is None and len(lesions) > 1)
    ultrasound = bool(chosen_views(study, choices)) and not mixed
    apart = bool(study.patient_mismatch) and choices.same_patient is False
    if apart:
        reasons.append("MRI and ultrasound are kept apart, because the reader said that they show different patients.")
    if mri and ultrasound and not apart and not any(question.blocks == "joint" for question in questions):
        return AssessmentPlan(("joint",), tuple(reasons))
    alone: list[Scope] = []
    if mri:
        alone.append("mri")
    if ultrasound:
        alone.append("ultrasound")
    return AssessmentPlan(tuple(alone), tuple(reasons))


def case_of(study: Study, choices: Choices, scope: Scope) -> Case:
    """Return the model's input for a study: the identity is left behind, nothing is guessed.

    Raises
    ------
    AssessError
        If the phase before contrast is not known or was left out, or no breast can be named.
    """
    side = reading_side(study, choices)
    views = chosen_views(study, choices) if scope != "mri" else ()
    ultrasound: dict[str, Any] = {
        "ultrasound": tuple(view.pixels for view in views),
        "ultrasound_spacing_mm": tuple(view.spacing_mm for view in views),
        "angles_deg": tuple(angle_of(view, choices) for view in views),
    }
    if study.dce is None or scope == "ultrasound":
        if not views:
            raise AssessError("There is nothing to assess: neither a dynamic MRI series nor an ultrasound image is in use.")
        return Case(
            dce=None,
            dce_scale=None,
            dce_affine=None,
            dce_times_s=None,
            pre=0,
            breasts=frozenset(),
            midline_mm=None,
            side=side,
            **ultrasound,
        )
    if refusal := _mri_refusal(study, choices):
        raise AssessError(refusal)
    dce, phases, pre = study.dce, chosen_phases(study, choices), pre_phase(study.dce, choices)
    breasts = shown_breasts(dce, choices.midline_mm) or frozenset({side} if side else ())
    if side is None and scope == "mri" and len(breasts) == 1:
        side = next(iter(breasts))
    return Case(
        dce=_of_phases(dce.values, phases),
        dce_scale=_of_phases(dce.scale, phases),
        dce_affine=dce.grid.affine,
        dce_times_s=_rising_times(dce, phases),
        pre=phases.index(pre) if pre is not None else 0,  # _mri_refusal made sure of it
        breasts=breasts,
        midline_mm=choices.midline_mm,
        side=side,
        **ultrasound,
    )


def assess(
    study: Study,
    choices: Choices,
    models: Models,
    predicting: PredictingProcess,
    device: str = "auto",
    tell: Callable[[float, str], None] | None = None,
    maps: MapDepth = "all",
    engine: Engine = "torch",
) -> tuple[Assessment, ...]:
    """Ask the active model about a study: both modalities together, or each alone while a question is open.

    Parameters
    ----------
    study, choices
        What was read, and what the person settled.
    models
        Names the active model.
    predicting
        The process that runs it.
    device, maps, engine
        See `PredictingProcess.predict`; the engine "preview" is for no report.
    tell
        Called with the fraction that is done, 0 to 1, and what is being done.

    Raises
    ------
    AssessError
        If nothing may be assessed while the open questions are what they are.
    PredictError
        If the model gave no answer.
    """
    plan = plan_of(study, choices)
    if not plan.scopes:
        why = " ".join(plan.reasons) or "Neither a dynamic MRI series nor an ultrasound image is in use."
        raise AssessError(f"Nothing can be assessed yet. {why}")
    cases = {scope: case_of(study, choices, scope) for scope in plan.scopes}
    model = models.active()
    answers = []
    for number, (scope, case) in enumerate(cases.items()):

        def step(fraction: float, text: str, number: int = number, scope: Scope = scope) -> None:
            if tell is not None:
                alone = "" if scope == "joint" or len(cases) == 1 else f" ({SCOPE_WORDS[scope]})"
                tell((number + fraction) / len(cases), text + alone)

        prediction = predicting.predict(model, case, device, step, maps, engine)
        answers.append(
            Assessment(
                scope=scope,
                prediction=prediction,
                study_key=study.key,
                phases=chosen_phases(study, choices) if case.dce is not None else (),
                views=tuple(view.id for view in chosen_views(study, choices)) if case.ultrasound else (),
                subject=subject_of(study, choices, scope, case, prediction.inputs),
                model_name=model.name,
                model_version=model.version,
                model_sha256=model.sha256,
                trained_on=model.trained_on,
                phantom=study.phantom,
                made_at=dt.datetime.now().astimezone(),
            )
        )
    return tuple(answers)


def weighed(
    study: Study,
    choices: Choices,
    assessments: tuple[Assessment, ...],
    models: Models,
    predicting: PredictingProcess,
    device: str = "auto",
    engine: Engine = "torch",
) -> tuple[Assessment, ...]:
    """Return assessments with what each input added to their answers.

    Raises
    ------
    AssessError
        If the model in use is no longer the one that gave the answers.
    PredictError
        If the model gave no answer.
    """
    model = _same_model(assessments, models)
    found = []
    for assessment in assessments:
        contributions = predicting.contributions(model, case_of(study, choices, assessment.scope), device, engine=engine)
        found.append(replace(assessment, prediction=replace(assessment.prediction, contributions=contributions)))
    return tuple(found)


def phase_by_phase(
    study: Study,
    choices: Choices,
    assessments: tuple[Assessment, ...],
    models: Models,
    predicting: PredictingProcess,
    device: str = "auto",
) -> tuple[Assessment, ...]:
    """Return assessments with the MRI heatmaps of each single phase; one without MRI as it is.

    Raises
    ------
    AssessError
        If the model in use is no longer the one that gave the answers.
    PredictError
        If the model gave no answer, or reads all phases together.
    """
    model = _same_model(assessments, models)
    found = []
    for assessment in assessments:
        maps = None
        if assessment.scope != "ultrasound":
            maps = predicting.phase_heatmaps(model, case_of(study, choices, assessment.scope), device)
        found.append(replace(assessment, prediction=replace(assessment.prediction, phase_heatmaps=maps)))
    return tuple(found)


def _same_model(assessments: tuple[Assessment, ...], models: Models) -> InstalledModel:
    model = models.active()
    if any(assessment.model_sha256 != model.sha256 for assessment in assessments):
        raise AssessError("Another model is in use than the one that gave this answer: predict again first.")
    return model


def completed(now: tuple[Assessment, ...], found: tuple[Assessment, ...]) -> tuple[Assessment, ...] | None:
    """Return the answers of now with what was asked for later; None where that belongs to other answers.

    Several things may be asked for before the first of them is there.
    """
    if [assessment.made_at for assessment in now] != [assessment.made_at for assessment in found]:
        return None
    whole = []
    for old, new in zip(now, found, strict=True):
        prediction = replace(
            old.prediction,
            contributions=new.prediction.contributions or old.prediction.contributions,
            phase_heatmaps=new.prediction.phase_heatmaps or old.prediction.phase_heatmaps,
        )
        whole.append(replace(old, prediction=prediction))
    return tuple(whole)


def subject_of(study: Study, choices: Choices, scope: Scope, case: Case, inputs: InputsUsed) -> str:
    """Return one line on what an answer speaks of: which breast, which lesion, what the network saw and what was absent."""
    if case.side is None:
        breast = "Side unknown"
    else:
        source = "chosen" if choices.side else "from the ultrasound" if study.ultrasound_sides else "the only one that the MRI shows"
        breast = f"{case.side.capitalize()} breast ({source})"
    parts = [breast]
    if scope != "mri" and choices.lesion:
        parts.append(f"lesion {choices.lesion}")
    if len(case.breasts) == 1:
        parts.append(f"the MRI shows the {next(iter(case.breasts))} breast only")
    if case.dce is None:
        parts.append("no MRI" if study.dce is None else "ultrasound alone, the MRI was not used")
    else:
        used, given = len(inputs.phases), len(case.dce)
        parts.append(f"{used} MRI phases" if used == given else f"{used} of {given} MRI phases")
    if not case.ultrasound:
        parts.append("no ultrasound" if not study.ultrasound else "MRI alone, the ultrasound was not used")
    else:
        parts.append(f"{len(inputs.angles)} of {max(inputs.angle_slots, len(case.ultrasound))} ultrasound angles")
        if None in case.angles_deg:
            parts[-1] += ", not every angle known"
        if any(angle_assumed(view, choices) for view in chosen_views(study, choices)):
            parts[-1] += ", angles assumed"
    return "; ".join(parts)


def _mri_refusal(study: Study, choices: Choices) -> str:
    """Return why the MRI cannot be assessed as the person set it up, in one sentence; "" when it can."""
    if study.dce is None:
        return ""
    phases, pre = chosen_phases(study, choices), pre_phase(study.dce, choices)
    if pre is None:
        return "Which phase is before contrast is not known: say so in the phase table, then the MRI can be assessed."
    if pre not in phases:
        return f"Phase {pre + 1}, the one before contrast, was left out: take it in again, the MRI means nothing without it."
    if len(phases) < 2:
        return "Only the phase before contrast is in use: the MRI needs at least one phase after it."
    if not shown_breasts(study.dce, choices.midline_mm) and reading_side(study, choices) is None:
        return NARROW_SENTENCE
    return ""


def _of_phases(values: NDArray[Any], phases: tuple[int, ...]) -> NDArray[Any]:
    """Return the chosen phases, sharing the study's memory wherever they follow one another."""
    if phases == tuple(range(phases[0], phases[0] + len(phases))):
        return values[phases[0] : phases[0] + len(phases)]
    return values[list(phases)]


def _rising_times(dce: DceSeries, phases: tuple[int, ...]) -> tuple[float, ...] | None:
    """Return the times of the chosen phases, None when one is unknown or the chosen order contradicts them."""
    times = [time for phase in phases if (time := dce.times_s[phase]) is not None]
    if len(times) < len(phases) or any(later <= earlier for earlier, later in itertools.pairwise(times)):
        return None
    return tuple(times)
