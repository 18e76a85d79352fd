"""What computes the encoders: torch, with norms folded and channels last; or OpenVINO in float32, where it is installed.

OpenVINO computes no gradients, and combined heatmaps need those of stages 2 to 4, so it is for answers without maps or with
last-stage maps. Building its graph takes seconds, a prediction of the bundled model's size saves tenths of one: it is for many
patients in one process, and used only on request, after a self-test for agreement and for speed.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from breastai_model.inference.golden import golden_batch
from breastai_model.inference.stage_means import BRANCHES
from breastai_model.inference.stage_means import STAGES as MEAN_STAGES
from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.resnet_v2 import Bottleneck

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_model.network.net import BreastNet
    from breastai_model.network.streams import ModalityStreams, Tap

AGREEMENT = 1e-4
"""Largest difference in a probability between CPU engines."""


class EngineError(RuntimeError):
    """An engine cannot be used here; the text is one sentence."""


def fold_norms(net: BreastNet) -> BreastNet:
    """Return the net with every batch norm that follows a convolution folded into it; for inference only.

    In a pre-activation bottleneck these are the second and the third. The sums stay the same up to rounding (1e-6).
    """
    for block in net.modules():
        if isinstance(block, Bottleneck):
            for conv, norm in (("conv1", "norm2"), ("conv2", "norm3")):
                follows = getattr(block, norm)
                if isinstance(follows, nn.BatchNorm2d | nn.BatchNorm3d):
                    setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), follows))
                    setattr(block, norm, nn.Identity())
    for block in net.mmaff.modules():
        for conv, norm in _FOLDED:
            first, follows = getattr(block, conv, None), getattr(block, norm, None)
            if isinstance(follows, MaskedNorm):
                known = _KnownNorm(follows)
                setattr(block, norm, known if first is None else _Folded())
                if first is not None:
                    setattr(block, conv, known.folded_into(first))
    return net.requires_grad_(requires_grad=False)


_FOLDED = (
    ("down", "down_norm"),
    ("residual", "residual_norm"),
    ("local_in", "local_norm1"),
    ("local_out", "local_norm2"),
    ("reduce", "norm1"),
    ("conv", "norm2"),
    ("plain", "plain_norm"),
    ("", "norm"),
)
"""Inside MMAFF: convolutions and the masked norms that follow them. A pool is followed by one too, and the graph's messages are."""


class _KnownNorm(nn.Module):
    """A `MaskedNorm` in eval mode, which is one factor and one shift a channel: (N, C, L) to (N, C, L)."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, norm: MaskedNorm) -> None:
        super().__init__()
        with torch.no_grad():
            scale = torch.rsqrt(norm.running_var + norm.eps) * (1.0 if norm.weight is None else norm.weight)
            shift = -norm.running_mean * scale + (0.0 if norm.bias is None else norm.bias)
        self.register_buffer("scale", scale[:, None])
        self.register_buffer("shift", shift[:, None])

    def forward(self, x: torch.Tensor, _present: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, x, self.scale)

    def folded_into(self, conv: nn.Conv1d | nn.Conv2d) -> nn.Conv1d | nn.Conv2d:
        """Return the convolution with the norm in its weights."""
        with torch.no_grad():
            conv.weight.mul_(self.scale.reshape(-1, *(1,) * (conv.weight.ndim - 1)))
            if conv.bias is None:
                raise ValueError("A convolution before a masked norm has a bias.")
            conv.bias.mul_(self.scale[:, 0]).add_(self.shift[:, 0])
        return conv


class _Folded(nn.Module):
    """Stands where a masked norm was that is now part of the convolution before it."""

    def forward(self, x: torch.Tensor, _present: torch.Tensor) -> torch.Tensor:
        return x


class _Product(nn.Module):
    """A 1x1 convolution over tokens as one matrix product, (N, C, L) to (N, out, L): the general one is several times slower."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach()[:, :, 0], requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias[:, None], self.weight.expand(len(x), -1, -1), x)


