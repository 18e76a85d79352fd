"""A folder of made-up patients with a table of answers: to try the training wizard, and to test it.

The patients are coarse (24 slices, 128 x 128 ultrasound), so that twenty are written in half a minute. Every image is
marked as this program's own phantom, and a model that learns from one of them says so.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_model.case import TASKS
from breastai_model.whole_file import replace_file, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.case import Labels
    from breastai_model.plan import Scenario

TABLE = "labels.csv"
KNOWN, CEILINGS = "phantoms.json", "ceilings"


def write_phantom_cohort(
    folder: Path,
    count: int,
    seed: int = 1,
    tell: Callable[[int, int], None] | None = None,
    *,
    scenario: Scenario = "clinic",
    grade_missing: int = 0,
    processes: int = 1,
) -> None:
    """Write made-up patients as DICOM, one folder each, `labels.csv` beside them, and what is known of them in `phantoms.json`.

    A patient that an earlier call wrote is kept. What was measured in its images lies in the hidden folder `.measured`.

    Parameters
    ----------
    folder
        Made where it is missing.
    count
        How many patients.
    seed
        Patient number n is the phantom of seed + n - 1.
    tell
        Called with (patients written, patients in all); first with those that are there already.
    scenario
        Where the answers come from (`breastai_model.phantom.scenarios`).
    grade_missing
        So many patients of low grade have none in the table (`breastai_model.phantom.cohort.ungraded`).
    processes
        That write patients at once.

    Raises
    ------
    CohortError
        If more grades are missing than are low, or the folder holds other made-up patients.
    OSError
        If the folder cannot be written.
    """
    from breastai_model.phantom.cohort import ungraded
    from breastai_model.phantom.latents import draw_latents
    from breastai_model.phantom.parallel import each
    from breastai_model.phantom.scenarios import draw_labels

    seeds = range(seed, seed + count)
    labels = [draw_labels(each_seed, draw_latents(each_seed), scenario) for each_seed in seeds]
    without = ungraded(np.array([int(bool(row.high_grade)) for row in labels]), seed, grade_missing)
    folder.mkdir(parents=True, exist_ok=True)
    known = _known(seeds, scenario, grade_missing)
    _keep(folder / KNOWN, known)
    folders = [folder / f"phantom-{number:03d}" for number in range(1, count + 1)]
    there = [place.is_dir() and _measured(place).is_file() for place in folders]
    jobs = [(place, each_seed, scenario) for place, each_seed, whole in zip(folders, seeds, there, strict=True) if not whole]
    done = count - len(jobs)
    if tell is not None:
        tell(done, count)
    for _ in each(_write_patient, jobs, processes):
        done += 1
        if tell is not None:
            tell(done, count)
    rows = [(place.name, *_cells(row, each_seed)) for place, row, each_seed in zip(folders, labels, seeds, strict=True)]
    for index in without:
        name, node, _, ki67 = rows[index]
        rows[index] = (name, node, "", ki67)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("patient", "lymph_node_metastasis", "grade", "ki67_percent"), *rows])
    replace_text(folder / TABLE, text.getvalue())
    answers = np.array([[int(getattr(row, task)) for task in TASKS] for row in labels], dtype=np.int64)
    answers[without, TASKS.index("high_grade")] = -1
    replace_text(folder / KNOWN, _json(known | {CEILINGS: _ceilings(scenario, answers, folders)}))


def _ceilings(scenario: Scenario, labels: NDArray[np.int64], folders: Sequence[Path]) -> dict[str, Any]:
    """Return `breastai_model.phantom.ceilings.Ceilings` of the written patients as JSON values."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from breastai_model.phantom.ceilings import ceilings

    outlined, found = np.stack([np.load(_measured(place)) for place in folders], axis=1)
    with threadpool_limits(1):  # sums in one order: the figures do not depend on the number of cores
        return asdict(ceilings(scenario, labels, outlined, found))


