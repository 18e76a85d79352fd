"""A folder of patients and a table of answers, checked row by row before anything is trained.

Every patient's files are read as the reading room would read them, so that what is wrong is said before the start, not
after hours. Nobody is left out silently: the person leaves a patient out, with a reason, and the reason is kept.
`cohort.json` is the only file of a run that names a patient or a folder; cases and weights carry numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from breastai_gui.data.study import ReadError
from breastai_gui.services.labels_table import Columns, LabelsTable, TableError, ki67_may_be_fractions, labels_of
from breastai_gui.services.questions import open_questions
from breastai_gui.services.session import Choices
from breastai_gui.services.subgroups import subgroup_columns, too_many, words_of
from breastai_gui.services.words import TASK_WORDS
from breastai_model.case import TASKS, Labels
from breastai_model.recipe import Positives

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from breastai_gui.data.reader_process import Reader
    from breastai_gui.data.study import Study
    from breastai_model.case import Task

Severity = Literal["note", "asks", "stops"]
"""note: only told; asks: the person uses it as read or leaves it out; stops: it can only be left out."""

FEWEST_PATIENTS = 6
FRACTIONS_SENTENCE = (
    "All Ki-67 numbers lie from 0 to 1: are they percentages? Write percentages, or name the column “high_ki67” when 1 means yes."
)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing about one patient, in a sentence."""

    text: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class CohortRow:
    """One row of the table with what was found in the patient's folder.

    Attributes
    ----------
    patient
        As the table names it; the folder has the same name.
    folder
        The patient's folder, or None where there is none.
    phases, angles
        How many dynamic phases and proposed ultrasound images were read.
    phantom
        True when this program's own phantom made the images.
    group
        Rows of one group show one person and never stand on both sides of a split.
    images
        A hash of the pixels, for finding the same images twice.
    accepted
        True once the person said that an open question is answered by what was read.
    left_out
        The person's reason for leaving it out, "" while it is in.
    subgroups
        By what is told apart, such as "scanner", the row's word (`breastai_gui.services.subgroups`).
    """

    patient: str
    folder: Path | None
    labels: Labels
    problems: tuple[RowProblem, ...] = ()
    phases: int = 0
    angles: int = 0
    phantom: bool = False
    group: str = ""
    images: str = ""
    accepted: bool = False
    left_out: str = ""
    subgroups: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Literal["ready", "asks", "stops", "left out"]:
        """What stands between this row and the training."""
        if self.left_out:
            return "left out"
        severities = {problem.severity for problem in self.problems}
        if "stops" in severities:
            return "stops"
        return "asks" if "asks" in severities and not self.accepted else "ready"


