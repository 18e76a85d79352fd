"""`breastai evaluate`: from a run's predictions to `evaluation.html` and `result.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from breastai_gui.services.evaluation_plots import NAMES, decision_plot, reliability_plot, roc_plot
from breastai_gui.services.evaluation_report_checklist import checklist
from breastai_gui.services.evaluation_report_tables import (
    TASK_TITLES,
    comparison_table,
    fold_table,
    paper_table,
    probability_table,
    reading_table,
    sets_table,
    subgroup_table,
)
from breastai_gui.services.subgroups import with_subgroups
from breastai_model.case import TASKS
from breastai_model.run_folder import RunFolder
from breastai_model.training.calibrate import calibrated
from breastai_model.training.delong import EQUIVALENCE_MARGIN
from breastai_model.training.evaluate import evaluated
from breastai_model.training.predictions import FILE_NAME, Predictions
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_model.plan import Plan
    from breastai_model.training.evaluation import Evaluation

HTML, JSON = "evaluation.html", "result.json"
MADE_UP = "Made-up patients: nothing here says anything about patients."
CANNOT = (
    "clinical accuracy",
    "whether the figures hold for other scanners, field strengths, contrast agents, ultrasound systems or hospitals",
    "calibration at the prevalence of a real clinic",
    "any benefit over, or for, radiologists",
)
MOST_COVERAGE = 0.99
STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff;
  max-width: 1120px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 24px; margin-bottom: 4px; } h2 { font-size: 18px; margin-top: 34px; border-bottom: 1px solid #bbb; padding-bottom: 3px; }
h3 { font-size: 15px; margin: 22px 0 6px; }
.statement { border: 2px solid #8a1f11; border-radius: 4px; padding: 8px 14px; font-weight: 600; color: #6b170c; margin: 14px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 10px 0; font-size: 13px; }
th, td { border: 1px solid #c9c9c9; padding: 4px 8px; text-align: left; vertical-align: top; }
thead th { background: #f0f2f5; }
td.figure { font-variant-numeric: tabular-nums; white-space: nowrap; }
.interval, .n { display: block; font-size: 11.5px; color: #444; }
.plots { display: flex; flex-wrap: wrap; gap: 8px 14px; }
.plot { font: 11px system-ui, "DejaVu Sans", sans-serif; max-width: 100%; height: auto; }
.plot text { fill: #1a1a1a; }
.small { font-size: 12.5px; color: #333; }
@media print { body { max-width: none; margin: 0; font-size: 11px; } table { font-size: 9px; } .interval, .n { font-size: 8.5px; }
  h2 { break-after: avoid; } tr, .plot, .plots { break-inside: avoid; }
  .plots .plot { width: 31%; } @page { size: A4 landscape; margin: 12mm; } }
"""


class EvaluationError(Exception):
    """The run cannot be evaluated; the text is one sentence."""


@dataclass(frozen=True, eq=False, slots=True)
class Written:
    """What was found, the page that tells it, and whether the patients were made up."""

    evaluation: Evaluation
    page: Path
    made_up: bool


def evaluate_run(run: Path, out: Path | None = None, predictions: Path | None = None, coverage: float = 0.9) -> Written:
    """Evaluate a run and write `evaluation.html` and `result.json`.

    Parameters
    ----------
    run
        The run's folder.
    out
        Where to write; by default `evaluation` in the run's folder.
    predictions
        A file of predictions for other patients; they are read with the calibration of the run's own predictions. By default the
        run's own predictions are evaluated, each part with the calibration of the others.
    coverage
        How often the conformal sets shall hold the truth, 0.5 to 0.99.

    Raises
    ------
    EvaluationError
        If that is no run, it has no predictions, or there are no sets of that coverage.
    breastai_model.training.predictions.PredictionsError
        If the predictions are damaged.
    OSError
        If nothing can be written there.
    """
    if not 0.5 <= coverage <= MOST_COVERAGE:
        raise EvaluationError(f"Sets hold the truth in 0.5 to {MOST_COVERAGE} of the patients, not in {coverage:g}: choose another share.")
    folder = RunFolder(run)
    if not folder.has_plan():
        raise EvaluationError(f"{run} is not the folder of a training run: it holds no plan.json.")
    try:
        plan, cohort = folder.plan(), folder.cohort()
    except ValueError as error:
        raise EvaluationError(str(error)) from error
    own = run / FILE_NAME
    if not own.is_file() and predictions is None:
        raise EvaluationError(
            f"The run {folder.name} has no {FILE_NAME}: it has not finished, or an older version of the program made it; "
            "train it to its end, or name a file with --predictions."
        )
    calibration = None
    chosen = with_subgroups(Predictions.read(own), cohort) if predictions is None else Predictions.read(predictions)
    if predictions is not None and own.is_file():
        learnt = Predictions.read(own)
        if learnt.to_json() != chosen.to_json():
            calibration = calibrated(learnt, coverage)
    evaluation = evaluated(chosen, calibration, coverage)
    target = run / "evaluation" if out is None else out
    document = json.dumps(result(folder.name, plan, evaluation), indent=1, ensure_ascii=False, allow_nan=False)
    replace_text(target / JSON, document)
    page = report(folder.name, plan, evaluation)
    replace_text(target / HTML, page)
    return Written(evaluation, target / HTML, plan.recipe.trained_on == "synthetic")


