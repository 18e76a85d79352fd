"""What the in-distribution check reads of a forward pass: the mean of every channel at the early stages, and the last features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from breastai_model.inference.in_distribution import Reading
from breastai_model.inference.picture_statistics import picture_statistics
from breastai_model.prepare import collate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from breastai_model.network.net import BreastNet, Output
    from breastai_model.prepare import Prepared

STAGES = (1, 2, 3)
BRANCHES = ("agnostic", "specific")


class StageMeans:
    """A tap that keeps the mean over views and places of each channel."""

    def __init__(self) -> None:
        self.means: dict[tuple[str, str, int], torch.Tensor] = {}

    def __call__(self, modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        """Keep the means of a stage and return the activation."""
        if stage in STAGES:
            seen = activation.detach()
            self.means[modality, branch, stage] = seen.flatten(2).mean(dim=2).mean(dim=0)
        return activation

    def of(self, modality: str) -> NDArray[np.float64] | None:
        """Return all means of a modality as one vector, or None where it was absent."""
        parts = [self.means[key] for branch in BRANCHES for stage in STAGES if (key := (modality, branch, stage)) in self.means]
        return torch.cat(parts).double().cpu().numpy() if parts else None


def reading_of(prepared: Prepared, output: Output, means: StageMeans) -> Reading:
    """Return what the check reads of one patient, from the pass that made the answer.

    Parameters
    ----------
    prepared
        The patient.
    output
        Of a batch of this patient alone.
    means
        The tap of that pass.
    """
    groups: dict[str, NDArray[np.float64]] = {**picture_statistics(prepared)}
    both = bool(prepared.mri_present.any() and prepared.us_present.any())
    for modality, present, agnostic, specific in (
        ("mri", prepared.mri_present.any(), output.agnostic_mri, output.specific_mri),
        ("us", prepared.us_present.any(), output.agnostic_us, output.specific_us),
    ):
        if present:
            groups[f"{modality}_features"] = torch.cat([agnostic[0], specific[0]]).detach().double().cpu().numpy()
            stages = means.of(modality)
            if stages is not None:
                groups[f"{modality}_stages"] = stages
    if both:
        groups["joint_features"] = output.fused[0].detach().double().cpu().numpy()
    odds = (output.logits[0, :, 1] - output.logits[0, :, 0]).detach().double().cpu().numpy()
    return Reading(groups, odds)


def read_case(net: BreastNet, prepared: Prepared) -> Reading:
    """Return what the check reads of one prepared patient; for fitting. The net must be in eval mode."""
    means = StageMeans()
    with torch.inference_mode():
        output = net(collate([prepared]).to(next(net.parameters()).device), means)
    return reading_of(prepared, output, means)
