"""Batch normalisation whose statistics see present positions only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedNorm(nn.Module):
    """Batch normalisation over the present positions of (N, C, L).

    Torch's own would let the zeros of absent phases and angles into mean and variance. Parameters and buffers are those
    of `torch.nn.BatchNorm1d`, without its counter. A single present position in a training batch has no variance: it is
    normalised by the running statistics, which then take it in (West, "Updating mean and variance estimates", 1979, with
    exponential weights), so that patients who pass one at a time are normalised all the same.

    Parameters
    ----------
    channels
        C.
    affine
        Whether scale and shift are learnt.
    first_weight
        The scale before training; 1e-6 lets a block start as the identity.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, affine: bool = True, first_weight: float = 1.0, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), first_weight)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum = momentum
        self.eps = eps

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the normalised values; what stands at absent positions is the caller's to zero.

        Parameters
        ----------
        x
            (N, C, L).
        present
            (N, L) bool.
        """
        mean, variance = self.running_mean, self.running_var
        count = present.sum() if self.training else 0
        if count > 1:
            wide = x.to(torch.promote_types(x.dtype, torch.float32))  # under autocast x may be half as wide
            mask = present[:, None].to(wide.dtype)
            mean = (wide * mask).sum(dim=(0, 2)) / count
            variance = ((wide - mean[:, None]).square() * mask).sum(dim=(0, 2)) / count
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        if count == 1:
            self._take_in(x, present)
        return x * scale[:, None] + shift[:, None]

    def _take_in(self, x: Tensor, present: Tensor) -> None:
        """Move the running statistics towards one position."""
        with torch.no_grad():
            away = (x.transpose(1, 2)[present][0] - self.running_mean).to(self.running_mean.dtype)
            self.running_mean.add_(self.momentum * away)
            self.running_var.add_(self.momentum * away.square()).mul_(1 - self.momentum)
