"""What a network says of prepared cases, as numbers: log-odds and the features of each stream."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from breastai_model.prepare import collate
from breastai_model.training.augment import without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.calibration import Scope
    from breastai_model.network.net import BreastNet, Output
    from breastai_model.prepare import Prepared
    from breastai_model.training.dataset import CaseFiles

Absent = Literal["", "mri", "ultrasound"]
ABSENT: dict[Scope, Absent] = {"both": "", "mri": "ultrasound", "us": "mri"}
"""What is taken away where a scope alone is to speak."""


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """What a network says of n cases, float64.

    Attributes
    ----------
    logits
        (n, task): log-odds of the positive answer.
    fused
        F^a, (n, d).
    agnostic_mri, agnostic_us
        F^a_M and F^a_U, (n, d); 0 where the modality is absent.
    specific_mri, specific_us
        F^s_M and F^s_U, (n, d); 0 where the modality is absent.
    """

    logits: NDArray[np.float64]
    fused: NDArray[np.float64]
    agnostic_mri: NDArray[np.float64]
    agnostic_us: NDArray[np.float64]
    specific_mri: NDArray[np.float64]
    specific_us: NDArray[np.float64]


def predict_cases(
    net: BreastNet, cases: CaseFiles, indices: NDArray[np.integer] | Sequence[int], absent: Absent = "", batch_size: int = 8
) -> Features:
    """Return log-odds and features of these cases, in float32 on the network's device, in evaluation mode.

    Parameters
    ----------
    net
        Its mode is given back as it was.
    indices
        Of `cases`, in the order wanted.
    absent
        The modality that is taken away; a case that would be left with nothing is read whole.
    batch_size
        Changes nothing beyond rounding (1e-5).

    Notes
    -----
    A case whose side is unknown is read in both orders of its breasts, as the program does: the probabilities and the features
    are averaged.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    parts: list[list[NDArray[np.float64]]] = []
    try:
        for start in range(0, len(indices), batch_size):
            shown = [without(cases.load(int(index)), absent) for index in indices[start : start + batch_size]]
            parts.append(_read(net, shown, device))
    finally:
        net.train(was_training)
    if not parts:
        raise ValueError("There is no case to read.")
    return Features(*(np.concatenate([part[place] for part in parts]) for place in range(len(fields(Features)))))


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return (N, task) log-odds of the positive answer from (N, task, 2) logits."""
    return logits[..., 1] - logits[..., 0]


def _read(net: BreastNet, shown: list[Prepared], device: torch.device) -> list[NDArray[np.float64]]:
    # Float32 as everywhere: a graphics card's convolutions would else round to 10 bits (TF32).
    with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        one = _columns(net(collate(shown).to(device)))
        twice = [place for place, case in enumerate(shown) if case.both_orders and case.mri_present.any()]
        if twice:
            other = _columns(net(collate([shown[place].swapped() for place in twice]).to(device)))
            for values, second in zip(one[1:], other[1:], strict=True):
                values[twice] = (values[twice] + second) / 2
            one[0][twice] = _mean_log_odds(one[0][twice], other[0])
    return one


def _columns(output: Output) -> list[NDArray[np.float64]]:
    tensors = (
        log_odds(output.logits),
        output.fused,
        output.agnostic_mri,
        output.agnostic_us,
        output.specific_mri,
        output.specific_us,
    )
    return [tensor.double().cpu().numpy() for tensor in tensors]


def _mean_log_odds(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of the mean of two probabilities, without leaving the log scale."""
    yes = np.logaddexp(-np.logaddexp(0, -a), -np.logaddexp(0, -b))
    no = np.logaddexp(-np.logaddexp(0, a), -np.logaddexp(0, b))
    return np.asarray(yes - no, dtype=np.float64)
