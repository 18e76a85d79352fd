"""What one system answered in one comparison with one seed: a file of its own, so that a comparison can go on after any end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from breastai_model.baselines.comparison_plan import ComparisonError
from breastai_model.case import TASKS
from breastai_model.strict_json import StrictJsonError, from_json
from breastai_model.training.calibrate import youden_threshold
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.baselines.comparison_plan import Split
    from breastai_model.baselines.system import Fitted
    from breastai_model.training.dataset import CaseFiles
    from breastai_model.training.features import Absent

LONGEST_JSON = 64 * 2**20
Row = tuple[float, float, float]
Scope = Literal["both", "mri", "us"]
"""What is there, and which modality that takes away."""


@dataclass(frozen=True, slots=True)
class ScopeAnswers:
    """Answers with one set of inputs.

    Attributes
    ----------
    thresholds
        Of each task: from which probability it reads positive; Youden's on the validation patients, never on the test ones. 0.5 where
        those have one answer only, or all got one score.
    test
        A row of probabilities for each test patient.
    """

    thresholds: Row
    test: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SystemResult:
    """One system, one seed, one fold.

    `terms` is `ComparisonPlan.terms`; `indices` are the test patients; `seconds` it learnt, `answer_seconds` it
    answered all three sets of inputs; `machine` says where; `notes` what this training had to do otherwise.
    """

    terms: str
    system: str
    seed: int
    fold: int
    seconds: float
    answer_seconds: float
    machine: str
    indices: tuple[int, ...]
    both: ScopeAnswers
    mri: ScopeAnswers
    us: ScopeAnswers
    notes: tuple[str, ...] = ()

    def scope(self, name: Scope) -> ScopeAnswers:
        """Return the answers with that set of inputs."""
        return {"both": self.both, "mri": self.mri, "us": self.us}[name]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError where the disk refuses."""
        text = json.dumps(asdict(self), allow_nan=False)
        replace_text(path, text)

    @classmethod
    def read(cls, path: Path, terms: str) -> SystemResult:
        """Return what a file holds.

        Raises
        ------
        ComparisonError
            If it is damaged or belongs to another comparison.
        """
        try:
            made = from_json(cls, path.read_text("utf-8"), "result of a system", LONGEST_JSON)
        except (OSError, UnicodeDecodeError, StrictJsonError) as error:
            raise ComparisonError(f"{path.name} cannot be read: delete it and start the comparison again.") from error
        if made.terms != terms:
            raise ComparisonError(f"{path.name} belongs to another comparison: choose another folder.")
        return made


def scope_answers(fitted: Fitted, cases: CaseFiles, split: Split, absent: Absent) -> ScopeAnswers:
    """Return the answers to the test patients with one modality away, with thresholds from the validation patients."""
    chosen = fitted.probabilities(cases, split.validation, absent)
    thresholds = [_threshold(chosen[:, task], cases.labels[split.validation, task]) for task in range(len(TASKS))]
    test = fitted.probabilities(cases, split.test, absent)
    if not np.isfinite(test).all():
        raise ComparisonError("A system answered with something that is no number.")
    return ScopeAnswers((thresholds[0], thresholds[1], thresholds[2]), tuple((row[0], row[1], row[2]) for row in test.tolist()))


def _threshold(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    known = labels >= 0
    if len(np.unique(labels[known])) < 2 or len(np.unique(scores[known])) < 2:
        return 0.5
    return youden_threshold(scores[known], labels[known])
