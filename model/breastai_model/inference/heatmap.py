"""Where each stream found something: feature maps and task maps, on the patient's own grid.

One forward pass records the activations after BN-ReLU at stages 1 to 4 of the four streams. Gradients start at stage 2:
nothing before it is differentiated, no gradient of a weight is computed, and the three tasks share that one pass. Only
activations and gradients enter a map, never the image or a mask. Of an activation two things are left out: the same network's
answer to a picture without content (see `uniform`), so that the edges of the images, where padding begins, do not outshine the
rest; and what is common in its own channel (`SALIENT`), for a channel that answers to all tissue points at nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from breastai_model.case import STREAMS, Heatmaps, PhaseHeatmaps
from breastai_model.inference.stage_means import BRANCHES
from breastai_model.inference.uniform import uniform_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from breastai_model.case import Stream
    from breastai_model.inference.stage_means import StageMeans
    from breastai_model.inference.uniform import UniformResponse
    from breastai_model.network.net import BreastNet, Output
    from breastai_model.prepare import Batch, Prepared
    from breastai_model.recipe import Recipe

ALL_STAGES = (2, 3, 4)
LAST_STAGE = (4,)
FEATURE_STAGES = (1, 2, 3, 4)
"""Feature maps need no gradient, so with all stages the first is among theirs. For task maps it would double the cost: 4.8
instead of 2.4 forward passes (measured)."""
SALIENT = 4.0
"""Standard deviations above its own mean over the study from which on a channel's activation counts; of few cells a third of the most
that one of them can have, sqrt(n - 1).

