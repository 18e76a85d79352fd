"""Everything that is needed to go on with a run, in one safetensors file: tensors, and the state as JSON in its metadata.

Nothing here can run code when it is read, and one file replaced whole cannot hold tensors of one moment and a state of
another.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from breastai_model.run_folder import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the text is one sentence."""


def save_checkpoint(path: Path, net: nn.Module, optimizer: Optimizer | None, state: Mapping[str, Any]) -> None:
    """Write the network, the optimizer's moments and the state, whole or not at all.

    Raises
    ------
    CheckpointError
        If a weight is not a finite number: such a network never replaces a good one.
    OSError
        If it cannot be written; the old checkpoint is untouched then.
    """
    tensors = {f"net/{name}": value for name, value in net.state_dict().items()}
    if any(value.is_floating_point() and not bool(value.isfinite().all()) for value in tensors.values()):
        raise CheckpointError("The network holds numbers that are not finite; the last good checkpoint is kept.")
    if optimizer is not None:
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    replace_file(path, lambda temporary: save_file(plain, temporary, metadata={"state": json.dumps(dict(state), allow_nan=False)}))


def load_checkpoint(path: Path, net: nn.Module, optimizer: Optimizer | None) -> dict[str, Any]:
    """Put the checkpoint's numbers into network and optimizer and return its state.

    Raises
    ------
    CheckpointError
        If the file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        net.load_state_dict({name.removeprefix("net/"): value for name, value in tensors.items() if name.startswith("net/")})
        if optimizer is not None:
            _load_optimizer(optimizer, tensors)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"The checkpoint {path.name} cannot be read or belongs to another network.") from error
    return state


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, what = name.split("/")
            moments.setdefault(int(index), {})[what] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
