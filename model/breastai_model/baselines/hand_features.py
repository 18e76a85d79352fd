"""Some thirty plain measurements of a prepared case, without any mask.

The tumour is taken to be where the affected breast enhances most, and where the ultrasound is darkest below the skin; both
are wrong now and then, as they would be for anyone without a drawn outline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.prepare import Prepared


def mri_measurements(case: Prepared, spacing_mm: tuple[float, float, float]) -> NDArray[np.float64] | None:
    """Return what is measured in the affected breast (the first of `sides`), or None without it or without a phase before contrast.

    The region: voxels of more than half the highest smoothed enhancement, connected with it. Its size, its curve, how its
    border differs from its core, how compact it is, and the other breast's highest enhancement.
    """
    later = np.flatnonzero(case.mri_present[1:, 0]) + 1
    if not case.mri_present[0, 0] or len(later) == 0:
        return None
    change = case.mri[later, 0].astype(np.float64) - case.mri[0, 0]
    strongest = ndimage.uniform_filter(change.max(axis=0), 3)
    peak = float(strongest.max())
    region = _around(strongest > 0.5 * peak, np.unravel_index(int(strongest.argmax()), strongest.shape))
    curve = np.zeros(len(case.mri) - 1)
    curve[later - 1] = change[:, region].mean(axis=1)
    top = max(float(curve.max()), 1e-6)
    core = ndimage.binary_erosion(region)
    border = region & ~core
    inner = change[:, core].max(axis=0).mean() if core.any() else top
    other = 0.0
    if case.mri_present[0, 1] and case.mri_present[later, 1].any():
        other = float(ndimage.uniform_filter((case.mri[later, 1].max(axis=0) - case.mri[0, 1]).astype(np.float64), 3).max())
    volume = np.log(region.sum() * float(np.prod(spacing_mm)))
    surface = border.sum() / region.sum() ** (2 / 3)
    rim = (change[:, border].max(axis=0).mean() - inner) / top
    spreads = [np.std(places) * size for places, size in zip(np.nonzero(region), spacing_mm, strict=True)]
    kinetics = [curve[later[0] - 1] / top, (curve[later[-1] - 1] - curve[later[0] - 1]) / top]
    return np.array([volume, surface, rim, *spreads, peak, top, *curve, *kinetics, case.mri[0, 0][region].mean(), other], dtype=np.float64)


def us_measurements(case: Prepared) -> NDArray[np.float64] | None:
    """Return what is measured over the present angles, means and spreads, or None without ultrasound.

    The region of an image: pixels darker than half-way between its darkest smoothed place and its median, connected with that
    place. Size, shape, darkness, edge, and the brightness behind it against that beside it.
    """
    images = case.us[case.us_present]
    if len(images) == 0:
        return None
    each = np.array([_one_image(image.astype(np.float64)) for image in images])
    return np.concatenate([each.mean(axis=0), each.std(axis=0)])


def _one_image(image: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = image.shape
    smooth = ndimage.gaussian_filter(image, max(rows / 32, 0.7))
    middle = smooth[rows // 8 : rows * 3 // 4, columns // 6 : -(columns // 6)]  # below the skin, off the edges of the sector
    low, level = float(middle.min()), float(np.median(middle))
    place = np.unravel_index(int(middle.argmin()), middle.shape)
    region = _around(middle < (low + level) / 2 + 1e-9, place)
    down, across = np.nonzero(region)
    edge = np.hypot(ndimage.sobel(middle, 0), ndimage.sobel(middle, 1))
    border = region & ~ndimage.binary_erosion(region)
    bottom, left, right = int(down.max()) + rows // 8 + 1, int(across.min()) + columns // 6, int(across.max()) + columns // 6 + 1
    below = smooth[bottom : bottom + rows // 6]
    behind = below[:, left:right].mean() if below.size else level
    beside = np.delete(below, np.s_[left:right], axis=1)
    shadow = behind - (beside.mean() if beside.size else level)
    height, width = np.ptp(down) + 1, np.ptp(across) + 1
    filled = region.sum() / (height * width)
    return np.array(
        [np.log(region.sum()), np.log(height / width), filled, low, level - low, middle[region].std(), edge[border].mean(), shadow]
    )


def _around(mask: NDArray[np.bool_], place: tuple[np.intp, ...]) -> NDArray[np.bool_]:
    """Return the connected part of the mask that holds the place, which is put into it."""
    mask[place] = True
    parts, _ = ndimage.label(mask)
    return np.asarray(parts == parts[place])
