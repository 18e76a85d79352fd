"""The fast preview: the encoders in bfloat16, where the processor multiplies in it, and only after it has shown to agree.

It is asked for, never chosen by the program; its numbers are for a quick look and enter no report. Convolutions and 1x1 products
are computed in bfloat16, eight bits of mantissa; norms' statistics, fusion and heads stay in float32. Errors of 4e-3 to 1e-2 in a
probability are usual for it (speed.md 5, measured), so agreement is asked to 1e-2 and in every label.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from breastai_model.inference.engines import EngineError, seconds_of
from breastai_model.inference.golden import golden_batch
from breastai_model.prepare import Batch

if TYPE_CHECKING:
    from breastai_model.network.net import BreastNet
    from breastai_model.network.streams import ModalityStreams, Tap

AGREEMENT = 1e-2
"""Largest difference in a probability from float32."""


class Bfloat16Streams(nn.Module):
    """A modality's streams in bfloat16; what goes in and comes out, and what a tap sees, is float32."""

    def __init__(self, streams: ModalityStreams) -> None:
        super().__init__()
        self.streams = copy.deepcopy(streams).to(torch.bfloat16)
        for module in self.streams.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.float()

    def forward(self, views: torch.Tensor, tap: Tap | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `ModalityStreams` returns. A tap may look, but what it returns is not used."""

        def look(branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
            if tap is not None:
                tap(branch, stage, activation.float())
            return activation

        agnostic, specific = self.streams(views.to(torch.bfloat16), look)
        return agnostic.float(), specific.float()


def multiplies_bfloat16() -> bool:
    """Return whether this processor has instructions for it: AMX tiles or AVX-512 BF16. Without them it is slower, not faster."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def with_bfloat16(net: BreastNet, thresholds: tuple[float, ...]) -> tuple[BreastNet, str]:
    """Return a net that shares the fusion and heads of a folded one and has its encoders in bfloat16, and the engine's name.

    Parameters
    ----------
    net
        As `for_inference` returns it, on the CPU.
    thresholds
        Of the probabilities, by task: at each the labels must agree on every self-test input.

    Raises
    ------
    EngineError
        If the processor has no such instructions, an answer or a label differs, or it is not faster than float32.
    """
    if not multiplies_bfloat16():
        raise EngineError("This processor does not multiply in bfloat16: computed in float32.")
    made = copy.copy(net)
    made._modules = dict(net._modules)
    made.mri, made.us = Bfloat16Streams(net.mri), Bfloat16Streams(net.us)  # type: ignore[assignment]
    batches = _self_test(golden_batch(net.recipe, whole=True))
    with torch.inference_mode():
        exact, quick = (torch.cat([each(batch).logits.softmax(dim=2)[..., 1] for batch in batches]) for each in (net, made))
        error = float((exact - quick).abs().max())
        limits = torch.tensor(thresholds)
        if not error <= AGREEMENT or bool(((exact >= limits) != (quick >= limits)).any()):
            raise EngineError(f"The preview in bfloat16 differs by {error:.1e} in a probability or in a label: computed in float32.")
        slow, fast = (seconds_of(lambda each=each: each(batches[0])) for each in (net, made))  # type: ignore[misc]
    if fast >= slow:
        raise EngineError("Bfloat16 is not faster than float32 on this computer: computed in float32.")
    return made, f"torch {torch.__version__}, fast preview"


def _self_test(batch: Batch) -> list[Batch]:
    """Return the golden case, the same darker, mirrored, and with less of it."""
    present = batch.us_present.clone()
    present[:, ::2] = False
    return [
        batch,
        Batch(batch.mri * 0.5, batch.mri_present, batch.us * 0.5, batch.us_present),
        Batch(batch.mri.flip(-1), batch.mri_present, batch.us.flip(-1), batch.us_present),
        Batch(batch.mri, batch.mri_present, batch.us, present),
    ]
