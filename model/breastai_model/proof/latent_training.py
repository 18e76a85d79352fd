"""A network that stands in for the four streams on feature-level phantoms, trained with the program's own losses.

Only the encoders, the fusion and the heads are small here. Discriminators, per-modality norms, every loss of equation 14,
their memory and their turns are those of the image network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from breastai_model.case import TASKS
from breastai_model.network.adversary import Discriminators
from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.net import Output, trend
from breastai_model.plan import LOSSES, LossPlan
from breastai_model.proof.latent_phantoms import OBSERVED
from breastai_model.recipe import preset
from breastai_model.training.objective import Objective, Seen, warm_up
from breastai_model.training.precise_norm import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from breastai_model.proof.latent_phantoms import LatentPatients

Views = Literal["", "phases", "sides"]

WIDTH = 32
"""d of the stand-in."""
LEARNING_RATE = 1e-3
DROPOUT = 0.3
"""In the heads, as in the presets."""
LARGEST_STEP_LOSS = 1e30


@dataclass(frozen=True, slots=True)
class Setting:
    """How one stand-in is trained.

    Attributes
    ----------
    losses
        Equation 14.
    norm
        Whether F^a_M and F^a_U are normalised per modality.
    batch, epochs
        Patients a step; passes over the training patients.
    drop
        Probability that a patient is shown without MRI, and the same without ultrasound, never both.
    """

    losses: LossPlan
    norm: bool
    batch: int
    epochs: int
    drop: float = 0.0

    def words(self) -> str:
        """Return the setting in words, for the table."""
        return f"batch {self.batch}, {self.epochs} epochs, learning rate {LEARNING_RATE:g}"


_STABLE, _FAITHFUL = LOSSES["stable"], LOSSES["faithful"]
SETTINGS: dict[str, Setting] = {
    "control": Setting(LOSSES["supervised"], False, 32, 150),
    "literal": Setting(
        replace(_FAITHFUL, literal=True, alternate="step", compactness="none", neighbours=0, lambda_cross_covariance=0.0), False, 32, 150
    ),
    "normalised": Setting(replace(_FAITHFUL, alternate="step", compactness="none", neighbours=0), False, 32, 150),
    "faithful": Setting(_FAITHFUL, False, 32, 150),
    "stable": Setting(_STABLE, True, 32, 150),
    "stable, batch 6": Setting(_STABLE, True, 6, 60),
    "stable, batch 6, no memory": Setting(replace(_STABLE, memory=0), True, 6, 60),
    "stable without adversary": Setting(replace(_STABLE, adversary="none"), True, 32, 150),
    "stable, modalities dropped": Setting(_STABLE, True, 32, 150, drop=0.2),
}
"""The rows of method section (iv), Evidence: V0, V1, V2, V7-like, Y2 at batch 32 and at 6, Y1, X6."""


class LatentNet(nn.Module):
    """Two small encoders with a shallow trunk and two branches each, a mean as fusion, three heads: an `Output`.

    Parameters
    ----------
    norm
        Whether F^a_M and F^a_U are normalised per modality.
    head
        As `Recipe.head`.
    views
        What the MRI's middle axis is, where it has one: "phases" join as their mean and their trend, "sides" as they stand, as
        in `BreastNet`.
    """

    def __init__(self, norm: bool, head: Literal["hidden", "linear"] = "hidden", views: Views = "") -> None:
        super().__init__()
        self.views = views
        self.joins = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(2)) if views else None
        self.trunks = nn.ModuleList(nn.Sequential(nn.Linear(OBSERVED, 64), nn.ReLU()) for _ in range(2))
        self.agnostic = nn.ModuleList(_branch() for _ in range(2))
        self.specific = nn.ModuleList(_branch() for _ in range(2))
        self.norms = nn.ModuleList(MaskedNorm(WIDTH, affine=False) for _ in range(2)) if norm else None
        self.fusion = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.heads = nn.ModuleList(_head(head) for _ in TASKS)
        self.discriminators = Discriminators(preset("tiny", feature_width=WIDTH))

    def forward(self, mri: Tensor, us: Tensor, seen: Seen) -> Output:
        """Return the output for (N, 64) observations of both modalities, the MRI's (N, view, 64) with views.

        What is not seen changes nothing.
        """
        agnostic, specific = [], []
        for place, (values, has) in enumerate(((mri, seen.mri), (us, seen.us))):
            trunk = self.trunks[place](torch.where(has.reshape(-1, *(1,) * (values.ndim - 1)), values, 0.0))
            features, private = self.agnostic[place](trunk), self.specific[place](trunk)
            if self.joins is not None and values.ndim == 3:
                features, private = (join(self._joined_views(each)) for join, each in zip(self.joins, (features, private), strict=True))
            if self.norms is not None:
                features = self.norms[place](features[:, :, None], has[:, None])[:, :, 0]
            agnostic.append(features * has[:, None])
            specific.append(private * has[:, None])
        return self.joined(agnostic[0], agnostic[1], specific[0], specific[1], seen)

    def joined(self, agnostic_mri: Tensor, agnostic_us: Tensor, specific_mri: Tensor, specific_us: Tensor, seen: Seen) -> Output:
        """Return the output that follows from the four features, each (N, d): where a swap test puts another's in."""
        present = seen.mri.to(agnostic_mri.dtype) + seen.us.to(agnostic_mri.dtype)
        fused = self.fusion((agnostic_mri + agnostic_us) / present.clamp(min=1)[:, None])
        joint = torch.cat([fused, specific_mri, specific_us], dim=1)
        logits = torch.stack([head(joint) for head in self.heads], dim=1)
        return Output(logits, fused, agnostic_mri, agnostic_us, specific_mri, specific_us)

    def _joined_views(self, features: Tensor) -> Tensor:
        """Return (N, 2 d) from (N, view, d)."""
        if self.views == "sides":
            return features.flatten(1)
        every = torch.ones(*features.shape[:2], 1, dtype=torch.bool)
        return torch.cat([features.mean(dim=1), trend(features[:, :, None], every)[:, 0]], dim=1)


