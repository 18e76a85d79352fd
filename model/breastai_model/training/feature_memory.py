"""The cross-batch memory: detached features of past batches, a ring for each modality."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureMemory(nn.Module):
    """The last agnostic and specific features of one modality, oldest overwritten first.

    All of it are buffers: `state_dict()` holds it, so a run that goes on from a checkpoint remembers the same.

    Parameters
    ----------
    size
        Patients remembered; may be 0.
    width
        d.
    """

    agnostic: Tensor
    specific: Tensor
    patient: Tensor
    remembered: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("agnostic", torch.zeros(size, width))
        self.register_buffer("specific", torch.zeros(size, width))
        self.register_buffer("patient", torch.full((size,), -1))
        self.register_buffer("remembered", torch.zeros((), dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """(size,) bool: which places hold features."""
        return torch.arange(self.size, device=self.remembered.device) < self.remembered

    @property
    def half_full(self) -> Tensor:
        """() bool: whether at least half of the places hold features; True where there are none."""
        return 2 * self.remembered >= self.size

    @torch.no_grad()
    def remember(self, agnostic: Tensor, specific: Tensor, patient: Tensor) -> None:
        """Keep the features (M, d) of M patients, the last `size` of them.

        Parameters
        ----------
        patient
            (M,) int64, 0 or more: whose they are; -1: not known.
        """
        if not self.size or not len(agnostic):
            return
        place = (self.remembered + torch.arange(len(agnostic), device=self.remembered.device))[-self.size :] % self.size
        self.agnostic[place] = agnostic[-self.size :].to(self.agnostic)
        self.specific[place] = specific[-self.size :].to(self.specific)
        self.patient[place] = patient[-self.size :].to(self.patient)
        self.remembered += len(agnostic)
