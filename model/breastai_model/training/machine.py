"""The device, the precision and the processes of a run, by Lightning Fabric.

Several processes (torchrun, SLURM) each learn from their own share of a batch and add their gradients up. The losses themselves are
sums that are added up over the processes and divided at the end (`losses.masked_mean`), so the gradients are those of one process
with the whole batch. Gradients are averaged here, in one message after the backward pass, rather than by hooks of a wrapper
around the network: the discriminators learn in a backward pass of their own, and a stream that no case of a process passed has no gradient
there, both of which such a wrapper takes for a fault. Batch normalisation sees the cases of its own process, L_C these and the memory
of past batches of all. After each step all processes hold the same weights, running statistics and memory.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from typing import TYPE_CHECKING, Any

import torch

from breastai_model.training.processes import Place, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from breastai_model.training.losses import Gather, Group

HANG = dt.timedelta(minutes=5)
"""How long a process waits for the others before the job fails. A process that died is noticed at once."""
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


class Machine:
    """Where a run computes.

    Parameters
    ----------
    wish
        "auto", "cpu", "cuda" or "mps".
    precision
        As in `breastai_model.plan.Plan`.
    tell
        Called with a sentence where a wish cannot be met.

    Attributes
    ----------
    device
        Of this process.
    precision
        "float32", "bfloat16" or "float16": what the forward pass really uses.
    place
        Which process this is.
    scaler
        Of the gradients in float16, else None.
    """

    def __init__(self, wish: str = "auto", precision: str = "auto", tell: Callable[[str], None] = lambda _: None) -> None:
        # Slow (2 s) and only needed here.
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy
        from lightning_fabric.strategies.single_device import SingleDeviceStrategy

        self.place: Place = place()
        kind = chosen_device(wish, tell)
        self.precision = chosen_precision(kind, precision, tell)
        if self.place.world == 1:
            device = torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
            strategy: Any = SingleDeviceStrategy(device)
            given: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}
        else:
            strategy = DDPStrategy(timeout=HANG)
            given = {"devices": self.place.local_world, "num_nodes": self.place.machines}
        self.fabric = Fabric(accelerator=kind, strategy=strategy, precision=PRECISIONS[self.precision], **given)  # type: ignore[arg-type]
        self.fabric.launch()
        self.device: torch.device = self.fabric.device
        self.scaler: torch.amp.GradScaler | None = getattr(self.fabric.strategy.precision, "scaler", None)

    @property
    def group(self) -> Group | None:
        """What adds a tensor up over the processes, passing gradients; None for one process."""
        return _sum if self.place.world > 1 else None

    @property
    def gather(self) -> Gather | None:
        """What returns the rows of all processes, which bring equally many; None for one process."""
        return _rows if self.place.world > 1 else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network's forward pass belongs."""
        return self.fabric.autocast()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over the processes, in place; nothing to do for one process.

        A parameter that no process has a gradient of keeps none, so that Adam leaves it alone as it does in one process; where only
        some have one, the others count as 0.
        """
        if self.place.world == 1:
            return
        learnt = [parameter for parameter in parameters if parameter.requires_grad]
        has = torch.tensor([float(each.grad is not None) for each in learnt], device=self.device, dtype=learnt[0].dtype)
        flat = torch.cat([has, *((torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in learnt)])
        torch.distributed.all_reduce(flat)
        anywhere, *gradients = torch.split(flat, [len(learnt), *(each.numel() for each in learnt)])
        for parameter, gradient, found in zip(learnt, gradients, anywhere.tolist(), strict=True):
            if found:
                parameter.grad = (gradient / self.place.world).view_as(parameter)

    def average_buffers(self, module: nn.Module) -> None:
        """Average the running statistics over the processes, in one message, so that all evaluate and keep one network."""
        if self.place.world == 1:
            return
        buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        torch.distributed.all_reduce(flat)
        for buffer, mean in zip(buffers, torch.split(flat / self.place.world, [each.numel() for each in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def added(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, without gradient."""
        return values if self.place.world == 1 else _sum(values.detach())

    def agreed(self, word: str | None, words: tuple[str, ...]) -> str | None:
        """Return the first process's word to all: a wish to stop must stop all of them in the same step."""
        if self.place.world == 1:
            return word
        index = torch.tensor(-1 if word is None else words.index(word), device=self.device)
        torch.distributed.broadcast(index, 0)
        return None if int(index) < 0 else words[int(index)]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.place.world > 1:
            self.fabric.barrier()

    def close(self) -> None:
        """Leave the others."""
        if self.place.world > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004  torch's signature
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _sum(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


def _rows(own: Tensor) -> Tensor:
    """Return the rows of all processes in the order of the joint batch, of which process r has every world-th row from r."""
    parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, own.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def chosen_device(wish: str, tell: Callable[[str], None]) -> str:
    """Return "cuda", "mps" or "cpu": what was asked for, or the processor with a note that says why."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish in has and not has[wish]:
        tell("Trains on the processor: the graphics card that was asked for is not there.")
    names = [wish] if wish in has else ["cuda", "mps"]
    return next((name for name in names if has[name]), "cpu")


def chosen_precision(device: str, wish: str, tell: Callable[[str], None]) -> str:
    """Return what the forward pass uses: bfloat16 where the card is able, else float16 with a scaler, else float32.

    A processor uses float32 unless the plan says bfloat16.
    """
    if device == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        if wish == "auto" or (wish == "bfloat16" and not able):
            if wish == "bfloat16":
                tell("Trains in float16: this graphics card has no bfloat16.")
            return "bfloat16" if able else "float16"
        return wish
    if wish == "bfloat16" and device == "cpu":
        return wish
    if wish in ("bfloat16", "float16"):
        tell(f"Trains in float32: {wish} needs a graphics card of another kind.")
    return "float32"


def out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, on whichever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "not enough memory" in str(error))


def machine_words(device: str = "cpu") -> str:
    """Return in words what computes here; no name of a host or a person."""
    if device == "cuda" and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores"
    return f"{_processor()}, {os.cpu_count()} cores, one thread"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  no path of ours
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
