"""Case to tensors: one bilateral grid in mm, phases and angles in the recipe's slots, and a mask for what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.breast_window import Tissue
from breastai_model.case import InputsUsed
from breastai_model.resample import AreaResampler, GridTarget, axis_weights, pairs_in_order, patient_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.case import Case, Side
    from breastai_model.recipe import Recipe

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """One case on the model's grids.

    Attributes
    ----------
    mri
        (phase, breast, slice, row, column) float32, 0 to 1: phases by slot, breasts in the order of `sides`, slices
        towards the head, rows towards posterior, columns from medial to lateral (the right breast is mirrored). 0 where
        the exam does not reach and for what is absent.
    mri_present
        (phase, breast) bool.
    us
        (angle, row, column) float32, 0 to 1: angles by slot, images padded to a square.
    us_present
        (angle,) bool.
    sides
        The breasts in the order of the second axis of `mri`.
    both_orders
        True when the side is unknown and the answer is the mean over both orders of the breasts.
    mri_affine
        (4, 4); (slice, row, column, 1) of the unmirrored grid with both breasts to LPS mm; None without MRI.
    us_boxes
        For each image of the case: (top, left, height, width) in its own pixels, the square that was scaled.
    us_slots
        For each image of the case the slot it stands in.
    inputs
        What was used, and a sentence for what was not.
    """

    mri: NDArray[np.float32]
    mri_present: NDArray[np.bool_]
    us: NDArray[np.float32]
    us_present: NDArray[np.bool_]
    sides: tuple[Side, Side]
    both_orders: bool
    mri_affine: NDArray[np.float64] | None
    us_boxes: tuple[Box, ...]
    us_slots: tuple[int, ...]
    inputs: InputsUsed

    def swapped(self) -> Prepared:
        """Return the case with its breasts in the other order."""
        return replace(
            self,
            mri=np.ascontiguousarray(self.mri[:, ::-1]),
            mri_present=np.ascontiguousarray(self.mri_present[:, ::-1]),
            sides=(self.sides[1], self.sides[0]),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Prepared cases as tensors.

    Attributes
    ----------
    mri, mri_present
        (N, phase, breast, slice, row, column) float32 and (N, phase, breast) bool.
    us, us_present
        (N, angle, row, column) float32 and (N, angle) bool.
    """

    mri: torch.Tensor
    mri_present: torch.Tensor
    us: torch.Tensor
    us_present: torch.Tensor

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        return Batch(self.mri.to(device), self.mri_present.to(device), self.us.to(device), self.us_present.to(device))


def collate(cases: Sequence[Prepared]) -> Batch:
    """Return prepared cases as one batch."""
    return Batch(
        torch.from_numpy(np.stack([case.mri for case in cases])),
        torch.from_numpy(np.stack([case.mri_present for case in cases])),
        torch.from_numpy(np.stack([case.us for case in cases])),
        torch.from_numpy(np.stack([case.us_present for case in cases])),
    )


def prepare(case: Case, recipe: Recipe) -> Prepared:
    """Return a case on the recipe's grids.

    Raises
    ------
    ValueError
        With one sentence, if the MRI's geometry or values cannot be used.
    """
    notes: list[str] = []
    sides = _sides(case, recipe)
    both_orders = case.dce is not None and case.side is None and recipe.side_order == "affected"
    mri, mri_present, affine, phases = _mri(case, recipe, sides, notes)
    us, us_present, slots, boxes = _ultrasound(case, recipe, notes)
    if both_orders:
        notes.append("Side of the tumour unknown: both orders of the breasts were run and averaged.")
    breasts = tuple(side for side in ("left", "right") if case.dce is not None and side in case.breasts)
    inputs = InputsUsed(
        phases=phases,
        phase_slots=recipe.phases,
        angles=tuple(image for _, image in sorted((slot, image) for image, slot in enumerate(slots))),
        angle_slots=recipe.angles,
        breasts=breasts,
        side_unknown=both_orders,
        notes=tuple(notes),
    )
    return Prepared(mri, mri_present, us, us_present, sides, both_orders, affine, boxes, slots, inputs)