def _measured(folder: Path) -> Path:
    """Return the file of what was measured in a patient's images, (outlined or found, feature) float64."""
    return folder.parent / ".measured" / f"{folder.name}.npy"


def _known(seeds: range, scenario: Scenario, grade_missing: int) -> dict[str, Any]:
    """Return what is known of these patients before one is made: law, latents, the best AUC that anyone could reach."""
    from breastai_model.phantom.latents import LATENT_NAMES, draw_latents
    from breastai_model.phantom.scenarios import bayes_auc, law_hash

    return {
        "scenario": scenario,
        "seed": seeds.start,
        "patients": len(seeds),
        "grade_missing": grade_missing,
        "law": law_hash(),
        "bayes_auc": bayes_auc(scenario),
        "latent_names": LATENT_NAMES,
        "latents": [list(map(float, draw_latents(seed).values)) for seed in seeds],
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, allow_nan=False)


def _keep(path: Path, known: dict[str, Any]) -> None:
    """Write what is known, or make sure that it is the same as before."""
    from breastai_model.phantom.stored import CohortError

    if not path.is_file():
        if any(path.parent.glob("phantom-*")):
            raise CohortError(f"The folder {path.parent.name} holds made-up patients of which nothing is known: choose an empty folder.")
        replace_text(path, _json(known))
        return
    try:
        there = json.loads(path.read_text("utf-8"))
    except ValueError:
        there = None
    if not isinstance(there, dict) or there | {CEILINGS: None} != json.loads(_json(known)) | {CEILINGS: None}:
        raise CohortError(f"The folder {path.parent.name} holds made-up patients of another kind: choose an empty folder.")


def _write_patient(job: tuple[Path, int, Scenario]) -> None:
    """Write one patient and what can be measured in its images; its folder appears whole."""
    from threadpoolctl import threadpool_limits

    from breastai_gui.data.dicom_writer import Scan, write_phases, write_ultrasound
    from breastai_gui.services.demo import on_screen
    from breastai_model.phantom.cohort import measured_features
    from breastai_model.phantom.kinetics import SEQUENCE
    from breastai_model.phantom.patient import make_patient

    folder, seed, scenario = job
    with threadpool_limits(1):  # one core each, and products of matrices in one order
        patient = make_patient(seed, "model", scenario)
        measured = measured_features(patient)

    def save(path: Path) -> None:
        with path.open("wb") as file:  # a path without that ending would get another
            np.save(file, np.stack([measured["outlined"], measured["found"]]))

    replace_file(_measured(folder), save)
    if folder.is_dir():
        return
    case = patient.case
    if case.dce is None or case.dce_affine is None or case.dce_times_s is None or case.side is None:
        raise ValueError("The phantom made a patient without MRI or side; this is a fault of the program.")
    scan = Scan(SEQUENCE.repetition_ms, SEQUENCE.echo_ms, SEQUENCE.flip_deg)
    part = folder.with_name(f".{folder.name}.part")
    if part.is_dir():
        shutil.rmtree(part)  # of a call that was broken off
    write_phases(part / "mri", seed, case.dce, case.dce_affine, case.dce_times_s, case.pre, scan)
    angles = [angle for angle in case.angles_deg if angle is not None]
    spacing = next(spacing for spacing in case.ultrasound_spacing_mm if spacing is not None)
    screens = [on_screen(image, spacing, angle) for image, angle in zip(case.ultrasound, angles, strict=True)]
    write_ultrasound(part / "ultrasound", seed, screens, angles, spacing, case.side)
    part.rename(folder)


def _cells(labels: Labels, seed: int) -> tuple[str, str, str]:
    """Return the answers as a pathologist writes them: yes or no, a grade, a percentage on the right side of 20."""
    chance = np.random.default_rng([seed, 67])
    grade = 3 if labels.high_grade else int(chance.integers(1, 3))
    ki67 = int(chance.integers(20, 80)) if labels.high_ki67 else int(chance.integers(2, 20))
    return "yes" if labels.lymph_node_metastasis else "no", str(grade), str(ki67)
