"""Made-up cases and run folders for tests of training: very small pictures that still tell one answer from the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_model.case import InputsUsed, Labels
from breastai_model.plan import Plan
from breastai_model.prepare import Prepared
from breastai_model.recipe import Recipe, preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import case_arrays

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16))
CHANNELS = preset("tiny", layout="channels", mri_shape=(4, 16, 16), us_shape=(16, 16))
"""All phases and angles of a breast pass the encoders at once: a fifth of the time, for tests of what surrounds the network."""


def made_case(number: int, positive: bool, recipe: Recipe = RECIPE) -> Prepared:
    """A bright block in the affected breast that washes in when the label is positive, and a dark one in every angle."""
    chance = np.random.default_rng(number)
    mri = chance.uniform(0.2, 0.3, (recipe.phases, 2, *recipe.mri_shape)).astype(np.float32)
    us = chance.uniform(0.4, 0.6, (recipe.angles, *recipe.us_shape)).astype(np.float32)
    slices, rows, columns = (slice(size // 4, 3 * size // 4) for size in recipe.mri_shape)
    mri[1:, 0, slices, rows, columns] += 0.6 if positive else 0.05
    middle = slice(recipe.us_shape[0] // 4, 3 * recipe.us_shape[0] // 4)
    us[:, middle, middle] = 0.1 if positive else 0.35
    none = InputsUsed((), 0, (), 0, (), False, ())
    everything = np.ones((recipe.phases, 2), dtype=bool), np.ones(recipe.angles, dtype=bool)
    return Prepared(mri, everything[0], us, everything[1], ("left", "right"), False, None, (), (), none)


def a_plan(**changes: Any) -> Plan:
    """Return a plan for a few seconds on a processor."""
    values = {"name": "test", "recipe": RECIPE, "epochs": 3, "batch_size": 3, "device": "cpu", "validation_share": 0.34}
    return Plan(**(values | changes))


def make_run(path: Path, patients: int = 9, plan: Plan | None = None, **changes: Any) -> RunFolder:
    """Return a run folder with its plan and prepared cases; every other patient is positive, two have no grade."""
    run = RunFolder(path)
    plan = plan or a_plan(**changes)
    run.create(plan, {"cases": []})
    for number in range(1, patients + 1):
        positive = number % 2 == 0
        labels = Labels(positive, None if number < 3 else positive, not positive)
        run.write_case(number, case_arrays(made_case(number, positive, plan.recipe), labels, number))
    return run
