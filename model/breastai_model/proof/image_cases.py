"""Image phantoms as prepared cases: made once for a seed, shared by all scenarios whose images are the same.

S1 to S5 differ in their labels alone: one set of images serves them all, with the labels of whichever law is asked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.case import TASKS, Labels
from breastai_model.phantom.latents import draw_latents
from breastai_model.phantom.patient import make_patient
from breastai_model.phantom.scenarios import SCENARIOS, draw_labels, law_hash
from breastai_model.prepare import prepare
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import CaseFiles, case_arrays
from breastai_model.training.lesion_window import lesion_place, window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.case import Task
    from breastai_model.plan import Scenario
    from breastai_model.proof.pieces import Bench
    from breastai_model.recipe import Recipe

Source = tuple["Scenario", "Task"]
"""Whose label: the answer to that task in that scenario."""
NOBODY = Labels(None, None, None)


@dataclass(frozen=True, slots=True)
class ImageCohort:
    """Phantoms of the seeds `seed` to `seed + patients - 1`, with the images of that scenario, prepared by that recipe.

    The MRI is a window of `recipe.mri_shape` around the lesion, cut out of breasts of the shape `whole`.
    """

    images: Scenario
    patients: int
    seed: int
    recipe: Recipe
    whole: tuple[int, int, int]

    def folder(self, bench: Path) -> Path:
        """Return where its cases stand."""
        prepared = hashlib.sha256(f"{self.recipe.to_json()} {self.whole}".encode()).hexdigest()
        return bench / "cohorts" / f"{self.images}-{self.seed}-{law_hash()[:8]}-{prepared[:8]}"

    def words(self) -> str:
        """Return what it is, in words."""
        return f"{self.patients} phantoms ({self.images} images, seeds from {self.seed}, law {law_hash()[:12]})"


def same_images(scenario: Scenario) -> Scenario:
    """Return the scenario whose images this one has: its own where an extra latent shows in them, else the clinic's."""
    return scenario if SCENARIOS[scenario].drawn else "clinic"


def write_cases(cohort: ImageCohort, numbers: range, bench: Bench) -> None:
    """Make and prepare those phantoms that are not there yet, numbered from 1. Raises OutOfTime between two of them."""
    run = RunFolder(cohort.folder(bench.folder))
    run.cases.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        if not run.case_path(number).is_file():
            bench.left_s()
            patient = make_patient(cohort.seed + number - 1, "model", cohort.images)
            whole = prepare(patient.case, replace(cohort.recipe, mri_shape=cohort.whole))
            if whole.mri_affine is None:
                raise AssertionError("A phantom has MRI.")
            place = lesion_place(patient.truth.lesion_mm, patient.truth.side, whole.mri_affine, cohort.whole)
            cut = window(whole, place, cohort.recipe.mri_shape, np.random.default_rng([cohort.seed, number]))
            run.write_case(number, case_arrays(cut, NOBODY, number))


def read_cases(cohort: ImageCohort, bench: Bench, sources: tuple[Source, Source, Source]) -> CaseFiles:
    """Return the prepared cases with these labels in the places of the three tasks."""
    run = RunFolder(cohort.folder(bench.folder))
    cases = CaseFiles([run.case_path(number) for number in range(1, cohort.patients + 1)])
    cases.labels = labels_of(cohort, sources)
    return cases


def labels_of(cohort: ImageCohort, sources: tuple[Source, Source, Source]) -> NDArray[np.int64]:
    """Return (patient, 3) labels, drawn by the scenarios' laws."""
    seeds = range(cohort.seed, cohort.seed + cohort.patients)
    columns = [[getattr(draw_labels(seed, draw_latents(seed), scenario), task) for seed in seeds] for scenario, task in sources]
    return np.array(columns, dtype=np.int64).T


def of_scenario(scenario: Scenario) -> tuple[Source, Source, Source]:
    """Return all three labels of one scenario."""
    return (scenario, TASKS[0]), (scenario, TASKS[1]), (scenario, TASKS[2])