def _head(kind: Literal["hidden", "linear"]) -> nn.Sequential:
    if kind == "linear":
        return nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(3 * WIDTH, 2))
    return nn.Sequential(nn.Linear(3 * WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 2))


def _branch() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, WIDTH))


def trained(
    patients: LatentPatients,
    setting: Setting,
    seed: int,
    tell: Callable[[], object] = lambda: None,
    head: Literal["hidden", "linear"] = "hidden",
    views: Views = "",
) -> LatentNet:
    """Return a stand-in trained on these patients, in eval mode.

    Training ends early where a loss is no number or beyond all bounds: the features of an unbounded loss are then as large
    as a float can hold.

    Parameters
    ----------
    tell
        Called after each epoch; what it raises ends the training.
    head, views
        See `LatentNet`.
    """
    torch.manual_seed(seed)
    net, objective = LatentNet(setting.norm, head, views), Objective(setting.losses, WIDTH)
    critics = list(net.discriminators.parameters())
    theirs = {id(parameter) for parameter in critics}
    encoders = torch.optim.Adam([each for each in net.parameters() if id(each) not in theirs], lr=LEARNING_RATE)
    judges = torch.optim.Adam(critics, lr=LEARNING_RATE)
    mri, us, labels = torch.from_numpy(patients.mri), torch.from_numpy(patients.us), torch.from_numpy(patients.labels)
    chance = np.random.default_rng([seed, 4])
    losses = setting.losses
    net.train()
    for epoch in range(setting.epochs):
        ramp = warm_up(epoch, losses.warm_up_epochs)
        for members in np.array_split(chance.permutation(len(patients)), max(1, len(patients) // setting.batch)):
            index = torch.from_numpy(members)
            seen = _drawn(index, setting.drop, chance)
            output = net(mri[index], us[index], seen)
            if losses.adversary != "none" and (losses.alternate == "step" or epoch % 2 == 1):
                judges.zero_grad(set_to_none=True)
                objective.discriminator_loss(output, net.discriminators, seen).backward()  # type: ignore[no-untyped-call]
                judges.step()
            if losses.alternate == "step" or epoch % 2 == 0:
                loss = objective.encoder_loss(output, labels[index], net.discriminators, seen, ramp).total
                if not abs(float(loss.detach())) < LARGEST_STEP_LOSS:
                    return net.eval()
                encoders.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                encoders.step()
            objective.remember(output, seen)
        tell()
    net.eval()
    settle([module for module in net.modules() if isinstance(module, MaskedNorm)], lambda: answers(net, patients))
    return net


def _drawn(patients: Tensor, drop: float, chance: np.random.Generator) -> Seen:
    draw = torch.from_numpy(chance.random(len(patients)))
    return Seen(mri=draw >= drop, us=(draw < drop) | (draw >= 2 * drop), patient=patients)


@dataclass(frozen=True, eq=False, slots=True)
class LatentAnswers:
    """What a stand-in says of patients, as float64: log-odds (patient, task) and features (patient, d)."""

    log_odds: NDArray[np.float64]
    agnostic_mri: NDArray[np.float64]
    agnostic_us: NDArray[np.float64]
    specific_mri: NDArray[np.float64]
    specific_us: NDArray[np.float64]


def answers(net: LatentNet, patients: LatentPatients, absent: str = "") -> LatentAnswers:
    """Return what the stand-in says, with nothing, "mri" or "ultrasound" taken away."""
    with torch.inference_mode():
        count = len(patients)
        seen = Seen(mri=torch.full((count,), absent != "mri"), us=torch.full((count,), absent != "ultrasound"))
        output = net(torch.from_numpy(patients.mri), torch.from_numpy(patients.us), seen)
    return as_arrays(output)


def as_arrays(output: Output) -> LatentAnswers:
    """Return an output as arrays."""
    logits = output.logits.double()
    parts = (output.agnostic_mri, output.agnostic_us, output.specific_mri, output.specific_us)
    return LatentAnswers((logits[:, :, 1] - logits[:, :, 0]).numpy(), *(part.double().numpy() for part in parts))
