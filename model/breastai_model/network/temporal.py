"""TA, the four temporal branches of TAFF (equation 7), and how the ends of a time axis are continued."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.tokens import mirrored

if TYPE_CHECKING:
    from breastai_model.recipe import Recipe


def kernel_and_dilation(channels: int) -> tuple[int, int]:
    """Return ks and dr of a width: t = |log2 C + 1| / 2, ks = floor(t) made odd, dr = ceil(t / 2) (equation 7)."""
    t = abs(math.log2(channels) + 1) / 2
    size = math.floor(t)
    return size + 1 - size % 2, math.ceil(t / 2)


def continued(frames: int, nodes: list[int], pad: int, *, wraps: bool) -> Tensor:
    """Return where the tokens of a padded time axis are taken from.

    Parameters
    ----------
    frames, nodes
        T; for each node the node that is its mirror image.
    pad
        Frames added at each end.
    wraps
        True on the angle axis, where 180 degrees is the mirror image of 0: circular, columns mirrored at each wrap. False
        on the phase axis: the end frames are repeated.

    Returns
    -------
    (T + 2 pad) * V indices into the flat (T, V).
    """
    index = []
    for frame in range(-pad, frames + pad):
        turns, place = divmod(frame, frames) if wraps else (0, min(max(frame, 0), frames - 1))
        index += [place * len(nodes) + (nodes[node] if turns % 2 else node) for node in range(len(nodes))]
    return torch.tensor(index, device="cpu")  # a plan, not a weight: it exists also in a network built on "meta"


class _TemporalBranch(nn.Module):
    """1x1 C to C/4, BN, ReLU, then a temporal convolution or a max-pool over the continued time axis, then BN."""

    index: Tensor

    def __init__(
        self, channels: int, frames: int, mirror: list[int], size: int, dilation: int, stride: int, *, wraps: bool, pool: bool
    ) -> None:
        super().__init__()
        quarter = channels // 4
        self.reduce = nn.Conv1d(channels, quarter, 1)
        self.norm1 = MaskedNorm(quarter)
        self.pad = dilation * (size // 2)
        self.nodes = len(mirror)
        self.register_buffer("index", continued(frames, mirror, self.pad, wraps=wraps), persistent=False)
        self.conv = None if pool else nn.Conv2d(quarter, quarter, (size, 1), stride=(stride, 1), dilation=(dilation, 1))
        self.size, self.stride = size, stride
        self.norm2 = MaskedNorm(quarter)

    def forward(self, x: Tensor, present: Tensor, present_after: Tensor) -> Tensor:
        """Return (N, C/4, T', V) for x (N, C, T, V) with its presence before and after the stride."""
        y = F.relu(self.norm1(self.reduce(x.flatten(2)), present.flatten(1)))
        y = _filled(y.reshape(*y.shape[:2], *x.shape[2:]), present)
        y = y.flatten(2)[:, :, self.index].reshape(*y.shape[:2], -1, self.nodes)
        y = F.max_pool2d(y, (self.size, 1), stride=(self.stride, 1)) if self.conv is None else self.conv(y)
        return torch.reshape(self.norm2(y.flatten(2), present_after.flatten(1)), y.shape)


def _filled(y: Tensor, present: Tensor) -> Tensor:
    """Return (N, C, T, V) with absent frames replaced by the mean of the node's present ones (0 if it has none)."""
    mask = present[:, None].to(y.dtype)
    mean = (y * mask).sum(dim=2, keepdim=True) / mask.sum(dim=2, keepdim=True).clamp(min=1)
    return y * mask + mean * (1 - mask)


class TemporalAttention(nn.Module):
    """TA of one modality: four branches of C/4 channels each, concatenated.

    (a) temporal convolution ks x 1; (b) the same with dilation dr; (c) max-pool 3 x 1; (d) a plain 1x1 convolution with
    BN. Phases are continued by repetition, angles by the mirror image at the wrap. (N, C, T, V) to (N, C, T', V).

    Source: the kernel's length ks is equation 7 of the published design; branches (c) and (d) as in CTR-GCN's temporal
    unit (Chen et al., ICCV 2021).
    """

    def __init__(self, channels: int, frames: int, images: int, stride: int, recipe: Recipe, *, wraps: bool) -> None:
        super().__init__()
        size, dilation = kernel_and_dilation(channels)
        cells = recipe.token_grid**2
        mirror = [image * cells + cell for image in range(images) for cell in mirrored(recipe.token_grid)]
        self.near = _TemporalBranch(channels, frames, mirror, size, 1, stride, wraps=wraps, pool=False)
        self.far = _TemporalBranch(channels, frames, mirror, size, dilation, stride, wraps=wraps, pool=False)
        self.most = _TemporalBranch(channels, frames, mirror, 3, 1, stride, wraps=wraps, pool=True)
        self.plain = nn.Conv1d(channels, channels // 4, 1)
        self.plain_norm = MaskedNorm(channels // 4)
        self.stride = stride

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the branches' outputs; x (N, C, T, V), present (N, T, V)."""
        after = present[:, :: self.stride]
        kept = x[:, :, :: self.stride]
        plain = self.plain_norm(self.plain(kept.flatten(2)), after.flatten(1))
        plain = plain.reshape(*plain.shape[:2], *kept.shape[2:])
        return torch.cat([self.near(x, present, after), self.far(x, present, after), self.most(x, present, after), plain], dim=1)
