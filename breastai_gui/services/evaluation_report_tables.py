"""The tables of the evaluation as HTML: laid out like the paper's Tables 2 and 3, every figure with its interval and number of cases."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from breastai_gui.services.evaluation_plots import NAMES
from breastai_model.case import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from breastai_model.calibration import Scope
    from breastai_model.case import Task
    from breastai_model.training.evaluation import Evaluation, TaskEvaluation
    from breastai_model.training.intervals import Figure

TASK_TITLES: dict[Task, str] = {
    "lymph_node_metastasis": "Lymph node metastasis",
    "high_grade": "Histological grade 3",
    "high_ki67": "High Ki-67",
}
PAPER_COLUMNS = (
    ("accuracy", "Accuracy %"),
    ("precision", "Precision %"),
    ("sensitivity", "Sensitivity %"),
    ("specificity", "Specificity %"),
    ("auc", "AUC %"),
)
READING_COLUMNS = (
    ("balanced_accuracy", "Balanced accuracy %"),
    ("npv", "NPV %"),
    ("f1", "F1 %"),
    ("auprc", "AUPRC %"),
    ("accuracy_of_surest_80", "Accuracy of the surest 80 %, %"),
)
PROBABILITY_COLUMNS = (
    ("brier", "Brier score"),
    ("ece", "Calibration error"),
    ("ece_by_chance", "the same of right probabilities"),
    ("ece_before_temperature", "before temperature"),
    ("calibration_slope", "Slope (1)"),
    ("calibration_intercept", "Intercept (0)"),
    ("aurc", "AURC"),
)
NONE = "–"


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def decimal(value: float) -> str:
    """Return a figure that is no share, with three decimals."""
    return f"{value:.3f}"


def figure_cell(found: Figure | None, write: Callable[[float], str], cases: int | None = None) -> str:
    """Return a cell: the figure, its interval, and its number of cases where that is not the row's."""
    if found is None:
        return f'<td class="figure">{NONE}</td>'
    interval = "no interval" if found.low is None or found.high is None else f"{write(found.low)} to {write(found.high)}"
    number = "" if found.n == cases else f'<span class="n">of {found.n}</span>'
    return f'<td class="figure">{write(found.value)}<span class="interval">{interval}</span>{number}</td>'


def paper_table(evaluation: Evaluation) -> str:
    """Return the table in the order of the paper's Tables 2 and 3: a task, its rows, accuracy to AUC."""
    return _scope_table(evaluation, PAPER_COLUMNS, percent)


def reading_table(evaluation: Evaluation) -> str:
    """Return the further figures of the reading at the threshold, with the threshold and the confusion matrix."""
    return _scope_table(evaluation, READING_COLUMNS, percent, ("Threshold", "TP, FP, TN, FN"), _reading_cells)


def probability_table(evaluation: Evaluation) -> str:
    """Return whether the probabilities mean what they say, with the temperature."""
    return _scope_table(evaluation, PROBABILITY_COLUMNS, decimal, ("Temperature",), _temperature_cell)


def sets_table(evaluation: Evaluation) -> str:
    """Return what the conformal sets held."""
    held = ("Held the truth %", "where negative %", "where positive %")
    head = ("Task", "Modalities", "Cases", *held, "One answer %", "right where one %", "Both: not determined %", "None: not determined %")
    rows = []
    for task, scope, found, first in _rows(evaluation):
        start = f"{_task_cell(task, first)}<td>{NAMES[scope]}</td><td>{found.cases}</td>"
        if found.sets is None:
            rows.append(f'{start}<td colspan="7">too few to say: sets need at least 100 patients, 20 of each answer</td>')
            continue
        sets = found.sets
        cells = [figure_cell(sets.coverage, percent, found.cases)]
        for share, expected in ((sets.coverage_negative, sets.expected_negative), (sets.coverage_positive, sets.expected_positive)):
            within = f'<span class="n">expected {percent(expected[0])} to {percent(expected[1])}</span></td>'
            cells.append(figure_cell(share, percent).removesuffix("</td>") + within)
        others = (sets.one_answer, sets.right_if_one, sets.both_answers, sets.no_answer)
        rows.append(start + "".join((*cells, *(figure_cell(share, percent, found.cases) for share in others))))
    return _table(head, rows)


def comparison_table(evaluation: Evaluation) -> str:
    """Return DeLong's and McNemar's tests."""
    of_auc = ("AUC %", "Difference", "p (DeLong)", "p (Holm)")
    head = ("Task", "Compared", "Cases", *of_auc, "Only the first right", "Only the second right", "p (McNemar)", "p (Holm)")
    rows = []
    for each in evaluation.comparisons:
        auc = each.auc
        cells = (
            TASK_TITLES[each.task],
            f"{NAMES[each.first]} against {NAMES[each.second]}",
            str(auc.n),
            f"{percent(auc.first)} and {percent(auc.second)}",
            f"{percent(auc.difference)} ({percent(auc.low)} to {percent(auc.high)})" + (", equivalent" if auc.equivalent else ""),
            p_value(auc.p),
            p_value(each.auc_p_holm),
            str(each.only_first_right),
            str(each.only_second_right),
            p_value(each.mcnemar_p),
            p_value(each.mcnemar_p_holm),
        )
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return _table(head, rows)


