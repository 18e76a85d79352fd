"""What the reporting checklists ask for, filled with what the program knows; the rest is left to the authors, and said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breastai_model.plan import Plan
    from breastai_model.training.evaluation import Evaluation

TO_FILL = "for the authors to fill in"
NO_PATIENTS = "does not apply: made-up patients"


def checklist(plan: Plan, evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return (item, what is known) after TRIPOD+AI (BMJ 2024;385:e078378) and CLAIM; headings are abridged.

    Parameters
    ----------
    plan
        Of the run that was evaluated.
    """
    made_up = plan.recipe.trained_on == "synthetic"
    people = NO_PATIENTS if made_up else TO_FILL
    positives = plan.recipe.positives
    first = evaluation.tasks["both"]
    counts = "; ".join(f"{task.replace('_', ' ')} {found.positives} of {found.cases} positive" for task, found in first.items())
    unknown = "; ".join(f"{task.replace('_', ' ')} {evaluation.cases - found.cases}" for task, found in first.items())
    seen = f"patient-level {evaluation.folds}-fold" if evaluation.folds > 1 else "one held-out set of whole patients"
    weighting = "each answer weighs by the inverse of its frequency" if plan.losses.class_weights else "no re-weighting, no re-sampling"
    drops = f"training shows {plan.drop_mri:.0%} of the cases without MRI and {plan.drop_ultrasound:.0%} without ultrasound"
    return [
        ("TRIPOD+AI 1–2 Title, abstract", TO_FILL),
        ("TRIPOD+AI 3–4 Background, objectives", TO_FILL),
        ("TRIPOD+AI 5 Data: source, dates", _source(plan)),
        ("TRIPOD+AI 6 Participants: setting, eligibility, treatment", people),
        (
            "TRIPOD+AI 7 Data preparation",
            f"recipe {plan.recipe.preset}, {plan.recipe.phases} MRI phases and {plan.recipe.angles} ultrasound angles, "
            "the same for every patient",
        ),
        (
            "TRIPOD+AI 8 Outcome",
            f"lymph node metastasis: {positives.lymph_node_metastasis}; grade: {positives.high_grade}; Ki-67: {positives.high_ki67}",
        ),
        ("TRIPOD+AI 9 Predictors", "images only; no clinical data, no text, no tag of a file"),
        (
            "TRIPOD+AI 10 Sample size",
            f"{evaluation.patients} patients; no calculation beforehand; the intervals show what the number allows",
        ),
        ("TRIPOD+AI 11 Missing data", f"unknown answers are left out ({unknown}); {drops}"),
        (
            "TRIPOD+AI 12 Analytical methods",
            f"evaluation: {seen}; {evaluation.resamples} patient-level bootstrap resamples; DeLong, McNemar, Holm over "
            f"the tasks; calibration {evaluation.calibration}",
        ),
        ("TRIPOD+AI 13 Class imbalance", f"{counts}; {weighting}"),
        ("TRIPOD+AI 14 Fairness", "subgroup table in this report" if evaluation.subgroups else f"no subgroup was named; {TO_FILL}"),
        ("TRIPOD+AI 15 Model output", "calibrated probability; reading at a threshold; conformal set, where there are enough patients"),
        (
            "TRIPOD+AI 16 Training versus evaluation",
            "no patient stands on both sides; nothing else is known to differ between them"
            if made_up
            else f"no patient stands on both sides; {TO_FILL}",
        ),
        ("TRIPOD+AI 17 Ethical approval", people),
        ("TRIPOD+AI 18 Open science: funding, conflicts, protocol, registration, data, code", TO_FILL),
        ("TRIPOD+AI 19 Patient and public involvement", people),
        ("TRIPOD+AI 20 Participants: flow, characteristics", people),
        (
            "TRIPOD+AI 21–22 Model development and specification",
            f"plan.json of the run: losses {plan.recipe.losses}, at most {plan.epochs} epochs, batch {plan.batch_size}, seed {plan.seed}; "
            "the weights file holds recipe and weights",
        ),
        ("TRIPOD+AI 23 Model performance", "this report, every figure with its interval"),
        ("TRIPOD+AI 24 Model updating", "none"),
        ("TRIPOD+AI 25–26 Interpretation, limitations", "section “What this cannot tell”; " + TO_FILL),
        ("TRIPOD+AI 27 Usability", TO_FILL),
        ("CLAIM Ground truth: who annotated, with what quality control", "the law that drew the phantoms" if made_up else TO_FILL),
        (
            "CLAIM Robustness",
            f"one modality taken away: this report; other scanners and hospitals: {TO_FILL if not made_up else 'not measured'}",
        ),
        ("CLAIM Failure analysis", TO_FILL),
        (
            "CLAIM External test",
            "none" if evaluation.calibration == "cross-fitted" else f"other predictions than those calibrated on; {TO_FILL}",
        ),
    ]


def _source(plan: Plan) -> str:
    if plan.recipe.trained_on != "synthetic":
        return TO_FILL
    if plan.data is None:
        return "made-up patients, written by this program"
    return f"made-up patients of the scenario {plan.data.scenario}, {plan.data.patients} from seed {plan.data.seed}"
