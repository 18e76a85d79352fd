"""Prepared cases as files without identity, and which of them are held out."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_model.case import TASKS, InputsUsed, Labels
from breastai_model.prepare import Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_NOTHING_NOTED = InputsUsed(phases=(), phase_slots=0, angles=(), angle_slots=0, breasts=(), side_unknown=False, notes=())


def case_arrays(prepared: Prepared, labels: Labels, group: int) -> dict[str, NDArray[Any]]:
    """Return what a case file holds: the network's input in half precision, the labels, and a number for the patient.

    Cases of one group show one person. Geometry and notes are not kept: nothing in training needs them.
    """
    answers = [getattr(labels, task) for task in TASKS]
    return {
        "mri": prepared.mri.astype(np.float16),
        "mri_present": prepared.mri_present,
        "us": prepared.us.astype(np.float16),
        "us_present": prepared.us_present,
        "right_first": np.array(prepared.sides[0] == "right"),
        "both_orders": np.array(prepared.both_orders),
        "labels": np.array([-1 if answer is None else int(answer) for answer in answers], dtype=np.int64),
        "group": np.array(group, dtype=np.int64),
    }


class CaseFiles:
    """The prepared cases of a run; labels are held in memory, images are read when they are needed.

    Attributes
    ----------
    labels
        (case, task) int64: 1, 0, or -1 where not known.
    groups
        (case,) int64.

    Raises
    ------
    ValueError
        If a file is damaged; the sentence names the case by its number.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self.labels = np.full((len(paths), len(TASKS)), -1, dtype=np.int64)
        self.groups = np.zeros(len(paths), dtype=np.int64)
        for index in range(len(paths)):
            arrays = self._read(index, ("labels", "group"))
            self.labels[index], self.groups[index] = arrays["labels"], arrays["group"]

    def load(self, index: int) -> Prepared:
        """Return one case as the network takes it."""
        arrays = self._read(index, ("mri", "mri_present", "us", "us_present", "right_first", "both_orders"))
        mri, us = arrays["mri"].astype(np.float32), arrays["us"].astype(np.float32)
        if not (np.isfinite(mri).all() and np.isfinite(us).all()):
            raise ValueError(f"Case {self._number(index)} holds values that are no numbers.")
        return Prepared(
            mri=mri,
            mri_present=arrays["mri_present"],
            us=us,
            us_present=arrays["us_present"],
            sides=("right", "left") if arrays["right_first"] else ("left", "right"),
            both_orders=bool(arrays["both_orders"]),
            mri_affine=None,
            us_boxes=(),
            us_slots=(),
            inputs=_NOTHING_NOTED,
        )

    def _read(self, index: int, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        try:
            # Opened here: numpy leaves a damaged file open when it raises.
            with self._paths[index].open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {name: file[name] for name in names}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"Case {self._number(index)} is damaged: delete {self._paths[index].name} and go on.") from error

    def _number(self, index: int) -> int:
        return int(self._paths[index].stem)


def split_by_patient(
    labels: NDArray[np.int64], groups: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the cases to learn from and of those held out, whole groups at a time.

    Groups with equal labels are spread evenly over both sides; within them a hash of seed and group decides, so neither
    the order of the files nor the other patients do.
    """

    def place(group: int) -> tuple[tuple[int, ...], str]:
        first = labels[np.flatnonzero(groups == group)[0]]
        return tuple(first.tolist()), hashlib.sha256(f"{seed} {group}".encode()).hexdigest()

    order = sorted({int(group) for group in groups}, key=place)
    # Every k-th of the ordered groups, counted so that the rounded share of them is reached.
    held = {group for number, group in enumerate(order) if int((number + 1) * share + 0.5) > int(number * share + 0.5)}
    out = np.array([int(group) in held for group in groups], dtype=bool)
    return np.flatnonzero(~out), np.flatnonzero(out)