def fold_table(evaluation: Evaluation) -> str:
    """Return mean ± standard deviation over the folds with each fold's own figure below, or "" with one split."""
    rows = []
    for task, scope, found, first in _rows(evaluation):
        counts = ", ".join(f"{fold.positives} of {fold.cases}" for fold in found.folds) or NONE
        cells = [_task_cell(task, first), f"<td>{NAMES[scope]}</td>", f"<td>{counts}</td>"]
        for name, _ in PAPER_COLUMNS:
            mean = found.fold_means.get(name)
            spread = "" if mean is None or mean.deviation is None else f" ± {percent(mean.deviation)}"
            each = [fold.figures[name] for fold in found.folds]
            listed = ", ".join(NONE if value is None else percent(value) for value in each)
            together = NONE if mean is None else percent(mean.mean) + spread
            cells.append(f'<td class="figure">{together}<span class="interval">{listed}</span></td>')
        rows.append("".join(cells))
    head = ("Task", "Modalities", "Positive of cases", *(f"{title} mean ± SD" for _, title in PAPER_COLUMNS))
    return _table(head, rows) if evaluation.folds > 1 else ""


def subgroup_table(evaluation: Evaluation) -> str:
    """Return counts and AUC of each subgroup, or "" where none was named."""
    rows = []
    for each in evaluation.subgroups:
        area = "<td>too few to say</td>" if each.auc is None else figure_cell(each.auc, percent, each.cases)
        texts = (each.kind, each.word, TASK_TITLES[each.task], str(each.cases), str(each.positives))
        rows.append("".join(f"<td>{escape(text)}</td>" for text in texts) + area)
    return _table(("Subgroup", "", "Task", "Cases", "Positive", "AUC %"), rows) if rows else ""


def summary_lines(evaluation: Evaluation) -> list[str]:
    """Return the paper's table as lines for a terminal, without a figure's number of cases."""
    lines = [f"{'':24}{'':20}{'cases':>6}" + "".join(f"{title:>21}" for _, title in PAPER_COLUMNS)]
    for task, scope, found, first in _rows(evaluation):
        cells = []
        for name, _ in PAPER_COLUMNS:
            each = found.figures.get(name)
            interval = "" if each is None or each.low is None or each.high is None else f" ({percent(each.low)}-{percent(each.high)})"
            cells.append(f"{NONE if each is None else percent(each.value) + interval:>21}")
        lines.append(f"{TASK_TITLES[task] if first else '':24}{NAMES[scope]:20}{found.cases:>6}" + "".join(cells))
    return lines


def p_value(p: float) -> str:
    """Return a p value as one writes it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _scope_table(
    evaluation: Evaluation,
    columns: Sequence[tuple[str, str]],
    write: Callable[[float], str],
    further: Sequence[str] = (),
    cells: Callable[[TaskEvaluation], str] = lambda _: "",
) -> str:
    head = ("Task", "Modalities", "Cases (positive)", *(title for _, title in columns), *further)
    rows = []
    for task, scope, found, first in _rows(evaluation):
        figures = "".join(figure_cell(found.figures.get(name), write, found.cases) for name, _ in columns)
        start = f"{_task_cell(task, first)}<td>{NAMES[scope]}</td><td>{found.cases} ({found.positives})</td>"
        rows.append(start + figures + cells(found))
    return _table(head, rows)


def _reading_cells(found: TaskEvaluation) -> str:
    return f"<td>{_range(found.thresholds)}</td><td>{', '.join(str(count) for count in found.confusion)}</td>"


def _temperature_cell(found: TaskEvaluation) -> str:
    return f"<td>{_range(found.temperatures)}</td>"


def _range(ends: tuple[float, float]) -> str:
    low, high = f"{ends[0]:.2f}", f"{ends[1]:.2f}"
    return low if low == high else f"{low} to {high}"


def _task_cell(task: Task, first: bool) -> str:
    return f'<th scope="rowgroup" rowspan="3">{escape(TASK_TITLES[task])}</th>' if first else ""


def _rows(evaluation: Evaluation) -> Iterator[tuple[Task, Scope, TaskEvaluation, bool]]:
    for task in TASKS:
        for place, (scope, of_scope) in enumerate(evaluation.tasks.items()):
            yield task, scope, of_scope[task], place == 0


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>"
