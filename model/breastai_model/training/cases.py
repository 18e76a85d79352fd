"""Case files of a run from a phantom cohort: no reader, no DICOM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from breastai_model.phantom.parallel import each
from breastai_model.phantom.stored import read_stored
from breastai_model.prepare import prepare
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import case_arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from breastai_model.phantom.cohort import PhantomCohort
    from breastai_model.recipe import Recipe


def prepare_phantoms(cohort: PhantomCohort, recipe: Recipe, run: RunFolder, tell: Callable[[int, int], None], processes: int) -> None:
    """Write a case file for each patient of a cohort; patient n (counted from 1) is case n, and a group of its own.

    Parameters
    ----------
    run
        Gets the files; those that are there already are kept.
    tell
        Called with (cases there, cases in all).
    processes
        That prepare cases at once.

    Raises
    ------
    CohortError
        If a patient's file is damaged.
    OSError
        If a case cannot be written.
    """
    run.cases.mkdir(parents=True, exist_ok=True)
    numbers = [number for number in range(1, len(cohort) + 1) if not run.case_path(number).is_file()]
    done = len(cohort) - len(numbers)
    tell(done, len(cohort))
    jobs = [(cohort.path(number - 1), cohort.labels[number - 1], recipe, run.path, number) for number in numbers]
    for _ in each(_prepare, jobs, processes):
        done += 1
        tell(done, len(cohort))


def _prepare(job: tuple[Path, NDArray[np.int64], Recipe, Path, int]) -> None:
    """Write one case: a phantom's file, its answers, the recipe, the run's folder, the case's number."""
    path, answers, recipe, run, number = job
    patient = read_stored(path, answers)
    with threadpool_limits(1):
        RunFolder(run).write_case(number, case_arrays(prepare(patient.case, recipe), patient.labels, number))
