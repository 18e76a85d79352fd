"""Where each stream found something: feature maps and task maps, on the patient's own grid.

One forward pass records the activations after BN-ReLU at stages 1 to 4 of the four streams. Gradients start at stage 2:
nothing before it is differentiated, no gradient of a weight is computed, and the three tasks share that one pass. Only
activations and gradients enter a map, never the image or a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from breastai_model.case import MAP_KINDS, STREAMS, TASKS, Heatmaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from breastai_model.case import Stream
    from breastai_model.inference.stage_means import StageMeans
    from breastai_model.network.net import BreastNet, Output
    from breastai_model.prepare import Batch, Prepared
    from breastai_model.recipe import Recipe

ALL_STAGES = (2, 3, 4)
LAST_STAGE = (4,)
FEATURE_STAGES = (1, 2, 3, 4)
"""Feature maps need no gradient, so with all stages the first is among theirs. For task maps it would double the cost: 4.8
instead of 2.4 forward passes (measured)."""
STAGE_WEIGHTS = {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}
"""How much each stage weighs in a map: the finer the more. Method (iii.4) averages stages 2 to 4 alike. On ten made-up patients
and a network that had learnt little of the MRI, the feature map's energy inside the lesion, over that of its volume, rose from
1.9 to 2.3 (MRI-agnostic), and its pointing from 31 % to 39 % (ultrasound-specific); nowhere did either fall by more than a
tenth (measured)."""
PERCENTILE = 99.5
SAMPLED = 65536


@dataclass(frozen=True, eq=False, slots=True)
class StreamMaps:
    """What was read from one patient's pass, before it is put back into the patient.

    Attributes
    ----------
    mri
        By branch: (kind, breast, slice, row, column), 0 to 1, breasts and columns as in `Prepared.mri`; None without MRI.
    us
        By branch: (kind, present angle, row, column), 0 to 1, by slot; None without ultrasound.
    energy
        By stream: mean square of the activations, over positions, channels and stages.
    """

    mri: dict[str, NDArray[np.float32]] | None
    us: dict[str, NDArray[np.float32]] | None
    energy: dict[Stream, float]


class Recorder:
    """A tap that keeps the activations of some stages; the graph of gradients begins at the first of them.

    Of an earlier stage that only feature maps need the norm over channels is kept, in `norms`.
    """

    def __init__(self, stages: tuple[int, ...] = ALL_STAGES) -> None:
        self.activations: dict[tuple[str, str, int], torch.Tensor] = {}
        self.norms: dict[tuple[str, str, int], torch.Tensor] = {}
        self._stages = stages

    def __call__(self, modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        """Keep an activation and return it."""
        if stage in feature_stages(self._stages) and stage not in self._stages:
            self.norms[modality, branch, stage] = torch.linalg.vector_norm(activation.detach(), dim=1)
        if stage == self._stages[0]:
            activation = activation.detach().requires_grad_()
        if stage in self._stages:
            self.activations[modality, branch, stage] = activation
        return activation


def feature_stages(stages: tuple[int, ...]) -> tuple[int, ...]:
    """Return the stages of a feature map where task maps have these."""
    return FEATURE_STAGES if stages == ALL_STAGES else stages


def read_maps(
    net: BreastNet,
    batch: Batch,
    tell: Callable[[float], None] | None = None,
    stages: tuple[int, ...] = ALL_STAGES,
    means: StageMeans | None = None,
) -> tuple[Output, StreamMaps]:
    """Return the network's output for a batch of one patient, and its maps.

    The gradient is that of the log-odds, logit of the positive minus logit of the negative answer: a logit alone is not
    fixed by its probability.

    Parameters
    ----------
    net
        In eval mode, its weights not requiring gradients.
    batch
        One patient.
    tell
        Called with 0 to 1 as the work goes on.
    stages
        Which are combined.
    means
        A tap that is to see every activation first.
    """
    recorder = Recorder(stages)

    def tap(modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        if means is not None:
            means(modality, branch, stage, activation)
        return recorder(modality, branch, stage, activation)

    with torch.enable_grad():
        output = net(batch, tap)
        if tell is not None:
            tell(0.4)
        odds = output.logits[0, :, 1] - output.logits[0, :, 0]
        keys = list(recorder.activations)
        activations = [recorder.activations[key] for key in keys]
        by_kind = [[activation.detach().square().sum(dim=1) for activation in activations]]
        for task in range(len(TASKS)):
            gradients = torch.autograd.grad(odds[task], activations, retain_graph=task + 1 < len(TASKS), allow_unused=True)
            by_kind.append([_agreement(activation, gradient) for activation, gradient in zip(activations, gradients, strict=True)])
            if tell is not None:
                tell(0.4 + 0.15 * (task + 1))
    raw: dict[tuple[str, str, int], torch.Tensor] = {}
    energy = dict.fromkeys(STREAMS, 0.0)
    for place, key in enumerate(keys):
        square = by_kind[0][place]
        energy[_stream(*key[:2])] += float(square.mean()) / activations[place].shape[1] / len(stages)
        raw[key] = torch.stack([square.sqrt(), *(maps[place] for maps in by_kind[1:])]).float().cpu()
    raw.update({key: norm[None].float().cpu() for key, norm in recorder.norms.items()})
    recorder.activations.clear()
    del activations, by_kind
    return output, StreamMaps(
        mri=_whole_mri(raw, batch, net.recipe, stages) if bool(batch.mri_present.any()) else None,
        us=_whole_us(raw, batch, net.recipe, stages) if bool(batch.us_present.any()) else None,
        energy=energy,
    )


def _stream(modality: str, branch: str) -> Stream:
    return cast("Stream", f"{modality}_{branch}")


def _agreement(activation: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
    """Return ReLU of the sum over channels of gradient x activation, (M, *space)."""
    if gradient is None:
        return torch.zeros_like(activation[:, 0])
    return (gradient * activation.detach()).sum(dim=1).clamp_(min=0)


def _whole_mri(
    raw: dict[tuple[str, str, int], torch.Tensor], batch: Batch, recipe: Recipe, stages: tuple[int, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return by branch the mean over phases, at the input's size, normalised per stage, the stages' weighted mean."""
    present = batch.mri_present[0].cpu()  # (phase, breast)
    if recipe.layout == "channels":
        present = present.any(dim=0, keepdim=True)
    sides = present.any(dim=0)
    made = {}
    for branch in ("agnostic", "specific"):
        total = torch.zeros(len(MAP_KINDS), 2, *recipe.mri_shape)
        for stage in feature_stages(stages):
            maps = raw["mri", branch, stage]
            spread = maps.new_zeros(maps.shape[0], *present.shape, *maps.shape[2:])
            spread[:, present] = maps
            counts = present.sum(dim=0).clamp(min=1).reshape(1, 2, 1, 1, 1)
            mean = (spread.sum(dim=1) / counts)[:, sides]
            strides = (recipe.pool_depth_stride * 2 ** (stage - 1), 2 ** (stage + 1), 2 ** (stage + 1))
            total[: len(maps), sides] += STAGE_WEIGHTS[stage] * normalised(enlarged(mean, recipe.mri_shape, strides))
        made[branch] = (total / _weight_sums(stages).reshape(-1, 1, 1, 1, 1)).numpy()
    return made


