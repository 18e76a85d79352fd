"""L_Z, a departure for made-up patients alone: the features are asked for the hidden numbers that a phantom was drawn from.

Labels are tosses of a coin whose chance follows from the latents, so a label says little about one patient. The latents of a phantom are
known, and a network that can read them off its features has learnt to measure the tumour. Each feature is asked for what belongs in it
(method section i.0): the agnostic ones for what both modalities show, the specific ones for what only theirs shows. The read-outs are
linear, learn together with the encoders and are thrown away after training; no weights file holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from breastai_model.phantom.latents import LATENT_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED = ("size", "lobulation", "margin")
ASKED: dict[str, tuple[str, ...]] = {
    "agnostic_mri": SHARED,
    "agnostic_us": SHARED,
    "fused": SHARED,
    "specific_mri": ("slope", "wash_out", "rim"),
    "specific_us": ("shadow", "echo", "anisotropy"),
}
"""Which latents each feature of `breastai_model.network.net.Output` is asked for: those that show in the clinic's images."""


class LatentReadout(nn.Module):
    """One linear map for each feature of `ASKED`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(width, len(latents)) for name, latents in ASKED.items()})

    def errors(self, features: Mapping[str, Tensor], latents: Tensor) -> dict[str, Tensor]:
        """Return by feature the squared error, (N,), a mean over its latents; guessing the mean, 0, gives 1.

        Parameters
        ----------
        features
            (N, d) for each name of `ASKED`.
        latents
            (N, latent), in the order of `LATENT_NAMES`.
        """
        found = {}
        for name, asked in ASKED.items():
            wanted = latents[:, [LATENT_NAMES.index(each) for each in asked]].to(features[name])
            found[name] = torch.square(self.maps[name](features[name]) - wanted).mean(dim=1)
        return found
