"""Which breasts an MRI shows, told from patient coordinates alone, never from halves of an array."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from breastai_gui.data.study import DceSeries, Side

REACH_MM = 50.0
"""A volume shows a breast when it reaches this far beyond the midline on that side: a breast's medial half at least."""


def shown_breasts(dce: DceSeries, midline_mm: float | None = None) -> frozenset[Side]:
    """Return which breasts the volume reaches, none when it is too narrow to tell or nothing says where it lies.

    Parameters
    ----------
    dce
        The MRI.
    midline_mm
        LPS x of the plane between the breasts; without it the scanner's own middle, x = 0, is taken, which lies in the
        patient's midline for a patient who was positioned for both breasts.
    """
    corners = np.array(list(itertools.product(*((-0.5, count - 0.5) for count in dce.grid.shape))))
    across = dce.grid.to_patient(corners)[:, 0]
    middle = 0.0 if midline_mm is None else midline_mm
    found: set[Side] = set()
    if across.max() - middle >= REACH_MM:
        found.add("left")  # LPS: x grows to the patient's left
    if middle - across.min() >= REACH_MM:
        found.add("right")
    if len(found) == 1 and midline_mm is None and not dce.frame_of_reference:
        return frozenset()  # one breast alone in a file that names no frame of reference: nothing says where x = 0 is
    return frozenset(found)
