"""The made-up patients of a comparison: written or taken, and prepared once for every system."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from breastai_model.baselines.comparison_plan import ComparisonError
from breastai_model.phantom.cohort import PhantomCohort, write_cohort
from breastai_model.plan import Plan, with_losses
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.cases import prepare_phantoms
from breastai_model.training.dataset import CaseFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.phantom.ceilings import Ceilings
    from breastai_model.plan import PhantomData
    from breastai_model.recipe import Recipe


def comparison_recipe(name: str, mri_shape: tuple[int, int, int] | None = None, us_shape: tuple[int, int] | None = None) -> Recipe:
    """Return the recipe that all systems of a comparison read the cases by: a preset, `stable`, with other sizes if told.

    A smaller array shows as much of the patient, in larger voxels. Differences from the phase before contrast enter as in
    the bundled model.

    Raises
    ------
    RecipeError
        If there is no such preset or a size is out of range.
    """
    recipe = replace(with_losses(preset(name), "stable"), subtraction=True)
    shape = mri_shape or recipe.mri_shape
    slices, rows, columns = (
        spacing * before / now for spacing, before, now in zip(recipe.mri_spacing_mm, recipe.mri_shape, shape, strict=True)
    )
    return replace(recipe, mri_shape=shape, mri_spacing_mm=(slices, rows, columns), us_shape=us_shape or recipe.us_shape)


def comparison_cases(
    folder: Path, recipe: Recipe, data: PhantomData, cohort: Path | None, processes: int, tell: Callable[[str], None]
) -> tuple[CaseFiles, Ceilings]:
    """Return the prepared cases of a comparison's folder, and how well anyone could answer; what is there already is kept.

    Parameters
    ----------
    data, cohort
        The cohort to write below the folder, or one that is there, which must then be that one.
    processes
        That write patients at once.
    tell
        Takes a sentence now and then.

    Raises
    ------
    ComparisonError
        If the cohort taken is another than `data` says.
    ValueError
        If the folder holds other patients, or a file is damaged.
    OSError
        If it cannot be written.
    """
    source = folder / "cohort" if cohort is None else cohort
    if cohort is None:
        write_cohort(source, data, processes=processes, tell=_steps("patients written", tell))
    patients = PhantomCohort(source)
    if patients.data != data:
        raise ComparisonError("The cohort is another than the comparison's.")
    run = RunFolder(folder / "prepared")
    if not run.has_plan():
        run.create(Plan("comparison", recipe, data=data), {"cases": []})
    elif run.plan().recipe != recipe or run.plan().data != data:
        raise ComparisonError("This folder was begun with other patients or sizes: give the same options or another --out folder.")
    prepare_phantoms(patients, recipe, run, _steps("patients prepared", tell), processes)
    return CaseFiles(run.case_paths()), patients.ceilings


def _steps(what: str, tell: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return what tells every tenth part."""

    def told(done: int, total: int) -> None:
        if done and (done == total or done * 10 // total > (done - 1) * 10 // total):
            tell(f"{done} of {total} {what}")

    return told
