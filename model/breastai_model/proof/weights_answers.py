"""What a weights file says of phantoms that it never saw: read once, kept in parts, so that a long reading can be gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from breastai_model.case import TASKS
from breastai_model.inference.input_checks import input_faults
from breastai_model.inference.stage_means import StageMeans, reading_of
from breastai_model.prepare import collate, prepare
from breastai_model.proof.pointing import KnownPatient
from breastai_model.training.augment import without
from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Labels
    from breastai_model.network.net import Output
    from breastai_model.phantom.cohort import PhantomCohort
    from breastai_model.proof.pieces import Bench
    from breastai_model.weights import Weights

PART = 50
"""Phantoms of one file of answers."""


@dataclass(frozen=True, slots=True)
class FreshPhantoms:
    """The first `count` phantoms of a cohort that the weights never saw."""

    cohort: PhantomCohort
    count: int

    def load(self, index: int) -> tuple[KnownPatient, Labels]:
        """Return one phantom and its answers."""
        stored = self.cohort.patient(index)
        return KnownPatient(stored.case, stored.lesion, stored.views), stored.labels


@dataclass(frozen=True, eq=False, slots=True)
class FreshAnswers:
    """The answers for n phantoms.

    Attributes
    ----------
    labels
        (n, task) int64.
    both, mri, us
        (n, task) log-odds with both modalities and with each alone.
    agnostic_mri, agnostic_us, specific_mri, specific_us
        (n, d).
    outside
        (n,) 1 where the in-distribution check says no, NaN where the weights carry none.
    """

    labels: NDArray[np.int64]
    both: NDArray[np.float64]
    mri: NDArray[np.float64]
    us: NDArray[np.float64]
    agnostic_mri: NDArray[np.float64]
    agnostic_us: NDArray[np.float64]
    specific_mri: NDArray[np.float64]
    specific_us: NDArray[np.float64]
    outside: NDArray[np.float64]


def read_answers(weights: Weights, phantoms: FreshPhantoms, bench: Bench, numbers: range | None = None) -> FreshAnswers:
    """Return the answers for some phantoms, all where None; parts that an earlier call read are taken from the disk. Raises OutOfTime."""
    parts = []
    data = phantoms.cohort.data
    folder = bench.folder / "answers" / f"{weights.sha256[:16]}-{data.scenario}-{data.seed}-{phantoms.cohort.law_hash[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(phantoms.count) if numbers is None else numbers
    for start in range(numbers.start, numbers.stop, PART):
        stop = min(start + PART, numbers.stop)
        path = folder / f"{start:06d}-{stop:06d}.safetensors"
        if not path.is_file():
            rows = []
            for index in range(start, stop):
                bench.left_s()
                rows.append(_row(weights, *phantoms.load(index)))
            made = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            replace_file(path, lambda target, made=made: save_file(made, target))  # type: ignore[misc]
        parts.append(load_file(path))
    return FreshAnswers(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _row(weights: Weights, patient: KnownPatient, labels: Labels) -> dict[str, NDArray[Any]]:
    """Return one patient's answers, each an array."""
    prepared, net, means = prepare(patient.case, weights.recipe), weights.net, StageMeans()
    with torch.inference_mode():
        whole = net(collate([prepared]), means)
        mri, us = (net(collate([without(prepared, absent)])) for absent in ("ultrasound", "mri"))
    outside = float("nan")
    if weights.distribution is not None:
        verdict = weights.distribution.judge(reading_of(prepared, whole, means), input_faults(patient.case, prepared))
        outside = float(not verdict.inside)
    return {
        "labels": np.array([-1 if answer is None else int(answer) for answer in (getattr(labels, task) for task in TASKS)], dtype=np.int64),
        "both": _odds(whole),
        "mri": _odds(mri),
        "us": _odds(us),
        **{name: getattr(whole, name)[0].double().numpy() for name in ("agnostic_mri", "agnostic_us", "specific_mri", "specific_us")},
        "outside": np.array(outside),
    }


def _odds(output: Output) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = (output.logits[0, :, 1] - output.logits[0, :, 0]).double().numpy()
    return odds
