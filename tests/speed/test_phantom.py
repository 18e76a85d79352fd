"""What a made-up patient of a cohort costs: images at the model's resolution, what is measured in them, and the file."""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import pytest

from breastai_model.phantom.cohort import write_cohort
from breastai_model.plan import PhantomData

if TYPE_CHECKING:
    from pathlib import Path

PATIENTS = 24


@pytest.mark.long
def test_a_patient_of_a_cohort_takes_half_a_second(tmp_path: Path) -> None:
    """One process; wall time between two patients, so that another program's turn on the core counts for few of them."""
    stamps = []
    write_cohort(tmp_path, PhantomData("clinic", PATIENTS, 60), processes=1, tell=lambda _done, _whole: stamps.append(time.perf_counter()))
    seconds = sorted(later - sooner for sooner, later in pairwise(stamps))
    print(f"a patient: {seconds[0]:.2f} s fastest, {median(seconds):.2f} s median, {seconds[-1]:.2f} s slowest of {len(seconds)}")
    assert median(seconds) <= 0.5