def _sides(case: Case, recipe: Recipe) -> tuple[Side, Side]:
    """Return (affected, contralateral) where that is known and wanted, else (left, right)."""
    return ("right", "left") if recipe.side_order == "affected" and case.side == "right" else ("left", "right")


def choose_phases(case: Case, recipe: Recipe) -> list[tuple[int, int]]:
    """Return (phase of the case, slot): the one before contrast, then those nearest the nominal times, in order."""
    if case.dce is None:
        return []
    after = list(range(case.pre + 1, len(case.dce)))
    if case.dce_times_s is None:
        chosen = [(phase, slot) for slot, phase in enumerate(after[: recipe.phases - 1], start=1)]
    else:
        times = tuple(case.dce_times_s[phase] for phase in after)
        chosen = [(after[found], slot + 1) for found, slot in pairs_in_order(times, recipe.post_times_s)]
    return [(case.pre, 0), *chosen]


def _mri(
    case: Case, recipe: Recipe, sides: tuple[Side, Side], notes: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64] | None, tuple[int, ...]]:
    half = recipe.mri_shape
    mri = np.zeros((recipe.phases, 2, *half), dtype=np.float32)
    present = np.zeros((recipe.phases, 2), dtype=bool)
    if case.dce is None or case.dce_scale is None or case.dce_affine is None:
        notes.append("No MRI: read from ultrasound alone.")
        return mri, present, None, ()
    chosen = choose_phases(case, recipe)
    _note_phases(case, recipe, chosen, notes)
    shape = case.dce.shape[1:]
    axes = patient_axes(case.dce_affine, (shape[0], shape[1], shape[2]))
    last = chosen[-1][0]
    tissue = Tissue(case.dce[last], axes)
    midline = case.midline_mm
    if midline is None:
        midline = tissue.midline_mm(case.breasts)
        notes.append("The midline between the breasts was estimated.")
    whole = (half[0], half[1], 2 * half[2])
    target = GridTarget(whole, recipe.mri_spacing_mm, tissue.window_mm(midline, whole, recipe.mri_spacing_mm))
    resample = AreaResampler(axes, (shape[0], shape[1], shape[2]), target)
    if not resample.inside.any():
        raise ValueError("The MRI does not reach the region around the midline: check the midline and the geometry.")
    volumes = np.zeros((recipe.phases, *whole), dtype=np.float32)
    for phase, slot in chosen:
        slope, intercept = case.dce_scale[phase]
        volumes[slot] = np.where(resample.inside, slope * resample(case.dce[phase]) + intercept, 0)
    used = [slot for _, slot in chosen]
    _normalise(volumes, used, resample.inside, recipe.headroom)
    for place, side in enumerate(sides):
        if side not in case.breasts:
            continue
        # Columns run towards the patient's left: the left breast is the second half, medial first; the right is mirrored.
        mri[:, place] = volumes[..., half[2] :] if side == "left" else volumes[..., : half[2]][..., ::-1]
        present[used, place] = True
    if len(case.breasts) == 1:
        notes.append(f"The MRI shows the {next(iter(case.breasts))} breast alone; the other is masked.")
    return mri, present, target.affine, tuple(phase for phase, _ in chosen)


def _normalise(volumes: NDArray[np.float32], used: list[int], inside: NDArray[np.bool_], headroom: float) -> None:
    """Scale the 0.5th percentile of all used phases together to 0 and `headroom` times the 99.5th to 1; cut; in place.

    Never one phase by itself: that would erase the enhancement curve.
    """
    values = volumes[used][:, inside]
    if not np.isfinite(values).all():
        raise ValueError("The MRI holds values that are no numbers: it cannot be read by the model.")
    low, high = np.percentile(values, [0.5, 99.5])
    if not high - low > 1e-5 * max(abs(high), abs(low)):  # rounding while averaging makes no contrast
        raise ValueError("The MRI shows one grey value everywhere: it cannot be read by the model.")
    reach = headroom * (high - low)
    for slot in used:
        volumes[slot] = np.where(inside, np.clip((volumes[slot] - low) / reach, 0, 1), 0)


