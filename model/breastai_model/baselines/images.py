"""Which pictures of a prepared case the two-dimensional comparators see: twelve angles, and slices of the affected breast.

All of it follows from the prepared case itself; no lesion mask is looked at. Source: method, section (v), common rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F

from breastai_model.breast_window import BREAST_DEPTH_MM, FRONT_MARGIN_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.prepare import Prepared
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles

Modality = Literal["mri", "ultrasound"]
MODALITIES: tuple[Modality, ...] = ("mri", "ultrasound")
Slices = Literal["five", "orthogonal"]

PHASE = 2
"""The second phase after contrast, at the usual peak of a cancer's curve."""
BEST_SLICES = 5
BRIGHTEST = 0.01
"""Share of a slice's breast by whose mean enhancement the slice is ranked: a lesion is small beside the breast."""
PUBLISHED_SIDE = 224
SMALLEST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large pictures and networks are; the published sizes from inputs of 160 pixels on.

    Attributes
    ----------
    side
        Pixels of a picture's edge: the input's own, rounded up to a multiple of 32, at most 224 as published.
    share
        Of the published channel counts: 1, or 1/2 (pictures up to 128) or 1/4 (up to 64), so that a comparator costs about what
        our preset of the same input costs.
    """

    side: int
    share: float

    def channels(self, published: int) -> int:
        """Return a published channel count at this share, a multiple of 4."""
        return max(4, round(published * self.share / 4) * 4)

    def __str__(self) -> str:
        if self.share == 1:
            return f"pictures of {self.side} x {self.side}, channels as published"
        return f"pictures of {self.side} x {self.side}, channels at {self.share:g} of the published"


def sizes(recipe: Recipe) -> Sizes:
    """Return the sizes for inputs of that recipe."""
    largest = max(*recipe.us_shape, *recipe.mri_shape[1:])
    side = min(PUBLISHED_SIDE, max(SMALLEST_SIDE, 32 * -(-largest // 32)))
    return Sizes(side, 0.25 if side <= 64 else 0.5 if side <= 128 else 1.0)


@dataclass(frozen=True, eq=False, slots=True)
class PictureSet:
    """All pictures of one modality of some patients.

    Attributes
    ----------
    pictures
        (picture, side, side) float16, 0 to 1.
    patient
        (picture,) int64: the row of `labels` that a picture belongs to, rising.
    labels
        (patient, task) int64: 1, 0, -1 for not known.
    groups
        (patient,) int64; rows of one group show one person.
    """

    pictures: NDArray[np.float16]
    patient: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def picture_labels(self) -> NDArray[np.int64]:
        """(picture, task) int64: each picture carries its patient's labels."""
        return self.labels[self.patient]


def picture_set(
    cases: CaseFiles, indices: NDArray[np.int64], modality: Modality, recipe: Recipe, side: int, slices: Slices = "five"
) -> PictureSet:
    """Return the pictures of those cases that have that modality; a case without it is left out."""
    found: list[NDArray[np.float16]] = []
    rows: list[int] = []
    for index in indices:
        pictures = modality_pictures(cases.load(int(index)), modality, recipe, side, slices)
        if len(pictures):
            found.append(pictures.astype(np.float16))
            rows.append(int(index))
    counts = [len(pictures) for pictures in found]
    stacked = np.concatenate(found) if found else np.zeros((0, side, side), dtype=np.float16)
    chosen = np.array(rows, dtype=np.int64)
    return PictureSet(stacked, np.repeat(np.arange(len(rows)), counts), cases.labels[chosen], cases.groups[chosen])


def modality_pictures(case: Prepared, modality: Modality, recipe: Recipe, side: int, slices: Slices = "five") -> NDArray[np.float32]:
    """Return (picture, side, side) float32, 0 to 1, none where the modality is absent.

    Ultrasound: one picture for each present angle. MRI: of the affected breast phase 2, then phase 2 minus phase 0 (negative
    differences cut), each in the five slices that enhance most, or in the three orthogonal planes through the voxel that
    does. A present phase near the second after contrast stands in for it; without a phase before contrast there is no difference.
    """
    if modality == "ultrasound":
        return resized(case.us[case.us_present], side)
    if not case.mri_present.any():
        return np.zeros((0, side, side), dtype=np.float32)
    depth = _breast_rows(recipe)
    breast = affected_breast(case, recipe)
    post, difference = _enhancement(case, breast)
    volumes = [post] if difference is None else [post, difference]
    by = post if difference is None else difference
    if slices == "five":
        strength = _slice_strength(by, depth)
        best = np.sort(np.argsort(-strength, kind="stable")[:BEST_SLICES])
        planes = [resized(volume[best], side) for volume in volumes]
    else:
        z, row, column = np.unravel_index(int(np.argmax(_smoothed(by)[:, :depth])), by[:, :depth].shape)
        planes = [resized(plane[None], side) for volume in volumes for plane in (volume[z], volume[:, row], volume[:, :, column])]
    # A square root: the preparation leaves the upper half of the range to the few voxels that enhance most.
    shown: NDArray[np.float32] = np.sqrt(np.concatenate(planes))
    return shown


def affected_breast(case: Prepared, recipe: Recipe) -> int:
    """Return which breast is looked at: the affected one where it is known, else the one whose strongest slice enhances more."""
    present = case.mri_present.any(axis=0)
    if not present.all():
        return int(np.argmax(present))
    if recipe.side_order == "affected" and not case.both_orders:
        return 0
    depth = _breast_rows(recipe)
    strengths = []
    for breast in range(2):
        post, difference = _enhancement(case, breast)
        strengths.append(_slice_strength(post if difference is None else difference, depth).max())
    return int(np.argmax(strengths))


def resized(pictures: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return (picture, side, side): bilinear, averaged where pictures shrink; 0 to 1 stays 0 to 1."""
    if pictures.shape[1:] == (side, side):
        return np.clip(pictures, 0, 1)
    values = torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32))[:, None]
    if len(values):
        values = F.interpolate(values, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    else:
        values = values.new_zeros((0, 1, side, side))
    made: NDArray[np.float32] = values[:, 0].clamp(0, 1).numpy()
    return made


def _enhancement(case: Prepared, breast: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the phase after contrast of a breast, and its positive difference from the phase before, None where that is absent."""
    present = case.mri_present[:, breast]
    after = [slot for slot in range(1, len(present)) if present[slot]]
    post = case.mri[min(after, key=lambda slot: abs(slot - PHASE)) if after else 0, breast]
    if not present[0] or not after:
        return post, None
    return post, np.clip(post - case.mri[0, breast], 0, 1)


def _breast_rows(recipe: Recipe) -> int:
    """Return how many rows from the front are searched for enhancement: behind them lie chest wall and heart."""
    return max(1, min(recipe.mri_shape[1], round((BREAST_DEPTH_MM + FRONT_MARGIN_MM) / recipe.mri_spacing_mm[1])))


def _slice_strength(volume: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """Return for each slice the mean of its brightest hundredth, in the front rows."""
    flat = volume[:, :rows].reshape(len(volume), -1)
    count = max(1, round(BRIGHTEST * flat.shape[1]))
    strength: NDArray[np.float32] = np.sort(flat, axis=1)[:, -count:].mean(axis=1)
    return strength


def _smoothed(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over 3 x 3 x 3 neighbours, so that one noisy voxel does not decide."""
    values = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
    made: NDArray[np.float32] = F.avg_pool3d(values, 3, stride=1, padding=1)[0, 0].numpy()
    return made
