"""Made-up patients by the hundred: written in parallel, gone on with after a break, mapped when read.

::

    FOLDER/
        cohort.json                    what it is: scenario, seed, law hash, labels, latents, ceilings; written last
        patients/0001.safetensors      images and truth of the phantom of `seed`, 0002 of `seed` + 1, and so on

Images are made straight at the model's resolution (method section vii). The same seed gives the same bytes, with any number of
processes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from breastai_model.case import TASKS
from breastai_model.phantom.ceilings import Ceilings, ceilings
from breastai_model.phantom.found import find_lesion, find_views
from breastai_model.phantom.latents import LATENT_NAMES, draw_latents
from breastai_model.phantom.measured import measure_mri, measure_us
from breastai_model.phantom.parallel import each
from breastai_model.phantom.patient import make_patient
from breastai_model.phantom.scenarios import draw_labels, law_hash
from breastai_model.phantom.stored import CohortError, StoredPatient, measured_of, origin_of, read_stored, write_stored
from breastai_model.plan import PhantomData  # noqa: TC001  read from JSON by its annotation
from breastai_model.strict_json import StrictJsonError, checked, parsed
from breastai_model.whole_file import HALF_WRITTEN, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.phantom.patient import PhantomPatient

FORMAT = 1
LONGEST_JSON = 2**30
_MEASURED = ("outlined", "found")


@dataclass(frozen=True, slots=True)
class _Head:
    """The entries of cohort.json beside its two tables."""

    format: int
    data: PhantomData
    law: str
    grade_missing: int
    latent_names: tuple[str, ...]
    ceilings: Ceilings


def write_cohort(
    folder: Path, data: PhantomData, *, processes: int, grade_missing: int = 0, tell: Callable[[int, int], None] | None = None
) -> None:
    """Write a cohort; patients that an earlier, broken off call wrote are kept.

    Parameters
    ----------
    folder
        Made where it is missing.
    processes
        That make patients at once.
    grade_missing
        So many patients have no grade (the paper's table 1 read as printed: 100 of 502).
    tell
        Called with (patients there, patients in all).

    Raises
    ------
    CohortError
        If the folder holds another cohort, or the numbers do not fit.
    OSError
        If it cannot be written.
    """
    if processes < 1:
        raise CohortError("A cohort is written by at least one process.")
    _labels(data, grade_missing)  # more missing grades than there are low ones are refused before anything is written
    (folder / "patients").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            _write(folder, data, processes, grade_missing, tell)
    except Timeout as error:
        raise CohortError(f"Another program is writing the cohort {folder.name}: wait until it is done.") from error


def _write(folder: Path, data: PhantomData, processes: int, grade_missing: int, tell: Callable[[int, int], None] | None) -> None:
    for half_written in (folder / "patients").glob(f"{HALF_WRITTEN}*"):
        half_written.unlink()
    jobs = []
    for number in range(1, data.patients + 1):
        path, origin = _path(folder, number), _origin(data, number)
        if not path.is_file():
            jobs.append((path, data, number))
        elif origin_of(path) != origin:
            raise CohortError(f"The folder {folder.name} holds made-up patients of another kind: choose an empty folder.")
    done = data.patients - len(jobs)
    if tell is not None:
        tell(done, data.patients)
    for _ in each(_make, jobs, processes):
        done += 1
        if tell is not None:
            tell(done, data.patients)
    labels = _labels(data, grade_missing)
    latents = np.array([draw_latents(data.seed + index).values for index in range(data.patients)])
    measured = [measured_of(_path(folder, number), _MEASURED) for number in range(1, data.patients + 1)]
    with threadpool_limits(1):  # sums in one order: the figures do not depend on the number of cores
        bounds = ceilings(data.scenario, labels, *(np.stack([row[kind] for row in measured]) for kind in range(len(_MEASURED))))
    head = _Head(FORMAT, data, law_hash(), grade_missing, LATENT_NAMES, bounds)
    values = {**asdict(head), "labels": labels.tolist(), "latents": latents.tolist()}
    text = json.dumps(values, allow_nan=False)
    replace_text(folder / "cohort.json", text)


def _make(job: tuple[Path, PhantomData, int]) -> None:
    """Write one patient."""
    path, data, number = job
    with threadpool_limits(1):  # one core each, and products of matrices in one order
        patient = make_patient(data.seed + number - 1, "model", data.scenario)
        measured = measured_features(patient)
    write_stored(path, patient, measured, _origin(data, number))


def measured_features(patient: PhantomPatient) -> dict[str, NDArray[np.float64]]:
    """Return `MRI_FEATURES`, then `US_FEATURES`, by whether the truth outlined the lesion or it was found in the images."""
    case, truth = patient.case, patient.truth
    return {
        "outlined": np.concatenate([measure_mri(case, truth.lesion), measure_us(case, truth.views)]),
        "found": np.concatenate([measure_mri(case, find_lesion(case)), measure_us(case, find_views(case))]),
    }


def _path(folder: Path, number: int) -> Path:
    return folder / "patients" / f"{number:04d}.safetensors"


def _origin(data: PhantomData, number: int) -> str:
    return json.dumps({"scenario": data.scenario, "seed": data.seed + number - 1, "law": law_hash()}, sort_keys=True)


def _labels(data: PhantomData, grade_missing: int) -> NDArray[np.int64]:
    rows = [draw_labels(seed, draw_latents(seed), data.scenario) for seed in range(data.seed, data.seed + data.patients)]
    labels = np.array([[int(getattr(row, task)) for task in TASKS] for row in rows], dtype=np.int64)
    place = TASKS.index("high_grade")
    labels[ungraded(labels[:, place], data.seed, grade_missing), place] = -1
    return labels


def ungraded(high: NDArray[np.int64], seed: int, count: int) -> NDArray[np.int64]:
    """Return the indices of that many patients of low grade, who are left without one.

    The published Table 1 prints 202 of high and 200 of low grade for 502 patients. One reading is a misprint of 300, the other that 100
    were not graded; 202 / 300 becomes 202 / 200 only where these were of low grade.

    Parameters
    ----------
    high
        (patient,) 1 where the grade is high.

    Raises
    ------
    CohortError
        If there are not so many of low grade.
    """
    low = np.flatnonzero(high == 0)
    if not 0 <= count <= len(low):
        raise CohortError(f"No more grades can be missing than there are patients of low grade, {len(low)} of {len(high)} here.")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 1000]))).permutation(low)[:count]


class PhantomCohort:
    """A written cohort; images are mapped when a patient is asked for.

    Attributes
    ----------
    data
        Scenario, number of patients, seed.
    labels
        (patient, task) int64: 1, 0, or -1 where not known.
    latents
        (patient, latent) float64, in the order of `LATENT_NAMES`.
    ceilings
        How well anyone could answer.
    law_hash
        `scenarios.law_hash` of the program that wrote it.

    Raises
    ------
    CohortError
        If there is no whole cohort in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            values = parsed((folder / "cohort.json").read_text("utf-8"), "cohort", LONGEST_JSON)
            labels: NDArray[np.int64] = np.array(values.pop("labels"), dtype=np.int64)
            latents: NDArray[np.float64] = np.array(values.pop("latents"), dtype=np.float64)
            head: _Head = checked(_Head, values, "cohort", "cohort")
        except FileNotFoundError as error:
            raise CohortError(
                f"The folder {folder.name} holds no whole cohort of made-up patients: write it, or let it be finished."
            ) from error
        except (OSError, StrictJsonError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CohortError(f"The cohort {folder.name} is damaged: cohort.json is not what this program writes.") from error
        if head.format != FORMAT or head.latent_names != LATENT_NAMES:
            raise CohortError(f"The cohort {folder.name} was written by another version of this program: write it again.")
        shapes = (head.data.patients, len(TASKS)), (head.data.patients, len(LATENT_NAMES))
        if (labels.shape, latents.shape) != shapes or not np.isin(labels, (-1, 0, 1)).all():
            raise CohortError(f"The cohort {folder.name} is damaged: labels or latents do not fit its patients.")
        self.data = head.data
        self.labels = labels
        self.latents = latents
        self.ceilings = head.ceilings
        self.law_hash = head.law

    def __len__(self) -> int:
        return self.data.patients

    def patient(self, index: int) -> StoredPatient:
        """Return one patient, counted from 0. Raises CohortError where its file is damaged, IndexError where there is none."""
        return read_stored(self.path(index), self.labels[index])

    def path(self, index: int) -> Path:
        """Return the file of one patient, counted from 0. Raises IndexError where there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"The cohort has {len(self)} patients.")
        return _path(self.folder, index + 1)

    def measured(self, found: bool = False) -> NDArray[np.float64]:
        """Return the features measured in the images, (patient, feature): `MRI_FEATURES`, then `US_FEATURES`."""
        names = ("found",) if found else ("outlined",)
        return np.stack([measured_of(_path(self.folder, number), names)[0] for number in range(1, len(self) + 1)])