def result(name: str, plan: Plan, evaluation: Evaluation) -> dict[str, object]:
    """Return what stands in `result.json`."""
    made_up = plan.recipe.trained_on == "synthetic"
    return {
        "run": name,
        "model": plan.name,
        "made_up_patients": made_up,
        "statement": MADE_UP if made_up else "",
        **evaluation.to_json(),
        "notes": notes(plan, evaluation),
    }


def notes(plan: Plan, evaluation: Evaluation) -> list[str]:
    """Return the sentences beside the figures: those of the evaluation and what the plan adds."""
    found = list(evaluation.notes)
    # With folds each one's own patients choose nothing: a share of the others does.
    if evaluation.calibration == "cross-fitted" and plan.folds == 0 and plan.watch == "validation":
        found.append("The held-out patients also chose the best epoch, so the true values are rather lower.")
    return found


def report(name: str, plan: Plan, evaluation: Evaluation) -> str:
    """Return the report as one page of HTML that needs nothing else."""
    made_up = plan.recipe.trained_on == "synthetic"
    people = "made-up patients" if made_up else "patients"
    split = f"{evaluation.folds} folds" if evaluation.folds > 1 else "one held-out set"
    statement = f'<p class="statement">{MADE_UP}</p>' if made_up else ""
    folds, subgroups = fold_table(evaluation), subgroup_table(evaluation)
    body = [
        f"<h1>Evaluation of {escape(plan.name)}</h1>",
        f"<p>Run {escape(name)}: {evaluation.cases} cases of {evaluation.patients} {people}, none of them learnt from by the network that "
        f"read them ({split}). Recipe {escape(plan.recipe.preset)}, losses {escape(plan.recipe.losses)}. "
        "Research and teaching only; not a medical device.</p>",
        statement,
        _section("As in the paper's Tables 2 and 3", paper_table(evaluation)),
        f'<p class="small">Figures in small print: 95 % interval from {evaluation.resamples} bootstrap resamples of patients, '
        "stratified by the answer for sensitivity, specificity, balanced accuracy and AUC, which do not depend on the share of positive "
        "answers; “of n”: the cases that the figure is a share of, where they are not those of the row. Precision is the share of true "
        "answers among those read as positive. A positive answer means: "
        + "; ".join(f"{TASK_TITLES[task]}: {escape(getattr(plan.recipe.positives, task))}" for task in TASKS)
        + ". The paper's own figures are no targets: its accuracies lie outside its sensitivities and specificities in most rows.</p>",
        _section("Reading at the threshold", reading_table(evaluation)),
        '<p class="small">Thresholds: largest sensitivity + specificity (Youden) on other patients than those read.</p>',
        _section("Do the probabilities mean what they say?", probability_table(evaluation)),
        '<p class="small">Calibration error: expected, ten bins of equally many cases, '
        "with the basic bootstrap interval; it is biased upwards with few cases, so beside it stands what right probabilities would show "
        "with these cases, and where 95 of 100 draws of their answers would lie. Slope and intercept of "
        "the answers on the calibrated log-odds: 1 and 0 where the probabilities are right. AURC: area under risk against coverage, the "
        "lower the better.</p>",
        _section(f"Sets at {100 * evaluation.coverage:g} % coverage", sets_table(evaluation)),
        '<p class="small">Class-conditional conformal sets: each answer has its own quantile, so the promise is made for patients with a '
        "positive answer and for those with a negative one. “Expected”: where 95 of 100 measured shares lie if the promise is kept, both "
        "samples counted"
        + ("; approximate here, for the quantiles were cross-fitted" if evaluation.calibration == "cross-fitted" else "")
        + ".</p>",
        _plots(evaluation),
        _section("Both modalities against one", comparison_table(evaluation)),
        f'<p class="small">Equivalent: the whole interval of the difference lies within ±{100 * EQUIVALENCE_MARGIN:g}, a margin fixed '
        "beforehand.</p>",
        _section("Folds", folds) if folds else "",
        _section("Subgroups", subgroups) if subgroups else "",
        "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes(plan, evaluation)) + "</ul>",
        "<h2>What this cannot tell</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in CANNOT) + "</ul>" + statement,
        _section("Checklist, after TRIPOD+AI and CLAIM", _checklist(plan, evaluation)),
    ]
    head = f'<meta charset="utf-8"><title>Evaluation of {escape(plan.name)}</title><style>{STYLE}</style>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(part for part in body if part) + "\n</body></html>\n"
    )


def _section(title: str, table: str) -> str:
    return f'<h2>{escape(title)}</h2>\n<div class="wide">{table}</div>'


def _plots(evaluation: Evaluation) -> str:
    parts = ["<h2>Plots</h2>"]
    for task in TASKS:
        by_scope = {scope: of_scope[task] for scope, of_scope in evaluation.tasks.items()}
        drawn = [roc_plot(by_scope, "ROC"), decision_plot(by_scope, "Decision curve, 95 % band of both")]
        drawn += [reliability_plot(found, scope, f"Reliability, {NAMES[scope]}") for scope, found in by_scope.items() if found.cases]
        parts.append(f'<h3>{escape(TASK_TITLES[task])}</h3>\n<div class="plots">\n' + "\n".join(drawn) + "\n</div>")
    return "\n".join(parts)


def _checklist(plan: Plan, evaluation: Evaluation) -> str:
    rows = "\n".join(f"<tr><td>{escape(item)}</td><td>{escape(known)}</td></tr>" for item, known in checklist(plan, evaluation))
    return f"<table><thead><tr><th>Item (abridged)</th><th>What is known</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
