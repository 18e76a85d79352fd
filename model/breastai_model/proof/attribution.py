"""Is what is shared between the modalities the tumour, and what is private the background? |gradient x input|, inside over outside.

Section 5 of the paper says so of its maps; method section (vii), "Attribution". The gradient is that of a task's log-odds, taken back
to the prepared images through one branch alone, the agnostic or the specific one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.case import TASKS
from breastai_model.inference.stage_means import BRANCHES
from breastai_model.prepare import collate
from breastai_model.proof.intervals import Interval, mean_interval
from breastai_model.proof.table import Row, above
from breastai_model.proof.truth_masks import both_breasts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from breastai_model.network.net import BreastNet
    from breastai_model.prepare import Batch
    from breastai_model.proof.pointing import Located

NOTHING = 1e-12
"""Added inside and outside, so that a branch that a task does not use has the ratio 1."""


def branch_gradients(net: BreastNet, batch: Batch) -> Iterator[tuple[int, tuple[str, str], torch.Tensor]]:
    """Yield for each task, modality and branch the gradient of the log-odds to that modality's images through that branch alone.

    Everything that the images say passes one of the two branches: the two gradients add up to the whole one.

    Parameters
    ----------
    net
        In eval mode, its weights not requiring gradients.
    batch
        One patient; its images get a gradient of their own.
    """
    images = {"mri": batch.mri.requires_grad_(), "us": batch.us.requires_grad_()}
    for alone in BRANCHES:

        def tap(_modality: str, branch: str, _stage: int, activation: torch.Tensor, alone: str = alone) -> torch.Tensor:
            return activation if branch == alone else activation.detach()

        with torch.enable_grad():
            logits = net(batch, tap).logits[0]
            odds = logits[:, 1] - logits[:, 0]
        for task in range(len(TASKS)):
            gradients: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
                odds[task], list(images.values()), retain_graph=task + 1 < len(TASKS), allow_unused=True
            )
            for (modality, image), gradient in zip(images.items(), gradients, strict=True):
                yield task, (modality, alone), torch.zeros_like(image) if gradient is None else gradient


def ratios(net: BreastNet, patient: Located) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return by modality and branch (task,): mean |gradient x input| inside the lesion over the mean outside it.

    Outside is tissue in MRI, the scanned part of the images that show the lesion in ultrasound; phases are added up.
    """
    batch = collate([patient.prepared])
    images = {"mri": batch.mri, "us": batch.us}
    found = {(modality, branch): np.zeros(len(TASKS)) for modality in images for branch in BRANCHES}
    for task, key, gradient in branch_gradients(net.eval().requires_grad_(requires_grad=False), batch):
        spoke = (gradient * images[key[0]].detach()).abs()[0].numpy()
        found[key][task] = _mri_ratio(patient, spoke) if key[0] == "mri" else _us_ratio(patient, spoke)
    return found


def _mri_ratio(patient: Located, spoke: NDArray[np.float32]) -> float:
    values = both_breasts(patient.prepared, spoke.sum(axis=0))
    return _ratio(values, patient.mri, patient.body & ~patient.mri)


def _us_ratio(patient: Located, spoke: NDArray[np.float32]) -> float:
    slots = np.asarray(patient.prepared.us_slots)
    scanned = patient.prepared.us[slots].max(axis=0) > 0
    shown = patient.us.any(axis=(1, 2))
    inside = patient.us[shown]
    return _ratio(spoke[slots][shown], inside, scanned[None] & ~inside)


def _ratio(values: NDArray[np.float32], inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> float:
    return (float(values[inside].mean()) + NOTHING) / (float(values[outside].mean()) + NOTHING)


def attribution_rows(net: BreastNet, patients: Sequence[Located], tell: Callable[[], object]) -> list[Row]:
    """Return both branches' ratios, geometric means over the patients, and whether the agnostic one lies more on the lesion.

    Parameters
    ----------
    tell
        Called after each patient; what it raises ends the work.
    """
    each = []
    for patient in patients:
        each.append(ratios(net, patient))
        tell()
    logs = {key: np.log([found[key] for found in each]) for key in each[0]}  # (patient, task)
    note = f"{len(patients)} phantoms, geometric mean"
    rows = []
    for modality, words in (("mri", "MRI"), ("us", "US")):
        for place, task in enumerate(TASKS):
            agnostic, specific = (logs[modality, branch][:, place] for branch in BRANCHES)
            says = "mean |gradient × input| inside the lesion over that outside, through the {} stream"
            rows += [
                Row(f"{words} {task}, {name}", says.format(name), None, _raised(mean_interval(values)), note)
                for name, values in (("agnostic", agnostic), ("specific", specific))
            ]
            rows.append(
                Row(
                    f"{words} {task}, agnostic over specific",
                    "the agnostic stream lies more on the lesion than the specific one (section 5 of the paper)",
                    above(1.0),
                    _raised(mean_interval(agnostic - specific)),
                    f"{len(patients)} phantoms, paired",
                )
            )
    return rows


def _raised(logs: Interval) -> Interval:
    return Interval(float(np.exp(logs.value)), float(np.exp(logs.low)), float(np.exp(logs.high)))
