"""The statistics of the norms of F^a, taken anew when training is over.

While training, a norm's running mean and variance trail behind the weights and are made of small batches, and the layers before it
normalise by the batch. What is left of that in evaluation mode is a shift between F^a_M and F^a_U that no loss of the training ever
saw, and that tells one modality from the other. Statistics of the whole learning set, as predictions see it, have no such shift
(Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.training.features import predict_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from breastai_model.network.masked_norm import MaskedNorm
    from breastai_model.network.net import BreastNet
    from breastai_model.training.dataset import CaseFiles

MOST_CASES = 512
"""Of more learning cases every n-th is read: the mean of so many is known to a twentieth of a standard deviation."""


def settle_agnostic_norms(net: BreastNet, cases: CaseFiles, learning: NDArray[np.int64], batch_size: int = 8) -> None:
    """Give the norms of F^a_M and F^a_U the statistics of the cases that were learnt from.

    With ``head_inputs="specific"`` no logit changes: the heads read F^a, which is fused before these norms.

    Parameters
    ----------
    net
        Its mode is given back as it was.
    learning
        Indices of `cases`, in any order.
    batch_size
        Changes nothing beyond rounding.
    """
    norms = [norm for norm in (net.norm_mri, net.norm_us) if norm is not None]
    if norms and len(learning):
        some = np.sort(learning)[:: -(-len(learning) // MOST_CASES)]
        settle(norms, lambda: predict_cases(net, cases, some, batch_size=batch_size))


def settle(norms: Iterable[MaskedNorm], read: Callable[[], object]) -> None:
    """Give norms the mean and variance of all present positions that reach them while `read` runs, in evaluation mode.

    A norm that fewer than two positions reach keeps the statistics that it has.
    """
    every = list(norms)
    seen: list[list[torch.Tensor]] = [[] for _ in every]

    def watch(kept: list[torch.Tensor]) -> Callable[[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]], None]:
        def keep(_: torch.nn.Module, given: tuple[torch.Tensor, torch.Tensor]) -> None:
            x, present = given
            kept.append(x.detach().transpose(1, 2)[present].double().cpu())

        return keep

    hooks = [norm.register_forward_pre_hook(watch(kept)) for norm, kept in zip(every, seen, strict=True)]
    try:
        read()
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for norm, kept in zip(every, seen, strict=True):
            values = torch.cat(kept) if kept else torch.zeros(0)
            if len(values) > 1:
                norm.running_mean.copy_(values.mean(dim=0))
                norm.running_var.copy_(values.var(dim=0))
