"""A folder of made-up patients with a table of answers: to try the training wizard, and to test it.

The patients are coarse (24 slices, 128 x 128 ultrasound), so that twenty are written in half a minute. Every image is
marked as this program's own phantom, and a model that learns from one of them says so.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from breastai_gui.services.atomic import atomic_save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.case import Labels
    from breastai_model.plan import Scenario

TABLE = "labels.csv"


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
    """Write made-up patients as DICOM, one folder each, and `labels.csv` beside them.

    Parameters
    ----------
    folder
        Made where it is missing.
    count
        How many patients.
    seed
        Patient number n is the phantom of seed + n - 1.
    tell
        Called with (patients written, patients in all).
    scenario
        Where the answers come from (`breastai_model.phantom.scenarios`).
    grade_missing
        So many patients have no grade in the table.
    processes
        That write patients at once.

    Raises
    ------
    CohortError
        If more grades are missing than there are patients.
    OSError
        If the folder cannot be written.
    """
    from breastai_model.phantom.parallel import each
    from breastai_model.phantom.stored import CohortError

    if grade_missing > count:
        raise CohortError("No more grades can be missing than there are patients.")
    jobs = [(folder / f"phantom-{number:03d}", seed + number - 1, scenario) for number in range(1, count + 1)]
    if tell is not None:
        tell(0, count)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str, str]] = []
    for row in each(_write_patient, jobs, processes, ordered=True):
        rows.append(row)
        if tell is not None:
            tell(len(rows), count)
    chance = np.random.default_rng([seed, 1000])
    for index in chance.permutation(count)[:grade_missing]:
        name, node, _, ki67 = rows[index]
        rows[index] = (name, node, "", ki67)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("patient", "lymph_node_metastasis", "grade", "ki67_percent"), *rows])
    atomic_save(folder / TABLE, lambda path: _write_text(path, text.getvalue()))


def _write_patient(job: tuple[Path, int, Scenario]) -> tuple[str, str, str, str]:
    """Write one patient and return its line of the table."""
    from breastai_gui.data.dicom_writer import Scan, write_phases, write_ultrasound
    from breastai_gui.services.demo import on_screen
    from breastai_model.phantom.kinetics import SEQUENCE
    from breastai_model.phantom.patient import make_patient

    folder, seed, scenario = job
    patient = make_patient(seed, "model", scenario)
    case = patient.case
    if case.dce is None or case.dce_affine is None or case.dce_times_s is None or case.side is None:
        raise ValueError("The phantom made a patient without MRI or side; this is a fault of the program.")
    scan = Scan(SEQUENCE.repetition_ms, SEQUENCE.echo_ms, SEQUENCE.flip_deg)
    write_phases(folder / "mri", seed, case.dce, case.dce_affine, case.dce_times_s, case.pre, scan)
    angles = [angle for angle in case.angles_deg if angle is not None]
    spacing = next(spacing for spacing in case.ultrasound_spacing_mm if spacing is not None)
    screens = [on_screen(image, spacing, angle) for image, angle in zip(case.ultrasound, angles, strict=True)]
    write_ultrasound(folder / "ultrasound", seed, screens, angles, spacing, case.side)
    return (folder.name, *_cells(patient.labels, seed))


def _cells(labels: Labels, seed: int) -> tuple[str, str, str]:
    """Return the answers as a pathologist writes them: yes or no, a grade, a percentage on the right side of 20."""
    chance = np.random.default_rng([seed, 67])
    grade = 3 if labels.high_grade else int(chance.integers(1, 3))
    ki67 = int(chance.integers(20, 80)) if labels.high_ki67 else int(chance.integers(2, 20))
    return "yes" if labels.lymph_node_metastasis else "no", str(grade), str(ki67)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="")