@dataclass(frozen=True, slots=True)
class Cohort:
    """All rows, and the folders that no row names."""

    folder: Path
    rows: tuple[CohortRow, ...]
    folders_without_row: tuple[str, ...]
    columns: Columns
    ki67_cutoff_percent: float
    problems: tuple[str, ...] = ()

    @property
    def ready(self) -> tuple[CohortRow, ...]:
        """The rows that will be trained on."""
        return tuple(row for row in self.rows if row.status == "ready")

    @property
    def undecided(self) -> tuple[CohortRow, ...]:
        """The rows that the person still has to decide about."""
        return tuple(row for row in self.rows if row.status in {"asks", "stops"})

    def with_row(self, row: CohortRow) -> Cohort:
        """Return the cohort with this row in place of the one of the same patient."""
        return replace(self, rows=tuple(row if old.patient == row.patient else old for old in self.rows))

    def counts(self) -> Mapping[Task, tuple[int, int]]:
        """Return (positive, negative) of the ready rows for each task; missing labels are in neither."""
        answers = {task: [getattr(row.labels, task) for row in self.ready] for task in TASKS}
        return {task: (values.count(True), values.count(False)) for task, values in answers.items()}

    def why_not_yet(self) -> str:
        """Return in one sentence why training cannot start, "" when it can."""
        if self.problems:
            return self.problems[0]
        if undecided := len(self.undecided):
            who = "1 patient needs" if undecided == 1 else f"{undecided} patients need"
            return f"{who} a decision: use as read, or leave out with a reason."
        if len(self.ready) < FEWEST_PATIENTS:
            return f"{len(self.ready)} patients are ready; at least {FEWEST_PATIENTS} are needed."
        if not any(min(counts) >= 2 for counts in self.counts().values()):
            return "No task has at least two patients of each answer: there is nothing to tell apart."
        return ""

    def positives(self) -> Positives:
        """Return what each positive answer means, for the recipe and the model card."""
        return Positives(
            lymph_node_metastasis="lymph node metastasis as the table says",
            high_grade="high grade as the table says" if self.columns.high_grade else "grade 3 against 1 and 2",
            high_ki67="high Ki-67 as the table says" if self.columns.high_ki67 else f"Ki-67 of at least {self.ki67_cutoff_percent:g} %",
        )

    def trained_on(self) -> Literal["synthetic", "patients"]:
        """Return "synthetic" as soon as one case was made up: such weights say nothing about patients."""
        return "synthetic" if any(row.phantom for row in self.ready) else "patients"

    def to_json(self) -> dict[str, Any]:
        """Return what `cohort.json` holds: the ready rows as numbered cases, and who was left out and why."""
        groups = {key: number for number, key in enumerate(dict.fromkeys(row.group or row.patient for row in self.ready), start=1)}
        return {
            "folder": str(self.folder),
            "ki67_cutoff_percent": self.ki67_cutoff_percent,
            "cases": [
                {
                    "number": number,
                    "group": groups[row.group or row.patient],
                    "patient": row.patient,
                    "folder": str(row.folder),
                    "labels": asdict(row.labels),
                    "accepted": row.accepted,
                    "subgroups": dict(row.subgroups),
                }
                for number, row in enumerate(self.ready, start=1)
            ],
            "left_out": [{"patient": row.patient, "reason": row.left_out} for row in self.rows if row.status == "left out"],
            "folders_without_row": list(self.folders_without_row),
        }


def accepted_choices(accepted: bool) -> Choices:
    """Return the choices for a row: as read, or with its open questions answered by what was read.

    The person vouches for the row: the table says that both modalities are of this patient, and the proposed order of
    phases was accepted.
    """
    return Choices(same_patient=True, phases_confirmed=True) if accepted else Choices()


def check(
    folder: Path,
    table: LabelsTable,
    columns: Columns,
    ki67_cutoff_percent: float,
    reader: Reader,
    tell: Callable[[int, int, CohortRow], None] | None = None,
) -> Cohort:
    """Read every patient of the table and say what is wrong with each.

    Parameters
    ----------
    folder
        Holds one folder for each patient, named as in the table.
    tell
        Called with (rows done, rows in all, the row) after each; raising ends the check.

    Raises
    ------
    TableError
        If the table has no column for the patient or none for any answer, or the folder cannot be listed.
    """
    if columns.patient is None:
        raise TableError("No column of the table names the patients: choose which one does.")
    if not columns.any_answer:
        raise TableError("No column of the table holds lymph node metastasis, grade or Ki-67: choose at least one.")
    try:
        folders = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    except OSError as error:
        raise TableError(f"The folder {folder.name} cannot be listed: {error.strerror or 'it is not readable'}.") from error
    names = Counter(row[columns.patient] for row in table.rows)
    rows: list[CohortRow] = []
    kinds = subgroup_columns(table.header)
    for cells in table.rows:
        name = cells[columns.patient]
        if any(row.patient == name for row in rows):
            continue
        labels, label_problems = labels_of(cells, columns, ki67_cutoff_percent)
        words, word_problems = words_of(cells, kinds)
        problems = [RowProblem(text, "asks") for text in (*label_problems, *word_problems)]
        if names[name] > 1:
            problems.append(RowProblem(f"The table names this patient {names[name]} times: keep one row.", "stops"))
        if all(getattr(labels, task) is None for task in TASKS):
            problems.append(RowProblem("The table holds no answer for this patient.", "stops"))
        row = CohortRow(name, folders.get(name), labels, tuple(problems), subgroups=words)
        rows.append(_read_row(row, folders, reader, rows))
        if tell is not None:
            tell(len(rows), len(names), rows[-1])
    unnamed = tuple(name for name in folders if name not in names)
    doubts = [FRACTIONS_SENTENCE] if ki67_may_be_fractions(table, columns) else []
    doubts += too_many(row.subgroups for row in rows)
    return Cohort(folder, tuple(rows), unnamed, columns, ki67_cutoff_percent, tuple(doubts))


