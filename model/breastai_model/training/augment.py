"""Changes to a case while training, such that it could still be that patient: the five of section (iv), and left-out inputs.

Mirroring, random scaling, random rotation, gamma correction and random elastic deformation, with their rules of consistency:

- One geometric draw for all phases and both breasts, one for all twelve angles: they show one body. Both draws share their scale,
  for a lesion that is larger is so in both modalities.
- One gamma for all phases and both breasts (a change of one phase alone would change the kinetics), one for all angles.
- Mirroring the body swaps the breasts. Each breast is stored medial to lateral, the right one mirrored already, so where they
  stand as (affected, contralateral) nothing is left to change.
- Mirroring the ultrasound flips every image from left to right and reverses the order of the angles: a becomes 180 - a.
  Depth is never flipped: the skin is where the probe is.
- The sweep of angles may begin elsewhere, images that pass 180 degrees being mirrored (`Plan.roll_angles`).

What is drawn follows from a generator alone and is applied later, so that a graphics card can apply it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.training.warp import Warp, draw_scale, draw_warp, warped

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from breastai_model.plan import Plan
    from breastai_model.prepare import Prepared

GAMMA_CHANCE = 0.3
GAMMA = (0.7, 1.5)
MIRROR_CHANCE = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """How one case is shown this time.

    Attributes
    ----------
    swap
        Whether the breasts change places.
    mri, us
        Geometry.
    mri_gamma, us_gamma
        Exponents; 1 changes nothing.
    roll
        The slot of the sweep that becomes the first.
    mirror
        Whether the ultrasound is seen in a mirror.
    mri_present, us_present
        (phase, side) and (angle,) bool: what is shown, in the order of the result.
    """

    swap: bool
    mri: Warp
    us: Warp
    mri_gamma: float
    us_gamma: float
    roll: int
    mirror: bool
    mri_present: NDArray[np.bool_]
    us_present: NDArray[np.bool_]


def augmented(case: Prepared, chance: np.random.Generator, plan: Plan) -> Prepared:
    """Return a case as it is shown this time: changed, with modalities, phases or angles left out."""
    drawn = draw(case, chance, plan)
    mri, us = shown(torch.from_numpy(case.mri), torch.from_numpy(case.us), drawn, plan)
    sides = (case.sides[1], case.sides[0]) if drawn.swap else case.sides
    return replace(case, mri=mri.numpy(), us=us.numpy(), mri_present=drawn.mri_present, us_present=drawn.us_present, sides=sides)


def without(case: Prepared, absent: str) -> Prepared:
    """Return the case without that modality ("mri", "ultrasound"; "" takes nothing), or whole where it is the only one."""
    if absent == "mri" and case.us_present.any():
        return replace(case, mri=np.zeros_like(case.mri), mri_present=np.zeros_like(case.mri_present))
    if absent == "ultrasound" and case.mri_present.any():
        return replace(case, us=np.zeros_like(case.us), us_present=np.zeros_like(case.us_present))
    return case


def draw(case: Prepared, chance: np.random.Generator, plan: Plan) -> Draw:
    """Return how a case is shown this time. The same numbers are drawn for every case, whatever comes of them.

    A case whose side is unknown is shown in either order of its breasts: that is how it will be read.
    """
    turned, swapped, mirrored_us, begins = chance.random(4)
    scale = draw_scale(chance)
    mri, us = draw_warp(chance, 3, scale), draw_warp(chance, 2, scale)
    mri_gamma, us_gamma = _draw_gamma(chance), _draw_gamma(chance)
    angles = len(case.us_present)
    either = case.both_orders or (plan.augment and plan.recipe.side_order == "left_right")
    swap = bool(either and swapped < MIRROR_CHANCE)
    roll = int(begins * angles) if plan.augment and plan.roll_angles and turned < 0.5 else 0
    mirror = bool(plan.augment and mirrored_us < MIRROR_CHANCE)
    if not plan.augment:
        mri, us, mri_gamma, us_gamma = Warp((0.0,) * 3, 1.0, None), Warp((0.0,), 1.0, None), 1.0, 1.0
    mri_present = case.mri_present[:, ::-1] if swap else case.mri_present
    us_present = case.us_present[sweep_order(angles, roll, mirror=mirror)[0]]
    mri_present, us_present = _thinned(mri_present, us_present, chance, plan)
    return Draw(swap, mri, us, mri_gamma, us_gamma, roll, mirror, mri_present, us_present)


def shown(mri: Tensor, us: Tensor, drawn: Draw, plan: Plan) -> tuple[Tensor, Tensor]:
    """Return the images as drawn, on the device that they are on.

    Parameters
    ----------
    mri, us
        (phase, side, slice, row, column) and (angle, row, column) float32; not changed.

    Returns
    -------
    The same shapes. What is left out is 0.
    """
    if drawn.swap:
        mri = mri.flip(1)
    mri = _volumes(mri, drawn, plan)
    if not drawn.us_present.any():
        return mri, torch.zeros_like(us)
    order, flipped = sweep_order(len(us), drawn.roll, mirror=drawn.mirror)
    seen = gamma(warped(us, drawn.us, (1.0, 1.0)), drawn.us_gamma)[torch.from_numpy(order).to(us.device)]
    flips = torch.from_numpy(flipped).to(us.device)[:, None, None]
    present = torch.from_numpy(drawn.us_present).to(us.device)[:, None, None]
    return mri, torch.where(flips, seen.flip(2), seen) * present


def sweep_order(angles: int, roll: int, *, mirror: bool) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each slot of the sweep which image stands there now, and whether it is flipped from left to right.

    Rolling by r puts the image of slot r first; those that pass 180 degrees are flipped, for 180 degrees is the mirror image
    of 0. In a mirror angle a becomes 180 - a, flipped; the image at 0 degrees keeps its place.
    """
    slots = np.arange(angles)
    order, flipped = (slots + roll) % angles, slots + roll >= angles
    if mirror:
        back = -slots % angles
        # Slot 0 of a mirrored sweep shows 180 degrees, which is slot 0 flipped; flipped by the mirror once more in its turn.
        order, flipped = order[back], ~flipped[back]
    return order.astype(np.int64), flipped


