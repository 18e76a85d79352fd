"""`table.md` and `result.json` of a comparison, laid out like the paper's Table 3."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_model.baselines.ablations import ABLATIONS
from breastai_model.baselines.comparison_figures import METRICS, OURS, against, pooled, system_figures
from breastai_model.baselines.system import HEADING
from breastai_model.baselines.systems import SYSTEMS
from breastai_model.calibration import SCOPES
from breastai_model.case import TASKS
from breastai_model.proof.table import WHAT_IT_IS_NOT
from breastai_model.training.delong import EQUIVALENCE_MARGIN
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from breastai_model.baselines.comparison import Comparison
    from breastai_model.baselines.comparison_figures import SeedMean, SystemAnswers
    from breastai_model.baselines.comparison_result import Scope
    from breastai_model.case import Task
    from breastai_model.phantom.ceilings import Ceilings
    from breastai_model.training.delong import AucDifference

    Figures = Mapping[Scope, Mapping[Task, Mapping[str, SeedMean | None]]]

WORDS: dict[Task, str] = {"lymph_node_metastasis": "Lymph node metastasis", "high_grade": "Histological grade", "high_ki67": "Ki-67"}
SHORT: dict[Task, str] = {"lymph_node_metastasis": "LNM", "high_grade": "Grade", "high_ki67": "Ki-67"}
INPUTS: dict[Scope, str] = {"both": "MRI + US", "mri": "MRI", "us": "US"}
COLUMNS = {"accuracy": "Accuracy", "precision": "Precision", "sensitivity": "Sensitivity", "specificity": "Specificity", "auc": "AUC"}


def write_tables(comparison: Comparison, bounds: Ceilings | None = None) -> str:
    """Write both files from the results that are there, and return the table's text.

    Parameters
    ----------
    bounds
        How well anyone could answer, where the cohort knows it.

    Raises
    ------
    ComparisonError
        If a result is damaged or belongs to another comparison.
    """
    labels, groups = comparison.cases.labels, comparison.cases.groups
    answers = pooled(comparison.results(), len(comparison.splits))
    answers = {name: answers[name] for name in SYSTEMS if name in answers}
    figures: dict[str, Figures] = {name: system_figures(own, labels, groups) for name, own in answers.items()}
    text = "\n".join(_lines(comparison, answers, figures, bounds))
    values = _values(comparison, answers, figures)
    replace_text(comparison.folder / "table.md", text)
    replace_text(comparison.folder / "result.json", json.dumps(values, indent=1, allow_nan=False))
    return text


def _lines(
    comparison: Comparison, answers: Mapping[str, SystemAnswers], figures: Mapping[str, Figures], bounds: Ceilings | None
) -> list[str]:
    systems = [name for name in answers if name not in ABLATIONS and name != OURS] + [name for name in answers if name == OURS]
    ablations = [name for name in answers if name == OURS or name in ABLATIONS]
    lines = [f"*{HEADING}*", "", *_setting(comparison, answers), ""]
    lines += _block("Systems", systems, answers, figures)
    if len(ablations) > 1 or OURS not in answers:
        lines += _block("Ablations of ours", ablations, answers, figures)
    lines += _differences(answers, comparison)
    lines += [] if bounds is None else _bounds(bounds)
    lines += ["## Where each comes from", ""]
    for name, own in answers.items():
        minutes = sum(own.seconds) / len(own.seconds) / 60
        words = " ".join([SYSTEMS[name]().source, *own.notes])
        lines += [f"- **{SYSTEMS[name]().title}** (`{name}`; learnt {minutes:.1f} minutes a seed): {words}"]
    return [*lines, "", WHAT_IT_IS_NOT, ""]


def _setting(comparison: Comparison, answers: Mapping[str, SystemAnswers]) -> list[str]:
    plan, test = comparison.plan, sum(len(split.test) for split in comparison.splits)
    recipe, law = plan.recipe, plan.data.scenario
    split = (
        f"{plan.folds}-fold, answers pooled over the folds, for the AUC by their rank within the fold"
        if plan.folds
        else "one frozen stratified hold-out"
    )
    shapes = f"{' × '.join(map(str, recipe.mri_shape))} a breast, {' × '.join(map(str, recipe.us_shape))} an angle"
    hours = sum(sum(own.seconds) for own in answers.values()) / 3600
    machines = sorted({machine for own in answers.values() for machine in own.machines})
    positives = comparison.cases.labels[np.concatenate([split.test for split in comparison.splits])]
    counts = ", ".join(
        f"{SHORT[task]} {int((positives[:, place] == 1).sum())} of {int((positives[:, place] >= 0).sum())}"
        for place, task in enumerate(TASKS)
    )
    return [
        f"Made-up patients (phantoms, {law}), {plan.data.patients} of seed {plan.data.seed}: {test} measured on "
        f"({split}; positive: {counts}), the others learnt from, {plan.validation_share:.0%} of these to choose the best epoch, "
        "settings and thresholds. Nothing here is about real patients.",
        "",
        f"The same budget for each system: epochs {plan.epochs} of Adam at {plan.learning_rate:g}, {plan.batch_size} patients a step, "
        f"preset {recipe.preset}, {shapes}; seeds {', '.join(map(str, plan.seeds))}. A system that is made of several networks teaches "
        "each of them so long; where discriminators learn in epochs of their own, these come on top. "
        f"Learning took {hours:.2f} hours in all, on {'; '.join(machines) or 'no machine yet'}.",
        "",
        "Figures in percent: mean over the seeds (95 % bootstrap interval over patients, 2,000 resamples) ± standard deviation over "
        "the seeds. Thresholds by Youden on validation patients of the training side. – : not defined.",
    ]


def _block(title: str, names: Sequence[str], answers: Mapping[str, SystemAnswers], figures: Mapping[str, Figures]) -> list[str]:
    lines = [f"## {title}", ""]
    for task in TASKS:
        lines += [f"### {WORDS[task]}, MRI + US", "", _row(["System", *(COLUMNS[name] for name in METRICS)]), _rule(1 + len(METRICS))]
        lines += [_row([_title(name, answers), *(_cell(figures[name]["both"][task][metric]) for metric in METRICS)]) for name in names]
        lines += [""]
    heads = [f"{SHORT[task]}, {INPUTS[scope]}" for task in TASKS for scope in SCOPES]
    lines += [f"### {title}: AUC by what is there", "", _row(["System", *heads]), _rule(1 + len(heads))]
    lines += [
        _row([_title(name, answers), *(_cell(figures[name][scope][task]["auc"]) for task in TASKS for scope in SCOPES)]) for name in names
    ]
    return [*lines, ""]


def _differences(answers: Mapping[str, SystemAnswers], comparison: Comparison) -> list[str]:
    if OURS not in answers:
        return ["Ours was not among the systems: no test against it.", ""]
    lines = ["## Ours minus each system, AUC with MRI + US", ""]
    lines += [
        "DeLong on the mean over the seeds; p after Holm over the three tasks. Equivalent: the whole interval lies within "
        f"±{100 * EQUIVALENCE_MARGIN:g}, a margin fixed beforehand."
    ]
    if len(comparison.splits) > 1:
        lines += ["Answers of several folds' networks are pooled by their rank within the fold, so the test is approximate."]
    lines += ["", _row(["System", *(WORDS[task] for task in TASKS)]), _rule(1 + len(TASKS))]
    for name, own in answers.items():
        if name != OURS:
            found = against(answers[OURS], own, comparison.cases.labels)
            lines += [_row([_title(name, answers), *("–" if test is None else _difference(*test) for test in found.values())])]
    return [*lines, ""]


def _difference(test: AucDifference, p_holm: float) -> str:
    words = f"{_signed(test.difference)} ({_signed(test.low)} to {_signed(test.high)}), {_p(p_holm)}"
    return f"{words}, equivalent" if test.equivalent else words


def _bounds(bounds: Ceilings) -> list[str]:
    heads = [f"{SHORT[task]}, {INPUTS[scope]}" for task in TASKS for scope in SCOPES]
    lines = ["## What could be reached: AUC on this cohort", "", _row(["Known", *heads]), _rule(1 + len(heads))]
    for title, kind in (
        ("The law and the latents (Bayes)", "bayes"),
        ("Features measured with the true outline", "outlined"),
        ("Features measured where the tumour is found", "found"),
    ):
        values = [getattr(bounds.task(task), kind).scope(scope) for task in TASKS for scope in SCOPES]
        lines += [_row([title, *("–" if value is None else f"{100 * value:.1f}" for value in values)])]
    return [*lines, ""]


def _values(comparison: Comparison, answers: Mapping[str, SystemAnswers], figures: Mapping[str, Figures]) -> dict[str, Any]:
    systems: dict[str, Any] = {}
    for name, own in answers.items():
        tests = against(answers[OURS], own, comparison.cases.labels) if OURS in answers and name != OURS else {}
        systems[name] = {
            "title": SYSTEMS[name]().title,
            "source": SYSTEMS[name]().source,
            "ablation": name in ABLATIONS,
            "seeds": own.seeds,
            "seconds": own.seconds,
            "machines": own.machines,
            "figures": {
                scope: {task: {metric: None if each is None else asdict(each) for metric, each in by.items()} for task, by in tasks.items()}
                for scope, tasks in figures[name].items()
            },
            "ours_minus_this": {
                task: None if test is None else {**asdict(test[0]), "p_holm": test[1], "equivalent": test[0].equivalent}
                for task, test in tests.items()
            },
        }
    return {
        "heading": HEADING,
        "plan": json.loads(comparison.plan.to_json()),
        "test_patients": [split.test.tolist() for split in comparison.splits],
        "hours": sum(sum(own.seconds) for own in answers.values()) / 3600,
        "complete": not comparison.open_jobs(),
        "systems": systems,
    }


def _title(name: str, answers: Mapping[str, SystemAnswers]) -> str:
    title = SYSTEMS[name]().title
    most = max(len(own.seeds) for own in answers.values())
    return title if len(answers[name].seeds) == most else f"{title} ({len(answers[name].seeds)} of {most} seeds)"


def _cell(found: SeedMean | None) -> str:
    if found is None:
        return "–"
    interval = "" if found.low is None or found.high is None else f" ({100 * found.low:.1f}–{100 * found.high:.1f})"
    return f"{100 * found.value:.1f}{interval}" + ("" if found.spread is None else f" ± {100 * found.spread:.1f}")


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return _row(["---"] * columns)