def _read_row(row: CohortRow, folders: Mapping[str, Path], reader: Reader, earlier: list[CohortRow]) -> CohortRow:
    """Return the row with what its folder holds."""

    def with_problem(text: str, severity: Severity) -> CohortRow:
        return replace(row, problems=(*row.problems, RowProblem(text, severity)))

    if not row.patient:
        return with_problem("This row names no patient.", "stops")
    if row.folder is None:
        similar = [name for name in folders if name.casefold().lstrip("0") == row.patient.casefold().lstrip("0")]
        hint = f" A folder {similar[0]} is there: is it meant? Then write the name as the folder's." if similar else ""
        return with_problem(f"No folder has this name.{hint}", "stops")
    try:
        study = read_study(row.folder, reader)
    except ReadError as error:
        return with_problem(str(error), "stops")
    problems = [*row.problems, *_study_problems(study)]
    images = _image_hash(study)
    twins = [other for other in earlier if other.images == images]
    if twins:
        problems.append(RowProblem(f"Shows the same images as {twins[0].patient}.", "stops"))
    group = study.patient.id.strip() or row.patient
    same_person = [other for other in earlier if other.group == group and other.images != images]
    if same_person:
        problems.append(RowProblem(f"Carries the same patient ID as {same_person[0].patient}: both stay on one side of the split.", "note"))
    return replace(
        row,
        problems=tuple(problems),
        phases=study.dce.phase_count if study.dce is not None else 0,
        angles=sum(view.proposed for view in study.ultrasound),
        phantom=study.phantom,
        group=group,
        images=images,
    )


def read_study(folder: Path, reader: Reader) -> Study:
    """Read a patient's folder without asking anybody. Raises ReadError, also where a person would have to choose."""
    catalogue = reader.scan(folder, lambda _: None)
    if catalogue.proposed is None:
        raise ReadError(catalogue.choice_reason or "The folder holds several exams: keep one exam in each patient's folder.")
    return reader.load(catalogue, catalogue.proposed, lambda _: None)


def _study_problems(study: Study) -> list[RowProblem]:
    found = []
    if study.dce is None:
        found.append(RowProblem("No dynamic MRI: trained on ultrasound alone.", "note"))
    if not study.ultrasound:
        found.append(RowProblem("No ultrasound: trained on MRI alone.", "note"))
    for question in open_questions(study, Choices()):
        severity: Severity = "stops" if question.kind in {"incomplete", "side", "lesion"} and question.blocking else "asks"
        found.append(RowProblem(question.text, severity if question.blocking else "note"))
    return found


def _image_hash(study: Study) -> str:
    digest = hashlib.sha256()
    if study.dce is not None:
        digest.update(study.dce.values[0].tobytes())
    for view in study.ultrasound:
        digest.update(view.pixels.tobytes())
    return digest.hexdigest()


def summary(cohort: Cohort) -> str:
    """Return one line for the person: how many are ready, and of which answer."""
    parts = [f"{len(cohort.ready)} of {len(cohort.rows)} patients are ready"]
    for task, (positive, negative) in cohort.counts().items():
        if positive + negative:
            parts.append(f"{TASK_WORDS[task]}: {positive} yes, {negative} no")
    return "; ".join(parts)


def labels_from_json(values: Mapping[str, Any]) -> Labels:
    """Return the labels of a case of `cohort.json`."""
    return Labels(**{task: values[task] for task in TASKS})