def _whole_us(
    raw: dict[tuple[str, str, int], torch.Tensor], batch: Batch, recipe: Recipe, stages: tuple[int, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return by branch the maps of each present angle at the input's size, the stages' weighted mean."""
    made = {}
    for branch in ("agnostic", "specific"):
        total = torch.zeros(len(MAP_KINDS), int(batch.us_present.sum()), *recipe.us_shape)
        for stage in feature_stages(stages):
            maps = raw["us", branch, stage]
            if recipe.layout == "channels":  # one map for all angles, which entered together
                maps = maps.expand(-1, total.shape[1], -1, -1)
            large = enlarged(maps, recipe.us_shape, (2 ** (stage + 1), 2 ** (stage + 1)))
            total[: len(maps)] += STAGE_WEIGHTS[stage] * normalised(large)
        made[branch] = (total / _weight_sums(stages).reshape(-1, 1, 1, 1)).numpy()
    return made


def _weight_sums(stages: tuple[int, ...]) -> torch.Tensor:
    """Return for each kind of map the sum of its stages' weights."""
    feature, task = (sum(STAGE_WEIGHTS[stage] for stage in chosen) for chosen in (feature_stages(stages), stages))
    return torch.tensor([feature] + [task] * len(TASKS))


def enlarged(maps: torch.Tensor, shape: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    """Return (..., *small) maps at the input's size, straight lines between the cells.

    Every convolution and pool has an odd kernel and half of it as padding, so cell i looks at the input around index
    i x stride: there it is put. The usual enlarging by pixel edges would shift a stage-4 map by half a stride, 15.5 pixels.
    """
    dims = len(shape)
    for place, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        axis = maps.ndim - dims + place
        cells = maps.shape[axis]
        position = (torch.arange(size) / stride).clamp(max=cells - 1)
        weights = (1 - (position[:, None] - torch.arange(cells)).abs()).clamp(min=0)
        maps = torch.movedim(torch.movedim(maps, axis, -1) @ weights.T, -1, axis)
    return maps


def normalised(maps: torch.Tensor) -> torch.Tensor:
    """Return each kind of (kind, ...) divided by its 99.5th percentile (its maximum where that is 0), at most 1.

    Of large maps the percentile is that of every n-th value, n odd, some `SAMPLED` of them: sorting out all would take a
    sixth of a forward pass (measured).
    """
    flat = maps.reshape(len(maps), -1)
    sample = flat[:, :: flat.shape[1] // SAMPLED | 1]
    place = min(int(sample.shape[1] * PERCENTILE / 100), sample.shape[1] - 1)
    high = torch.from_numpy(np.partition(sample.numpy(), place, axis=1)[:, place].copy())
    high = torch.where(high > 0, high, flat.amax(dim=1))
    shape = (-1, *(1,) * (maps.ndim - 1))
    return (maps / torch.where(high > 0, high, 1.0).reshape(shape)).clamp_(max=1)


def put_back(prepared: Prepared, maps: StreamMaps) -> Heatmaps:
    """Return the maps in the patient: both breasts unmirrored in one grid, one map per ultrasound image of the case."""
    mri = {branch: _both_breasts(prepared, values) for branch, values in (maps.mri or {}).items()}
    order = np.searchsorted(np.sort(prepared.us_slots), prepared.us_slots)
    us = {branch: values[:, order].astype(np.float16) for branch, values in (maps.us or {}).items()}
    total = sum(maps.energy.values())
    return Heatmaps(
        mri_agnostic=mri.get("agnostic"),
        mri_specific=mri.get("specific"),
        mri_affine=prepared.mri_affine if mri else None,
        us_agnostic=us.get("agnostic"),
        us_specific=us.get("specific"),
        us_boxes=prepared.us_boxes,
        energy_share={stream: value / total if total > 0 else 0.0 for stream, value in maps.energy.items()},
    )


def _both_breasts(prepared: Prepared, values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return (kind, breast, slice, row, column) as (kind, slice, row, column) with columns towards the patient's left."""
    left, right = (values[:, prepared.sides.index(side)] for side in ("left", "right"))
    return np.concatenate([right[..., ::-1], left], axis=-1).astype(np.float16)


def averaged(first: StreamMaps, second: StreamMaps) -> StreamMaps:
    """Return the mean of the maps of two passes, the second over the breasts in the other order."""
    mri = first.mri
    if first.mri is not None and second.mri is not None:
        mri = {branch: _mean(values, second.mri[branch][:, ::-1]) for branch, values in first.mri.items()}
    us = first.us
    if first.us is not None and second.us is not None:
        us = {branch: _mean(values, second.us[branch]) for branch, values in first.us.items()}
    return StreamMaps(mri, us, {stream: (first.energy[stream] + second.energy[stream]) / 2 for stream in STREAMS})


def _mean(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = np.multiply(first + second, np.float32(0.5))
    return mean
