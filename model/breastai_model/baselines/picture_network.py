"""A two-dimensional network of single pictures, taught by the loop that all comparators share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from breastai_model.baselines.fit_network import FittedNetwork, Showing, TaskNetwork, fit_network
from breastai_model.baselines.images import modality_pictures
from breastai_model.case import TASKS, InputsUsed
from breastai_model.prepare import Prepared
from breastai_model.training.losses import classification_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.baselines.images import Modality
    from breastai_model.baselines.system import Budget
    from breastai_model.prepare import Batch
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles

PICTURES_A_CASE = 4
"""How many of a case's pictures a step shows, drawn anew each time: one epoch is still one pass over the patients."""
PIECES_MEASURED = 16
"""How many of a held-out case's pieces an epoch is measured on, evenly spaced; more would cost more than the epoch itself."""
AT_ONCE = 256
"""Pictures that pass a network together when only read."""
_NOTHING_NOTED = InputsUsed(phases=(), phase_slots=0, angles=(), angle_slots=0, breasts=(), side_unknown=False, notes=())
_NONE_WITHOUT_IT = Showing(drop_mri=0.0, drop_ultrasound=0.0)
"""A network of one modality has nothing to gain from cases without it."""


class PictureNetwork(TaskNetwork):
    """Shows a network of pictures the pictures of one modality of a batch of cases.

    Parameters
    ----------
    net
        (picture, 1, side, side) to (picture, task) log-odds.
    """

    drawn = PICTURES_A_CASE

    def __init__(self, net: nn.Module, modality: Modality, recipe: Recipe, side: int) -> None:
        super().__init__()
        self.net = net
        self.reads = (modality,)
        self.modality, self.recipe, self.side = modality, recipe, side

    def cut(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the pieces that the network sees, (piece, edge, edge), of one case's pictures: here the pictures themselves."""
        return pictures

    def log_odds(self, pieces: Tensor) -> Tensor:
        """Return (piece, task) of (piece, 1, edge, edge)."""
        answers: Tensor = self.net(pieces)
        return answers

    def piece_loss(self, pieces: Tensor, labels: Tensor) -> Tensor:
        """Return L_cls over pieces, of which each carries its patient's labels (piece, task)."""
        return classification_loss(two_answers(self.log_odds(pieces)), labels)

    def forward(self, batch: Batch) -> Tensor:
        """Return (N, task, 2) logits of the mean probability over a case's pieces; even where there are none."""
        pieces, cases = self._pieces(batch, draw=False)
        if not len(pieces):
            return pieces.new_zeros((len(batch.us), len(TASKS), 2))
        positive = torch.cat([self.log_odds(part).sigmoid() for part in torch.split(pieces, AT_ONCE)])
        mean = _mean_of(positive, cases, len(batch.us))
        return torch.stack([1 - mean, mean], dim=-1).clamp(min=1e-7).log()

    def loss(self, batch: Batch, labels: Tensor) -> Tensor:
        """Return the loss of a few pieces of each case, drawn by torch's seed."""
        pieces, cases = self._pieces(batch, draw=True)
        if len(pieces) < 2:  # batch norm needs company
            return labels.new_zeros((), dtype=torch.float32)
        return self.piece_loss(pieces, labels[cases])

    def _pieces(self, batch: Batch, draw: bool) -> tuple[Tensor, Tensor]:
        """Return pieces (piece, 1, edge, edge) and for each the row of its case."""
        found: list[NDArray[np.float32]] = []
        for case in _cases(batch):
            pieces = self.cut(modality_pictures(case, self.modality, self.recipe, self.side))
            if draw and len(pieces) > self.drawn:
                pieces = pieces[torch.randperm(len(pieces))[: self.drawn].numpy()]
            elif len(pieces) > PIECES_MEASURED:
                pieces = pieces[np.linspace(0, len(pieces) - 1, PIECES_MEASURED).round().astype(int)]
            found.append(pieces)
        rows = np.repeat(np.arange(len(found)), [len(pieces) for pieces in found])
        device = batch.us.device
        return torch.from_numpy(np.concatenate(found))[:, None].to(device), torch.from_numpy(rows).to(device)


def two_answers(log_odds: Tensor) -> Tensor:
    """Return (..., 2) logits, negative and positive, of log-odds."""
    return torch.stack([torch.zeros_like(log_odds), log_odds], dim=-1)


def fit_pictures(
    make: Callable[[], PictureNetwork],
    cases: CaseFiles,
    learning: NDArray[np.int64],
    held_out: NDArray[np.int64],
    budget: Budget,
    folder: Path,
    tell: Callable[[str], None],
) -> FittedNetwork:
    """Teach a network of pictures within the budget; no case is shown without the modality it reads. See `fit_network`.

    One in ten phases after contrast and angles is left out, as `Showing` says.
    """
    return fit_network(make, cases, learning, held_out, budget, folder, tell, _NONE_WITHOUT_IT)


def read_in_parts(
    read: Callable[[Tensor], Tensor], pictures: NDArray[np.float32] | NDArray[np.float16], device: str
) -> NDArray[np.float32]:
    """Return what a network in evaluation mode says of (picture, side, side), some at a time, as (picture, ...) float32."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pictures), AT_ONCE):
            part = torch.from_numpy(pictures[start : start + AT_ONCE].astype(np.float32))[:, None].to(device)
            parts.append(read(part).float().cpu().numpy())
    return np.concatenate(parts)


def _mean_of(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Return (count, task): the mean of the values of each row, 0.5 where it has none."""
    sums = values.new_zeros((count, values.shape[1])).index_add(0, rows, values)
    counts = torch.bincount(rows, minlength=count)[:, None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), 0.5)


def _cases(batch: Batch) -> list[Prepared]:
    """Return the cases of a batch, with the breasts in the order in which they are to be read."""
    mri, us = batch.mri.cpu().numpy(), batch.us.cpu().numpy()
    mri_present, us_present = batch.mri_present.cpu().numpy(), batch.us_present.cpu().numpy()
    return [
        Prepared(mri[row], mri_present[row], us[row], us_present[row], ("left", "right"), False, None, (), (), _NOTHING_NOTED)
        for row in range(len(us))
    ]