def _note_phases(case: Case, recipe: Recipe, chosen: list[tuple[int, int]], notes: list[str]) -> None:
    phases = 0 if case.dce is None else len(case.dce)
    left_out = [str(phase + 1) for phase in range(phases) if phase not in {phase for phase, _ in chosen}]
    if left_out:
        named = f"Phases {', '.join(left_out)} were" if len(left_out) > 1 else f"Phase {left_out[0]} was"
        notes.append(f"{named} not given to the network, which takes {recipe.phases}.")
    absent = [str(slot + 1) for slot in range(recipe.phases) if slot not in {slot for _, slot in chosen}]
    if absent:
        notes.append(f"{'Phases' if len(absent) > 1 else 'Phase'} {', '.join(absent)} of {recipe.phases} absent.")
    if case.dce_times_s is None:
        notes.append("Times of the phases unknown: those after contrast were taken in order.")


def _ultrasound(
    case: Case, recipe: Recipe, notes: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[int, ...], tuple[Box, ...]]:
    us = np.zeros((recipe.angles, *recipe.us_shape), dtype=np.float32)
    present = np.zeros(recipe.angles, dtype=bool)
    if not case.ultrasound:
        notes.append("No ultrasound: read from MRI alone.")
        return us, present, (), ()
    slots = choose_slots(case.angles_deg, recipe, notes)
    boxes = []
    for image, slot in zip(case.ultrasound, slots, strict=True):
        us[slot], box = square(image, recipe.us_shape)
        present[slot] = True
        boxes.append(box)
    if not present.all():
        notes.append(f"{int((~present).sum())} of {recipe.angles} angles absent.")
    return us, present, slots, tuple(boxes)


def choose_slots(angles_deg: tuple[float | None, ...], recipe: Recipe, notes: list[str]) -> tuple[int, ...]:
    """Return a slot for each image: the nearest angle, each slot once; by order, evenly, where an angle is unknown."""
    count = len(angles_deg)
    if count > recipe.angles:
        raise ValueError(f"The model takes at most {recipe.angles} ultrasound angles: leave {count - recipe.angles} out.")
    known = [angle for angle in angles_deg if angle is not None]
    if len(known) < count:
        if count > 1:
            notes.append("Angles of the ultrasound unknown: taken as evenly spaced in the order given.")
        return tuple(round(image * recipe.angles / count) for image in range(count))
    step = 180.0 / recipe.angles
    order = sorted(range(count), key=lambda image: known[image])
    pairs = pairs_in_order(tuple(known[image] for image in order), tuple(step * slot for slot in range(recipe.angles)))
    slots = [0] * count
    for place, slot in pairs:
        slots[order[place]] = slot
    if max(abs(known[image] - step * slots[image]) for image in range(count)) > step:
        notes.append("Several ultrasound images share an angle: they were spread over the neighbouring ones.")
    return tuple(slots)


def square(image: NDArray[np.uint8], shape: tuple[int, int]) -> tuple[NDArray[np.float32], Box]:
    """Return an image padded to a square with black, area-averaged to that shape and scaled to [0, 1], and the square.

    The square is (top, left, height, width) in the image's own pixels, pixel i reaching from i to i + 1.
    """
    rows, columns = image.shape
    side = max(rows, columns)
    top, left = (rows - side) / 2, (columns - side) / 2
    down, _ = axis_weights(rows, 0.5, 1.0, shape[0], top + side / shape[0] / 2, side / shape[0])
    across, _ = axis_weights(columns, 0.5, 1.0, shape[1], left + side / shape[1] / 2, side / shape[1])
    scaled: NDArray[np.float32] = np.matmul(np.matmul(down, image.astype(np.float32)), across.T) / np.float32(255)
    return np.clip(scaled, 0, 1), (top, left, float(side), float(side))
