"""Cases without one modality, for every comparator alike, and what is answered where nothing is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.case import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.prepare import Prepared
    from breastai_model.training.features import Absent


def shown(case: Prepared, absent: Absent) -> Prepared:
    """Return the case as a comparator may see it: absent views are blank, the modality named is gone, even if it was the only one.

    Blank means 0, so that nothing can be read from what an array holds at an absent phase, breast or angle.
    """
    mri_present = np.zeros_like(case.mri_present) if absent == "mri" else case.mri_present
    us_present = np.zeros_like(case.us_present) if absent == "ultrasound" else case.us_present
    return replace(
        case,
        mri=np.where(mri_present[:, :, None, None, None], case.mri, np.float32(0)),
        mri_present=mri_present,
        us=np.where(us_present[:, None, None], case.us, np.float32(0)),
        us_present=us_present,
    )


def prevalence(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of positive answers of each task, (task,); 0.5 where no label is known.

    Parameters
    ----------
    labels
        (case, task): 1, 0, or -1 where not known.
    """
    known = (labels >= 0).sum(axis=0)
    positive = (labels == 1).sum(axis=0)
    return np.where(known > 0, positive / np.maximum(known, 1), 0.5).reshape(len(TASKS))
