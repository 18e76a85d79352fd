"""BreastNet: four streams, MMAFF, affinity, three heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from breastai_model.case import TASKS
from breastai_model.network.adversary import Discriminators
from breastai_model.network.affinity import AffinityPooling
from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.mmaff import MMAFF
from breastai_model.network.resnet_v2 import Stage
from breastai_model.network.streams import ModalityStreams

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_model.network.streams import Tap
    from breastai_model.prepare import Batch
    from breastai_model.recipe import Recipe

SUBTRACTION_GAIN = 4.0
"""Enhancement is a fraction of the signal; the factor gives both channels of the MRI encoder about the same spread."""


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """What the network says of a batch.

    Attributes
    ----------
    logits
        (N, task, 2): negative, positive; tasks in the order of `TASKS`.
    fused
        F^a, (N, d).
    agnostic_mri, agnostic_us
        F^a_M and F^a_U before MMAFF, (N, d); 0 where the modality is absent.
    specific_mri, specific_us
        F^s_M and F^s_U, (N, d); 0 where the modality is absent.
    """

    logits: Tensor
    fused: Tensor
    agnostic_mri: Tensor
    agnostic_us: Tensor
    specific_mri: Tensor
    specific_us: Tensor


class BreastNet(nn.Module):
    """The forward pass: streams, fusion (equations 4 to 9), affinity, three heads on [F^a, F^s_M, F^s_U] (equations 11 to 13).

    Only present phases, breasts and angles pass the encoders, so what stands in an absent one's place cannot matter and
    the batch norms' statistics are of present ones. Nothing connects the patients of a batch, except the batch norms'
    statistics while training.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        d = recipe.feature_width
        self.recipe = recipe
        channels = recipe.layout == "channels"
        derived = 2 if recipe.subtraction else 1
        self.mri = ModalityStreams(3, derived * (recipe.phases if channels else 1), recipe)
        self.us = ModalityStreams(2, recipe.angles if channels else 1, recipe)
        self.merge_agnostic = nn.Linear(2 * d, d)
        moments = recipe.specific_views == "moments" and not channels
        self.merge_specific = nn.Linear(4 * d if moments else 2 * d, d)
        self.merge_angles = nn.Linear(2 * d, d) if moments else None
        self.norm_mri = MaskedNorm(d, affine=False) if recipe.agnostic_norm else None
        self.norm_us = MaskedNorm(d, affine=False) if recipe.agnostic_norm else None
        self.mmaff = MMAFF(recipe)
        self.affinity = AffinityPooling(self.mmaff.width, recipe)
        inputs = (3 if recipe.head_inputs == "specific" else 5) * d
        self.heads = nn.ModuleDict({task: _head(inputs, recipe) for task in TASKS})
        self.discriminators = Discriminators(recipe)

    def forward(self, batch: Batch, tap: Callable[[str, str, int, Tensor], Tensor] | None = None) -> Output:
        """Return logits and features of a batch.

        Parameters
        ----------
        batch
            See `breastai_model.prepare.Batch`.
        tap
            Called with modality ("mri", "us"), branch ("agnostic", "specific"), stage (1 to 4) and that stage's activation
            after BN-ReLU, present views only; what it returns goes on through the network.
        """
        mri_views, us_views = batch.mri_present, batch.us_present  # (N, phase, side), (N, angle)
        mri, us = (
            self._derived(batch.mri, mri_views),
            batch.us[:, :, None],
        )  # (N, phase, side, channel, *space), (N, angle, channel, *space)
        if self.recipe.layout == "channels":
            agnostic_mri, specific_mri, mri_seen = self._stacked(self.mri, mri, mri_views, _of(tap, "mri"))
            agnostic_us, specific_us, us_seen = self._stacked(self.us, us[:, :, None], us_views[:, :, None], _of(tap, "us"))
            agnostic_us, specific_us, us_seen = agnostic_us[:, :, 0], specific_us[:, :, 0], us_seen[:, :, 0]
        else:
            agnostic_mri, specific_mri = self._each(self.mri, mri, mri_views, _of(tap, "mri"))
            agnostic_us, specific_us = self._each(self.us, us, us_views, _of(tap, "us"))
            mri_seen, us_seen = mri_views, us_views
        # agnostic: (N, frame, side, d, g * g) and (N, frame, d, g * g); specific: (N, view, side, d) and (N, view, d)
        has_mri, has_us = mri_views.flatten(1).any(dim=1), us_views.any(dim=1)
        cells = agnostic_us.shape[-1]
        present = self.mmaff.layout.join(mri_seen.repeat_interleave(cells, dim=2), us_seen[:, :, None].expand(-1, -1, cells))
        tokens = self.mmaff.layout.join(agnostic_mri.permute(0, 3, 1, 2, 4).flatten(3), agnostic_us.permute(0, 2, 1, 3))
        f_a_mri = self.merge_agnostic(_mean(agnostic_mri.mean(dim=-1), mri_seen).flatten(1)) * has_mri[:, None]
        f_a_us = _mean(agnostic_us.mean(dim=-1), us_seen)
        f_a_mri, f_a_us = _normed(self.norm_mri, f_a_mri, has_mri), _normed(self.norm_us, f_a_us, has_us)
        views_mri, views_us = (mri_seen[:, :1], us_seen[:, :1]) if self.recipe.layout == "channels" else (mri_seen, us_seen)
        parts_mri, f_s_us = [_mean(specific_mri, views_mri)], _mean(specific_us, views_us)
        if self.merge_angles is not None:
            parts_mri.append(trend(specific_mri, views_mri))
            f_s_us = self.merge_angles(torch.cat([f_s_us, _spread_over(specific_us, views_us)], dim=1)) * has_us[:, None]
        f_s_mri = self.merge_specific(torch.cat(parts_mri, dim=2).flatten(1)) * has_mri[:, None]
        fused = self.affinity(*self.mmaff(tokens, present))
        parts = [fused, f_s_mri, f_s_us] if self.recipe.head_inputs == "specific" else [fused, f_a_mri, f_s_mri, f_a_us, f_s_us]
        joint = torch.cat(parts, dim=1)
        logits = torch.stack([head(joint) for head in self.heads.values()], dim=1)
        return Output(logits, fused, f_a_mri, f_a_us, f_s_mri, f_s_us)

    @property
    def checkpoint_activations(self) -> bool:
        """Whether the encoders' activations are computed again in the backward pass instead of kept; for training alone."""
        return self.mri.stage1.checkpoint_activations

    @checkpoint_activations.setter
    def checkpoint_activations(self, wanted: bool) -> None:
        for module in self.modules():
            if isinstance(module, Stage):
                module.checkpoint_activations = wanted

    def _derived(self, mri: Tensor, present: Tensor) -> Tensor:
        """Return (N, phase, side, channel, *space): each phase, and with `Recipe.subtraction` its difference from the first.

        The difference is 0 where the phase before contrast is absent.
        """
        if not self.recipe.subtraction:
            return mri[:, :, :, None]
        known = present[:, :1].reshape(len(mri), 1, 2, *(1,) * (mri.ndim - 3))
        change = torch.where(known, (mri - mri[:, :1]) * SUBTRACTION_GAIN, 0.0)
        return torch.stack([mri, change], dim=3)

    def _each(self, streams: ModalityStreams, images: Tensor, present: Tensor, tap: Tap | None) -> tuple[Tensor, Tensor]:
        """Encode every present view by itself; return (*views, d, g * g) and (*views, d), absent views 0."""
        agnostic, specific = self._encoded(streams, images[present], tap)
        return _spread(agnostic[:, 0], present), _spread(specific, present)

    def _stacked(self, streams: ModalityStreams, images: Tensor, present: Tensor, tap: Tap | None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode the views (N, view, side, channel, *space) of each side as channels.

        Return (N, 4, side, d, g * g), (N, 1, side, d) and, (N, 4, side), which frames are present.
        """
        blank = present.reshape(*present.shape, *(1,) * (images.ndim - present.ndim))
        stacked = torch.where(blank, images, 0.0).transpose(1, 2).flatten(2, 3)
        sides = present.any(dim=1)
        agnostic, specific = self._encoded(streams, stacked[sides], tap)
        return _spread(agnostic, sides).transpose(1, 2), _spread(specific, sides)[:, None], sides[:, None].expand(-1, 4, -1)

    def _encoded(self, streams: ModalityStreams, views: Tensor, tap: Tap | None) -> tuple[Tensor, Tensor]:
        if len(views):
            agnostic, specific = streams(views, tap)
            return agnostic, specific
        frames = 4 if self.recipe.layout == "channels" else 1
        d, cells = self.recipe.feature_width, self.recipe.token_grid**2
        return views.new_zeros(0, frames, d, cells), views.new_zeros(0, d)


def _head(inputs: int, recipe: Recipe) -> nn.Sequential:
    """Return head t of equations 11 to 13: the joined features (N, inputs) to the logits (N, 2) of one task.

    A linear head, as printed, cannot join two specific features in a way that only both together tell; hence "hidden".
    """
    d, dropout = recipe.feature_width, nn.Dropout(recipe.dropout)
    if recipe.head == "linear":
        return nn.Sequential(dropout, nn.Linear(inputs, 2))
    return nn.Sequential(nn.Linear(inputs, d), nn.ReLU(), dropout, nn.Linear(d, 2))


def _of(tap: Callable[[str, str, int, Tensor], Tensor] | None, modality: str) -> Tap | None:
    if tap is None:
        return None
    return lambda branch, stage, activation: tap(modality, branch, stage, activation)


def _spread(values: Tensor, present: Tensor) -> Tensor:
    """Return (M, ...) values at the M places where present is True, 0 elsewhere: (*present.shape, ...)."""
    spread = values.new_zeros(*present.shape, *values.shape[1:])
    spread[present] = values
    return spread


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """Return the mean over axis 1 of (N, view, ..., d), zero at absent places, over the present (N, view, ...) ones."""
    return values.sum(dim=1) / present.sum(dim=1).clamp(min=1)[..., None]


def trend(values: Tensor, present: Tensor) -> Tensor:
    """Return how (N, phase, side, d) rises over the present phases after contrast, (N, side, d).

    It is a sum with weights that rise with the slot, sum to 0 and in size to 1; 0 where fewer than two such phases are there.
    """
    here = present[:, 1:].to(values.dtype)
    slot = torch.arange(here.shape[1], dtype=values.dtype, device=values.device)[:, None]
    weight = here * (slot - (slot * here).sum(dim=1, keepdim=True) / here.sum(dim=1, keepdim=True).clamp(min=1))
    weight = weight / weight.abs().sum(dim=1, keepdim=True).clamp(min=1e-6)
    return (values[:, 1:] * weight[..., None]).sum(dim=1)


def _spread_over(values: Tensor, present: Tensor) -> Tensor:
    """Return the standard deviation of (N, angle, d) over the present angles, (N, d); the same for every order of the angles."""
    away = (values - _mean(values, present)[:, None]) * present[..., None]
    return (away.square().sum(dim=1) / present.sum(dim=1).clamp(min=1)[..., None] + 1e-6).sqrt()


def _normed(norm: MaskedNorm | None, features: Tensor, present: Tensor) -> Tensor:
    if norm is None:
        return features
    normed: Tensor = norm(features[:, :, None], present[:, None])[:, :, 0]
    return normed * present[:, None]
