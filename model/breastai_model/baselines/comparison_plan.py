"""What one comparison is: the cohort, who is learnt from, the budget. Fixed when it begins, read back strictly when it goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.baselines.system import Budget
from breastai_model.plan import PhantomData  # noqa: TC001  strict_json reads the annotations
from breastai_model.recipe import Recipe  # noqa: TC001  strict_json reads the annotations
from breastai_model.strict_json import LONGEST_TUPLE, from_json
from breastai_model.training.folds import split_by_patient, stratified_folds
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST_JSON = 256 * 1024


class ComparisonError(ValueError):
    """A comparison that cannot begin or go on; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """What all systems of one comparison share.

    Attributes
    ----------
    recipe
        Preparation of the cases, and the widths of the networks.
    data
        The phantom cohort: patients learnt from and held out together.
    held_out
        Of them, for the table alone; ignored with `folds`.
    folds
        0: one stratified hold-out; k: patient-level stratified k-fold, the table is of the pooled out-of-fold answers.
    validation_share
        Of the patients of the training side, on which best epoch, settings and thresholds are chosen.
    seeds
        Each system learns once with each.
    epochs, batch_size, learning_rate
        Of the budget.
    """

    recipe: Recipe
    data: PhantomData
    held_out: int
    folds: int
    validation_share: float
    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float

    def __post_init__(self) -> None:
        if self.folds == 0 and not 1 <= self.held_out < self.data.patients:
            raise ComparisonError("A comparison holds out at least one patient and learns from at least one.")
        if self.folds < 0 or self.folds == 1 or not 0 < self.validation_share < 1:
            raise ComparisonError("Folds are 0 or at least 2, and the share of validation patients lies between 0 and 1.")
        if self.held_out > LONGEST_TUPLE or (self.folds and self.data.patients > LONGEST_TUPLE * self.folds):
            raise ComparisonError(f"At most {LONGEST_TUPLE} patients can be held out at a time.")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ComparisonError("A comparison needs at least one seed, each once.")
        for seed in self.seeds:
            self.budget(seed)

    def budget(self, seed: int, **changes: float | str) -> Budget:
        """Return what a system may spend with that seed."""
        values = {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate, **changes}
        return Budget(recipe=self.recipe, seed=seed, **values)  # type: ignore[arg-type]

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(asdict(self), indent=1)

    def keep(self, path: Path) -> None:
        """Write the plan, or make sure that the one already there is the same.

        Raises
        ------
        ComparisonError
            If the folder was begun with another plan.
        """
        if not path.is_file():
            replace_text(path, self.to_json())
        elif from_json(ComparisonPlan, path.read_text("utf-8"), "comparison", LONGEST_JSON) != self:
            raise ComparisonError(
                "This folder was begun with other patients, seeds, epochs or sizes: give the same options or another --out folder."
            )

    @property
    def terms(self) -> str:
        """A hash that every result of this comparison carries; seeds may be told apart by the results themselves."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Indices (n,) int64 of the patients: learnt from, chosen on (both the training side), and answered for the table."""

    learning: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def splits(plan: ComparisonPlan, labels: NDArray[np.int64], groups: NDArray[np.int64]) -> tuple[Split, ...]:
    """Return the one split, or one for each fold, whole patients at a time, answers spread evenly; the same for every system and seed.

    Parameters
    ----------
    labels, groups
        (case, task) and (case,).
    """
    if plan.folds:
        fold = stratified_folds(labels, groups, plan.folds, plan.data.seed)
        tests = [np.flatnonzero(fold == number) for number in range(plan.folds)]
    else:
        tests = [split_by_patient(labels, groups, plan.held_out / len(np.unique(groups)), plan.data.seed)[1]]
    made = []
    for test in tests:
        side = np.setdiff1d(np.arange(len(labels)), test)
        learning, validation = split_by_patient(labels[side], groups[side], plan.validation_share, plan.data.seed)
        if not (len(learning) and len(validation) and len(test)):
            raise ComparisonError("There are too few patients to learn from some, choose on some and measure on others.")
        made.append(Split(side[learning], side[validation], test))
    return tuple(made)
