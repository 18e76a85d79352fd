"""The phantoms behind the bundled weights: made, prepared, and as the two stages of training show them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from breastai_model.phantom.cohort import PhantomCohort, write_cohort
from breastai_model.phantom.parallel import each
from breastai_model.phantom.patient import make_patient
from breastai_model.phantom.stored import read_stored
from breastai_model.plan import PhantomData
from breastai_model.prepare import prepare
from breastai_model.run_folder import RunFolder
from breastai_model.training.cases import prepare_phantoms
from breastai_model.training.dataset import CaseFiles, case_arrays
from breastai_model.training.lesion_window import lesion_place, window
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.prepare import Prepared
    from breastai_model.recipe import Recipe

LEARN_SEED, CALIBRATE_SEED, TEST_SEED, FULL_SIZE_SEED = 1_000_000, 2_000_000, 3_000_000, 4_000_000
"""First seeds of the cohorts; the demo patient and the tests use small ones, so they are new to the model."""
TEST = PhantomData("clinic", 1000, TEST_SEED)
WINDOW = (12, 48, 48)
"""Slices, rows and columns of the first stage; on a 2 x 2 x 2 last map. A preset whose breasts are smaller shows them whole."""
LEARN, CALIBRATE, FULL_SIZE, LESIONS = "learn", "calibration", "full-size", "lesions.json"
"""Below FOLDER: prepared cases to learn from, to calibrate with, at a scanner's resolution; where the first ones' lesions lie."""


class LearningCases(CaseFiles):
    """Whole cases with their latents, some without the other breast, which costs as much as the affected one and says less.

    Parameters
    ----------
    paths
        Case files.
    latents
        (case, latent), or None.
    healthy
        The share of cases that show the other breast.
    """

    def __init__(self, paths: Sequence[Path], latents: NDArray[np.float64] | None, healthy: float) -> None:
        super().__init__(paths, latents)
        self._healthy = healthy

    def load(self, index: int) -> Prepared:
        """Return one case, the same each time."""
        case = super().load(index)
        present = case.mri_present.copy()
        present[:, 1] &= np.random.default_rng([LEARN_SEED, index, 1]).random() < self._healthy
        return replace(case, mri_present=present)


class WindowCases(LearningCases):
    """Cases cut to a window around the lesion (`breastai_model.training.lesion_window`).

    Parameters
    ----------
    lesions
        (case, 3): slice, row and column of each lesion in the prepared affected breast.
    """

    def __init__(self, paths: Sequence[Path], latents: NDArray[np.float64] | None, healthy: float, lesions: NDArray[np.int64]) -> None:
        super().__init__(paths, latents, healthy)
        self._lesions = lesions

    def load(self, index: int) -> Prepared:
        """Return the window of one case, the same one each time."""
        return window(super().load(index), self._lesions[index], WINDOW, np.random.default_rng([LEARN_SEED, index]))


def prepare_learning(
    out: Path,
    patients: int,
    recipe: Recipe,
    processes: int,
    say: Callable[[str], None],
    tell: Callable[[int, int], None] = lambda _done, _whole: None,
) -> None:
    """Write and prepare the phantoms to learn from that are not there yet, and write where their lesions lie.

    Parameters
    ----------
    out
        Folder of the cohorts and the runs.
    recipe
        That prepares them.
    processes
        That make phantoms.
    tell
        Called with (phantoms there, phantoms in all), once for each made and once for each prepared; raising ends it, to go on later.
    """
    _prepare(out, LEARN, PhantomData("clinic", patients, LEARN_SEED), recipe, processes, say, tell)
    write_lesions(out / LESIONS, PhantomCohort(cohort_folder(out, LEARN)), recipe, processes)


def prepare_calibration(out: Path, patients: int, full_size: int, recipe: Recipe, processes: int, say: Callable[[str], None]) -> None:
    """Write and prepare the phantoms to calibrate with, and those at a scanner's resolution, as `prepare_learning` does."""
    _prepare(out, CALIBRATE, PhantomData("clinic", patients, CALIBRATE_SEED), recipe, processes, say)
    fine = RunFolder(out / FULL_SIZE)
    fine.cases.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(1, full_size + 1) if not fine.case_path(number).is_file()]
    for _ in each(_full_size_case, [(recipe, fine.path, number) for number in missing], processes):
        pass


def _prepare(
    out: Path,
    name: str,
    data: PhantomData,
    recipe: Recipe,
    processes: int,
    say: Callable[[str], None],
    tell: Callable[[int, int], None] = lambda _done, _whole: None,
) -> None:
    """Write and prepare a cohort, as far as it is not there yet."""
    started, cases = time.monotonic(), RunFolder(out / name)
    if len(cases.case_paths()) < data.patients:
        write_cohort(cohort_folder(out, name), data, processes=processes, tell=tell)
        prepare_phantoms(PhantomCohort(cohort_folder(out, name)), recipe, cases, tell, processes)
        say(f"{data.patients} phantoms from seed {data.seed} on, prepared in {time.monotonic() - started:.0f} s")


def write_lesions(path: Path, cohort: PhantomCohort, recipe: Recipe, processes: int) -> None:
    """Write where each lesion of a cohort lies, prepared by a recipe: (case, 3) slice, row, column in the affected breast, as JSON."""
    if path.is_file():
        return
    jobs = [(cohort.path(index), cohort.labels[index], recipe) for index in range(len(cohort))]
    places = list(each(_lesion_place, jobs, processes, ordered=True))
    replace_text(path, json.dumps(places))


def read_lesions(path: Path) -> NDArray[np.int64]:
    """Return what `write_lesions` wrote."""
    return np.array(json.loads(path.read_text("utf-8")), dtype=np.int64)


def _lesion_place(job: tuple[Path, NDArray[np.int64], Recipe]) -> list[int]:
    """Return slice, row and column of the lesion in the affected breast of a stored phantom, prepared by that recipe."""
    path, answers, recipe = job
    patient = read_stored(path, answers)
    affine = prepare(replace(patient.case, ultrasound=(), ultrasound_spacing_mm=(), angles_deg=()), recipe).mri_affine
    if affine is None:
        raise ValueError("A phantom has MRI.")
    return lesion_place(patient.lesion_mm, patient.side, affine, recipe.mri_shape)


def _full_size_case(job: tuple[Recipe, Path, int]) -> None:
    """Write one case: the recipe, the run's folder, the case's number."""
    recipe, run, number = job
    with threadpool_limits(1):
        made = make_patient(FULL_SIZE_SEED + number - 1, "demo")
        RunFolder(run).write_case(number, case_arrays(prepare(made.case, recipe), made.labels, number))


def cohort_folder(out: Path, name: str) -> Path:
    """Return where the phantoms of those prepared cases lie."""
    return out / f"{name}-cohort"
