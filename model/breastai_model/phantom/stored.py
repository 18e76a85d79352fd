"""One phantom as a file: images that are mapped when they are read, and the truth beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from breastai_model.case import TASKS, Case, Labels
from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.case import Side
    from breastai_model.phantom.patient import PhantomPatient

_MAPPED = ("dce", "us")


class CohortError(ValueError):
    """A cohort of made-up patients cannot be read or written; the text is one sentence."""


@dataclass(frozen=True, eq=False, slots=True)
class StoredPatient:
    """A phantom that was read from a cohort.

    Attributes
    ----------
    case
        As `prepare` takes it; MRI and ultrasound are mapped, not loaded.
    labels
        The answers; None where the cohort leaves one out.
    side
        The breast with the lesion.
    lesion
        (slice, row, column) bool on the case's grid.
    views
        One (row, column) bool mask of the lesion for each ultrasound image.
    lesion_mm
        (3,) LPS centre of the lesion.
    """

    case: Case
    labels: Labels
    side: Side
    lesion: NDArray[np.bool_]
    views: tuple[NDArray[np.bool_], ...]
    lesion_mm: NDArray[np.float64]


def write_stored(path: Path, patient: PhantomPatient, measured: dict[str, NDArray[np.float64]], origin: str) -> None:
    """Write a phantom, whole or not at all.

    Parameters
    ----------
    measured
        Feature vectors that are kept beside the images.
    origin
        What it was made from, as JSON; read back by `origin_of`.
    """
    case, truth = patient.case, patient.truth
    if case.dce is None or case.dce_affine is None or case.dce_times_s is None or case.side is None:
        raise ValueError("The phantom made a patient without MRI or side; this is a fault of the program.")
    arrays: dict[str, NDArray[Any]] = {
        "dce": np.ascontiguousarray(case.dce, dtype=np.int16),
        "us": np.stack(case.ultrasound),
        "dce_affine": case.dce_affine,
        "dce_times_s": np.array(case.dce_times_s),
        "us_spacing_mm": np.array(case.ultrasound_spacing_mm, dtype=np.float64),
        "angles_deg": np.array(case.angles_deg, dtype=np.float64),
        "left": np.array(case.side == "left"),
        "lesion": np.packbits(truth.lesion),
        "views": np.packbits(np.stack(truth.views)),
        "lesion_mm": truth.lesion_mm,
        **measured,
    }
    replace_file(path, lambda target: save_file(arrays, target, {"phantom": origin}))


def origin_of(path: Path) -> str:
    """Return what `write_stored` was told that the phantom was made from. Raises CohortError where the file cannot be read."""
    try:
        with safe_open(path, "numpy") as file:
            return str((file.metadata() or {}).get("phantom", ""))
    except (SafetensorError, OSError) as error:
        raise CohortError(f"The made-up patient {path.stem} is damaged: write the cohort again.") from error


def measured_of(path: Path, names: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """Return feature vectors that `write_stored` kept. Raises CohortError where the file cannot be read."""
    try:
        with safe_open(path, "numpy") as file:
            return [np.asarray(file.get_tensor(name), dtype=np.float64) for name in names]
    except (SafetensorError, OSError) as error:
        raise CohortError(f"The made-up patient {path.stem} is damaged: write the cohort again.") from error


def read_stored(path: Path, answers: NDArray[np.int64]) -> StoredPatient:
    """Return a phantom whose images are mapped.

    Parameters
    ----------
    answers
        (task,) 1, 0, or -1 where the cohort leaves it out.

    Raises
    ------
    CohortError
        If the file cannot be read.
    """
    try:
        dce, us = _mapped(path)
        with safe_open(path, "numpy") as file:
            plain = {name: file.get_tensor(name) for name in set(file.keys()) - set(_MAPPED)}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CohortError(f"The made-up patient {path.stem} is damaged: write the cohort again.") from error
    side: Side = "left" if plain["left"] else "right"
    case = Case(
        dce=dce,
        dce_scale=np.tile([1.0, 0.0], (len(dce), 1)),
        dce_affine=plain["dce_affine"],
        dce_times_s=tuple(plain["dce_times_s"].tolist()),
        pre=0,
        breasts=frozenset({"left", "right"}),
        midline_mm=0.0,
        ultrasound=tuple(us),
        ultrasound_spacing_mm=tuple((float(row), float(column)) for row, column in plain["us_spacing_mm"]),
        angles_deg=tuple(plain["angles_deg"].tolist()),
        side=side,
    )
    lesion = np.unpackbits(plain["lesion"], count=dce[0].size).reshape(dce.shape[1:]).astype(bool)
    views = np.unpackbits(plain["views"], count=us.size).reshape(us.shape).astype(bool)
    labels = Labels(**{task: None if answer < 0 else bool(answer) for task, answer in zip(TASKS, answers.tolist(), strict=True)})
    return StoredPatient(case, labels, side, lesion, tuple(views), plain["lesion_mm"])


def _mapped(path: Path) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return MRI and ultrasound as maps of the file: safetensors' own reader copies.

    Layout: eight bytes with the header's length, the header as JSON with each tensor's place after it, the tensors.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    start = {name: 8 + length + int(header[name]["data_offsets"][0]) for name in _MAPPED}
    shape = {name: tuple(int(count) for count in header[name]["shape"]) for name in _MAPPED}
    return np.memmap(path, np.int16, "r", start["dce"], shape["dce"]), np.memmap(path, np.uint8, "r", start["us"], shape["us"])