class Pointwise(nn.Module):
    """A 1x1 convolution as one matrix product over channels that lie last: no copy in, none out.

    Parameters
    ----------
    conv
        Its kernel is 1 in every direction; the stride may be any.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach(), requires_grad=False)
        self.stride = conv.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (M, out, *space / stride), channels last in memory."""
        if max(self.stride) > 1:
            for axis, step in enumerate(self.stride, start=2):
                x = x.movedim(axis, 0)[::step].movedim(0, axis)
        return F.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)

    def as_convolution(self) -> nn.Module:
        """Return the convolution that it stands for; a graph compiler knows better what to do with one."""
        kind = nn.Conv2d if len(self.stride) == 2 else nn.Conv3d
        conv = kind(self.weight.shape[1], self.weight.shape[0], 1, stride=self.stride, bias=self.bias is not None)  # type: ignore[arg-type]
        conv.weight = nn.Parameter(self.weight.reshape(*self.weight.shape, *(1,) * len(self.stride)), requires_grad=False)
        conv.bias = self.bias
        return conv


def _with_convolutions(module: nn.Module) -> None:
    """Undo `_with_pointwise`."""
    for name, child in module.named_children():
        if isinstance(child, Pointwise):
            setattr(module, name, child.as_convolution())
        else:
            _with_convolutions(child)


def _with_pointwise(module: nn.Module) -> None:
    """Put a `Pointwise` in the place of every 1x1 convolution inside a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d | nn.Conv3d) and set(child.kernel_size) == {1}:
            setattr(module, name, Pointwise(child))
        elif isinstance(child, nn.Conv1d) and child.kernel_size == (1,) and child.groups == 1:
            setattr(module, name, _Product(child))
        else:
            _with_pointwise(child)


def for_inference(net: BreastNet) -> BreastNet:
    """Return the net folded, its encoders' weights with channels last and their 1x1 convolutions as matrix products."""
    net = fold_norms(net)
    for part in (net.mri, net.us, net.mmaff):
        _with_pointwise(part)
    net.mri.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    net.us.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def silent_openvino() -> Any:
    """Return the module `openvino`, with its reports to its maker off.

    Imported as it is, it tells an address on the internet that it was, and each conversion with which model and which result, unless
    a file in the person's home forbids it; it writes a number for that person there. Where its package for this is missing it does
    without, by a class of its own that does nothing: so that package is made to be missing.

    Raises
    ------
    EngineError
        If something else loaded the package that reports first.
    """
    if sys.modules.setdefault(_REPORTS, None) is not None:  # type: ignore[arg-type]
        raise EngineError("OpenVINO was loaded with its reports to its maker on: computed by torch.")
    import openvino

    return openvino


_REPORTS = "openvino_telemetry"


class _Trunk(nn.Module):
    """The convolutions of one modality, as a graph: for each branch the last activation and the mean of every channel before.

    (M, inputs, *space) to, for each branch, (M, 32w, *space / 32) and (M, 28w): stages 1 to 3, means over places.
    """

    def __init__(self, streams: ModalityStreams) -> None:
        super().__init__()
        self.streams = streams

    def forward(self, views: torch.Tensor) -> tuple[torch.Tensor, ...]:
        trunk = self.streams.stage1(self.streams.stem(views))
        found: list[torch.Tensor] = []
        for branch in (self.streams.agnostic, self.streams.specific):
            activations = branch(trunk, lambda _, activation: activation)
            found.append(activations[-1])
            found.append(torch.cat([activations[stage - 1].flatten(2).mean(dim=2) for stage in MEAN_STAGES], dim=1))
        return tuple(found)


