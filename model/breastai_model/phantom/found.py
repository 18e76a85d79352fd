"""Where the lesion of a phantom lies, found in the images alone: for features that use no truth at all.

Simple rules that fit phantoms: in the MRI the largest spot that takes up agent in the hanging breast of the known side, in the
ultrasound the dark body on the middle line that all angles share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Case

    Field = NDArray[np.float32]

DEEPER = 0.1
"""How much less likely a disc is for each mm that it reaches deeper: muscle in the lesion's shadow is as dark as the lesion."""
FARTHEST_MM = 18.0
"""No voxel of the lesion is taken further from its brightest place than this."""


def find_lesion(case: Case) -> NDArray[np.bool_]:
    """Return the lesion, (slice, row, column) bool on the case's grid; empty where nothing stands out.

    Raises
    ------
    ValueError
        If the case has no MRI or its side is not known.
    """
    if case.dce is None or case.dce_affine is None or case.side is None:
        raise ValueError("A lesion is looked for in an MRI whose side is known.")
    spacing = np.linalg.norm(case.dce_affine[:3, :3], axis=0)
    x = case.dce_affine[0, 3] + case.dce_affine[0, 2] * np.arange(case.dce.shape[3])
    own = np.flatnonzero(x > 15.0 if case.side == "left" else x < -15.0)
    half = (slice(None), slice(None), slice(int(own[0]), int(own[-1]) + 1))
    gain = (case.dce[(slice(1, None), *half)].mean(axis=0, dtype=np.float32) - case.dce[0][half]).astype(np.float32)
    found = np.zeros(case.dce.shape[1:], dtype=bool)
    inside = _hanging(case.dce[-1].astype(np.float32), np.abs(x) < 8.0, half[2], spacing)
    if not inside.any():
        return found
    spot = ndimage.gaussian_filter(gain, 3.5 / spacing, truncate=3.0) - ndimage.gaussian_filter(gain, 11.0 / spacing, truncate=2.0)
    peak = [int(at) for at in np.unravel_index(int(np.argmax(np.where(inside, spot, -np.inf))), spot.shape)]
    reach = [int(FARTHEST_MM // step) for step in spacing]
    box = tuple(slice(max(at - far - 1, 0), at + far + 2) for at, far in zip(peak, reach, strict=True))
    near, centre = gain[box], tuple(at - span.start for at, span in zip(peak, box, strict=True))
    places = np.moveaxis(np.indices(near.shape), 0, -1)
    distance = np.sqrt((((places - centre) * spacing) ** 2).sum(axis=-1))
    top = float(np.percentile(near[distance < 5.0], 80))
    ground = float(np.median(near[(distance > 12.0) & (distance < FARTHEST_MM)]))
    bright = (ndimage.gaussian_filter(near, 0.6 / spacing) > ground + 0.45 * (top - ground)) & (distance < FARTHEST_MM)
    bright[centre] = True
    parts, _ = ndimage.label(bright)
    whole = parts == parts[centre]
    found[half][box] = [ndimage.binary_fill_holes(plane) for plane in whole]
    return found


def _hanging(last: Field, middle: NDArray[np.bool_], own: slice, spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the inside of one breast, (slice, row, own column): in front of the chest at the midline, away from the skin."""
    level = 0.08 * float(np.percentile(last, 99.5))
    chest = (last[:, :, middle] > level).mean(axis=2) > 0.5
    front = np.where(chest.any(axis=1), chest.argmax(axis=1), 0)
    ahead = np.arange(last.shape[1])[None, :] < front[:, None] + round(4.0 / spacing[1])
    body = ndimage.binary_closing(last[:, :, own] > level, structure=np.ones((1, 3, 3)), iterations=3)
    skin = round(6.0 / spacing[1])
    deep = ndimage.binary_erosion(body, structure=np.ones((1, 3, 3)), iterations=skin, border_value=1)
    return np.asarray(deep & ahead[:, :, None], dtype=bool)


def find_views(case: Case) -> tuple[NDArray[np.bool_], ...]:
    """Return the lesion in each ultrasound image, (row, column) bool.

    Raises
    ------
    ValueError
        If an image has no pixel spacing.
    """
    spacing = [step for step in case.ultrasound_spacing_mm if step is not None]
    if len(spacing) != len(case.ultrasound) or not spacing:
        raise ValueError("A lesion is looked for in ultrasound whose pixel spacing is known.")
    pixel = spacing[0][0]
    images = [ndimage.gaussian_filter(image.astype(np.float32), 0.5 / pixel) for image in case.ultrasound]
    shared = np.mean(images, axis=0)
    rows, columns = shared.shape
    deep = (np.arange(rows)[:, None] + 0.5) * pixel
    aside = (np.arange(columns)[None, :] + 0.5 - columns / 2) * pixel
    depth, radius = _disc(shared, deep, aside)
    distance = np.hypot(deep - depth, aside)
    side = (distance > radius + 1.5) & (distance < radius + 5.0) & (deep < depth + 0.7 * radius)
    # The shadow is as dark as the lesion: it is let in less far below than to the other sides.
    reach = np.hypot(np.where(deep > depth, 1.25, 1.0) * (deep - depth), aside)
    views = []
    for image in images:
        dark, ground = float(np.median(image[distance < 0.6 * radius])), float(np.median(image[side]))
        inside = (image < 0.5 * (dark + ground)) & (reach < 1.6 * radius + 1.0)
        inside |= distance < 0.3 * radius
        inside = ndimage.binary_opening(inside, iterations=2)
        parts, _ = ndimage.label(inside)
        at = parts[min(int(depth / pixel), rows - 1), columns // 2]
        views.append(np.asarray(ndimage.binary_fill_holes(parts == at) if at else distance < radius, dtype=bool))
    return tuple(views)


def _disc(shared: Field, deep: NDArray[np.float64], aside: NDArray[np.float64]) -> tuple[float, float]:
    """Return depth and radius (mm) of the disc on the middle line that is darkest against what lies above it and beside it.

    Both must be brighter: the shadow of a lesion has only bright sides, the muscle below it only a bright top.
    """
    best, found = -np.inf, (15.0, 6.0)
    level = np.sqrt(shared)
    for depth in np.arange(7.0, 24.0, 1.0):
        down = np.broadcast_to(deep - depth, shared.shape)
        distance = np.hypot(down, aside)
        for radius in np.arange(3.0, min(depth - 2.0, 14.0), 1.0):
            ring = (distance > radius) & (distance < radius + 2.5)
            above, beside = ring & (down < -0.75 * radius), ring & (np.abs(down) < 0.6 * radius)
            bright = min(float(level[above].mean()), float(level[beside].mean()))
            contrast = (bright - float(level[distance < radius].mean())) * radius**0.2 - DEEPER * (depth + radius)
            if contrast > best:
                best, found = contrast, (float(depth), float(radius))
    return found