With this and the geometric mean below, against whatever lies above the uniform pictures' answer and the weighted mean (4, 3, 2, 1) of
the stages, on 24 made-up patients of the calibration cohort and the bundled weights 0.2: the maximum of the ultrasound-agnostic maps
(features, three tasks) lay in the lesion in 85, 92, 94 and 91 % instead of 81, 81, 82 and 85 %, the lesion's share of the feature
map's energy was 42 instead of 16 %; MRI-agnostic 67, 54, 56, 58 instead of 42, 54, 54, 50 % (measured). Method (iii.4) averages
stages 2 to 4 alike."""
FLOOR = 0.02
"""Added to each stage before the geometric mean: a stage that is silent at a place dampens it, but does not blot it out."""
ROUNDING = 1e-6
"""Less than this above the floor is what logarithm and exponential leave of nothing."""
PERCENTILE = 99.5
SAMPLED = 16384


@dataclass(frozen=True, eq=False, slots=True)
class StreamMaps:
    """What was read from one patient's pass, before it is put back into the patient.

    Attributes
    ----------
    mri
        By branch: (kind, breast, slice, row, column), 0 to 1, breasts and columns as in `Prepared.mri`; None without MRI.
        Of single phases: (kind, present phase, breast, slice, row, column), by slot.
    us
        By branch: (kind, present angle, row, column), 0 to 1, by slot; None without ultrasound, and beside maps of single phases.
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

    def __init__(self, uniform: UniformResponse, stages: tuple[int, ...] = ALL_STAGES) -> None:
        self.uniform = uniform
        self.activations: dict[tuple[str, str, int], torch.Tensor] = {}
        self.norms: dict[tuple[str, str, int], torch.Tensor] = {}
        self._stages = stages

    def __call__(self, modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        """Keep an activation and return it."""
        if stage in feature_stages(self._stages) and stage not in self._stages:
            self.norms[modality, branch, stage] = torch.linalg.vector_norm(self.above((modality, branch, stage), activation), dim=1)
        if stage == self._stages[0]:
            activation = activation.detach().requires_grad_()
        if stage in self._stages:
            self.activations[modality, branch, stage] = activation
        return activation

    def above(self, key: tuple[str, str, int], activation: torch.Tensor) -> torch.Tensor:
        """Return ReLU of the activation (M, C, *space) minus the larger of uniform pictures' and of `SALIENT` for its channel."""
        seen = activation.detach()
        others = (0, *range(2, seen.ndim))
        spread, mean = torch.std_mean(seen, dim=others, keepdim=True, correction=0)
        most = math.sqrt(max(seen.numel() // seen.shape[1] - 1, 0))
        return (seen - torch.maximum(self.uniform[key], mean + min(SALIENT, most / 3) * spread)).clamp_(min=0)


def feature_stages(stages: tuple[int, ...]) -> tuple[int, ...]:
    """Return the stages of a feature map where task maps have these."""
    return FEATURE_STAGES if stages == ALL_STAGES else stages


def read_maps(
    net: BreastNet,
    batch: Batch,
    tell: Callable[[float], None] | None = None,
    stages: tuple[int, ...] = ALL_STAGES,
    means: StageMeans | None = None,
    uniform: UniformResponse | None = None,
    *,
    by_phase: bool = False,
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
    uniform
        The network's `uniform_response`; computed where it is None.
    by_phase
        Whether the MRI's maps are those of each phase, all on one scale, instead of their mean (method iii.4); those of the
        ultrasound are then left out. Of the layout `sequence` alone: in `channels` the phases enter together.
    """
    recorder = Recorder(uniform_response(net) if uniform is None else uniform, stages)

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
        above = [recorder.above(key, activation) for key, activation in recorder.activations.items()]
        by_kind = [[torch.linalg.vector_norm(each, dim=1) for each in above]]
        for task, gradients in enumerate(_gradients(odds, activations, together=stages == LAST_STAGE)):
            by_kind.append([_agreement(each, gradient) for each, gradient in zip(above, gradients, strict=True)])
            if tell is not None:
                tell(0.4 + 0.15 * (task + 1))
    raw: dict[tuple[str, str, int], torch.Tensor] = {}
    energy = dict.fromkeys(STREAMS, 0.0)
    for place, key in enumerate(keys):
        energy[_stream(*key[:2])] += float(activations[place].detach().square().mean()) / len(stages)
        raw[key] = torch.stack([maps[place] for maps in by_kind]).float().cpu()
    raw.update({key: norm[None].float().cpu() for key, norm in recorder.norms.items()})
    recorder.activations.clear()
    del activations, above, by_kind
    return output, StreamMaps(
        mri=_whole_mri(raw, batch, net.recipe, stages, by_phase=by_phase) if bool(batch.mri_present.any()) else None,
        us=_whole_us(raw, batch, net.recipe, stages) if bool(batch.us_present.any()) and not by_phase else None,
        energy=energy,
    )


def _gradients(odds: torch.Tensor, activations: list[torch.Tensor], *, together: bool) -> Iterator[tuple[torch.Tensor | None, ...]]:
    """Yield for each task the gradients of its log-odds; `together` in one vectorised pass, which holds all of them at once."""
    if together:
        whole = torch.autograd.grad(odds, activations, torch.eye(len(odds), device=odds.device), is_grads_batched=True, allow_unused=True)
        yield from (tuple(None if part is None else part[task] for part in whole) for task in range(len(odds)))
        return
    for task in range(len(odds)):
        yield torch.autograd.grad(odds[task], activations, retain_graph=task + 1 < len(odds), allow_unused=True)


def _stream(modality: str, branch: str) -> Stream:
    return cast("Stream", f"{modality}_{branch}")


def _agreement(above: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
    """Return ReLU of the sum over channels of gradient x activation above the uniform one, (M, *space)."""
    if gradient is None:
        return torch.zeros_like(above[:, 0])
    return (gradient * above).sum(dim=1).clamp_(min=0)


def _whole_mri(
    raw: dict[tuple[str, str, int], torch.Tensor], batch: Batch, recipe: Recipe, stages: tuple[int, ...], *, by_phase: bool
) -> dict[str, NDArray[np.float32]]:
    """Return by branch the mean over phases, or each phase, at the input's size, normalised per stage, the stages combined."""
    present = batch.mri_present[0].cpu()  # (phase, breast)
    if recipe.layout == "channels":
        present = present.any(dim=0, keepdim=True)
    sides = present.any(dim=0)
    counts = present.sum(dim=0).clamp(min=1).reshape(1, 2, 1, 1, 1)
    made = {}
    for branch in BRANCHES:
        large = {}
        for stage in feature_stages(stages):
            maps = raw["mri", branch, stage]
            spread = maps.new_zeros(maps.shape[0], *present.shape, *maps.shape[2:])
            spread[:, present] = maps
            shown = spread[:, present.any(dim=1)] if by_phase else spread.sum(dim=1) / counts
            strides = (recipe.pool_depth_stride * 2 ** (stage - 1), 2 ** (stage + 1), 2 ** (stage + 1))
            large[stage] = normalised(enlarged(shown[..., sides, :, :, :], recipe.mri_shape, strides))
        whole = _combined(large)
        if not bool(sides.all()):
            both = np.zeros((*whole.shape[:-4], 2, *recipe.mri_shape), dtype=np.float32)
            both[..., sides.numpy(), :, :, :] = whole
            whole = both
        made[branch] = whole
    return made


def _whole_us(
    raw: dict[tuple[str, str, int], torch.Tensor], batch: Batch, recipe: Recipe, stages: tuple[int, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return by branch the maps of each present angle at the input's size, the stages combined."""
    made = {}
    for branch in BRANCHES:
        large = {}
        for stage in feature_stages(stages):
            maps = raw["us", branch, stage]
            if recipe.layout == "channels":  # one map for all angles, which entered together
                maps = maps.expand(-1, int(batch.us_present.sum()), -1, -1)
            large[stage] = normalised(enlarged(maps, recipe.us_shape, (2 ** (stage + 1), 2 ** (stage + 1))))
        made[branch] = _combined(large)
    return made


def _combined(large: dict[int, torch.Tensor]) -> NDArray[np.float32]:
    """Return the stages' geometric mean m of (kind, ...) maps, normalised, as m / (1 + m).

    That is 0 to 1, half at the 99.5th percentile, and no two places alike that were not.
    A stage with the first kind alone counts for that one. Overwrites the maps.
    """
    stages = sorted(large, key=lambda stage: -len(large[stage]))
    total = large[stages[0]].add_(FLOOR).log_()
    counts = torch.ones(len(total))
    for stage in stages[1:]:
        kinds = len(large[stage])
        total[:kinds].add_(large[stage].add_(FLOOR).log_())
        counts[:kinds] += 1
    mean = total.div_(counts.reshape(-1, *(1,) * (total.ndim - 1))).exp_().sub_(FLOOR)
    mean = normalised(mean.mul_(mean > ROUNDING))
    whole: NDArray[np.float32] = mean.div_(mean + 1).numpy()
    return whole


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
    """Return each kind of (kind, ...) divided, in place, by its 99.5th percentile (its maximum where that is 0).

    It is not cut there: a lesion of a few cubic centimetres fills less than the top 0.5 % of two breasts, so that its own maximum
    would be one of a thousand equal ones.

    Of large maps the percentile is that of every n-th value, n odd, some `SAMPLED` of them: sorting out all would take a
    sixth of a forward pass (measured).
    """
    flat = maps.reshape(len(maps), -1)
    sample = flat[:, :: flat.shape[1] // SAMPLED | 1]
    above = sample.shape[1] - min(int(sample.shape[1] * PERCENTILE / 100), sample.shape[1] - 1)
    high = sample.topk(above, dim=1).values[:, -1]  # thirty times quicker than partitioning the sample (measured)
    high = torch.where(high > 0, high, flat.amax(dim=1))
    return maps.div_(torch.where(high > 0, high, 1.0).reshape(-1, *(1,) * (maps.ndim - 1)))


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


def put_back_phases(prepared: Prepared, maps: StreamMaps) -> PhaseHeatmaps | None:
    """Return the maps of single phases in the patient; None without MRI."""
    if maps.mri is None or prepared.mri_affine is None:
        return None
    agnostic, specific = (_both_breasts(prepared, maps.mri[branch]) for branch in BRANCHES)
    return PhaseHeatmaps(prepared.inputs.phases, agnostic, specific, prepared.mri_affine)


def _both_breasts(prepared: Prepared, values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return (..., breast, slice, row, column) as (..., slice, row, column) with columns towards the patient's left."""
    left, right = (values[..., prepared.sides.index(side), :, :, :] for side in ("left", "right"))
    return np.concatenate([right[..., ::-1], left], axis=-1).astype(np.float16)


def averaged(first: StreamMaps, second: StreamMaps) -> StreamMaps:
    """Return the mean of the maps of two passes, the second over the breasts in the other order."""
    mri = first.mri
    if first.mri is not None and second.mri is not None:
        mri = {branch: _mean(values, second.mri[branch][..., ::-1, :, :, :]) for branch, values in first.mri.items()}
    us = first.us
    if first.us is not None and second.us is not None:
        us = {branch: _mean(values, second.us[branch]) for branch, values in first.us.items()}
    return StreamMaps(mri, us, {stream: (first.energy[stream] + second.energy[stream]) / 2 for stream in STREAMS})


def _mean(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = np.multiply(first + second, np.float32(0.5))
    return mean