class OpenVinoStreams(nn.Module):
    """A modality's streams with the convolutions computed by OpenVINO; the rest, and gradients from stage 4 on, are torch's.

    Taps see stage 4 as it is; at the stages before only the mean of every channel over the places, as (M, C, 1).

    Parameters
    ----------
    streams
        Folded, on the CPU, layout "sequence".
    shape
        (M, inputs, *space) of a whole exam: M may differ later.
    threads
        How many OpenVINO may use.
    """

    def __init__(self, streams: ModalityStreams, shape: tuple[int, ...], threads: int) -> None:
        super().__init__()
        openvino = silent_openvino()
        self.agnostic_reduce, self.specific_reduce, self.pool = streams.agnostic_reduce, streams.specific_reduce, streams.pool
        norms = [streams.agnostic.stages, streams.specific.stages]
        self._widths = [[stages[stage - 1].blocks[0].norm1.num_features for stage in MEAN_STAGES] for stages in norms]  # type: ignore[union-attr, index]
        plain = copy.deepcopy(streams).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        _with_convolutions(plain)
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the tracer, on what it takes for constants
            graph = openvino.convert_model(_Trunk(plain), example_input=torch.zeros(shape), input=[openvino.PartialShape([-1, *shape[1:]])])
        # Its own choice would be bfloat16 where the processor has it (1e-2 in a probability), silently.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        self._compiled: Any = openvino.Core().compile_model(graph, "CPU", settings)

    def forward(self, views: torch.Tensor, tap: Tap | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `ModalityStreams` returns."""
        found = self._compiled([views.contiguous().numpy()])
        last: list[torch.Tensor] = []
        for number, branch in enumerate(BRANCHES):
            activation, means = (torch.from_numpy(found[2 * number + part].copy()) for part in (0, 1))
            if tap is not None:
                for stage, part in zip(MEAN_STAGES, torch.split(means, self._widths[number], dim=1), strict=True):
                    tap(branch, stage, part[..., None])
                activation = tap(branch, 4, activation)
            last.append(activation)
        tokens = self.agnostic_reduce[0](self.pool(last[0])).flatten(2)[:, None]
        mean = last[1].mean(dim=tuple(range(2, last[1].ndim)), keepdim=True)
        return tokens, self.specific_reduce(mean).flatten(1)


def with_openvino(net: BreastNet, threads: int) -> tuple[BreastNet, str]:
    """Return a net that shares the weights of a folded one and computes its encoders by OpenVINO, and the engine's name.

    Raises
    ------
    EngineError
        If OpenVINO is not installed, the layout has no such engine, its answer differs or it is not faster than torch.
    """
    if importlib.util.find_spec("openvino") is None:
        raise EngineError("OpenVINO is not installed: computed by torch.")
    if net.recipe.layout != "sequence":
        raise EngineError("The OpenVINO engine is for the layout sequence only: computed by torch.")
    openvino = silent_openvino()
    recipe = net.recipe
    made = copy.copy(net)
    made._modules = dict(net._modules)
    try:
        made.mri = OpenVinoStreams(net.mri, (2 * recipe.phases, 2 if recipe.subtraction else 1, *recipe.mri_shape), threads)  # type: ignore[assignment]
        made.us = OpenVinoStreams(net.us, (recipe.angles, 1, *recipe.us_shape), threads)  # type: ignore[assignment]
        batch = golden_batch(recipe, whole=True)
        with torch.inference_mode():
            ours, theirs = (each(batch).logits.softmax(dim=2) for each in (net, made))
            error = float((ours - theirs).abs().max())
            torch_seconds, seconds = (seconds_of(lambda each=each: each(batch)) for each in (net, made))  # type: ignore[misc]
    except RuntimeError as failure:
        first = (str(failure).strip().splitlines() or ["no reason given"])[0][:120].rstrip(".")
        raise EngineError(f"OpenVINO failed ({first}): computed by torch.") from failure
    if not error <= AGREEMENT:
        raise EngineError(f"OpenVINO's answer differs by {error:.1e} in a probability: computed by torch.")
    if seconds >= torch_seconds:
        raise EngineError("OpenVINO is not faster than torch on this computer: computed by torch.")
    version = openvino.__version__.split("-")[0]
    return made, f"OpenVINO {version}, float32, {threads} thread{'s' if threads > 1 else ''}"


def seconds_of(work: Callable[[], object]) -> float:
    """Return the faster of two timings."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
