"""Plain checks of a case's pixels: what no exam of this kind should show, whatever a model has learnt. Tags do not enter."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Case
    from breastai_model.prepare import Prepared

BRIGHTEST_SHARE = 0.02
"""The part of an MRI in which enhancement is looked for: its voxels that change most."""
PLATEAU_SHARE = 0.01
"""Share of an MRI that may stand at its largest value."""
SATURATED_SHARE = 0.05
SATURATED_BLACK = 0.995
EMPTY_SPREAD = 0.02
SAME_IMAGE = 0.5
"""Mean grey levels of 255 below which two images are one."""
MOST_STROKES = 30
"""Pixels of an image that may look like drawn letters or lines."""
BLACK, BRIGHT, STROKE_WIDTH = 16, 120, 4


def input_faults(case: Case, prepared: Prepared) -> tuple[str, ...]:
    """Return one sentence for each thing about the pixels that is not as it should be; () when all is well.

    Parameters
    ----------
    case
        As the person settled it.
    prepared
        The same on the model's grid.
    """
    faults = []
    if prepared.mri_present.any():
        faults += _mri_faults(prepared)
    if case.ultrasound:
        faults += _ultrasound_faults(case.ultrasound)
    return tuple(faults)


def _mri_faults(prepared: Prepared) -> list[str]:
    faults = []
    phases, breasts = prepared.mri_present.any(axis=1), prepared.mri_present.any(axis=0)
    volumes = prepared.mri[phases][:, breasts]
    if prepared.mri_present[0].any() and len(volumes) > 1:
        # Contrast brightens what it reaches: among the voxels that change most the first phase is the darkest.
        change = volumes.max(axis=0) - volumes.min(axis=0)
        moving = change >= np.quantile(change, 1 - BRIGHTEST_SHARE)
        means = volumes[:, moving].mean(axis=1)
        if means[0] > means[1:].min():
            faults.append(
                "The phase taken as the one before contrast is not the darkest where the MRI changes most: check the order of the phases."
            )
    if float((volumes >= 0.999 * volumes.max()).mean()) > PLATEAU_SHARE:
        faults.append("Much of the MRI stands at its largest value: it is saturated.")
    for place in np.flatnonzero(breasts):
        mine = prepared.mri[phases][:, place]
        others = [prepared.mri[phases][:, other].std() for other in np.flatnonzero(breasts) if other != place]
        if float(mine.std()) < EMPTY_SPREAD * max([1.0, *(float(other) for other in others)]) and float(mine.std()) < EMPTY_SPREAD:
            faults.append(f"The {prepared.sides[place]} half of the MRI is empty, although that breast is said to be there.")
    return faults


def _ultrasound_faults(images: tuple[NDArray[np.uint8], ...]) -> list[str]:
    faults = []
    doubles = [
        f"{first + 1} and {second + 1}"
        for first, second in itertools.combinations(range(len(images)), 2)
        if _same(images[first], images[second])
    ]
    if doubles:
        faults.append(f"Ultrasound images {', '.join(doubles[:3])} are the same picture.")
    if any(float((image >= 255).mean()) > SATURATED_SHARE or float((image <= 0).mean()) > SATURATED_BLACK for image in images):
        faults.append("An ultrasound image is saturated or black.")
    if any(stroke_pixels(image) > MOST_STROKES for image in images):
        faults.append("An ultrasound image carries drawn text or lines, which the model has never seen.")
    return faults


def _same(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    if first.shape != second.shape or abs(float(first.mean()) - float(second.mean())) > SAME_IMAGE:
        return False
    return float(np.abs(first.astype(np.int16) - second).mean()) < SAME_IMAGE


def stroke_pixels(image: NDArray[np.uint8]) -> int:
    """Return how many pixels of a (row, column) image are part of drawn strokes of one grey value.

    A stroke is thin, bright and flat: black lies within four pixels on both sides of it, and along it neighbours have the
    same value. Speckle is never so: the largest count is 2 on 576 made-up images and 0 on real ones without a mark, 40 with
    a ruler alone and 250 to 3,000 with text (measured).
    """
    values = image.astype(np.int16)
    drawn = np.zeros(image.shape, dtype=bool)
    for axis in (0, 1):
        across = np.moveaxis(values, axis, 0)
        dark = across <= BLACK
        before, after = np.zeros_like(dark), np.zeros_like(dark)
        for step in range(1, STROKE_WIDTH + 1):
            before[step:] |= dark[:-step]
            after[:-step] |= dark[step:]
        thin = (across >= BRIGHT) & before & after
        flat = (np.abs(np.diff(across, axis=1)) <= 3) & thin[:, 1:] & thin[:, :-1]
        found = np.zeros_like(thin)
        found[:, 1:] |= flat
        found[:, :-1] |= flat
        drawn |= np.moveaxis(found, 0, axis)
    counts = np.bincount(values[drawn] // 8, minlength=33)
    return int((counts[:-1] + counts[1:]).max())
