"""A window of the MRI around a lesion whose place is known, as that of a made-up patient is.

Convolutions do not depend on the size of their input, and a window costs a fraction of a whole breast. The lesion lies anywhere in its
middle half, so that its place says nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.case import Side
    from breastai_model.prepare import Prepared


def lesion_place(lesion_mm: NDArray[np.float64], side: Side, affine: NDArray[np.float64], shape: Sequence[int]) -> list[int]:
    """Return slice, row and column of a point in its prepared breast, the nearest voxel where it lies outside.

    Parameters
    ----------
    lesion_mm
        (3,) LPS.
    side
        The breast that it lies in.
    affine
        `Prepared.mri_affine`.
    shape
        (slice, row, column) of one breast.
    """
    place = np.linalg.solve(affine, [*lesion_mm, 1.0])[:3]
    # Columns of a breast run from medial to lateral; the left one is the second half of the whole grid.
    place[2] = place[2] - shape[2] if side == "left" else shape[2] - 1 - place[2]
    return [int(value) for value in np.clip(np.rint(place), 0, np.array(shape) - 1)]


def window(case: Prepared, place: Sequence[int], size: Sequence[int], chance: np.random.Generator) -> Prepared:
    """Return a case cut, in both breasts and all phases, to a window of that size whose middle half holds the place.

    A breast that is smaller than the window stays whole.
    """
    box = []
    for middle, wide, whole in zip(place, size, case.mri.shape[2:], strict=True):
        start = int(np.clip(middle - wide // 2 + chance.integers(-wide // 4, wide // 4 + 1), 0, max(0, whole - wide)))
        box.append(slice(start, start + wide))
    return replace(case, mri=np.ascontiguousarray(case.mri[:, :, box[0], box[1], box[2]]))