def gamma(images: Tensor, power: float) -> Tensor:
    """Return brightness to a power, as one curve for all the images, with their mean and spread kept; 0 stays 0.

    Mean and spread are of all values above 0 together. The curve rises everywhere, so no two values change their order.
    """
    count = int(torch.count_nonzero(images))
    if power == 1.0 or count < 2:
        return images
    bright = images.pow(power)
    (mean, spread), (mean_after, spread_after) = (_moments(values, count) for values in (images, bright))
    lit = bright > 0
    stretch = math.sqrt(spread / max(spread_after, 1e-12))
    return bright.sub_(mean_after).mul_(stretch).add_(mean).mul_(lit).clamp_(0, 1)


def _moments(images: Tensor, count: int) -> tuple[float, float]:
    """Return mean and variance of the values that are not 0, of which there are `count`."""
    flat = images.flatten()
    mean = float(flat.sum(dtype=torch.float64)) / count
    return mean, max(0.0, float(flat @ flat) / count - mean**2)


def _volumes(mri: Tensor, drawn: Draw, plan: Plan) -> Tensor:
    """Return the MRI as drawn; only what is shown is resampled, but its brightness is that of the whole study."""
    if not drawn.mri_present.any():
        return torch.zeros_like(mri)
    if drawn.mri_present.all():
        return gamma(warped(mri.flatten(0, 1), drawn.mri, plan.recipe.mri_spacing_mm), drawn.mri_gamma).view_as(mri)
    present = torch.from_numpy(np.ascontiguousarray(drawn.mri_present)).to(mri.device)
    result = torch.zeros_like(mri)
    result[present] = gamma(warped(mri[present], drawn.mri, plan.recipe.mri_spacing_mm), drawn.mri_gamma)
    return result


def _draw_gamma(chance: np.random.Generator) -> float:
    drawn, low, share = chance.random() < GAMMA_CHANCE, chance.random() < 0.5, chance.random()
    if not drawn:
        return 1.0
    return float(GAMMA[0] + share * (1 - GAMMA[0]) if low else 1 + share * (GAMMA[1] - 1))


def _thinned(
    mri: NDArray[np.bool_], us: NDArray[np.bool_], chance: np.random.Generator, plan: Plan
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what is shown of what is there: one modality, phases or angles may be left out, never everything."""
    which, phases, angles = chance.random(), chance.random(len(mri)) >= plan.drop_view, chance.random(len(us)) >= plan.drop_view
    if which < plan.drop_mri and us.any():
        mri = np.zeros_like(mri)
    elif plan.drop_mri <= which < plan.drop_mri + plan.drop_ultrasound and mri.any():
        us = np.zeros_like(us)
    phases[0] = True  # without the phase before contrast there is no enhancement to speak of
    if not (mri & phases[:, None])[1:].any():
        phases[:] = True
    if not (us & angles).any():
        angles[:] = True
    return mri & phases[:, None], us & angles
