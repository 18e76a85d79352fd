"""Prepared cases as files without identity: written once, memory-mapped when read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from breastai_model.case import TASKS, InputsUsed, Labels
from breastai_model.prepare import Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.recipe import Recipe

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
    """The prepared cases of a run; labels are held in memory, images are mapped when they are needed.

    A case that was read lies in the system's file cache, so that a second epoch costs no disk. Nothing is written.

    Attributes
    ----------
    labels
        (case, task) int64: 1, 0, or -1 where not known.
    groups
        (case,) int64.
    has_mri, has_us
        (case,) bool: which modalities a case has.
    latents
        (case, latent) float64 of made-up patients, for plans that ask for them (`LossPlan.lambda_latents`); else None.

    Raises
    ------
    ValueError
        If a file is damaged; the sentence names the case by its number.
    """

    def __init__(self, paths: Sequence[Path], latents: NDArray[np.float64] | None = None) -> None:
        self._paths = tuple(paths)
        self.latents = latents
        self.labels = np.full((len(paths), len(TASKS)), -1, dtype=np.int64)
        self.groups = np.zeros(len(paths), dtype=np.int64)
        self.has_mri, self.has_us = np.zeros(len(paths), dtype=bool), np.zeros(len(paths), dtype=bool)
        for index in range(len(paths)):
            arrays = self._read(index, ("labels", "group", "mri_present", "us_present"))
            self.labels[index], self.groups[index] = arrays["labels"], arrays["group"]
            self.has_mri[index], self.has_us[index] = arrays["mri_present"].any(), arrays["us_present"].any()

    def __len__(self) -> int:
        return len(self._paths)

    def load(self, index: int) -> Prepared:
        """Return one case as the network takes it."""
        arrays = self._read(index, ("mri", "mri_present", "us", "us_present", "right_first", "both_orders"))
        mri, us = arrays["mri"].astype(np.float32), arrays["us"].astype(np.float32)
        if not (np.isfinite(mri).all() and np.isfinite(us).all()):
            raise ValueError(f"Case {self._number(index)} holds values that are no numbers.")
        return Prepared(
            mri=mri,
            mri_present=arrays["mri_present"].copy(),
            us=us,
            us_present=arrays["us_present"].copy(),
            sides=("right", "left") if arrays["right_first"] else ("left", "right"),
            both_orders=bool(arrays["both_orders"]),
            mri_affine=None,
            us_boxes=(),
            us_slots=(),
            inputs=_NOTHING_NOTED,
        )

    def _read(self, index: int, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        try:
            # As tensors they are views of the mapped file; as numpy arrays safetensors would copy them.
            with safe_open(self._paths[index], framework="pt") as file:
                return {name: file.get_tensor(name).numpy() for name in names}
        except (OSError, SafetensorError) as error:
            raise ValueError(f"Case {self._number(index)} is damaged: delete {self._paths[index].name} and go on.") from error

    def _number(self, index: int) -> int:
        return int(self._paths[index].stem)


class LeftRightCases(CaseFiles):
    """The same cases with the breasts as (left, right), for networks that are not told which is affected."""

    def __init__(self, cases: CaseFiles) -> None:
        self._cases = cases
        self.labels, self.groups, self.latents = cases.labels, cases.groups, cases.latents
        self.has_mri, self.has_us = cases.has_mri, cases.has_us

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int) -> Prepared:
        """Return one case, its breasts in that order."""
        case = self._cases.load(index)
        return replace(case.swapped() if case.sides[0] == "right" else case, both_orders=False)


def ordered_for(recipe: Recipe, cases: CaseFiles) -> CaseFiles:
    """Return cases that were prepared with the affected breast first in the order of that recipe."""
    return LeftRightCases(cases) if recipe.side_order == "left_right" else cases
