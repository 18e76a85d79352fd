"""Modest changes to a case while training, such that it could still be that patient.

Rules of consistency: a geometric draw is shared by all phases and both breasts, or by all angles; the
brightness curve is shared by all phases, for a change of one phase alone would change the kinetics. Mirroring an
ultrasound image from left to right reverses the order of its angles. Swapping left and right of the MRI is no change here:
breasts stand as (affected, contralateral) and the right one is mirrored already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.plan import Plan
    from breastai_model.prepare import Prepared

GAMMA = (0.8, 1.25)
"""Exponents of brightness; narrower than nnU-Net's 0.7 to 1.5, since enhancement itself carries the answer here."""
LARGEST_SHIFT = 0.06
"""Of each axis of the MRI."""


def augmented(case: Prepared, chance: np.random.Generator, plan: Plan) -> Prepared:
    """Return a case as it is shown this time: changed, with modalities, phases or angles left out.

    A case whose side is unknown is shown in either order of its breasts: that is how it will be read.
    """
    if case.both_orders and chance.random() < 0.5:
        case = case.swapped()
    if plan.augment:
        case = _brightened(_moved(_turned(case, chance), chance), chance)
    return _thinned(case, chance, plan)


def without(case: Prepared, absent: str) -> Prepared:
    """Return the case without that modality ("mri", "ultrasound"; "" takes nothing), or whole where it is the only one."""
    if absent == "mri" and case.us_present.any():
        return replace(case, mri=np.zeros_like(case.mri), mri_present=np.zeros_like(case.mri_present))
    if absent == "ultrasound" and case.mri_present.any():
        return replace(case, us=np.zeros_like(case.us), us_present=np.zeros_like(case.us_present))
    return case


def _turned(case: Prepared, chance: np.random.Generator) -> Prepared:
    """Begin the sweep of angles elsewhere, and mirror all its images; 180 degrees is the mirror image of 0."""
    us, present = case.us, case.us_present
    if chance.random() < 0.5:
        us, present = rolled(us, present, int(chance.integers(len(us))))
    if chance.random() < 0.5:
        us, present = mirrored(us, present)
    return replace(case, us=us, us_present=present)


def rolled(us: NDArray[np.float32], present: NDArray[np.bool_], steps: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the sweep with slot `steps` first; the images that pass 180 degrees are mirrored."""
    turned = np.concatenate([us[steps:], us[:steps, :, ::-1]])
    return turned, np.roll(present, -steps)


def mirrored(us: NDArray[np.float32], present: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the sweep seen in a mirror: angle a becomes 180 - a, and every image is flipped from left to right.

    The image at 0 degrees keeps its place. At 180 - a stands the image of a, flipped.
    """
    order = -np.arange(len(us)) % len(us)
    return us[order][:, :, ::-1], present[order]


def _moved(case: Prepared, chance: np.random.Generator) -> Prepared:
    """Shift the MRI by whole voxels, all phases and both breasts alike; what comes in is empty."""
    if chance.random() < 0.5 or not case.mri_present.any():
        return case
    mri = case.mri
    for axis in (2, 3, 4):
        most = int(LARGEST_SHIFT * mri.shape[axis])
        shift = int(chance.integers(-most, most + 1))
        mri = np.roll(mri, shift, axis=axis)
        gap = [slice(None)] * mri.ndim
        gap[axis] = slice(0, shift) if shift > 0 else slice(mri.shape[axis] + shift, None)
        if shift:
            mri[tuple(gap)] = 0
    return replace(case, mri=mri)


def _brightened(case: Prepared, chance: np.random.Generator) -> Prepared:
    low, high = np.log(GAMMA)
    mri_power, us_power = np.exp(chance.uniform(low, high, size=2)).astype(np.float32)
    return replace(case, mri=case.mri**mri_power, us=case.us**us_power)


def _thinned(case: Prepared, chance: np.random.Generator, plan: Plan) -> Prepared:
    draw = chance.random()
    if draw < plan.drop_mri:
        case = without(case, "mri")
    elif draw < plan.drop_mri + plan.drop_ultrasound:
        case = without(case, "ultrasound")
    phases, angles = chance.random(len(case.mri_present)) >= plan.drop_view, chance.random(len(case.us_present)) >= plan.drop_view
    phases[0] = True  # without the phase before contrast there is no enhancement to speak of
    if not (case.mri_present & phases[:, None])[1:].any():
        phases[:] = True
    if not (case.us_present & angles).any():
        angles[:] = True
    return replace(case, mri_present=case.mri_present & phases[:, None], us_present=case.us_present & angles)
