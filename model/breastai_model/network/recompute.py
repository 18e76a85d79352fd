"""Activation checkpointing: the inside of a block is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn


def recomputed(block: nn.Module, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return function(*inputs), keeping nothing of it for the backward pass but its inputs.

    Parameters
    ----------
    block
        Holds the weights and batch norms that the function uses; it draws no random numbers. The batch norms' running statistics
        learn from the first pass only.
    """
    result: Tensor = checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _statistics_fixed(block)),
    )
    return result


@contextmanager
def _statistics_fixed(block: nn.Module) -> Iterator[None]:
    """Normalise with the batch's own statistics, as in training, without the running ones learning from them again."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted
