"""What a network said of patients that it had not learnt from, beside what is true: the file `predictions.json` of a run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_model.calibration import SCOPES, Scope
from breastai_model.case import TASKS
from breastai_model.strict_json import StrictJsonError, parsed
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "breastai-predictions-1"
FILE_NAME = "predictions.json"
LONGEST_JSON = 256 * 2**20
LARGEST_LOG_ODDS = 1e6
MOST_SUBGROUPS = 20
_SUBGROUP = re.compile(r"[\w .,()/+\-]{1,40}")


def is_subgroup_word(text: str) -> bool:
    """Return whether a text may stand in a report as a subgroup's name or word."""
    return _SUBGROUP.fullmatch(text) is not None


class PredictionsError(ValueError):
    """Predictions that cannot be used; the text is one sentence."""


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """Out-of-fold or held-out log-odds: no case was predicted by a network that had learnt from its patient.

    Attributes
    ----------
    labels
        (case, task) int64, tasks in the order of `breastai_model.case.TASKS`: 1, 0, or -1 where not known.
    groups
        (case,) int64: the patient's number; cases of one group show one person.
    folds
        (case,) int64, from 0: in which fold the case was held out. All equal where there was one split.
    log_odds
        Scope to (case, task) float64: ln p/(1 - p) of the positive answer as the network gives it, not calibrated;
        NaN (null in the file) where the case lacks a modality of that scope.
    subgroups
        Such as "MRI vendor" to one word a case, in any number of kinds; never a name, a date or a number of a patient.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    log_odds: Mapping[Scope, NDArray[np.float64]]
    subgroups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cases = len(self.labels)
        if self.labels.shape != (cases, len(TASKS)) or self.labels.dtype != np.int64 or not np.isin(self.labels, (-1, 0, 1)).all():
            raise PredictionsError("The predictions' labels must be (case, task) of 1, 0 and -1.")
        for name, values in (("groups", self.groups), ("folds", self.folds)):
            if values.shape != (cases,) or values.dtype != np.int64 or (cases and values.min() < 0):
                raise PredictionsError(f"The predictions' {name} must be one whole number, 0 or more, for each case.")
        if set(self.log_odds) != set(SCOPES):
            raise PredictionsError("The predictions need log-odds for both modalities, MRI alone and ultrasound alone.")
        for said in self.log_odds.values():
            if said.shape != (cases, len(TASKS)) or said.dtype != np.float64 or (np.abs(said) > LARGEST_LOG_ODDS).any():
                raise PredictionsError("The predictions' log-odds must be (case, task) of finite numbers, or absent.")
            if (np.isnan(said).any(axis=1) != np.isnan(said).all(axis=1)).any():
                raise PredictionsError("The log-odds of a case are there for every task of a scope, or for none.")
        if cases == 0:
            raise PredictionsError("There are no predictions.")
        # A patient in two folds would have been learnt from by the network of the other one.
        pairs = np.unique(np.stack([self.groups, self.folds]), axis=1)
        if pairs.shape[1] != len(np.unique(self.groups)):
            raise PredictionsError("A patient stands in two folds of the predictions, so one of the networks had learnt from this patient.")
        for name, words in self.subgroups.items():
            odd = not is_subgroup_word(name) or not all(is_subgroup_word(word) for word in words)
            if odd or len(words) != cases or len(set(words)) > MOST_SUBGROUPS:
                raise PredictionsError(f"A subgroup needs one short word for each case, at most {MOST_SUBGROUPS} different ones.")
        for array in (self.labels, self.groups, self.folds, *self.log_odds.values()):
            array.setflags(write=False)

    def __len__(self) -> int:
        """Return how many cases there are."""
        return len(self.labels)

    @property
    def patients(self) -> int:
        """How many different patients there are."""
        return len(np.unique(self.groups))

    @property
    def fold_numbers(self) -> tuple[int, ...]:
        """The folds that occur, ascending."""
        return tuple(int(number) for number in np.unique(self.folds))

    def taken(self, keep: NDArray[np.bool_]) -> Predictions:
        """Return the predictions for the chosen cases, (case,) bool. Raises PredictionsError where none is left."""
        return Predictions(
            self.labels[keep],
            self.groups[keep],
            self.folds[keep],
            {scope: values[keep] for scope, values in self.log_odds.items()},
            {name: tuple(word for word, kept in zip(words, keep, strict=True) if kept) for name, words in self.subgroups.items()},
        )

    def to_json(self) -> str:
        """Return the predictions as JSON text."""
        return json.dumps(
            {
                "format": FORMAT,
                "tasks": TASKS,
                "labels": self.labels.tolist(),
                "groups": self.groups.tolist(),
                "folds": self.folds.tolist(),
                "log_odds": {
                    scope: [None if np.isnan(row).any() else row.tolist() for row in self.log_odds[scope]]  # one row a case
                    for scope in SCOPES
                },
                "subgroups": {name: list(words) for name, words in self.subgroups.items()},
            },
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Predictions:
        """Return the predictions of `to_json`.

        Raises
        ------
        PredictionsError
            If an entry is missing, unknown, of the wrong kind or out of range.
        """
        try:
            values = parsed(text, "list of predictions", LONGEST_JSON)
        except StrictJsonError as error:
            raise PredictionsError(str(error)) from error
        except ValueError as error:  # a whole number of thousands of digits
            raise PredictionsError("The predictions hold a number of no sensible size.") from error
        entries = {"format", "tasks", "labels", "groups", "folds", "log_odds", "subgroups"}
        if not isinstance(values, dict) or set(values) != entries or values["format"] != FORMAT or values["tasks"] != list(TASKS):
            raise PredictionsError("This is no list of predictions of this version of the program.")
        if not isinstance(values["log_odds"], dict) or not isinstance(values["subgroups"], dict):
            raise PredictionsError("The predictions' log-odds and subgroups must be named.")
        labels = _rows(values["labels"], "labels")
        cases = len(labels)
        return cls(
            np.array(labels, dtype=np.int64).reshape(cases, len(TASKS)),
            _numbers(values["groups"], "groups"),
            _numbers(values["folds"], "folds"),
            {scope: _log_odds(rows) for scope, rows in values["log_odds"].items()},
            {name: _words(words) for name, words in values["subgroups"].items()},
        )

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError where the disk refuses."""
        replace_text(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Return what a file holds.

        Raises
        ------
        PredictionsError
            If it is not there, cannot be read or is damaged.
        """
        try:
            with path.open("rb") as file:
                data = file.read(LONGEST_JSON + 1)
            text = data.decode("utf-8")
        except FileNotFoundError as error:
            raise PredictionsError(f"There is no {path.name}.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise PredictionsError(f"{path.name} cannot be read.") from error
        return cls.from_json(text)


def _rows(value: Any, what: str) -> list[list[int]]:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == len(TASKS) for row in value):
        raise PredictionsError(f"The predictions' {what} must be one row for each case and one column for each task.")
    if not all(type(item) is int and -1 <= item <= 1 for row in value for item in row):
        raise PredictionsError(f"The predictions' {what} must be 1, 0 or -1.")
    return value


def _numbers(value: Any, what: str) -> NDArray[np.int64]:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 2**62 for item in value):
        raise PredictionsError(f"The predictions' {what} must be whole numbers, 0 or more.")
    return np.array(value, dtype=np.int64)


def _log_odds(value: Any) -> NDArray[np.float64]:
    absent = [float("nan")] * len(TASKS)
    rows = [absent if row is None else row for row in value] if isinstance(value, list) else None
    if rows is None or not all(isinstance(row, list) and len(row) == len(TASKS) for row in rows):
        raise PredictionsError("The predictions' log-odds must be one row for each case and one column for each task.")
    if not all(type(item) in (int, float) for row in rows for item in row):
        raise PredictionsError("The predictions' log-odds must be numbers.")
    try:
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(TASKS))
    except OverflowError as error:
        raise PredictionsError("The predictions' log-odds must be numbers of a sensible size.") from error


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise PredictionsError("A subgroup needs one short word for each case.")
    return tuple(value)
