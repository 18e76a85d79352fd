"""Prepared cases for tests of the comparators: made-up patients, and cases whose answer stands in plain sight."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.baselines.system import Budget
from breastai_model.case import TASKS, InputsUsed, Labels
from breastai_model.phantom.patient import make_patient
from breastai_model.plan import Plan
from breastai_model.prepare import Prepared, prepare
from breastai_model.recipe import Recipe, preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import CaseFiles, case_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16), mri_spacing_mm=(36.0, 12.0, 12.0), subtraction=True)
PLAIN = replace(RECIPE, phases=2, post_times_s=(75.0,), angles=2, affinity_neighbours=3)
"""For cases in plain sight: one phase after contrast, two angles."""


class Watched(CaseFiles):
    """Cases that note which of them were read."""

    def __init__(self, cases: CaseFiles) -> None:
        super().__init__(cases._paths)
        self.read: set[int] = set()

    def load(self, index: int) -> Prepared:
        self.read.add(int(index))
        return super().load(index)


class Spoilt(CaseFiles):
    """Cases in which one modality shows noise, as if it were another patient's."""

    def __init__(self, cases: CaseFiles, modality: str) -> None:
        super().__init__(cases._paths)
        self.modality = modality

    def load(self, index: int) -> Prepared:
        case, chance = super().load(index), np.random.default_rng(index)
        if self.modality == "mri":
            return replace(case, mri=chance.random(case.mri.shape, dtype=np.float32))
        return replace(case, us=chance.random(case.us.shape, dtype=np.float32))


def a_budget(epochs: int = 1, recipe: Recipe = RECIPE, seed: int = 1, learning_rate: float = 3e-3, batch_size: int = 8) -> Budget:
    return Budget(recipe=recipe, epochs=epochs, batch_size=batch_size, seed=seed, learning_rate=learning_rate)


def case_files(folder: Path, cases: Iterable[tuple[Prepared, Labels]], recipe: Recipe = RECIPE) -> CaseFiles:
    """Write prepared cases as a run would and return them."""
    run = RunFolder(folder)
    run.create(Plan("cases", recipe), {"cases": []})
    for number, (prepared, labels) in enumerate(cases, start=1):
        run.write_case(number, case_arrays(prepared, labels, number))
    return CaseFiles(run.case_paths())


def phantom_files(folder: Path, patients: int, first_seed: int = 500) -> CaseFiles:
    """Return made-up patients; every fourth misses the answer to one question."""
    made = []
    for number in range(patients):
        patient = make_patient(first_seed + number, "model")
        answers = {task: getattr(patient.labels, task) for task in TASKS}
        if number % 4 == 0:
            answers[TASKS[number // 4 % 3]] = None
        made.append((prepare(patient.case, RECIPE), Labels(**answers)))
    return case_files(folder, made)


def plain_case(chance: np.random.Generator, *, positive: bool) -> Prepared:
    """Return noise with one plain sign in both modalities: a patch that takes up contrast, a patch of every angle that is brighter."""
    mri = chance.uniform(0.2, 0.4, (PLAIN.phases, 2, *PLAIN.mri_shape)).astype(np.float32)
    us = chance.uniform(0.3, 0.6, (PLAIN.angles, *PLAIN.us_shape)).astype(np.float32)
    mri[1:, 0, 1:3, 4:12, 4:12] += 0.5 if positive else 0.1
    us[:, 4:12, 4:12] += 0.35 if positive else -0.25
    return Prepared(
        mri=mri,
        mri_present=np.ones((PLAIN.phases, 2), dtype=bool),
        us=us,
        us_present=np.ones(PLAIN.angles, dtype=bool),
        sides=("left", "right"),
        both_orders=False,
        mri_affine=None,
        us_boxes=(),
        us_slots=(),
        inputs=InputsUsed((), 0, (), 0, (), side_unknown=False, notes=()),
    )


def plain_files(folder: Path, patients: int, seed: int = 1) -> CaseFiles:
    """Return cases whose first two answers are plain, the second the contrary of the first; the third is the toss of a coin."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(patients):
        positive, coin = number % 2 == 0, bool(chance.random() < 0.5)
        made.append((plain_case(chance, positive=positive), Labels(positive, not positive, coin)))
    return case_files(folder, made, PLAIN)
