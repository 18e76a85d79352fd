"""The table of known answers, one row a patient: read it, propose which column is which, turn cells into labels.

Nothing is guessed: a cell that could mean two things becomes a problem of its row, in words.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from breastai_model.case import Labels

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_TABLE = 20 * 2**20
_MISSING = frozenset({"", "-", "--", "na", "n/a", "nan", "none", "null", "unknown", "?", ".", "missing", "not known", "nd"})
_YES = frozenset({"1", "yes", "y", "true", "t", "positive", "pos", "+", "high", "present", "n+", "n1", "n2", "n3"})
_NO = frozenset({"0", "no", "n", "false", "f", "negative", "neg", "low", "absent", "n0"})
_GRADES = {"1": 1, "2": 2, "3": 3, "i": 1, "ii": 2, "iii": 3, "g1": 1, "g2": 2, "g3": 3}

_NAMES = {
    "patient": ("patient", "patient_id", "patientid", "id", "case", "case_id", "subject", "subject_id", "folder", "pid"),
    "lymph_node_metastasis": ("lymph_node_metastasis", "lnm", "lymph_node", "lymph_nodes", "nodal_status", "node", "nodes", "pn"),
    "grade": ("grade", "high_grade", "histological_grade", "hg", "nottingham_grade", "tumour_grade", "tumor_grade"),
    "ki67": ("ki67", "ki_67", "ki67_percent", "ki_67_percent", "high_ki67", "ki67_index", "ki_67_index", "mib1"),
}


class TableError(Exception):
    """The table cannot be used; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class LabelsTable:
    """A table as text: its column names and its rows, each as long as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of the table is which, by index; None where the table has no such column.

    `high_grade` and `high_ki67` are True when that column says yes or no (a name such as "high_grade") instead of a
    grade from 1 to 3 or a percentage: a 1 means "high" in the one and "low" in the other.
    """

    patient: int | None
    lymph_node_metastasis: int | None
    grade: int | None
    ki67: int | None
    high_grade: bool = False
    high_ki67: bool = False

    @property
    def any_answer(self) -> bool:
        """True when at least one of the three answers has a column."""
        return any(column is not None for column in (self.lymph_node_metastasis, self.grade, self.ki67))


def read_table(path: Path) -> LabelsTable:
    """Read a CSV file (comma, semicolon or tab) or the first sheet of an Excel file (.xlsx).

    Raises
    ------
    TableError
        If it cannot be read, has no header or no row.
    """
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            raise TableError(f"{path.name} is larger than 20 MB: this is not a table of labels.")
        cells = _excel_cells(path) if path.suffix.lower() in {".xlsx", ".xlsm"} else _csv_cells(path)
    except OSError as error:
        raise TableError(f"{path.name} cannot be read: {error.strerror or 'the file is not readable'}.") from error
    cells = [row for row in cells if any(cell.strip() for cell in row)]
    if len(cells) < 2:
        raise TableError(f"{path.name} holds no row below its header.")
    header = tuple(cell.strip() for cell in cells[0])
    if len(header) < 2:
        raise TableError(f"{path.name} has one column only: name the patient in one column and the answers in others.")
    width = len(header)
    return LabelsTable(header, tuple(tuple(cell.strip() for cell in (*row, *[""] * width)[:width]) for row in cells[1:]))


def _csv_cells(path: Path) -> list[list[str]]:
    raw = path.read_bytes()
    if b"\0" in raw[:4096] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(f"{path.name} is not a text table; save it as CSV or XLSX.")
    for encoding in ("utf-16",) if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "gb18030", "latin-1"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(";\t,", key=first.count)
    return [list(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]


def _excel_cells(path: Path) -> list[list[str]]:
    import openpyxl  # slow, and only for Excel files

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises whatever its zip and XML readers raise
        raise TableError(f"{path.name} is not an Excel file that can be read; save it again as XLSX or CSV.") from error
    try:
        return [[_cell_text(value) for value in row] for row in book.worksheets[0].iter_rows(values_only=True)]
    finally:
        book.close()


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def propose_columns(header: tuple[str, ...]) -> Columns:
    """Return which column is which by its name; an exact name wins over one that only begins with it."""
    plain = [re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_") for name in header]
    found: dict[str, int | None] = {}
    taken: set[int] = set()
    for what, names in _NAMES.items():
        exact = [plain.index(name) for name in names if name in plain]
        begins = [index for index, name in enumerate(plain) if any(len(known) > 3 and name.startswith(known) for known in names)]
        free = [index for index in (*exact, *begins) if index not in taken]
        found[what] = free[0] if free else None
        taken.update(free[:1])
    grade, ki67 = found["grade"], found["ki67"]
    return Columns(
        **found,
        high_grade=grade is not None and "high" in plain[grade],
        high_ki67=ki67 is not None and "high" in plain[ki67],
    )


def labels_of(row: tuple[str, ...], columns: Columns, ki67_cutoff_percent: float) -> tuple[Labels, tuple[str, ...]]:
    """Return the labels of a row, and one sentence for each cell that could not be understood (its label is missing)."""
    problems: list[str] = []

    def cell(column: int | None) -> str:
        return "" if column is None else row[column].strip()

    def read(column: int | None, what: str, meaning: str, parse: Any) -> bool | None:
        text = cell(column)
        if text.casefold() in _MISSING:
            return None
        answer = parse(text)
        if answer is None:
            problems.append(f"{what} reads “{text[:40]}”, which is not {meaning}.")
        return answer if isinstance(answer, bool) else None

    labels = Labels(
        lymph_node_metastasis=read(columns.lymph_node_metastasis, "Lymph node metastasis", "yes or no", _yes_no),
        high_grade=read(columns.grade, "High grade", "yes or no", _yes_no)
        if columns.high_grade
        else read(columns.grade, "Grade", "1, 2 or 3", _high_grade),
        high_ki67=read(columns.ki67, "High Ki-67", "yes or no", _yes_no)
        if columns.high_ki67
        else read(columns.ki67, "Ki-67", "a percentage from 0 to 100", lambda text: _high_ki67(text, ki67_cutoff_percent)),
    )
    return labels, tuple(problems)


def _yes_no(text: str) -> bool | None:
    plain = text.casefold()
    return True if plain in _YES else False if plain in _NO else None


def _high_grade(text: str) -> bool | None:
    grade = _GRADES.get(text.casefold().removeprefix("grade").strip().removesuffix(".0"))
    return None if grade is None else grade == 3


def _high_ki67(text: str, cutoff_percent: float) -> bool | None:
    match = re.fullmatch(r"([<>]?)\s*(\d+(?:[.,]\d+)?)\s*%?", text)
    if match is None:
        return None
    sign, value = match.group(1), float(match.group(2).replace(",", "."))
    if value > 100:
        return None
    if (sign == "<" and value > cutoff_percent) or (sign == ">" and value < cutoff_percent):
        return None  # "<30" beside a cut-off of 20 says neither high nor low
    return value >= cutoff_percent and sign != "<"


def ki67_may_be_fractions(table: LabelsTable, columns: Columns) -> bool:
    """Return whether all Ki-67 numbers lie from 0 to 1, so that they may be shares or answers instead of percentages."""
    if columns.ki67 is None or columns.high_ki67:
        return False
    numbers = [float(text.replace(",", ".")) for row in table.rows if re.fullmatch(r"\d+(?:[.,]\d+)?", text := row[columns.ki67].strip())]
    return len(numbers) > 1 and max(numbers) <= 1
